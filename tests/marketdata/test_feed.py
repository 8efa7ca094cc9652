"""The feed: its rhythm, prices set by hand, and that nothing is lost or doubled when processes come and go."""

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import chain, count, groupby, pairwise

import pytest
import redis
from django.db import connections

from marketdata import bars, holds, quotes, ticklog
from marketdata.bars import Bar
from marketdata.builder import BarBuilder
from marketdata.feed import TICK_MS, Feed, Simulation
from marketdata.lease import Lease
from marketdata.models import Instrument, OpenBar
from marketdata.ticklog import Tick
from tests import factories
from tests.processes import eventually, running

pytestmark = pytest.mark.django_db

MONDAY_MS = 1_795_424_400_000  # 2026-11-23 09:00 UTC: shares of New York are not traded yet


@pytest.fixture
def eurusd() -> Instrument:
    return factories.instrument("EURUSD")


@pytest.fixture
def btcusdt() -> Instrument:
    return factories.instrument("BTCUSDT")


def play(seconds: int, simulation: Simulation | None = None, *, start_ms: int = MONDAY_MS) -> dict[str, list[Tick]]:
    """Let the simulation run for so long of its own time; what the log then holds, by symbol."""
    simulation = simulation or Simulation()
    for ms in range(0, seconds * 1000, 100):
        simulation.step(start_ms + ms)
    return logged()


def now_ms() -> int:
    return int(time.time() * 1000)


def logged() -> dict[str, list[Tick]]:
    by_symbol: dict[str, list[Tick]] = defaultdict(list)
    for entry in ticklog.read("0-0", count=100_000):
        by_symbol[entry.tick.symbol].append(entry.tick)
    return by_symbol


def prices(ticks: list[Tick]) -> set[tuple[str, str]]:
    return {(str(tick.bid), str(tick.ask)) for tick in ticks}


# --- the simulation ---------------------------------------------------------------------------------------------------


def test_each_symbol_ticks_at_least_once_a_second(eurusd: Instrument, btcusdt: Instrument) -> None:
    played = play(20)
    assert played.keys() == {"EURUSD", "BTCUSDT"}
    for ticks in played.values():
        assert max(later.time_ms - tick.time_ms for tick, later in pairwise(ticks)) <= 1000
        assert 20 * 1.3 <= len(ticks) <= 20 * 3.4


