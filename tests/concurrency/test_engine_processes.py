"""Two engine processes on one broker: each does its part, and the other's when that one is killed."""

import signal
from contextlib import ExitStack
from subprocess import Popen

import pytest

from accounts.models import Account
from marketdata.models import Instrument
from tests import factories
from tests.processes import eventually, running
from tests.trading import desk
from trading.leases import EngineLease, EngineProcess
from trading.models import Order

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]

SHARDS = "2"


def holders() -> dict[str, str]:
    return {lease.piece: str(lease.holder) for lease in EngineLease.objects.all()}


def is_shared() -> bool:
    return len(holders()) == 3 and len(set(holders().values())) == 2


def is_queued(order: Order) -> None:
    queued = Order.objects.filter(pk=order.pk, queued=True)
    eventually(queued.exists, f"{order} is queued by the engine that has its shard")


def waiting_order(account: Account, symbol: str) -> Order:
    factories.quote(symbol, "1.10000", "1.10010")
    return desk.fill(account, "buy", "1000", symbol, limit="1.09")


def kill_the_one_with(piece: str, engines: list[Popen[bytes]]) -> None:
    holder = EngineProcess.objects.get(pk=holders()[piece])
    (victim,) = (engine for engine in engines if holder.name.endswith(f":{engine.pid}"))
    victim.kill()
    engines.remove(victim)


def test_what_a_killed_engine_watched_is_watched_by_the_other() -> None:
    account = factories.account(symbols=["EURUSD", "GBPUSD", "USDCHF"])
    symbols = {each.pk % 2: each.symbol for each in Instrument.objects.order_by("pk")}
    with ExitStack() as stack:
        command = ("manage.py", "run_engine", "--skip-checks")
        engines = [stack.enter_context(running(*command, ENGINE_SHARDS=SHARDS)) for _ in range(2)]
        eventually(is_shared, "each has a part of the work")
        for symbol in symbols.values():
            order = waiting_order(account, symbol)
            factories.quote(symbol, "1.08990", "1.09000")
            is_queued(order)
            desk.drain(account)

        orders = [waiting_order(account, symbol) for symbol in symbols.values()]
        kill_the_one_with("engine", engines)
        for symbol in symbols.values():  # while one of them is dead and its lease has not ended
            factories.quote(symbol, "1.08990", "1.09000")
        for order in orders:
            is_queued(order)
        eventually(lambda: len(set(holders().values())) == 1, "the other does everything")
        engines[0].send_signal(signal.SIGTERM)
        assert engines[0].wait(timeout=60) == 0
    assert holders() == {}
