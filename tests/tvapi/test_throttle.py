"""Who asks too much waits; data servers do not wait for him (ENV-5)."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError, connection, connections

from accounts import origins
from accounts.choices import EnvironmentPair
from backoffice import asgi
from backoffice.asgi import Application
from tests import factories
from tvapi import throttle
from tvapi.throttle import Buckets

pytestmark = pytest.mark.django_db

PAGE = "https://www.tradingview.com"


def scope_of(path: str, *, token: str = "", address: str = "198.51.100.7", query: str = "", origin: str = "") -> Any:
    given = {"authorization": f"Bearer {token}" if token else "", "origin": origin}
    headers = [(name.encode(), value.encode()) for name, value in given.items() if value]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "client": (address, 1),
        "headers": headers,
    }


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def asked(scope: Any) -> list[Any]:
    """What the throttle itself sent; nothing when it let the request pass."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert asyncio.run(throttle.handle(scope, nothing, send)) == bool(sent)
    return sent


def passed(scopes: Iterable[Any]) -> int:
    return sum(not asked(scope) for scope in scopes)


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    buckets = Buckets(2.0)
    assert [buckets.take("a", 100.0) for _ in range(9)] == [True] * 8 + [False]
    assert buckets.take("b", 100.0)
    assert [buckets.take("a", 101.0) for _ in range(3)] == [True, True, False]


@pytest.mark.usefixtures("limited")
def test_a_token_that_asks_too_much_is_told_so_in_its_language_on_a_page_that_may_read_it() -> None:
    scopes = [scope_of("/tv/accounts", token="t", query="locale=de_DE", origin=PAGE) for _ in range(5)]
    assert passed(scopes[:4]) == 4
    start, body = asked(scopes[4])
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"], headers[b"access-control-allow-origin"]) == (
        429,
        b"1",
        PAGE.encode(),
    )
    said = msgspec.json.decode(body["body"])
    assert said == {"s": "error", "errmsg": "Es waren zu viele Anfragen. Bitte warten Sie einen Moment."}
    assert passed([scope_of("/tv/accounts", token="another")]) == 1


@pytest.mark.usefixtures("limited")
def test_a_preflight_is_let_through_so_that_the_page_can_read_why_its_request_is_not() -> None:
    passed(scope_of("/tv/accounts", token=f"t{number}") for number in range(40))
    asking = scope_of("/tv/accounts", origin=PAGE)
    asking["method"] = "OPTIONS"
    assert asked(asking)[0]["status"] == 429  # one that asks for nothing is a request like others
    asking["headers"].append((b"access-control-request-method", b"PUT"))
    headers = dict(asked(asking)[0]["headers"])
    assert asked(asking)[0]["status"] == 200
    assert headers[b"access-control-allow-origin"] == PAGE.encode()
    assert headers[b"access-control-allow-methods"] == b"GET, POST, PUT, DELETE, OPTIONS"
    assert headers[b"access-control-allow-headers"] == b"authorization, content-type"
    assert headers[b"access-control-max-age"] == b"86400"
    asking["headers"][0] = (b"origin", b"https://tradingview.com.example")
    assert asked(asking)[0]["status"] == 429


@pytest.mark.usefixtures("limited")
def test_new_tokens_buy_nothing_for_an_address() -> None:
    assert passed(scope_of("/tv/accounts", token=f"t{number}") for number in range(60)) == 40
    assert passed([scope_of("/tv/accounts", token="t", address="198.51.100.8")]) == 1


@pytest.mark.usefixtures("limited")
def test_pages_of_strangers_may_not_read_the_refusal() -> None:
    scopes = [scope_of("/tv/accounts", token="t", origin="https://tradingview.com.example") for _ in range(5)]
    assert passed(scopes[:4]) == 4
    start, _body = asked(scopes[4])
    assert b"access-control-allow-origin" not in dict(start["headers"])


@pytest.mark.django_db(transaction=True)
def test_pages_of_the_pairs_may_read_it_again_once_postgres_is_back(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that looks the pairs up keeps its connection, and another is made when that was closed."""
    factories.oauth_client(EnvironmentPair.STAGING_STAGING, origins=["https://*.xstaging.tv"])
    settings.REQUESTS_A_SECOND = 1.0
    monkeypatch.setattr(throttle, "_by_address", Buckets(0.0))

    async def ask(page: str) -> bool:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        origins.forget()
        await throttle.handle(scope_of("/tv/accounts", origin=page), nothing, send)
        return b"access-control-allow-origin" in dict(sent[0]["headers"])

    def lose_connection() -> None:
        with connection.cursor() as cursor, contextlib.suppress(DatabaseError):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def run() -> list[bool]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        answers = [await ask("https://www.xstaging.tv")]
        await asyncio.to_thread(lose_connection)
        await ask(PAGE)  # in whose place the settings' may stand for once
        answers += [await ask("https://www.xstaging.tv"), await ask(PAGE)]
        await asyncio.to_thread(connections.close_all)
        return answers

    assert asyncio.run(run()) == [True, True, False]


@pytest.mark.usefixtures("limited")
def test_data_servers_are_never_held_back(settings: Any) -> None:
    assert passed(scope_of("/tv/history", token="t") for _ in range(50)) == 50
    settings.DATA_SERVER_NETWORKS = ["192.0.2.0/24"]
    assert passed(scope_of("/tv/authorize", address="192.0.2.9") for _ in range(50)) == 50
    assert passed(scope_of("/tv/history", token="t") for _ in range(50)) == 4  # somebody else


def test_a_flood_of_requests_does_not_keep_data_servers_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads of traders are taken, and more of their requests wait; what a data server asks is answered."""
    freed = threading.Event()

    def site(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        if environ["PATH_INFO"] == "/tv/accounts":
            freed.wait(60)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    monkeypatch.setattr(asgi, "django_application", site)

    async def ask(application: Application, path: str) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(
            {**scope_of(path), "http_version": "1.1", "scheme": "http", "server": ("t", 80)}, nothing, send
        )
        return statuses[0]

    async def flood() -> int:
        application = Application([], part="web", threads=2, data_threads=1)
        waiting = [asyncio.create_task(ask(application, "/tv/accounts")) for _ in range(10)]
        await asyncio.sleep(0)
        try:
            status = await ask(application, "/tv/history")
            assert not any(task.done() for task in waiting)
        finally:
            freed.set()
        assert await asyncio.gather(*waiting) == [200] * 10
        return status

    assert asyncio.run(flood()) == 200