def test_two_runs_give_the_same_prices(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    first = play(10)
    empty_redis.flushdb()
    assert play(10) == first


def test_a_closed_market_has_no_ticks() -> None:
    factories.instrument("AAPL")
    assert play(5) == {}
    opening_ms = MONDAY_MS + (5 * 60 + 30) * 60_000
    ticks = play(10, start_ms=opening_ms - 5000)["AAPL"]
    assert min(tick.time_ms for tick in ticks) == opening_ms


def test_a_closed_market_shows_its_last_price(empty_redis: redis.Redis) -> None:
    aapl = factories.instrument("AAPL")
    friday_close = MONDAY_MS // 1000 - (9 + 24 + 24 + 3) * 3600  # 21:00 UTC
    price = Decimal("270.00")
    bars.write(aapl, [Bar(friday_close - 60, price, price, price, price, Decimal(100))])
    [tick] = play(15)["AAPL"]
    assert (tick.bid, tick.ask, tick.time_ms, tick.last) == (price, Decimal("270.01"), friday_close * 1000, None)
    BarBuilder().run_once()
    assert bars.history(aapl, "1", friday_close - 60, MONDAY_MS // 1000).t == [friday_close - 60]

    empty_redis.flushdb()
    assert play(2)["AAPL"] == [tick]


def test_an_instrument_without_a_profile_gets_no_prices() -> None:
    factories.instrument("ACME")
    assert play(5) == {}


def test_a_new_instrument_is_taken_up(eurusd: Instrument) -> None:
    simulation = Simulation()
    simulation.step(MONDAY_MS)
    factories.instrument("GBPUSD")
    simulation.step(MONDAY_MS + 9_000)
    assert "GBPUSD" not in logged()
    simulation.step(MONDAY_MS + 10_000)
    assert len(logged()["GBPUSD"]) == 1


def test_prices_go_on_from_the_latest_quote(eurusd: Instrument) -> None:
    factories.quote("EURUSD", "1.30000", "1.30010", at_ms=MONDAY_MS - 1000)
    assert all(Decimal("1.299") < tick.bid < Decimal("1.301") for tick in play(5)["EURUSD"])


def test_prices_go_on_from_the_last_bar_when_it_is_newer_than_the_quote(eurusd: Instrument) -> None:
    factories.quote("EURUSD", "1.30000", "1.30010", at_ms=MONDAY_MS - 3_600_000)
    price = Decimal("1.20000")
    bars.write(eurusd, [Bar(MONDAY_MS // 1000 - 60, price, price, price, price, Decimal(1))])
    made = play(5)["EURUSD"][1:]
    assert all(Decimal("1.199") < tick.bid < Decimal("1.201") for tick in made)


def test_prices_go_on_when_redis_has_lost_everything(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    factories.quote("EURUSD", "1.30000", "1.30010", at_ms=MONDAY_MS - 1000)
    simulation = Simulation()
    play(2, simulation)
    empty_redis.flushdb()
    again = play(5, simulation, start_ms=MONDAY_MS + 2000)["EURUSD"]
    assert all(Decimal("1.299") < tick.bid < Decimal("1.301") for tick in again)


def test_a_perpetual_follows_a_spot_that_was_moved(btcusdt: Instrument) -> None:
    factories.instrument("BTCUSDT.P")
    simulation, start_ms = Simulation(), now_ms()
    spot = play(2, simulation, start_ms=start_ms)["BTCUSDT"][-1].bid * Decimal("1.005")
    bid = btcusdt.round_price(spot)
    holds.set_price(btcusdt, bid, bid + 1, hold_seconds=60)
    perpetual = play(60, simulation, start_ms=start_ms + 2000)["BTCUSDT.P"]
    assert abs(perpetual[-1].bid / bid - 1) < Decimal("0.0005")
    assert all(abs(after.bid / before.bid - 1) < Decimal("0.003") for before, after in pairwise(perpetual))


# --- prices set by hand -----------------------------------------------------------------------------------------------


def test_a_held_price_is_repeated_exactly_and_then_left(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    simulation, start_ms = Simulation(), now_ms()
    play(2, simulation, start_ms=start_ms)
    entry = ticklog.last_id()
    holds.set_price(eurusd, Decimal("1.25000"), Decimal("1.25010"), hold_seconds=60)
    play(5, simulation, start_ms=start_ms + 2000)
    held = [each.tick for each in ticklog.read(entry)]
    assert len(held) > 5
    assert prices(held) == {("1.25000", "1.25010")}

    empty_redis.delete("hold:EURUSD")  # as its expiry does
    entry = ticklog.last_id()
    play(5, simulation, start_ms=start_ms + 7000)
    free = [each.tick for each in ticklog.read(entry)]
    assert len(prices(free)) > 1
    assert all(Decimal("1.249") < tick.bid < Decimal("1.251") for tick in free)


def test_a_held_price_is_deep_enough_for_ten_thousand_units(eurusd: Instrument) -> None:
    holds.set_price(eurusd, Decimal("1.25000"), Decimal("1.25010"), hold_seconds=60)
    quote = quotes.get("EURUSD")
    assert quote is not None
    assert min(quote.bids[0][1], quote.asks[0][1]) >= 10_000


def test_a_later_price_replaces_the_hold(eurusd: Instrument) -> None:
    holds.set_price(eurusd, Decimal("1.25000"), Decimal("1.25010"), hold_seconds=60)
    holds.set_price(eurusd, Decimal("1.26000"), Decimal("1.26010"), hold_seconds=60)
    simulation, start_ms = Simulation(), now_ms()
    bids = [tick.bid for tick in play(3, simulation, start_ms=start_ms)["EURUSD"]]
    assert bids[0] == Decimal("1.25000")
    assert set(bids[1:]) == {Decimal("1.26000")}
    holds.set_price(eurusd, Decimal("1.27000"), Decimal("1.27010"), hold_seconds=0)
    entry = ticklog.last_id()
    play(3, simulation, start_ms=start_ms + 3000)
    assert len(prices([each.tick for each in ticklog.read(entry)])) > 1


def test_a_hold_ends_by_itself(eurusd: Instrument) -> None:
    holds.set_price(eurusd, Decimal("1.25000"), Decimal("1.25010"), hold_seconds=0.05)
    eventually(lambda: holds.state(["EURUSD"])[0][1] is None, "the hold ends")


@contextmanager
def tireless_simulation() -> Iterator[None]:
    """The simulator writes without a pause, in a thread."""
    simulation, stop = Simulation(), threading.Event()
    simulation.step(now_ms())
    simulation._refresh_at_ms = 2**60  # the thread has no share in the test's transaction

    def simulate() -> None:
        for second in count(1):
            if stop.is_set():
                return
            simulation.step(now_ms() + second * 1000)

    thread = threading.Thread(target=simulate)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def await_another_tick() -> None:
    entry = ticklog.last_id()
    eventually(lambda: ticklog.last_id() != entry, "the simulator goes on")


def test_no_tick_in_flight_follows_a_price_that_is_held(eurusd: Instrument) -> None:
    wanted = [Decimal("1.20000") + number * Decimal("0.00100") for number in range(100)]
    with tireless_simulation():
        for price in wanted:
            holds.set_price(eurusd, price, price, hold_seconds=60)
            await_another_tick()
            assert (quote := quotes.get("EURUSD")) is not None
            assert (quote.bid, quote.ask) == (price, price)
    seen = [price for price, _ in groupby(tick.bid for tick in logged()["EURUSD"])]
    assert seen[seen.index(wanted[0]) :] == wanted


def test_the_simulator_goes_on_from_a_price_that_is_not_held(eurusd: Instrument) -> None:
    wanted = [Decimal("1.20000") + number * Decimal("0.10000") for number in range(50)]
    with tireless_simulation():
        for price in wanted:
            holds.set_price(eurusd, price, price, hold_seconds=0)
            await_another_tick()
    ticks = logged()["EURUSD"]
    assert all(before.time_ms <= after.time_ms for before, after in pairwise(ticks))
    seen = [price for price, _ in groupby(round(tick.bid, 1) for tick in ticks)]
    assert seen[seen.index(wanted[0]) :] == wanted


def test_a_tick_whose_predecessor_is_not_the_latest_any_more_is_left_out(eurusd: Instrument) -> None:
    first = factories.quote("EURUSD", "1.10000", "1.10010", at_ms=MONDAY_MS)
    second = factories.quote("EURUSD", "1.20000", "1.20010", at_ms=MONDAY_MS)
    tick = Tick("EURUSD", MONDAY_MS + 1, Decimal("1.10001"), Decimal("1.10011"))
    assert ticklog.append([tick], following={"EURUSD": first}) == []
    assert ticklog.append([tick], following={"EURUSD": ticklog.NONE}) == []
    assert ticklog.last_id() == second
    assert ticklog.append([tick], following={"EURUSD": second}) == [ticklog.last_id()]


# --- the lease --------------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder() -> None:
    first, second = Lease("test", 60), Lease("test", 60)
    assert (first.take(), second.take(), first.take()) == (True, False, True)
    assert (first.is_held, second.is_held) == (True, False)
    second.give_back()  # it has none to give
    assert not second.take()
    first.give_back()
    assert second.take()
    assert not first.is_held


def test_a_lease_that_is_not_renewed_ends() -> None:
    dead, heir = Lease("test", 0.05), Lease("test", 60)
    dead.take()
    eventually(heir.take, "the lease of the dead ends")
    assert not dead.is_held


# --- the process ------------------------------------------------------------------------------------------------------


@contextmanager
def feed_in_a_thread() -> Iterator[threading.Event]:
    stop = threading.Event()

    def run() -> None:
        try:
            Feed().run(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_two_feeds_do_not_double_the_prices_and_one_takes_over_from_the_other(eurusd: Instrument) -> None:
    with feed_in_a_thread() as stop:
        eventually(ticklog.quote_times, "the first feed writes")
        with feed_in_a_thread():
            eventually(lambda: len(logged()["EURUSD"]) >= 8, "prices come")
            assert min(b.time_ms - a.time_ms for a, b in pairwise(logged()["EURUSD"])) >= TICK_MS[0]
            stop.set()
            eventually(lambda: len(logged()["EURUSD"]) >= 16, "the second feed takes over")
    assert min(b.time_ms - a.time_ms for a, b in pairwise(logged()["EURUSD"])) >= 0


@pytest.mark.django_db(transaction=True)
def test_minutes_in_which_no_feed_ran_are_made_up(eurusd: Instrument) -> None:
    price, ten_minutes_ago = Decimal("1.20000"), int(time.time()) // 60 * 60 - 600
    bars.write(eurusd, [Bar(ten_minutes_ago, price, price, price, price, Decimal(1))])
    factories.quote("EURUSD", price, price, at_ms=ten_minutes_ago * 1000)
    with feed_in_a_thread():
        eventually(lambda: len(logged()["EURUSD"]) > 2, "prices come")
        eventually(OpenBar.objects.exists, "bars are built")
    columns = bars.history(eurusd, "1", 0, int(time.time()))
    assert columns.t == list(range(ten_minutes_ago, columns.t[-1] + 1, 60))
    assert columns.t[-1] >= ten_minutes_ago + 600
    assert columns.o[1] == 1.2
    assert abs(columns.o[-1] - columns.c[-2]) < 0.001


@pytest.mark.django_db(transaction=True)
def test_a_feed_that_begins_at_the_very_end_of_a_minute_leaves_no_hole(
    eurusd: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    price, stored_at = Decimal("1.20000"), MONDAY_MS // 1000
    bars.write(eurusd, [Bar(stored_at, price, price, price, price, Decimal(1))])
    clock = chain([MONDAY_MS + 179_998, MONDAY_MS + 179_999], count(MONDAY_MS + 180_001, TICK_MS[1]))
    monkeypatch.setattr("marketdata.feed._now_ms", lambda: next(clock))
    feed, simulation = Feed(), Simulation()
    feed._lead()
    for _round in range(3):
        feed._simulate(simulation)
    feed._retire()
    made_up = bars.history(eurusd, "1", 0, stored_at + 600).t
    minutes = {tick.time_ms // 60_000 * 60 for tick in logged()["EURUSD"]}
    assert made_up == [stored_at, stored_at + 60]
    assert {stored_at + 120, stored_at + 180} <= minutes


@pytest.mark.django_db(transaction=True)
def test_in_production_bars_are_built_but_no_prices_made(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    with running("manage.py", "run_feed", ENVIRONMENT="production"):
        eventually(OpenBar.objects.exists, "bars are built")
        eventually(lambda: empty_redis.get("alive:feed"), "the feed says that it is alive")
    assert len(logged()["EURUSD"]) == 1


@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_a_feed_that_is_killed_goes_on_where_it_was(
    eurusd: Instrument, btcusdt: Instrument, empty_redis: redis.Redis
) -> None:
    with running("manage.py", "run_feed") as feed:
        eventually(lambda: OpenBar.objects.count() == 2, "bars are built")
        eventually(lambda: empty_redis.get("alive:feed"), "the feed says that it is alive")
        feed.kill()
    before = logged()["EURUSD"][-1]
    with running("manage.py", "run_feed") as feed:
        eventually(lambda: len(logged()["EURUSD"]) and logged()["EURUSD"][-1] != before, "the feed goes on")
        after = next(tick for tick in logged()["EURUSD"] if tick.time_ms > before.time_ms)
        assert abs(after.bid - before.bid) < Decimal("0.001")
        feed.send_signal(signal.SIGTERM)
        assert feed.wait(timeout=30) == 0
    assert empty_redis.get("lease:feed") is None


def break_connections(server: redis.Redis) -> None:
    """Of all clients of our own database: tests that run beside this one have others."""
    ours = str(server.connection_pool.connection_kwargs["db"])
    mine = server.client_id()
    for client in server.client_list(_type="normal"):
        if client["db"] == ours and int(client["id"]) != mine:
            server.client_kill_filter(_id=client["id"])


@pytest.mark.django_db(transaction=True)
def test_a_feed_survives_that_its_connections_break(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    with feed_in_a_thread():
        eventually(OpenBar.objects.exists, "bars are built")
        break_connections(empty_redis)
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        volume = OpenBar.objects.get().v
        eventually(lambda: OpenBar.objects.get().v != volume, "bars are built again")
        beat = empty_redis.get("alive:feed")
        eventually(lambda: empty_redis.get("alive:feed") not in (None, beat), "the feed says that it is alive")
    assert time.time() * 1000 - logged()["EURUSD"][-1].time_ms < 30_000
