"""Traces from a request through the task that it leads to, at a collector that speaks OTLP."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop
from tests import factories
from tests.processes import environment, eventually
from trading.models import Order
from trading.states import OrderStatus

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
GRANIAN = ("-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--no-ws", "backoffice.asgi:application")
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


@contextlib.contextmanager
def traced(collectors_port: int, part: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which tells a collector there of its spans, and is told to stop at the end of the block."""
    endpoint = f"http://{LOOPBACK}:{collectors_port}"
    env = environment(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="100", PART=part)
    process = spawn(Program(part, [sys.executable, *argv], None, cwd=settings.BASE_DIR, env=env))
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
        "traceparent": f"00-{CALLERS_TRACE}-b7ad6b7169203331-01",
    }
    path = f"/tv/accounts/{number}/orders?requestId=traced&locale=en"
    connection.request("POST", path, urlencode(form), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    return Order.objects.get().pk


@pytest.mark.django_db(transaction=True)
def test_an_order_is_followed_from_the_callers_request_into_the_worker(collector: Collector) -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    owner = factories.user()
    account, token = factories.account(owner=owner), factories.token(owner)
    to, port = collector.port, free_port()
    with traced(to, "web", *GRANIAN, "--port", str(port)), traced(to, "worker", *CELERY):
        eventually(lambda: answers(port), "the web process answers")
        order_id = place(port, token, account.number)
        eventually(lambda: Order.objects.filter(status=OrderStatus.FILLED).exists(), "the order is filled")
        eventually(lambda: ("worker", "work off an order") in collector.of_trace(CALLERS_TRACE), "all spans are there")
    spans = collector.of_trace(CALLERS_TRACE)
    assert ("web", "POST tv/accounts/<any:account_id>/orders") in spans
    assert ("worker", "run/trading.tasks.drain") in spans
    assert any(part == "worker" and name.startswith(("UPDATE", "INSERT")) for part, name in spans)
    [worked] = [span for _part, span in collector.spans if span.name == "work off an order"]
    assert {each.key: each.value.int_value for each in worked.attributes} == {
        "order_id": order_id,
        "account_id": account.pk,
    }
    names = {span.name for _part, span in collector.spans if not span.parent_span_id}
    assert not names & {"SELECT", "INSERT", "UPDATE"}, "statements that belong to nothing"
    sent = b"".join(collector.bodies)
    assert b"INSERT INTO" in sent
    for secret in (token, "requestId", owner.username):
        assert secret.encode() not in sent


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/tv/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


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
    found = started(f"{hide}; import django; django.setup()", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{LOOPBACK}:1")
    assert "a package for traces is missing (opentelemetry.instrumentation)" in found.stderr
    assert "install the extra 'traces'" in found.stderr
