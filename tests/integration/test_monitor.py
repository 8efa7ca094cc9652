"""How the API is used: counted where every answer passes, shown to staff and to Prometheus."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import yaml
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from accounts.choices import EnvironmentPair
from accounts.roles import Role
from backoffice import replica
from backoffice.integration import alarms
from backoffice.task_ids import SENT_AT
from marketdata import metrics
from marketdata.metrics import Delays
from marketdata.models import StreamComparison
from tests import factories
from tests.backoffice.test_admin import browser
from tests.trading import desk
from trading import orders, tasks
from trading.engine import Engine
from trading.errors import Reason
from trading.models import Order
from tvapi import usage
from tvapi.usage import Counter, Tally

pytestmark = pytest.mark.django_db
PRODUCTION = "https://www.tradingview.com"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/tv/accounts", "GET accounts"),
        ("GET", "/tv/accounts/A-1/orders", "GET accounts/{id}/orders"),
        ("DELETE", "/tv/accounts/A-1/orders/17", "DELETE accounts/{id}/orders/{id}"),
        ("GET", "/tv/accounts/a/b/c/state", "GET accounts/{id}/state"),
        ("GET", "/tv/accounts/A-1/stream/orders", "GET accounts/{id}/stream"),
        ("POST", "/tv/oauth2/token", "POST oauth2/token"),
        ("BREW", "/tv/quotes", "OTHER quotes"),
        ("GET", "/tv/whatever|a\nstranger/asks", "other"),
    ],
)
def test_endpoints_have_few_names(method: str, path: str, name: str) -> None:
    assert usage.endpoint(method, path) == name


def asked(counter: Counter, path: str, *, origin: str = "", status: int = 200, body: bytes = b'{"s":"ok"}') -> None:
    """One request whose answer passes the counter; pages of our pairs are allowed to see it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def answer() -> None:
        headers = [(b"origin", origin.encode())] if origin else []
        watched = counter.watch({"path": path, "method": "GET", "headers": headers}, send)
        allowed = [(b"access-control-allow-origin", origin.encode())] if origin == PRODUCTION else []
        await watched({"type": "http.response.start", "status": status, "headers": allowed})
        await watched({"type": "http.response.body", "body": body, "more_body": True})
        await watched({"type": "http.response.body", "body": b""})

    asyncio.run(answer())
    assert len(sent) == 3


def counts() -> dict[usage.Key, tuple[int, int, int]]:
    return {key: (each.requests, each.errors, each.cors_refused) for key, each in usage.of_minutes(5).items()}


def test_requests_are_counted_by_pair_endpoint_and_outcome() -> None:
    factories.oauth_client(pair=EnvironmentPair.PRODUCTION_PRODUCTION, origins=[PRODUCTION])
    counter = Counter()
    for body in (b'{"s":"ok","d":[]}', b'{"s":"error","errmsg":"No."}'):
        asked(counter, "/tv/accounts", origin=PRODUCTION, body=body)
    asked(counter, "/tv/accounts", origin="https://evil.example")
    asked(counter, "/tv/groups", status=401)
    asked(counter, "/admin/")
    usage.tell(counter.take())
    usage.tell(counter.take())
    assert counts() == {
        ("production-production", "GET accounts"): (2, 1, 0),
        ("server", "GET groups"): (1, 1, 0),
        ("unknown", "GET accounts"): (1, 0, 1),
    }
    assert {key: each.requests for key, each in usage.in_all().items()} == {k: n for k, (n, _e, _c) in counts().items()}


def test_percentiles_are_the_ends_of_their_buckets() -> None:
    tally = Tally()
    assert tally.percentile(0.5) is None
    for ms in (3, 30, 30, 9000):
        tally.add(ms, 200, is_error=False, is_cors_refused=False, is_timed=True)
    assert [tally.percentile(part) for part in (0.25, 0.5, 0.99)] == [5, 50, 5000]


