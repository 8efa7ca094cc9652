"""Daily bars of trading days (BAR-5), corrections of closed bars (BAR-10), and how long bars are kept."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from time_machine import TimeMachineFixture

from marketdata import bars, corrections, days
from marketdata.bars import Bar
from marketdata.choices import Resolution
from marketdata.chunks import unix, unix_of_day
from marketdata.corrections import CorrectionRefused
from marketdata.models import BarChunk, BarCorrection, Instrument, Notice, OpenBar
from tests import factories

pytestmark = pytest.mark.django_db

DAY = date(2024, 11, 25)  # a Monday; New York is at UTC-5
OPEN = unix(datetime(2024, 11, 25, 14, 30, tzinfo=UTC))
CLOSE = unix(datetime(2024, 11, 25, 21, 0, tzinfo=UTC))
AFTER = datetime(2024, 11, 25, 21, 0, 30, tzinfo=UTC)


@pytest.fixture
def aapl() -> Instrument:
    """Its day opens at 10, reaches 12 and 9, and has its last minute still open at 11."""
    made = factories.instrument("AAPL", has_daily=True)
    bars.write(made, [bar(OPEN, "10", "12", "10", "11"), bar(OPEN + 600, "11", "11", "9", "9.5")])
    last = datetime(2024, 11, 25, 20, 59, tzinfo=UTC)
    price = Decimal(11)
    OpenBar.objects.create(instrument=made, minute=last, o=price, h=price, l=price, c=price, v=Decimal("2.5"))
    return made


def bar(time: int, o: str, h: str, low: str, c: str, v: str = "5") -> Bar:
    return Bar(time, Decimal(o), Decimal(h), Decimal(low), Decimal(c), Decimal(v))


def daily(instrument: Instrument) -> list[tuple[float, ...]]:
    return list(zip(*bars.history(instrument, "1D", 0, unix_of_day(DAY) + 10 * 86_400), strict=True))


DAILY = (unix_of_day(DAY), 10.0, 12.0, 9.0, 11.0, 12.5)


def test_a_day_is_closed_from_its_minutes_after_its_session(aapl: Instrument) -> None:
    assert days.close_ended(AFTER - timedelta(seconds=1)) == 0
    assert days.close_ended(AFTER) == 1
    assert days.close_ended(AFTER) == 0
    stored = BarChunk.objects.get(instrument=aapl, resolution=Resolution.DAY)
    assert (stored.start, stored.t) == (date(2024, 1, 1), [329])
    assert bars.read(aapl, 0, CLOSE * 2, Resolution.DAY) == [
        Bar(unix_of_day(DAY), Decimal(10), Decimal(12), Decimal(9), Decimal(11), Decimal("12.5"))
    ]
    closed = BarChunk.objects.get(instrument=aapl, resolution=Resolution.MINUTE)
    assert closed.t[-1] == 20 * 60 + 59  # the last minute is closed with its day


def test_a_day_waits_for_the_bars_of_the_ticks_before_its_close(aapl: Instrument) -> None:
    factories.quote("AAPL", "10", "11")
    assert days.close_ended(AFTER) == 0


def test_a_day_in_progress_is_in_the_history_and_has_the_same_values_once_closed(
    aapl: Instrument, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to(AFTER, tick=False)
    assert daily(aapl) == [DAILY]
    days.close_ended(AFTER)
    assert daily(aapl) == [DAILY]
    assert bars.history(aapl, "1D", unix_of_day(DAY), unix_of_day(DAY), countback=1).c == [11.0]


def test_an_overnight_session_makes_the_bar_of_the_day_it_ends_in() -> None:
    """BAR-5: from Sunday 23:00 UTC to Monday 22:00 UTC is Monday's."""
    made = factories.instrument("ESZ2026", has_daily=True)
    bars.write(made, [bar(unix_of_day(DAY) - 3600, "10", "10", "10", "10"), bar(OPEN, "12", "12", "12", "12")])
    assert days.close_ended(datetime(2024, 11, 25, 22, 1, tzinfo=UTC)) == 1
    assert daily(made) == [(unix_of_day(DAY), 10.0, 12.0, 10.0, 12.0, 10.0)]


def test_a_day_without_minutes_and_a_symbol_without_daily_bars_have_none(aapl: Instrument) -> None:
    other = factories.instrument("MSFT", **{**factories.INSTRUMENTS["AAPL"], "has_daily": False})
    bars.write(other, [bar(OPEN, "10", "10", "10", "10")])
    assert days.close_ended(AFTER + timedelta(days=1)) == 1
    assert daily(other) == []


# --- corrections ------------------------------------------------------------------------------------------------------


