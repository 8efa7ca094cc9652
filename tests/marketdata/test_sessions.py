"""TradingView's sessions in local time: SES-1 … SES-10, holidays, summer time."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from marketdata.models import Holiday
from marketdata.sessions import TIMEZONES, Calendar, NeverOpens, Session, load_holidays, parse_hours, validate_timezone

NEW_YORK = "America/New_York"
CHATHAM = "Pacific/Chatham"
BY_DAY = "0900-1700:23456|1000-1400:17"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Winter in New York is UTC-5, summer UTC-4. 2026-11-23 is a Monday.
@pytest.mark.parametrize(
    ("session", "zone", "at", "is_open", "trading_day", "opens", "closes"),
    [
        # plain hours, without digits Monday to Friday (SES-4), the end outside (SES-2)
        ("0930-1600", NEW_YORK, "2026-11-23 14:29:59", False, "2026-11-23", "2026-11-23 14:30", "2026-11-23 21:00"),
        ("0930-1600", NEW_YORK, "2026-11-23 14:30:00", True, "2026-11-23", "2026-11-23 14:30", "2026-11-23 21:00"),
        ("0930-1600", NEW_YORK, "2026-11-23 20:59:59", True, "2026-11-23", "2026-11-23 20:59:59", "2026-11-23 21:00"),
        ("0930-1600", NEW_YORK, "2026-11-23 21:00:00", False, "2026-11-24", "2026-11-24 14:30", "2026-11-24 21:00"),
        ("0930-1600", NEW_YORK, "2026-11-27 21:00:00", False, "2026-11-30", "2026-11-30 14:30", "2026-11-30 21:00"),
        ("0930-1600", NEW_YORK, "2026-07-06 13:30:00", True, "2026-07-06", "2026-07-06 13:30", "2026-07-06 20:00"),
        # overnight belongs to the day it ends in (SES-3), Sunday evening to Monday
        ("1800-1700", NEW_YORK, "2026-11-22 22:59:00", False, "2026-11-23", "2026-11-22 23:00", "2026-11-23 22:00"),
        ("1800-1700", NEW_YORK, "2026-11-22 23:00:00", True, "2026-11-23", "2026-11-22 23:00", "2026-11-23 22:00"),
        ("1800-1700", NEW_YORK, "2026-11-23 22:00:00", False, "2026-11-24", "2026-11-23 23:00", "2026-11-24 22:00"),
        ("1800-1700", NEW_YORK, "2026-11-27 23:00:00", False, "2026-11-30", "2026-11-29 23:00", "2026-11-30 22:00"),
        # 24 hours from 17:00
        ("1700-1700", NEW_YORK, "2026-11-22 21:59:59", False, "2026-11-23", "2026-11-22 22:00", "2026-11-23 22:00"),
        ("1700-1700", NEW_YORK, "2026-11-23 21:59:59", True, "2026-11-23", "2026-11-23 21:59:59", "2026-11-23 22:00"),
        ("1700-1700", NEW_YORK, "2026-11-23 22:00:00", True, "2026-11-24", "2026-11-23 22:00", "2026-11-24 22:00"),
        # never closed: the trading day is the local day
        ("24x7", "Etc/UTC", "2026-11-28 23:59:59", True, "2026-11-28", "2026-11-28 23:59:59", "2026-11-29 00:00"),
        ("24x7", "Asia/Tokyo", "2026-11-28 15:00:00", True, "2026-11-29", "2026-11-28 15:00", "2026-11-29 15:00"),
        # different hours on different days
        (BY_DAY, "Etc/UTC", "2026-11-28 09:30", False, "2026-11-28", "2026-11-28 10:00", "2026-11-28 14:00"),
        (BY_DAY, "Etc/UTC", "2026-11-29 13:59", True, "2026-11-29", "2026-11-29 13:59", "2026-11-29 14:00"),
        # to midnight, written either way: the last minute is in the day before
        ("1800-2400:6", "Etc/UTC", "2026-11-27 23:59", True, "2026-11-27", "2026-11-27 23:59", "2026-11-28 00:00"),
        ("1800-0000:6", "Etc/UTC", "2026-11-27 23:59", True, "2026-11-27", "2026-11-27 23:59", "2026-11-28 00:00"),
        ("0000-0000:6", "Etc/UTC", "2026-11-27 00:00", True, "2026-11-27", "2026-11-27 00:00", "2026-11-28 00:00"),
        # a zone that is three quarters of an hour off UTC
        ("1000-1645", CHATHAM, "2026-11-22 20:15:00", True, "2026-11-23", "2026-11-22 20:15", "2026-11-23 03:00"),
    ],
)  # fmt: skip
def test_a_session_says_whether_and_when_it_is_open(
    session: str, zone: str, at: str, is_open: bool, trading_day: str, opens: str, closes: str
) -> None:
    parsed, moment = Session.parse(session, zone), utc(at)
    assert parsed.is_open(moment) is is_open
    assert parsed.trading_day(moment) == date.fromisoformat(trading_day)
    assert parsed.next_open(moment) == utc(opens)
    assert parsed.next_close(moment) == utc(closes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "“” is not a session."),
        ("0930", "“0930” is not a session."),
        ("0930-1600:8", "“0930-1600:8” is not a session."),
        ("0930-1600:", "“0930-1600:” is not a session."),
        ("2400-1600", "“2400-1600” is not a session."),
        ("0960-1600", "“0960-1600” is not a session."),
        ("0930-1600 ", "“0930-1600 ” is not a session."),
        ("٠930-1600", "“٠930-1600” is not a session."),
        ("24x7|0930-1600", "“24x7” is not a session."),
        ("0930-1600|", "“” is not a session."),
        ("0930-1400,1415-1600", "“0930-1400,1415-1600” is not a session."),
        ("0930-1400|1415-1600:3", "Tuesday has two sessions."),
        ("0930-1600:22", "Monday has two sessions."),
        ("1700-1830:2|1800-1759:3", "The sessions of Monday and Tuesday overlap."),
        ("1800-1700:1|1000-1801:7", "The sessions of Saturday and Sunday overlap."),
    ],
)
def test_what_is_not_a_session_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        parse_hours(text)
    assert refusal.value.messages[0].startswith(sentence)


def test_sessions_may_touch_around_the_end_of_the_week() -> None:
    assert parse_hours("1800-1700:1|1000-1800:7").keys() == {1, 7}


def test_only_time_zones_of_the_contract_are_accepted() -> None:
    assert len(TIMEZONES) == 42
    for name in TIMEZONES:
        validate_timezone(name)
        ZoneInfo(name)
    with pytest.raises(ValidationError, match=r"Europe/Vienna is not a time zone that TradingView accepts\."):
        Session.parse("24x7", "Europe/Vienna")


def test_a_day_has_its_minutes_also_when_the_clock_changes() -> None:
    """New York puts the clock forward on 2026-03-08 and back on 2026-11-01, both Sundays at 02:00."""
    session = Session.parse("0000-2400:1", NEW_YORK)
    assert [len(list(session.minutes(date(2026, month, day)))) for month, day in ((3, 1), (3, 8), (11, 1))] == [
        1440, 1380, 1500,
    ]  # fmt: skip
    minutes = list(session.minutes(date(2026, 3, 8)))
    assert minutes[119:121] == [utc("2026-03-08 06:59"), utc("2026-03-08 07:00")]


@pytest.mark.parametrize(
    ("session", "day", "start", "end"),
    [
        ("0230-1600:1", "2026-03-08", "2026-03-08 07:00", "2026-03-08 20:00"),  # 02:30 is skipped
        ("0130-1600:1", "2026-11-01", "2026-11-01 05:30", "2026-11-01 21:00"),  # 01:30 comes twice
        ("1700-1700:1", "2026-03-08", "2026-03-07 22:00", "2026-03-08 21:00"),
        ("1700-1700:1", "2026-11-01", "2026-10-31 21:00", "2026-11-01 22:00"),
    ],
)
def test_a_session_over_a_change_of_the_clock(session: str, day: str, start: str, end: str) -> None:
    span = Session.parse(session, NEW_YORK).span_of(date.fromisoformat(day))
    assert span is not None
    assert (span.start, span.end) == (utc(start), utc(end))


def test_a_session_that_lies_in_a_skipped_hour_does_not_take_place() -> None:
    session = Session.parse("0215-0245:1", NEW_YORK)
    assert session.span_of(date(2026, 3, 8)) is None
    assert session.trading_day(utc("2026-03-08 07:00")) == date(2026, 3, 15)


def test_days_off_have_no_minutes() -> None:
    session = Session.parse("0930-1600", NEW_YORK)
    with pytest.raises(ValueError, match="Nothing is traded on 2026-11-22"):
        session.minutes(date(2026, 11, 22))
    with pytest.raises(ValueError, match="Nothing is traded on 2026-11-22"):
        session.start_of(date(2026, 11, 22))


# --- holidays ---------------------------------------------------------------------------------------------------------


def calendar(**days: time | None) -> Calendar:
    """A calendar from keywords: d20261126=None is closed, d20261127=time(13) closes early."""
    return Calendar(lambda: {datetime.strptime(day, "d%Y%m%d").date(): close for day, close in days.items()})  # noqa: DTZ007


def test_a_closed_day_is_no_trading_day_and_an_early_close_shortens_it() -> None:
    session = Session.parse("0930-1600", NEW_YORK, calendar(d20261126=None, d20261127=time(13)))
    assert not session.is_open(utc("2026-11-26 15:00"))
    assert session.trading_day(utc("2026-11-26 15:00")) == date(2026, 11, 27)
    assert session.is_open(utc("2026-11-27 17:59:59"))
    assert not session.is_open(utc("2026-11-27 18:00"))
    assert session.next_open(utc("2026-11-27 18:00")) == utc("2026-11-30 14:30")
    assert len(list(session.minutes(date(2026, 11, 27)))) == 210


def test_a_holiday_closes_the_overnight_session_that_ends_in_it() -> None:
    session = Session.parse("1800-1700", NEW_YORK, calendar(d20261126=None, d20261127=time(13)))
    assert not session.is_open(utc("2026-11-25 23:30"))
    assert session.is_open(utc("2026-11-26 23:30"))
    assert session.next_close(utc("2026-11-26 23:30")) == utc("2026-11-27 18:00")


def test_an_early_close_after_the_close_or_before_the_open_does_not_lengthen_the_day() -> None:
    session = Session.parse("0930-1600", NEW_YORK, calendar(d20261126=time(17), d20261127=time(9)))
    assert session.next_close(utc("2026-11-26 15:00")) == utc("2026-11-26 21:00")
    assert session.span_of(date(2026, 11, 27)) is None


def test_a_market_that_never_opens_is_closed_and_says_so() -> None:
    first = date(2026, 1, 1)
    closed = {f"d{first + timedelta(days=n):%Y%m%d}": None for n in range(500)}
    session = Session.parse("0930-1600", NEW_YORK, calendar(**closed))
    assert not session.is_open(utc("2026-01-02 15:00"))
    with pytest.raises(NeverOpens):
        session.next_open(utc("2026-01-02 15:00"))


@pytest.mark.django_db
def test_holidays_come_from_our_table_and_new_ones_are_noticed() -> None:
    days = Calendar.named("TEST-MARKET")
    session = Session.parse("0930-1600", NEW_YORK, days)
    assert session.is_open(utc("2026-11-23 15:00"))
    Holiday.objects.create(calendar="TEST-MARKET", day=date(2026, 11, 23), name="Founders' day")
    Holiday.objects.create(calendar="OTHER", day=date(2026, 11, 24), name="Elsewhere")
    days.expire()
    assert not session.is_open(utc("2026-11-23 15:00"))
    assert session.is_open(utc("2026-11-24 15:00"))
    days.expire()


@pytest.mark.django_db
def test_published_holidays_fill_the_table_once_and_leave_ours_alone() -> None:
    Holiday.objects.create(calendar="NYSE", day=date(2026, 12, 25), name="Ours")
    added = load_holidays("NYSE", [2026])
    assert added == 11
    assert load_holidays("NYSE", [2026]) == 0
    of_2026 = dict(Holiday.objects.filter(calendar="NYSE").values_list("day", "close_time"))
    assert of_2026[date(2026, 11, 26)] is None
    assert of_2026[date(2026, 11, 27)] == time(13)
    assert Holiday.objects.get(day=date(2026, 12, 25)).name == "Ours"
    load_holidays("CME", [2026])
    assert Holiday.objects.get(calendar="CME", day=date(2026, 9, 7)).close_time == time(12)
    Calendar.named("NYSE").expire()
    Calendar.named("CME").expire()


# --- properties -------------------------------------------------------------------------------------------------------

clock_times = st.integers(0, 23 * 60 + 59).map(lambda minute: f"{minute // 60:02}{minute % 60:02}")
day_sets = st.sets(st.sampled_from("1234567"), min_size=1).map(lambda days: "".join(sorted(days)))
segments = st.builds("{}-{}:{}".format, clock_times, clock_times, day_sets)
zones = st.sampled_from(sorted(TIMEZONES))
moments = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(text=segments, zone=zones, at=moments)
def test_opening_trading_day_and_close_agree_with_each_other(text: str, zone: str, at: datetime) -> None:
    session = Session.parse(text, zone)
    span = session.span(at)
    assert session.is_open(at) is (span.start <= at < span.end)
    assert at < span.end
    assert session.is_open(session.next_open(at))
    assert session.start_of(span.trading_day) == span.start
    last = span.end - timedelta(microseconds=1)
    assert session.is_open(last)
    assert session.trading_day(last) == session.trading_day(span.start) == span.trading_day
    if not session.is_open(at):
        assert (
            not session.is_open(span.start - timedelta(microseconds=1)) or span.start - timedelta(microseconds=1) < at
        )


@given(zone=zones, at=moments)
def test_a_market_that_never_closes_is_always_open_and_its_day_is_the_local_one(zone: str, at: datetime) -> None:
    session = Session.parse("24x7", zone)
    assert session.is_open(at)
    assert session.trading_day(at) == at.astimezone(ZoneInfo(zone)).date()
    assert session.start_of(session.trading_day(at)) <= at < session.next_close(at)


@given(text=segments, zone=zones, day=st.dates(date(2005, 1, 1), date(2035, 1, 1)))
def test_spans_of_following_days_do_not_overlap(text: str, zone: str, day: date) -> None:
    session = Session.parse(text, zone)
    spans = [span for n in range(9) if (span := session.span_of(day + timedelta(days=n)))]
    assert all(one.end <= other.start for one, other in pairwise(spans))
    for span in spans:
        minutes = list(session.minutes(span.trading_day))
        assert minutes[0] == span.start
        assert minutes[-1] + timedelta(minutes=1) == span.end