def test_endless_answers_are_counted_but_not_timed() -> None:
    counter = Counter()
    asked(counter, "/tv/streaming")
    [tally] = counter.take().tallies.values()
    assert (tally.requests, sum(tally.buckets)) == (1, 0)


def slow_and_failing() -> None:
    tally = Tally()
    for _request in range(20):
        tally.add(2000, 401, is_error=True, is_cors_refused=False, is_timed=True)
    usage.tell(usage.Taken({("", "POST oauth2/token"): tally}))


def test_what_tradingview_would_complain_of_is_an_alarm() -> None:
    assert alarms.all_now() == []
    slow_and_failing()
    metrics.tell(Delays("host:1", connections=2, dropped=0, lines=9, p50_ms=20, p99_ms=1500, most_ms=1700))
    instrument = factories.instrument("EURUSD")
    hour = "2999-01-01T00:00Z"
    StreamComparison.objects.create(instrument=instrument, hour=hour, compared=60, different=5)
    found = alarms.all_now()
    assert found == [
        "server: 20 tokens were refused in 5 minutes.",
        "server, POST oauth2/token: 100 % failures.",
        "server, POST oauth2/token: one in twenty takes longer than 1000 ms.",
        "The stream of host:1 is late: 1500 ms.",
        "Bars of the stream and of the history differ: EURUSD.",
    ]
    overview = browser(Role.DEALING).get(reverse("admin:index")).context["alarms"]
    assert set(found) <= {alarm.text for alarm in overview}


def test_the_monitor_shows_requests_streams_and_alarms() -> None:
    empty = browser(Role.SUPPORT).get(reverse("page:integration_monitor")).content.decode()
    assert "TradingView has nothing to complain of." in empty
    assert "Nobody has asked yet." in empty
    slow_and_failing()
    page = browser(Role.COMPLIANCE).get(reverse("page:integration_monitor"))
    tables = {str(title): table["rows"] for title, table, _empty in page.context["tables"]}
    assert tables["requests by environments and endpoint"] == [
        ["server to server", "POST oauth2/token", "20", "20 (100 %)", "0", "≤ 2500 ms", "≤ 2500 ms", "≤ 2500 ms"]
    ]
    assert len(tables["alarms"]) == 3


def test_prometheus_reads_how_trading_goes() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    Order.objects.filter(pk=desk.fill(account, "buy", "1000").pk).update(
        final_at=F("created_at") + timedelta(seconds=2)
    )
    at_once = orders.place(account.pk, desk.ticket("buy", "1000"), request_id="at-once", at_once=True)
    assert at_once.final_at == at_once.created_at  # which is not counted as booked in no time
    waiting = desk.place(account, "buy", "1000")
    Order.objects.filter(pk=waiting.pk).update(updated_at=timezone.now() - timedelta(minutes=1))
    usage.refused(Reason.MARGIN)
    told = dict(line.rsplit(" ", 1) for line in Browser().get("/metrics").content.decode().splitlines())
    assert told["orders_queued"] == "1.0"
    assert 60 <= float(told["orders_queued_seconds"]) < 120
    assert (told['order_booked_seconds{quantile="0.5"}'], told['order_booked_seconds{quantile="0.99"}']) == (
        "2.0",
        "2.0",
    )
    assert told['order_refusals_total{reason="margin"}'] == "1.0"
    assert told["stop_outs"] == "0.0"
    assert float(told["ticks_age_seconds"]) < 60