def correct(instrument: Instrument, to: Bar, reason: str = "Bad tick", resolution: str = "1") -> BarCorrection:
    by = factories.user("dealer", is_staff=True)
    return corrections.correct(instrument, Resolution(resolution), to, reason=reason, by=by)


def test_a_correction_replaces_the_bar_and_keeps_the_old_one_with_who_and_why(aapl: Instrument) -> None:
    made = correct(aapl, bar(OPEN + 600, "11", "11.125", "10.5", "10.75", "4"))
    assert (made.version, made.old_l, made.old_c, made.l, made.by.username) == (
        2, Decimal(9), Decimal("9.5"), Decimal("10.5"), "dealer",
    )  # fmt: skip
    assert bars.history(aapl, "1", OPEN, OPEN + 600) == (
        [OPEN, OPEN + 600], [10.0, 11.0], [12.0, 11.125], [10.0, 10.5], [11.0, 10.75], [5.0, 4.0],
    )  # fmt: skip
    assert Notice.objects.get().text == (
        "The bar of AAPL, resolution 1, of 2024-11-25 14:40 UTC was corrected: Bad tick"
    )


def test_a_bar_can_be_corrected_again_and_taken_out(aapl: Instrument) -> None:
    by = factories.user("dealer", is_staff=True)
    for number, volume in enumerate(("4", "0"), start=2):
        made = corrections.correct(
            aapl, Resolution.MINUTE, bar(OPEN, "10", "12", "10", "11", volume), reason="Bust", by=by
        )
        assert made.version == number
    assert bars.history(aapl, "1", OPEN, OPEN).t == []


def test_a_daily_bar_can_be_corrected(aapl: Instrument) -> None:
    days.close_ended(AFTER)
    correct(aapl, bar(unix_of_day(DAY), "10", "12", "9", "11.5"), resolution="1D")
    assert daily(aapl)[0][4] == 11.5


@pytest.mark.parametrize(
    ("to", "reason", "sentence"),
    [
        (bar(OPEN, "10", "12", "10", "11"), "Bad tick", "The bar has these values already."),
        (bar(OPEN + 60, "10", "12", "10", "11"), "Bad tick", "There is no closed bar at that time."),
        (bar(OPEN - 86_400, "10", "12", "10", "11"), "Bad tick", "There is no closed bar at that time."),
        (bar(OPEN, "10", "12", "10.5", "11"), "Bad tick", "Open and close lie between low and high."),
        (bar(OPEN, "10", "12", "0", "11"), "Bad tick", "One of the prices cannot be a price of AAPL."),
        (bar(OPEN, "10", "12", "10", "11", "-1"), "Bad tick", "The volume is below 0"),
        (bar(OPEN, "10", "13", "10", "11"), " ", "Say why"),
    ],
)
def test_a_correction_that_cannot_be_right_changes_nothing(
    aapl: Instrument, to: Bar, reason: str, sentence: str
) -> None:
    with pytest.raises(CorrectionRefused, match=sentence):
        correct(aapl, to, reason)
    assert not BarCorrection.objects.exists()
    assert not Notice.objects.exists()
    assert bars.history(aapl, "1", OPEN, OPEN).h == [12.0]


@pytest.mark.django_db(transaction=True)
def test_the_database_lets_no_bar_change_without_its_correction(aapl: Instrument) -> None:
    correct(aapl, bar(OPEN, "10", "12.5", "10", "11"))
    with pytest.raises(IntegrityError, match="a closed bar never changes"):  # a correction of another transaction
        BarChunk.objects.filter(instrument=aapl).update(h=[1300, 1100])
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        BarCorrection.objects.update(reason="Other")
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        Notice.objects.update(text="Other")


# --- how long bars are kept -------------------------------------------------------------------------------------------


def test_old_bars_are_dropped_by_resolution_and_only_in_whole_chunks(aapl: Instrument) -> None:
    days.close_ended(AFTER)
    bars.write(aapl, [bar(OPEN + 86_400, "10", "10", "10", "10")])
    assert days.drop_old(Resolution.MINUTE, datetime(2024, 11, 25, 23, tzinfo=UTC)) == 0
    assert days.drop_old(Resolution.MINUTE, datetime(2024, 11, 26, tzinfo=UTC)) == 1
    assert bars.history(aapl, "1", 0, CLOSE * 2).t == [OPEN + 86_400]
    assert days.drop_old(Resolution.DAY, datetime(2024, 12, 31, tzinfo=UTC)) == 0
    with pytest.raises(IntegrityError, match="only retention removes them"), transaction.atomic():
        BarChunk.objects.all().delete()
