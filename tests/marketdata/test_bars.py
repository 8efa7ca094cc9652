"""Closed bars are written once (BAR-10, DQ-3), and history serves them (HIST-3 … HIST-11)."""

import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import time_machine
from django.db import Error, IntegrityError, connection, connections, transaction
from pytest_django import DjangoAssertNumQueries

from marketdata import bars
from marketdata.bars import Bar, UnknownResolution, WriteReport
from marketdata.choices import Resolution
from marketdata.models import BarChunk, Instrument, OpenBar
from tests import factories
from tests.marketdata.ticks import START, minutes

pytestmark = pytest.mark.django_db
DAY = 86_400
MIDNIGHT = START - START % DAY


@pytest.fixture
def eurusd() -> Instrument:
    return factories.instrument("EURUSD")


def bar(minute: int, price: str = "1.1", volume: str = "1") -> Bar:
    """A bar of one price, so many minutes after START."""
    p = Decimal(price)
    return Bar(START + minute * 60, p, p, p, p, Decimal(volume))


# --- writing ----------------------------------------------------------------------------------------------------------


def test_bars_are_added_once_and_never_changed(eurusd: Instrument) -> None:
    assert bars.write(eurusd, [bar(0), bar(2)]) == WriteReport(added=2)
    assert bars.write(eurusd, [bar(0), bar(1), bar(2, "1.2")]) == WriteReport(added=1, unchanged=1, conflicts=1)
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1), (1, 1.1, 1.1, 1.1, 1.1, 1), (2, 1.1, 1.1, 1.1, 1.1, 1)]


def test_bars_may_come_in_any_order_and_over_several_days(eurusd: Instrument) -> None:
    given = [bar(3000), bar(0), bar(1500), bar(-2000), bar(1)]
    assert bars.write(eurusd, given) == WriteReport(added=5)
    assert [row[0] for row in minutes(eurusd, MIDNIGHT - 5 * DAY, MIDNIGHT + 5 * DAY)] == [-2000, 0, 1, 1500, 3000]
    assert BarChunk.objects.count() == 4


def test_of_two_bars_with_one_time_the_first_counts(eurusd: Instrument) -> None:
    assert bars.write(eurusd, [bar(0, "1.1"), bar(0, "1.2"), bar(0, "1.1")]) == WriteReport(1, 1, 1)
    assert minutes(eurusd) == [(0, 1.1, 1.1, 1.1, 1.1, 1)]


def test_volume_is_not_compared_where_there_is_none() -> None:
    instrument = factories.instrument("US500", has_no_volume=True)
    bars.write(instrument, [bar(0, "4000", "7")])
    assert bars.write(instrument, [bar(0, "4000", "1"), bar(0, "4001", "7")]) == WriteReport(unchanged=1, conflicts=1)


def test_finer_prices_keep_the_ones_there_exact(eurusd: Instrument) -> None:
    bars.write(eurusd, [bar(0, "1.10001")])
    bars.write(eurusd, [bar(1, "1.100015")])
    bars.write(eurusd, [bar(2, "1.2")])
    assert [row[1] for row in minutes(eurusd)] == [1.10001, 1.100015, 1.2]
    assert BarChunk.objects.get().o == [1_100_010, 1_100_015, 1_200_000]


def test_a_time_inside_a_minute_is_refused_and_nothing_written(eurusd: Instrument) -> None:
    with pytest.raises(ValueError, match="A bar of resolution 1 cannot begin at"):
        bars.write(eurusd, [bar(0), bar(1)._replace(time=START + 61)])
    assert not BarChunk.objects.exists()


def test_nothing_to_write_is_nothing_written(eurusd: Instrument) -> None:
    assert bars.write(eurusd, []) == WriteReport()
    assert not BarChunk.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_one_new_day_lose_no_bar() -> None:
    instrument = factories.instrument("EURUSD")
    barrier = threading.Barrier(2)

    def write(first: int) -> None:
        barrier.wait()
        for number in range(first, 60, 2):
            bars.write(instrument, [bar(number)])
        connections.close_all()

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[0] for row in minutes(instrument)] == list(range(60))


# --- the database's own guard -----------------------------------------------------------------------------------------


