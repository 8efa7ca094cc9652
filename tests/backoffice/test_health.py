"""Signs of life: who is asked, and what is said when somebody does not answer."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connection
from django.test import Client

from backoffice import health, tasks
from backoffice.processes import free_port

ALL_OK = dict.fromkeys(("database", "redis", "worker", "feed", "engine", "stream"), "ok")
SILENT = "no sign of life for 15 s"


@pytest.fixture(autouse=True)
def fresh_beats() -> Iterator[None]:
    """As in a process that has just started."""
    health._last_beat.clear()
    health._redis.cache_clear()
    yield
    health._last_beat.clear()
    health._redis.cache_clear()


@pytest.fixture
def everybody_beats() -> None:
    for part in health.PARTS:
        health.beat(part)


@pytest.mark.django_db
@pytest.mark.usefixtures("everybody_beats")
def test_all_parts_answer(client: Client) -> None:
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "parts": ALL_OK}


@pytest.mark.django_db
@pytest.mark.usefixtures("everybody_beats")
@pytest.mark.parametrize("part", health.PARTS)
def test_part_without_a_sign_of_life_is_named(client: Client, empty_redis: redis.Redis, part: str) -> None:
    empty_redis.delete(f"alive:{part}")
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "parts": {**ALL_OK, part: SILENT}}


@pytest.mark.django_db
def test_redis_that_does_not_answer_is_named(client: Client, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    answer = client.get("/healthz")

    unknown = dict.fromkeys(health.PARTS, "unknown while redis does not answer")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"database": "ok", "redis": "does not answer", **unknown}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("everybody_beats")
def test_database_that_does_not_answer_is_named(client: Client) -> None:
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = free_port()
    try:
        answer = client.get("/healthz")
    finally:
        connection.settings_dict["PORT"] = port

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "parts": {**ALL_OK, "database": "does not answer"}}


def test_beat_writes_a_key_that_expires(empty_redis: redis.Redis) -> None:
    health.beat("engine")

    assert empty_redis.keys() == [b"alive:engine"]
    assert 0 < empty_redis.ttl("alive:engine") <= health.EXPIRY_SECONDS


def test_beat_writes_at_most_once_a_second(empty_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("backoffice.health.time.monotonic", lambda: now)
    health.beat("engine")
    empty_redis.delete("alive:engine")
    now += 0.9
    health.beat("engine")
    assert not empty_redis.exists("alive:engine")
    now += 0.1
    health.beat("engine")
    assert empty_redis.exists("alive:engine")


def test_beat_survives_a_redis_that_does_not_answer(settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    health.beat("engine")


def test_heartbeat_task_speaks_for_the_worker(empty_redis: redis.Redis) -> None:
    tasks.heartbeat()

    assert empty_redis.keys() == [b"alive:worker"]


def test_ping_is_two_kilobytes_of_constant_json(client: Client) -> None:
    answer = client.get("/tv/ping")

    assert answer.status_code == 200
    assert len(answer.content) == 2048
    assert answer.json()["s"] == "ok"


def test_root_leads_to_the_back_office(client: Client) -> None:
    answer = client.get("/")

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
