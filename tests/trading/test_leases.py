import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from marketdata.models import LogPosition
from tests import factories
from tests.trading import desk
from trading.engine import Engine
from trading.leases import Crew, EngineLease, EngineProcess, Leases

pytestmark = pytest.mark.django_db

PIECES = ("engine", "engine-1", "margin")


def fall_silent(*leases: Leases) -> None:
    """As if the processes had been killed long enough ago."""
    ago = timedelta(seconds=10)
    for each in leases:
        EngineProcess.objects.filter(pk=each._holder).update(seen_at=F("seen_at") - ago)
        EngineLease.objects.filter(holder=each._holder).update(until=F("until") - ago)


def test_one_process_does_everything() -> None:
    alone = Leases(PIECES)
    assert alone.keep() == set(PIECES)
    assert alone.keep() == set(PIECES)
    assert all(map(alone.is_held, PIECES))


def test_a_second_process_gets_its_share_when_the_first_has_ended_its_work_on_it() -> None:
    first, second = Leases(PIECES), Leases(PIECES)
    first.keep()
    assert second.keep() == set()
    assert first.keep(busy=PIECES) == {"engine", "engine-1"}
    assert not first.is_held("margin")
    assert second.keep() == set()
    assert first.keep(busy=["engine", "engine-1"]) == {"engine", "engine-1"}
    assert second.keep() == {"margin"}
    assert first.keep() | second.keep() == set(PIECES)


def test_what_a_dead_process_did_is_done_by_another() -> None:
    first, second = Leases(PIECES), Leases(PIECES)
    first.keep()
    second.keep()
    fall_silent(first)
    assert second.keep() == set(PIECES)


def test_a_process_that_wakes_late_finds_its_work_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Leases(PIECES), Leases(PIECES)
    first.keep()
    fall_silent(first)
    second.keep()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3)
    assert not any(map(first.is_held, PIECES))
    first.keep()
    assert not any(map(first.is_held, PIECES))


def test_what_is_given_back_is_free_at_once() -> None:
    first, second = Leases(PIECES), Leases(PIECES)
    first.keep()
    first.give_back()
    assert not any(map(first.is_held, PIECES))
    assert second.keep() == set(PIECES)


@pytest.mark.django_db(transaction=True)
def test_of_many_that_ask_at_once_each_piece_goes_to_one() -> None:
    crowd = [Leases(PIECES) for _ in range(6)]
    barrier = threading.Barrier(len(crowd))

    def ask(leases: Leases) -> Callable[[], None]:
        def work() -> None:
            barrier.wait()
            leases.keep()
            connection.close()

        return work

    threads = [threading.Thread(target=ask(each)) for each in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for piece in PIECES:
        assert [each.is_held(piece) for each in crowd].count(True) == 1


@pytest.mark.django_db(transaction=True)
def test_work_ends_with_its_lease_and_a_fault_ends_all_of_it() -> None:
    ended: list[str] = []

    def steady(stopping: Callable[[], bool]) -> None:
        while not stopping():
            time.sleep(0.01)
        ended.append("steady")

    def faulty(stopping: Callable[[], bool]) -> None:
        raise ValueError("broken")

    crew = Crew({"steady": steady})
    crew.step(lambda: False)
    assert crew.busy() == {"steady"}
    fall_silent(crew._leases)
    Leases({"steady"}).keep()
    crew.step(lambda: False)
    crew.leave()
    assert (ended, crew.has_failed) == (["steady"], False)

    broken = Crew({"faulty": faulty, "steady": steady})
    for model in (EngineLease, EngineProcess):
        model.objects.all().delete()
    broken.step(lambda: False)
    broken.leave()
    assert (ended, broken.has_failed) == (["steady", "steady"], True)


def test_an_engine_of_a_shard_moves_the_orders_of_its_instruments_only() -> None:
    account = factories.account(symbols=["EURUSD", "GBPUSD"])
    for symbol in ("EURUSD", "GBPUSD"):
        factories.quote(symbol, "1.10000", "1.10010")
    mine, theirs = (desk.fill(account, "buy", "1000", symbol, limit="1.09") for symbol in ("EURUSD", "GBPUSD"))
    shards = 2 if (mine.instrument_id - theirs.instrument_id) % 2 else 3
    engine = Engine(mine.instrument_id % shards, shards)
    engine.start()
    for symbol in ("EURUSD", "GBPUSD"):
        factories.quote(symbol, "1.08990", "1.09000")
    assert engine.run_once(block_ms=1) == 1
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.queued, theirs.queued) == (True, False)


def test_a_new_shard_begins_where_the_one_furthest_behind_stands() -> None:
    LogPosition.objects.create(reader="engine", entry_id="1000-5")
    LogPosition.objects.create(reader="engine-1", entry_id="1000-10")
    assert [Engine(shard, 3)._stored_position() for shard in range(3)] == ["1000-5", "1000-10", "1000-5"]
