"""A new version under load: every process is restarted in turn, and no client sees more than the end of a stream."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.management import call_command

from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop
from tests import factories
from tests.balancer import Balancer
from tests.processes import PATIENCE_SECONDS, environment, eventually
from trading.models import Order
from trading.states import OrderStatus

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]

POLLED = ("orders", "positions", "state")
PAUSE_SECONDS = 0.03
TICK_SECONDS = 0.05
PLENTY = 10_000_000  # units, so that market orders are filled at once
GRANIAN = ("-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--no-ws", "--workers-kill-timeout", "30")
CELERY = ("-m", "celery", "-A", "backoffice", "worker", "--concurrency", "1", "--loglevel", "info", "--without-mingle")
_BID_SIZE = re.compile(rb'"f":"q","id":"EURUSD"[^\n]*"bs":(\d+)')  # the number of the price


@dataclass
class House:
    """The processes by name, and how to start one again."""

    logs: Path
    programs: dict[str, tuple[str, ...]]
    ports: dict[str, int]
    balancer: Balancer
    running: dict[str, Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        part, _, _number = name.partition("-")
        env = environment(PART=part, LEAVE_NOTICE_SECONDS="1", WEB_THREADS="3")
        argv = [sys.executable, *self.programs[name]]
        program = Program(name, argv, log=self._log(name), cwd=settings.BASE_DIR, env=env)
        self.running[name] = spawn(program)

    def end(self, name: str) -> None:
        process = self.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0, self._log(name).read_text()
        self._log(name).unlink()

    def is_there(self, name: str) -> bool:
        if name in self.ports:
            return self.ports[name] in self.balancer.ready
        return "ready." in self._log(name).read_text()  # of Celery

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


@dataclass
class Clients:
    """Traders, pollers and readers. `wrong` is what should not have happened to them.

    Told to stop, the traders stop; told to leave, the readers too.
    """

    port: int
    account: str
    token: str
    data_token: str
    stopping: threading.Event = field(default_factory=threading.Event)
    leaving: threading.Event = field(default_factory=threading.Event)
    wrong: list[str] = field(default_factory=list)
    answered: int = 0
    accepted: dict[str, str] = field(default_factory=dict)  # order by request
    filled: set[str] = field(default_factory=set)  # orders that a stream has shown so
    prices: list[list[int]] = field(default_factory=list)  # numbers of prices, for each connection
    ends: int = 0  # of streams

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Everybody is at work during the block; afterwards all has been shown to who reads."""
        traders = [self._start(work, number) for number, work in enumerate((self.trade, self.trade, self.poll))]
        readers = [self._start(work) for work in (self.read_orders, self.read_prices)]
        try:
            yield
        finally:
            self.stopping.set()
            for thread in traders:
                thread.join()
            try:
                eventually(lambda: self.wrong or self.filled >= {*self.accepted.values()}, "the stream shows all")
            finally:
                self.leaving.set()
                for thread in readers:
                    thread.join()

    def have_traded(self, orders: int) -> bool:
        """Whether so many orders were accepted; or there is no point in waiting for it."""
        return bool(self.wrong) or len(self.accepted) >= orders

    def _start(self, work: Callable[[int], None], number: int = 0) -> threading.Thread:
        thread = threading.Thread(target=self._never_failing, args=(work, number))
        thread.start()
        return thread

    def _never_failing(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.wrong.append(f"{work.__name__}: {error!r}")

    def trade(self, trader: int) -> None:
        path = f"/tv/accounts/{self.account}/orders"
        for number in count():
            if self.stopping.wait(PAUSE_SECONDS):
                return
            request, side = f"{trader}-{number}", "sell" if number % 2 else "buy"
            form = {"instrument": "EURUSD", "side": side, "type": "market", "qty": 1000}
            form |= {"currentAsk": 1.1001, "currentBid": 1.1}
            answer = self._ask("POST", f"{path}?locale=en&requestId={request}", urlencode(form))
            self.accepted[request] = answer["d"]["orderId"]

    def poll(self, _number: int) -> None:
        while not self.stopping.wait(PAUSE_SECONDS):
            for polled in POLLED:
                self._ask("GET", f"/tv/accounts/{self.account}/{polled}?locale=en")

    def _ask(self, method: str, path: str, form: str | None = None) -> dict:
        """As a browser behind the balancer does it: on a connection of its own."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, path, form, headers)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        assert (response.status, body["s"]) == (200, "ok"), body
        self.answered += 1
        return body

    def read_orders(self, _number: int) -> None:
        """Fold what the stream says: its snapshot, and what changed since (TSTR-4, TSTR-5)."""
        for lines in self._responses(f"/tv/accounts/{self.account}/stream/orders?locale=en", self.token):
            for line in lines:
                said = json.loads(line)
                orders = said if isinstance(said, list) else [said] if "status" in said else []
                self.filled |= {order["id"] for order in orders if order["status"] == "filled"}

    def read_prices(self, _number: int) -> None:
        for lines in self._responses("/tv/streaming", self.data_token):
            self.prices.append([int(number) for line in lines for number in _BID_SIZE.findall(line)])

    def _responses(self, path: str, token: str) -> Iterator[Iterator[bytes]]:
        """The lines of one response after the other. One that breaks off raises IncompleteRead."""
        while not self.leaving.is_set():
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield self._lines(response)
            connection.close()

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while not self.leaving.is_set():
            if not (line := response.readline()):
                self.ends += 1
                return
            assert line.endswith(b"\n")
            yield line


@contextlib.contextmanager
def ticking() -> Iterator[None]:
    """A price of EURUSD twenty times a second; how much is bid is its number."""
    stopping = threading.Event()

    def run() -> None:
        number = PLENTY
        while not stopping.wait(TICK_SECONDS):
            number += 1
            factories.quote("EURUSD", "1.10000", "1.10010", size=str(number))

    thread = threading.Thread(target=run)
    factories.quote("EURUSD", "1.10000", "1.10010")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@contextlib.contextmanager
def house(logs: Path) -> Iterator[House]:
    """Two processes of each part that answers or works, and the balancer in front of them."""
    ports: dict[str, int] = {}
    for name in ("web-1", "web-2", "stream-1", "stream-2"):
        ports[name] = free_port(avoid=list(ports.values()))
    programs = {name: (*GRANIAN, "--port", str(port), "backoffice.asgi:application") for name, port in ports.items()}
    web, stream = ([port for name, port in ports.items() if name.startswith(part)] for part in ("web", "stream"))
    started = House(logs, {**programs, "worker-1": CELERY, "worker-2": CELERY}, ports, Balancer(web, stream))
    try:
        with started.balancer.running():
            for name in started.programs:
                started.start(name)
            eventually(lambda: all(map(started.is_there, started.programs)), "all are there")
            yield started
    finally:
        stop([(process, signal.SIGTERM) for process in started.running.values()], seconds=30)


def test_a_rolling_restart_under_load_fails_no_request(tmp_path: Path) -> None:
    account = factories.account(deposits={"USD": Decimal(10_000_000)})
    data = factories.user("tvdata", is_data_client=True)
    tokens = factories.token(account.client.user), factories.token(data)
    with ticking(), house(tmp_path) as running:
        clients = Clients(running.balancer.port, account.number, *tokens)
        with clients.busy():
            for name in running.programs:
                before = len(clients.accepted)
                running.end(name)
                running.start(name)
                eventually(partial(running.is_there, name), f"{name} is there again")
                eventually(partial(clients.have_traded, before + 10), "trading goes on")
                assert clients.wrong == running.balancer.failed == []
    assert clients.wrong == running.balancer.failed == []
    assert min(running.balancer.served.values()) > 1

    booked = Order.objects.filter(status=OrderStatus.FILLED).values_list("request_id", "pk")
    assert sorted((request, str(pk)) for request, pk in booked) == sorted(clients.accepted.items())
    call_command("verify_books")

    assert clients.ends >= 2  # of each stream process that had a reader, one
    assert all(later - earlier == 1 for seen in clients.prices for earlier, later in pairwise(seen))
    firsts_and_lasts = [number for seen in clients.prices if seen for number in (seen[0], seen[-1])]
    assert firsts_and_lasts == sorted(firsts_and_lasts)
