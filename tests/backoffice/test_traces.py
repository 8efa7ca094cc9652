"""Traces from a request through the task that it leads to, at a collector that speaks OTLP."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from accounts.models import Account
from backoffice.bench.servers import answers
from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop
from tests import factories
from tests.processes import environment, eventually
from tests.trading import desk
from trading.models import Order
from trading.states import OrderStatus

HOUR_MS = 3_600_000
CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
BROWSER = "a browser of somebody"
GRANIAN = ("-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--no-ws", "backoffice.asgi:application")
ENGINE = ("manage.py", "run_engine", "--skip-checks")
CELERY = ("-m", "celery", "-A", "backoffice", "worker", "--concurrency", "1", "--without-mingle", "--without-gossip")


class Collector:
    """Keeps what it is sent: the spans, and the bodies as they came."""

    def __init__(self, port: int) -> None:
        self.spans: list[tuple[str, Any]] = []  # by which part
        self.bodies: list[bytes] = []
        self.port = port
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert named["service.name"] == "backoffice"
            for scope in resource.scope_spans:
                self.spans += [(named["part"], span) for span in scope.spans]

    def of_name(self, name: str) -> list[Any]:
        return [span for _part, span in self.spans if span.name == name]

    def of_trace(self, trace_id: str) -> list[tuple[str, str]]:
        """Part and name of the spans of one trace."""
        return [(part, span.name) for part, span in self.spans if span.trace_id.hex() == trace_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector(free_port())
    yield made
    made.close()


def to(collectors_port: int) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{collectors_port}"}


@contextlib.contextmanager
def traced(
    collectors_port: int, part: str, *argv: str, delay_ms: int = 100, log: Path | None = None, **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which tells a collector there of its spans, and is told to stop at the end of the block."""
    env = environment(**to(collectors_port), PART=part, OTEL_BSP_SCHEDULE_DELAY=str(delay_ms), **extra)
    process = spawn(Program(part, [sys.executable, *argv], log, cwd=settings.BASE_DIR, env=env))
    try:
        yield process
    finally:
        stop([(process, signal.SIGTERM)], seconds=30)


def place(port: int, token: str, number: str) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    form = {"instrument": "EURUSD", "side": "buy", "type": "market", "qty": "1000"}
    form |= {"currentBid": "1", "currentAsk": "1"}
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": BROWSER,
        "traceparent": f"00-{CALLERS_TRACE}-b7ad6b7169203331-01",
    }
    path = f"/tv/accounts/{number}/orders?requestId=traced&locale=en"
    connection.request("POST", path, urlencode(form), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    return Order.objects.get().pk


@pytest.mark.django_db(transaction=True)
def test_an_order_is_followed_from_the_callers_request_into_the_worker(collector: Collector, tmp_path: Path) -> None:
    """Each process tells its spans at its end: until then they wait for longer than this takes."""
    factories.quote("EURUSD", "1.1", "1.1001")
    owner = factories.user()
    last_look = factories.group(symbols=["EURUSD"], last_look_pips=2)  # which leaves the order to the worker
    account, token = factories.account(owner=owner, of_group=last_look), factories.token(owner)
    port, log = free_port(), tmp_path / "worker.log"
    with (
        traced(collector.port, "web", *GRANIAN, "--port", str(port), delay_ms=HOUR_MS),
        traced(collector.port, "worker", *CELERY, "--loglevel", "INFO", log=log, LOG_FORMAT="json", delay_ms=HOUR_MS),
    ):
        eventually(lambda: answers(port), "the web process answers")
        order_id = place(port, token, account.number)
        eventually(lambda: Order.objects.filter(status=OrderStatus.FILLED).exists(), "the order is filled")
    spans = collector.of_trace(CALLERS_TRACE)
    assert ("web", "POST tv/accounts/<any:account_id>/orders") in spans
    assert ("worker", "run/trading.tasks.drain") in spans
    assert any(part == "worker" and name.startswith(("UPDATE", "INSERT")) for part, name in spans)
    [worked] = collector.of_name("work off an order")
    assert worked.trace_id.hex() == CALLERS_TRACE
    assert {each.key: each.value.int_value for each in worked.attributes} == {
        "order_id": order_id,
        "account_id": account.pk,
    }
    names = {span.name for _part, span in collector.spans if not span.parent_span_id}
    assert not names & {"SELECT", "INSERT", "UPDATE"}, "statements that belong to nothing"
    sent = b"".join(collector.bodies)
    assert b"INSERT INTO" in sent
    for secret in (token, "requestId", owner.username, BROWSER):
        assert secret.encode() not in sent
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["trace_id"] for line in lines if line["message"] == f"order {order_id} was worked"] == [CALLERS_TRACE]