def test_what_the_dashboard_and_the_alert_rules_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a house in which everything has happened once."""
    monkeypatch.setattr(replica, "lag_seconds", lambda: 0.5)
    factories.quote("EURUSD", "1.1", "1.1001")
    desk.fill(factories.account(), "buy", "1000")
    slow_and_failing()
    usage.refused(Reason.MARGIN)
    delays = Delays("host:1", connections=2, dropped=0, lines=9, p50_ms=20, p99_ms=1500, most_ms=1700)
    for kind in (metrics.STREAM, metrics.ENGINE_STEP, metrics.ENGINE_LAG):
        metrics.tell(delays, of=kind)
    told = set(re.findall(r"^(\w+)", Browser().get("/metrics").content.decode(), re.MULTILINE))
    folder = Path(__file__).parents[2] / "docs" / "monitoring"
    rules = yaml.safe_load((folder / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((folder / "dashboard.json").read_text())["panels"]
    exprs = [rule["expr"] for rule in rules] + [target["expr"] for panel in panels for target in panel["targets"]]
    for expr in exprs:
        without_labels = re.sub(r"by \([^)]*\)|\{[^}]*\}|\[[^]]*\]", "", expr)
        named = set(re.findall(r"[a-z][a-z0-9_]{2,}(?![a-z0-9_(])", without_labels)) - {"sum"}
        assert named, expr
        assert named <= told, expr


def test_prometheus_reads_the_same_numbers(settings: Any) -> None:
    slow_and_failing()
    text = Browser().get("/metrics").content.decode()
    labels = 'endpoint="POST oauth2/token",pair="server"'
    assert f'tv_requests_total{{{labels},status="401"}} 20.0' in text
    timed = labels.replace(",", ',le="2.5",')
    assert f"tv_request_seconds_bucket{{{timed}}} 20.0" in text
    assert 'part_alive{part="database"} 1.0' in text
    settings.METRICS_TOKEN = "a-token-of-tests"
    assert Browser().get("/metrics").status_code == 401
    assert Browser(headers={"Authorization": "Bearer a-token-of-tests"}).get("/metrics").status_code == 200
    settings.METRICS_TOKEN, settings.IS_LOCAL = "", False
    assert Browser().get("/metrics").status_code == 401


def numbers() -> dict[str, float]:
    lines = Browser().get("/metrics").content.decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


@pytest.mark.django_db(transaction=True)
def test_prometheus_reads_how_long_tasks_wait(empty_redis: redis.Redis) -> None:
    assert numbers()['task_queue_seconds{queue="orders"}'] == 0
    for _task in range(2):
        tasks.drain.delay(0)
    oldest = json.loads(cast("bytes", empty_redis.rpop("orders")))
    oldest["headers"][SENT_AT] -= 60
    empty_redis.rpush("orders", json.dumps(oldest))
    told = numbers()
    assert told['task_queue_length{queue="orders"}'] == 2
    assert 60 <= told['task_queue_seconds{queue="orders"}'] < 120
    assert told['task_queue_seconds{queue="slow"}'] == 0


def test_prometheus_reads_how_far_the_engine_is_behind() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    engine = Engine()
    engine.start()
    factories.quote("EURUSD", "1.2", "1.2001")
    engine.run_once(block_ms=None)
    told = numbers()
    assert 0 < told['engine_tick_p99_seconds{engine="engine"}'] < 60
    assert 0 <= told['engine_lag_p99_seconds{engine="engine"}'] < 60


def test_prometheus_reads_what_the_poll_lane_answered() -> None:
    counter = Counter()
    asked(counter, "/tv/accounts/A-1/orders")
    for outcome in ("answered", "answered", "missed", "left"):
        counter.polled(outcome)
    usage.tell(counter.take())
    usage.tell(counter.take())
    counter.polled("left")  # of a request whose answer is counted with the next ones
    usage.tell(counter.take())
    told = numbers()
    assert (told['tv_polls_total{by="lane"}'], told['tv_polls_total{by="django"}']) == (2, 2)
    assert told["tv_fence_misses_total"] == 1


def test_without_postgres_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("the connection is lost")

    slow_and_failing()
    monkeypatch.setattr(CursorWrapper, "execute", away)
    told = numbers()
    assert (told['part_alive{part="database"}'], told['part_alive{part="redis"}']) == (0, 1)
    assert 'tv_requests_total{endpoint="POST oauth2/token",pair="server",status="401"}' in told
    assert "orders_queued" not in told
