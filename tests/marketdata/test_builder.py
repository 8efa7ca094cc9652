"""Ticks become bars: BAR-4 … BAR-10, SES-8, DQ-1, DQ-3."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from urllib.parse import quote as quote_url

import psycopg
import pytest
import redis
from django.db import OperationalError, connection, connections

from marketdata import bars, builder, ticklog
from marketdata.builder import BarBuilder
from marketdata.chunks import Bar
from marketdata.folding import Ignored
from marketdata.models import BarChunk, Instrument, LogPosition, OpenBar
from tests import factories
from tests.marketdata.ticks import START, build, minutes, quote, trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def eurusd() -> Instrument:
    return factories.instrument("EURUSD")


@pytest.fixture
def btcusdt() -> Instrument:
    return factories.instrument("BTCUSDT")


def test_two_trades_make_the_bar_of_the_manual(btcusdt: Instrument) -> None:
    """BAR-7."""
    build(trade(0, "33405.5", "0.092"), trade(59, "33417.5", "0.057"))
    assert bars.history(btcusdt, "1", 1624797120, 1624797179) == (
        [1624797120], [33405.5], [33417.5], [33405.5], [33417.5], [0.149],
    )  # fmt: skip


def test_a_minute_is_closed_by_the_first_tick_of_a_later_one(eurusd: Instrument) -> None:
    build(quote(0, "1.1"), quote(30, "1.3"), quote(59.999, "1.2"))
    assert not BarChunk.objects.exists()
    build(quote(125, "1.5"))
    assert minutes(eurusd) == [(0, 1.1, 1.3, 1.1, 1.2, 3), (2, 1.5, 1.5, 1.5, 1.5, 1)]
    assert BarChunk.objects.get().t == [12 * 60 + 32]


@pytest.mark.parametrize(("source", "price"), [("bid", 1.1), ("ask", 1.2), ("mid", 1.15)])
def test_quotes_make_bars_of_the_side_the_instrument_says(source: str, price: float) -> None:
    """BAR-8."""
    instrument = factories.instrument("EURUSD", bar_source=source)
    build(quote(0, "1.1", "1.2"))
    assert minutes(instrument) == [(0, price, price, price, price, 1)]


def test_a_quote_makes_no_bar_where_bars_are_made_of_trades(btcusdt: Instrument) -> None:
    done = build(quote(0, "33405.5", symbol="BTCUSDT"))
    assert minutes(btcusdt) == []
    assert done.ignored == {Ignored.NO_PRICE: 1}


def test_a_minute_with_only_corrections_has_no_volume_and_no_bar(btcusdt: Instrument) -> None:
    """HIST-7."""
    build(trade(0, "33405.5", "0"))
    assert minutes(btcusdt) == []


def test_a_late_tick_changes_nothing(eurusd: Instrument) -> None:
    done = build(quote(59, "1.1"), quote(60, "1.2"), quote(58, "9"))
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1), (1, 1.2, 1.2, 1.2, 1.2, 1)]
    assert done.ignored == {Ignored.LATE: 1}


def test_a_tick_ahead_of_the_clock_does_not_make_all_others_late(eurusd: Instrument) -> None:
    done = build(quote(time.time() - START + 3600, "9"), quote(0, "1.1"))
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1)]
    assert done.ignored == {Ignored.FUTURE: 1}


@pytest.mark.parametrize("price", ["0", "-1", "1.0000000001", "99999999999"])
def test_a_price_that_cannot_be_one_makes_no_bar(eurusd: Instrument, price: str) -> None:
    done = build(quote(0, price), quote(1, "1.1"))
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1)]
    assert done.ignored == {Ignored.NO_PRICE: 1}


def test_a_price_finer_than_the_grid_is_kept_as_it_was(eurusd: Instrument) -> None:
    build(quote(0, "1.10001"), quote(60, "1.100015"), quote(120, "1.10001"))
    assert minutes(eurusd) == [
        (0, 1.10001, 1.10001, 1.10001, 1.10001, 1),
        (1, 1.100015, 1.100015, 1.100015, 1.100015, 1),
        (2, 1.10001, 1.10001, 1.10001, 1.10001, 1),
    ]


def test_unknown_symbols_are_left_out(eurusd: Instrument) -> None:
    done = build(quote(0, "7", symbol="NOBODY"), quote(0, "1.1"))
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1)]
    assert done.ignored == {Ignored.UNKNOWN_SYMBOL: 1}


def test_bars_are_built_in_the_regular_session_only() -> None:
    """SES-8: Sunday 12:32 UTC is outside, Monday 14:00 New York time inside."""
    instrument = factories.instrument("AAPL", bar_source="bid")
    monday = 86_400 + 5 * 3600 + 28 * 60
    done = build(quote(0, "100", symbol="AAPL"), quote(monday, "101", symbol="AAPL"))
    assert minutes(instrument, end=START + 7 * 86_400) == [(monday / 60, 101, 101, 101, 101, 1)]
    assert done.ignored == {Ignored.OUTSIDE_SESSION: 1}


def test_the_log_is_read_batch_by_batch_and_never_twice(eurusd: Instrument) -> None:
    ticklog.append([quote(0, "1.1") for _ in range(builder.BATCH + 1)])
    reader = BarBuilder()
    assert [reader.run_once() for _ in range(3)] == [builder.BATCH, 1, 0]
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, builder.BATCH + 1)]
    assert BarBuilder().run_once() == 0
    assert builder.has_passed(ticklog.last_id())


def test_a_new_builder_goes_on_in_the_middle_of_a_minute(eurusd: Instrument) -> None:
    build(quote(0, "1.1"), quote(10, "1.4"))
    build(quote(20, "1.0"), quote(30, "1.2"))
    assert minutes(eurusd) == [(0, 1.1, 1.4, 1.0, 1.2, 4)]


def test_a_closed_minute_is_not_reopened_by_another_lane(eurusd: Instrument) -> None:
    """BAR-10: the bar stays, and the second one is not served beside it."""
    price = Decimal("1.5")
    bars.write(eurusd, [Bar(START, price, price, price, price, Decimal(7))])
    build(quote(1, "1.1", lane="replay", seq=1), quote(61, "1.2", lane="replay", seq=2))
    assert minutes(eurusd) == [(0, 1.5, 1.5, 1.5, 1.5, 7), (1, 1.2, 1.2, 1.2, 1.2, 1)]


def test_lanes_do_not_close_each_others_minutes(eurusd: Instrument) -> None:
    build(quote(3600, "1.3"), quote(0, "1.1", lane="replay", seq=1), quote(3601, "1.4"))
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1), (60, 1.3, 1.4, 1.3, 1.4, 2)]


def test_numbered_ticks_that_come_again_change_nothing(eurusd: Instrument) -> None:
    replay = [quote(n * 20, f"1.{n}", lane="replay", seq=n) for n in range(1, 9)]
    build(*replay[:5])
    before = minutes(eurusd)
    done = build(*replay[:5])
    assert minutes(eurusd) == before
    assert done.ignored == {Ignored.LATE: 2, Ignored.REPEATED: 3}
    build(*replay)
    once = minutes(eurusd)
    assert once == [
        (0, 1.1, 1.2, 1.1, 1.2, 2),
        (1, 1.3, 1.5, 1.3, 1.5, 3),
        (2, 1.6, 1.8, 1.6, 1.8, 3),
    ]


def test_a_log_that_begins_anew_is_read_from_its_start(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    """Redis lost its data, and its clock is behind the stored position."""
    LogPosition.objects.create(reader=builder.READER, entry_id="9999999999999-5")
    ticklog.append([quote(0, "1.1")])
    reader = BarBuilder()
    assert [reader.run_once(), reader.run_once()] == [0, 1]
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1)]


def test_an_emptied_log_loses_nothing_that_was_built(eurusd: Instrument, empty_redis: redis.Redis) -> None:
    reader = build(quote(0, "1.1"))
    empty_redis.flushdb()
    assert reader.run_once() == 0
    build(quote(1, "1.2"), builder=reader)
    assert minutes(eurusd) == [(0, 1.1, 1.2, 1.1, 1.2, 2)]


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_fails_leaves_nothing_behind_and_is_read_again() -> None:
    instrument = factories.instrument("EURUSD")
    reader = build(quote(0, "1.1"), quote(60, "1.2"))
    ticklog.append([quote(61, "1.3"), quote(120, "1.4")])
    with connection.cursor() as cursor, _chunks_locked_by_another():
        cursor.execute("SET lock_timeout = '10ms'")
        with pytest.raises(OperationalError):
            reader.run_once()
        cursor.execute("RESET lock_timeout")
    assert minutes(instrument) == [(0, 1.1, 1.1, 1.1, 1.1, 1), (1, 1.2, 1.2, 1.2, 1.2, 1)]
    assert reader.run_once() == 2
    assert minutes(instrument)[1:] == [(1, 1.2, 1.3, 1.2, 1.3, 2), (2, 1.4, 1.4, 1.4, 1.4, 1)]


@pytest.mark.django_db(transaction=True)
def test_two_builders_at_once_count_every_tick_once() -> None:
    instrument = factories.instrument("EURUSD")
    total = 6 * builder.BATCH
    for first in range(0, total, 2000):
        ticklog.append([quote((first + n) * 0.01, "1.1") for n in range(2000)])
    stored: list[int] = []

    def work() -> None:
        reader = BarBuilder()
        while not builder.has_passed(ticklog.last_id()):
            stored.append(reader.run_once())
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(stored) == total
    assert sum(row[5] for row in minutes(instrument)) == total


@pytest.mark.django_db(transaction=True)
def test_a_builder_killed_between_reading_and_storing_loses_and_repeats_nothing() -> None:
    """It is killed while it holds a batch and waits for a row that somebody else has locked."""
    instrument = factories.instrument("EURUSD")
    build(quote(0, "1.1"), quote(60, "1.2"))
    ticklog.append([quote(61, "1.3"), quote(120, "1.4"), quote(121, "1.5")])
    with _chunks_locked_by_another():
        child = _builder_process()
        try:
            _await_a_waiting_backend()
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    _await_no_other_backend()
    assert minutes(instrument) == [(0, 1.1, 1.1, 1.1, 1.1, 1), (1, 1.2, 1.2, 1.2, 1.2, 1)]
    build()
    assert minutes(instrument) == [
        (0, 1.1, 1.1, 1.1, 1.1, 1),
        (1, 1.2, 1.3, 1.2, 1.3, 2),
        (2, 1.4, 1.5, 1.4, 1.5, 2),
    ]
    assert OpenBar.objects.count() == 1


def _database_url() -> str:
    of = connection.settings_dict
    return f"postgres://{of['USER']}:{quote_url(of['PASSWORD'])}@{of['HOST']}:{of['PORT']}/{of['NAME']}"


@contextmanager
def _chunks_locked_by_another() -> Iterator[None]:
    """Another connection holds the rows of closed bars until the end of the block."""
    with psycopg.connect(_database_url()) as other:
        other.execute("SELECT FROM marketdata_barchunk FOR UPDATE")
        yield
        other.rollback()


def _builder_process() -> "subprocess.Popen[bytes]":
    """A builder of its own on the tests' database and log."""
    program = "import django; django.setup(); from marketdata.builder import BarBuilder; BarBuilder().run_once()"
    environment = os.environ | {"DATABASE_URL": _database_url(), "DJANGO_SETTINGS_MODULE": "backoffice.settings"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment)


def _await_a_waiting_backend() -> None:
    _await("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def _await_no_other_backend() -> None:
    _await("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


def _await(condition: str) -> None:
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(condition)
            if cursor.fetchone() == (True,):
                return
            time.sleep(0.02)
    pytest.fail(f"never became true: {condition}")