@pytest.fixture
def chunk(eurusd: Instrument) -> BarChunk:
    bars.write(eurusd, [bar(0), bar(1), bar(5)])
    return BarChunk.objects.get()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("c[2] = c[2] + 1", "a closed bar never changes"),
        ("v[1] = 0", "a closed bar never changes"),
        ("t = t[2:], o = o[2:], h = h[2:], l = l[2:], c = c[2:], v = v[2:]", "a closed bar never changes"),
        ("t = t[:2], o = o[:2], h = h[:2], l = l[:2], c = c[:2], v = v[:2]", "a closed bar never changes"),
        ("t = '{}', o = '{}', h = '{}', l = '{}', c = '{}', v = '{}'", "a closed bar never changes"),
        ("price_scale = price_scale + 1", "a closed bar never changes"),
        ("price_scale = price_scale - 1", "bars do not move"),
        ("start = start + 1", "bars do not move"),
        ("resolution = '1D'", "bars do not move"),
        (
            "t = t || 752::smallint, o = o || 1::bigint, h = h || 1::bigint, l = l || 1::bigint, c = c || 1::bigint,"
            " v = v || 1::bigint",
            "the times of bars rise",
        ),
        (
            "t = t || 1440::smallint, o = o || 1::bigint, h = h || 1::bigint, l = l || 1::bigint, c = c || 1::bigint,"
            " v = v || 1::bigint",
            "the times of bars rise and stay within their period",
        ),
        ("o = o || 1::bigint", "bar_columns_in_step"),
    ],
)
def test_the_database_refuses_to_change_closed_bars(chunk: BarChunk, change: str, sentence: str) -> None:
    before = BarChunk.objects.values().get()
    with pytest.raises(IntegrityError, match=sentence), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE marketdata_barchunk SET {change}")
    assert BarChunk.objects.values().get() == before


def test_the_database_takes_bars_between_others_and_a_finer_scale(chunk: BarChunk) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_barchunk SET price_scale = 6, t = '{751, 752, 753, 754, 757}',"
            " o = '{1, 1100000, 1100000, 2, 1100000}', h = '{1, 1100000, 1100000, 2, 1100000}',"
            " l = '{1, 1100000, 1100000, 2, 1100000}', c = '{1, 1100000, 1100000, 2, 1100000}',"
            " v = '{1, 100000000, 100000000, 2, 100000000}'"
        )
    chunk.refresh_from_db()
    assert chunk.t == [751, 752, 753, 754, 757]


def test_bars_are_deleted_by_retention_only(chunk: BarChunk) -> None:
    delete = "DELETE FROM marketdata_barchunk"
    with connection.cursor() as cursor:
        with pytest.raises(IntegrityError, match="bars are kept"), transaction.atomic():
            cursor.execute(delete)
        cursor.execute("SET LOCAL backoffice.allow_retention = 'on'")
        cursor.execute(delete)
        cursor.execute("SET LOCAL backoffice.allow_retention = 'off'")
    assert not BarChunk.objects.exists()


def test_bars_are_not_truncated(chunk: BarChunk) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE waits for none
        cursor.execute("SET LOCAL backoffice.allow_truncate = 'off'")
        with pytest.raises(Error, match="Cannot truncate"), transaction.atomic():
            cursor.execute("TRUNCATE marketdata_barchunk")
        cursor.execute("SET LOCAL backoffice.allow_truncate = 'on'")
    assert BarChunk.objects.get() == chunk


# --- history ----------------------------------------------------------------------------------------------------------


def times(instrument: Instrument, from_: int, to: int, countback: int | None = None) -> list[int]:
    return bars.history(instrument, "1", from_, to, countback).t


def test_both_ends_are_included_and_need_not_lie_on_a_minute(eurusd: Instrument) -> None:
    """HIST-4, its own example; and the same with a trade at …520."""
    written = [1767623400, 1767623460, 1767623580, 1767623640, 1767623700]
    bars.write(eurusd, [bar(0)._replace(time=time) for time in written])
    assert times(eurusd, 1767623425, 1767623668) == [1767623460, 1767623580, 1767623640]
    bars.write(eurusd, [bar(0)._replace(time=1767623520)])
    assert times(eurusd, 1767623425, 1767623668) == [1767623460, 1767623520, 1767623580, 1767623640]
    assert times(eurusd, 1767623460, 1767623700) == [1767623460, 1767623520, 1767623580, 1767623640, 1767623700]


def test_from_equal_to_a_bars_time_gives_exactly_that_bar(eurusd: Instrument) -> None:
    """HIST-5."""
    bars.write(eurusd, [bar(0), bar(1), bar(2)])
    assert times(eurusd, START + 60, START + 60) == [START + 60]
    assert times(eurusd, START + 61, START + 61) == []


@pytest.mark.parametrize(
    ("from_", "to"),
    [(START + 600, START + 900), (START + 60, START), (-(10**15), -(10**14)), (10**14, 10**15), (0, 0)],
)
def test_nothing_in_the_interval_is_six_empty_columns(eurusd: Instrument, from_: int, to: int) -> None:
    """HIST-9."""
    bars.write(eurusd, [bar(0)])
    assert bars.history(eurusd, "1", from_, to) == ([], [], [], [], [], [])


def test_any_interval_however_wide_is_answered(eurusd: Instrument) -> None:
    bars.write(eurusd, [bar(0)])
    assert times(eurusd, -(10**18), 10**18) == [START]