@pytest.mark.django_db(transaction=True)
def test_an_order_that_a_price_reached_is_followed_from_the_engine_into_the_worker(collector: Collector) -> None:
    account: Account = factories.account()
    factories.quote("EURUSD", "1.10000", "1.10010")
    with traced(collector.port, "engine", *ENGINE), traced(collector.port, "worker", *CELERY):
        order = desk.place(account, "buy", "1000", limit="1.09")
        eventually(lambda: collector.of_name("run/trading.tasks.drain"), "the drain of its placing has ended")
        eventually(lambda: Order.objects.filter(status=OrderStatus.WORKING).exists(), "the order waits for its price")

        def reached() -> bool:
            factories.quote("EURUSD", "1.08990", "1.09000")  # again and again: an engine that begins sees the next
            return Order.objects.filter(pk=order.pk, status=OrderStatus.FILLED).exists()

        eventually(reached, "the order is filled")
    traces = {span.trace_id.hex() for span in collector.of_name("queue the orders that a price reached")}
    worked = collector.of_name("work off an order")[-1]
    spans = collector.of_trace(worked.trace_id.hex())
    assert worked.trace_id.hex() in traces
    assert {("engine", "queue the orders that a price reached"), ("worker", "run/trading.tasks.drain")} <= set(spans)


@pytest.mark.django_db(transaction=True)
def test_a_collector_that_is_away_changes_no_answer() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    owner = factories.user()
    account, token = factories.account(owner=owner), factories.token(owner)
    port = free_port()
    with traced(free_port(), "web", *GRANIAN, "--port", str(port)) as web:
        eventually(lambda: answers(port), "the web process answers")
        place(port, token, account.number)
        web.terminate()
        assert web.wait(60) == 0


@pytest.mark.django_db
def test_values_that_postgres_names_when_it_refuses_are_not_told(collector: Collector) -> None:
    code = """
import django; django.setup()
from django.db import connection
from backoffice import traces
with traces.span("a block"), connection.cursor() as cursor:
    cursor.execute("CREATE TEMPORARY TABLE people (email text PRIMARY KEY)")
    for _ in range(2):
        cursor.execute("INSERT INTO people VALUES (%s)", ["jane@example.com"])
"""
    found = started(code, **to(collector.port))
    assert "Key (email)=(jane@example.com) already exists" in found.stderr
    [block] = collector.of_name("a block")
    [event] = block.events
    assert {each.key: each.value.string_value for each in event.attributes} == {
        "exception.type": "django.db.utils.IntegrityError"
    }
    assert b"jane" not in b"".join(collector.bodies)


@pytest.mark.django_db
def test_a_collector_that_does_not_answer_is_not_asked_again_by_a_process_that_stops() -> None:
    code = """
import django; django.setup()
from backoffice import traces
for _ in range(2000):
    with traces.span("a block"):
        pass
"""
    with socket.create_server((LOOPBACK, 0), backlog=100) as silent:
        found = started(code, **to(silent.getsockname()[1]))
        silent.setblocking(False)
        asked = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert found.returncode == 0
    assert asked in (1, 2), "of four batches one before the end, and one at it"


@pytest.mark.django_db
def test_a_collector_that_is_away_is_worth_one_line() -> None:
    code = """
import django; django.setup()
from opentelemetry import trace
from backoffice import traces
for _ in range(3):
    with traces.span("a block"):
        pass
    trace.get_tracer_provider().force_flush()
"""
    found = started(code, **to(free_port()))
    assert found.returncode == 0
    assert len(re.findall("trace_exporter", found.stderr)) == 1, found.stderr


@pytest.mark.django_db
def test_a_share_that_is_none_is_refused_in_a_sentence() -> None:
    for text in ("half", "2"):
        found = started("import django; django.setup()", OTEL_TRACES_SAMPLER_ARG=text, **to(1))
        assert f"OTEL_TRACES_SAMPLER_ARG is a share from 0 to 1, not '{text}'." in found.stderr


def started(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", f"import sys; {code}"]
    return subprocess.run(argv, env=environment(**env), capture_output=True, text=True, check=False)


@pytest.mark.django_db
def test_without_a_collector_none_of_it_is_at_work() -> None:
    """Some libraries import the interface, which does nothing by itself."""
    found = started("import django; django.setup(); print('opentelemetry.instrumentation' in sys.modules)")
    assert found.stdout == "False\n", found.stderr


@pytest.mark.django_db
def test_a_collector_without_the_packages_is_refused_in_a_sentence() -> None:
    hide = "sys.modules['opentelemetry.instrumentation'] = None"
    found = started(f"{hide}; import django; django.setup()", **to(1))
    assert "a package for traces is missing (opentelemetry.instrumentation)" in found.stderr
    assert "install the extra 'traces'" in found.stderr