def test_no_bar_is_later_than_now(eurusd: Instrument) -> None:
    """HIST-6."""
    bars.write(eurusd, [bar(0), bar(1), bar(2)])
    with time_machine.travel(datetime.fromtimestamp(START + 119, UTC), tick=False):
        assert times(eurusd, START, START + DAY) == [START, START + 60]


def test_bars_without_volume_are_left_out(eurusd: Instrument) -> None:
    """HIST-7."""
    bars.write(eurusd, [bar(0), bar(1, volume="0"), bar(2)])
    assert times(eurusd, START, START + 180) == [START, START + 120]


def test_many_short_requests_equal_a_long_one(eurusd: Instrument) -> None:
    """HIST-10, over midnight."""
    written = [bar(number, f"1.{number % 977:05}", f"{number}.5") for number in range(2000) if number % 7]
    bars.write(eurusd, written)
    long = bars.history(eurusd, "1", START, START + 2000 * 60 - 1)
    pieces = [bars.history(eurusd, "1", start, start + 1199) for start in range(START, START + 2000 * 60, 1200)]
    assert tuple(long) == tuple([value for piece in pieces for value in piece[column]] for column in range(6))
    assert long.t == [one.time for one in written]
    assert long.v == [float(one.v) for one in written]


def test_countback_gives_the_last_bars_whatever_from_says(eurusd: Instrument) -> None:
    """HIST-11, over several days with holes between them."""
    written = [START + day * 3 * DAY + minute * 60 for day in range(5) for minute in range(10)]
    bars.write(eurusd, [bar(0)._replace(time=time) for time in written])
    to = written[-1] + 5
    assert times(eurusd, to, to, countback=3) == written[-3:]
    assert times(eurusd, to, to, countback=37) == written[-37:]
    assert times(eurusd, 0, to, countback=1000) == written
    assert times(eurusd, 0, written[12], countback=5) == written[8:13]
    assert times(eurusd, 0, START - 1, countback=5) == []
    assert times(eurusd, 0, to, countback=0) == []


def test_minutes_in_progress_are_served_between_closed_ones(eurusd: Instrument) -> None:
    bars.write(eurusd, [bar(0), bar(2), bar(4)])
    one = Decimal(1)
    for lane, minute, price in (("", 3, "1.3"), ("a", 1, "1.2"), ("b", 4, "9"), ("c", 3, "9"), ("d", 5, "1.5")):
        at = datetime.fromtimestamp(START + minute * 60, UTC)
        p = Decimal(price)
        OpenBar.objects.create(instrument=eurusd, lane=lane, minute=at, o=p, h=p, l=p, c=p, v=one)
    assert [row[:2] for row in minutes(eurusd)] == [(0, 1.1), (1, 1.2), (2, 1.1), (3, 1.3), (4, 1.1), (5, 1.5)]
    assert times(eurusd, START + 181, START + 299) == [START + 240]
    assert times(eurusd, 0, START + 200, countback=2) == [START + 120, START + 180]


def test_bars_of_others_are_not_served(eurusd: Instrument) -> None:
    bars.write(factories.instrument("GBPUSD"), [bar(0)])
    assert times(eurusd, 0, START + DAY) == []


def test_a_day_of_minutes_takes_two_queries(
    eurusd: Instrument, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    bars.write(eurusd, [bar(number) for number in range(-700, 700)])
    with django_assert_num_queries(2):
        bars.history(eurusd, "1", MIDNIGHT, MIDNIGHT + DAY - 1)


def test_daily_bars_have_midnight_of_their_trading_day(eurusd: Instrument) -> None:
    """BAR-5; days of several years, leap days too."""
    days = [date(2024, 2, 29), date(2024, 12, 31), date(2025, 1, 1), date(2025, 12, 31)]
    stamps = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in days]
    assert bars.write(eurusd, [bar(0)._replace(time=stamp) for stamp in stamps], Resolution.DAY) == WriteReport(added=4)
    for resolution in ("D", "1D"):
        assert bars.history(eurusd, resolution, stamps[0], stamps[-1]).t == stamps
    assert bars.history(eurusd, "1D", 0, stamps[-1] - 1, countback=2).t == stamps[1:3]
    assert bars.history(eurusd, "1", stamps[0], stamps[-1]).t == []


@pytest.mark.parametrize("resolution", ["5", "60", "1W", "", "１"])
def test_other_resolutions_are_refused_with_a_sentence(eurusd: Instrument, resolution: str) -> None:
    """BAR-3."""
    with pytest.raises(UnknownResolution) as refusal:
        bars.history(eurusd, resolution, 0, START)
    assert str(refusal.value) == f"There are bars of minutes (1) and of days (1D), not of {resolution}."
