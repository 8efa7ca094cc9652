"""When a market trades: TradingView's notation of sessions, time zones and summer time, and our own holidays.

One parser answers for everybody who has to know: is it open, when does it open next, which trading day is it (SES-1 …
SES-10). Inside, a session is one span of minutes for each weekday, counted from the local midnight at which its trading
day begins; an overnight session begins before that midnight, so its start is negative.
"""

from __future__ import annotations

import re
import time as clock
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

# The zones that the contract accepts (`Timezone` of its schema).
TIMEZONES = frozenset(
    [
        "Africa/Johannesburg", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Chicago",
        "America/El_Salvador", "America/Los_Angeles", "America/Mexico_City", "America/New_York", "America/Phoenix",
        "America/Sao_Paulo", "America/Toronto", "America/Vancouver", "Asia/Almaty", "Asia/Ashkhabad", "Asia/Bangkok",
        "Asia/Dubai", "Asia/Hong_Kong", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Seoul", "Asia/Shanghai",
        "Asia/Singapore", "Asia/Taipei", "Asia/Tehran", "Asia/Tokyo", "Australia/ACT", "Australia/Adelaide",
        "Australia/Brisbane", "Australia/Sydney", "Etc/UTC", "Europe/Athens", "Europe/Berlin", "Europe/London",
        "Europe/Madrid", "Europe/Moscow", "Europe/Paris", "Europe/Warsaw", "Pacific/Auckland", "Pacific/Chatham",
        "Pacific/Fakaofo", "Pacific/Honolulu", "US/Mountain",
    ]
)  # fmt: skip
ALWAYS = "24x7"
WEEKDAYS = "23456"  # Monday to Friday, where a segment names no days (SES-4)
DAY_NAMES = {
    1: _("Sunday"),
    2: _("Monday"),
    3: _("Tuesday"),
    4: _("Wednesday"),
    5: _("Thursday"),
    6: _("Friday"),
    7: _("Saturday"),
}
DAY_MINUTES = 24 * 60
CALENDAR_SECONDS = 60  # how long a process goes on with the holidays it has read
CLOSED_DAYS_LIMIT = 400  # a market closed for longer has a wrong calendar

_SEGMENT = re.compile(r"([01]\d|2[0-3])([0-5]\d)-(?:([01]\d|2[0-3])([0-5]\d)|2400)(?::([1-7]+))?", re.ASCII)


class NeverOpens(ValueError):
    """No session comes within `CLOSED_DAYS_LIMIT` days."""


class Hours(NamedTuple):
    """Minutes from the midnight that begins the trading day: `start` is below 0 overnight, `end` is outside (SES-2)."""

    start: int
    end: int


class Span(NamedTuple):
    """A session of one trading day, in UTC; the moment `end` is outside."""

    trading_day: date
    start: datetime
    end: datetime


def validate_timezone(name: str) -> None:
    """Refuse a time zone that TradingView does not know. Raises `ValidationError`."""
    if name not in TIMEZONES:
        raise ValidationError(_("%(name)s is not a time zone that TradingView accepts."), params={"name": name})


def validate_session(text: str) -> None:
    """Refuse what is not a session in TradingView's notation (SES-1 … SES-6). Raises `ValidationError`."""
    parse_hours(text)


def parse_hours(text: str) -> dict[int, Hours]:
    """The hours of each trading day, 1 Sunday … 7 Saturday, without the days off. Raises `ValidationError`."""
    if text == ALWAYS:
        return {day: Hours(0, DAY_MINUTES) for day in DAY_NAMES}
    by_day: dict[int, Hours] = {}
    for segment in text.split("|"):
        for day, hours in _parse_segment(segment):
            if day in by_day:
                raise ValidationError(
                    _("%(day)s has two sessions. A trading day has one: leave out its breaks, as 0930-1600."),
                    params={"day": DAY_NAMES[day]},
                )
            by_day[day] = hours
    _refuse_overlap(by_day)
    return by_day


def extended(regular: str, premarket: str = "", postmarket: str = "") -> str:
    """From the start of each day's pre-market to the end of its post-market; "" where there is neither (SES-7).

    Raises `ValidationError` when one of them does not fit the regular session of its day.
    """
    if not premarket and not postmarket:
        return ""
    by_day = parse_hours(regular)
    for day, hours in (parse_hours(premarket) if premarket else {}).items():
        by_day[day] = _with_premarket(day, by_day, hours)
    for day, hours in (parse_hours(postmarket) if postmarket else {}).items():
        if day not in by_day or hours.start < by_day[day].end:
            raise ValidationError(
                _("The post-market of %(day)s does not begin after a regular session of that day."),
                params={"day": DAY_NAMES[day]},
            )
        by_day[day] = Hours(by_day[day].start, hours.end)
    _refuse_overlap(by_day)
    return format_hours(by_day)


def _with_premarket(day: int, by_day: Mapping[int, Hours], hours: Hours) -> Hours:
    regular = by_day.get(day)
    if regular and regular.start < 0 <= hours.start:  # an overnight session's begins on the evening before, too
        hours = Hours(hours.start - DAY_MINUTES, hours.end - DAY_MINUTES)
    if regular is None or hours.end > regular.start:
        raise ValidationError(
            _("The pre-market of %(day)s does not end before a regular session of that day."),
            params={"day": DAY_NAMES[day]},
        )
    return Hours(hours.start, regular.end)


def format_hours(by_day: Mapping[int, Hours]) -> str:
    """The hours in TradingView's notation, days with the same hours together."""
    days_of: dict[Hours, str] = {}
    for day in sorted(by_day):
        days_of[by_day[day]] = days_of.get(by_day[day], "") + str(day)
    return "|".join(
        f"{_clock(hours.start)}-{_clock(hours.end)}{'' if days == WEEKDAYS else f':{days}'}"
        for hours, days in days_of.items()
    )


def _clock(minute: int) -> str:
    """HHMM of a minute from midnight; midnight as an end is 0000 as well."""
    return "{:02}{:02}".format(*divmod(minute % DAY_MINUTES, 60))


def _parse_segment(segment: str) -> Iterator[tuple[int, Hours]]:
    match = _SEGMENT.fullmatch(segment)
    if match is None:
        raise ValidationError(
            _(
                "“%(text)s” is not a session. Write it as 0930-1600, with days as 0930-1600:23456 (1 is Sunday), join "
                "several with |, or write 24x7."
            ),
            params={"text": segment},
        )
    start_hour, start_minute, end_hour, end_minute, days = match.groups()
    start = int(start_hour) * 60 + int(start_minute)
    # A session to midnight, 2400 or 0000, has its last minute in the day before: that is the day it ends in (SES-2).
    end = (int(end_hour) * 60 + int(end_minute) if end_hour else 0) or DAY_MINUTES
    hours = Hours(start if start < end else start - DAY_MINUTES, end)
    for day in days or WEEKDAYS:
        yield int(day), hours


def _refuse_overlap(by_day: Mapping[int, Hours]) -> None:
    """SES-5. The week is a circle: Saturday's session comes before Sunday's."""
    days = sorted(by_day)
    for day, next_day in zip(days, [*days[1:], days[0]], strict=True):
        minutes_between = ((next_day - day - 1) % 7 + 1) * DAY_MINUTES
        if by_day[next_day].start + minutes_between < by_day[day].end:
            raise ValidationError(
                _("The sessions of %(day)s and %(next_day)s overlap."),
                params={"day": DAY_NAMES[day], "next_day": DAY_NAMES[next_day]},
            )


Holidays = Mapping[date, time | None]  # exchange's local day → its early close, or None when it is closed all day


class Calendar:
    """The holidays of a market, as our own table has them, read again once a minute.

    `days` reads the database, so asking a session with a named calendar is not for an event loop.
    """

    def __init__(self, load: Callable[[], Holidays]) -> None:
        self._load = load
        self._days: Holidays = MappingProxyType({})
        self._stale_at = 0.0

    @staticmethod
    def named(name: str) -> Calendar:
        """The calendar of that name in the holidays table, one for the whole process; "" has no holidays."""
        return _named_calendar(name)

    @property
    def days(self) -> Holidays:
        """The holidays; the same object as long as they are the same."""
        if clock.monotonic() >= self._stale_at:
            if (days := self._load()) != self._days:
                self._days = days
            self._stale_at = clock.monotonic() + CALENDAR_SECONDS
        return self._days

    def expire(self) -> None:
        """Read the table again at the next question."""
        self._stale_at = 0.0


@cache
def _named_calendar(name: str) -> Calendar:
    if not name:
        return Calendar(lambda: MappingProxyType({}))

    def load() -> Holidays:
        from marketdata.models import Holiday  # the models import this module

        return dict(Holiday.objects.filter(calendar=name).values_list("day", "close_time"))

    return Calendar(load)


def load_holidays(calendar: str, years: Iterable[int]) -> int:
    """Fill our table from the published holidays of an exchange (NYSE, CME …), and return how many days were added.

    A day that the table has already is left as it is. Raises `NotImplementedError` for an exchange that is not known.
    """
    import holidays as published  # slow to import, and needed once in a life

    from marketdata.instruments import many_changed  # the models import this module
    from marketdata.models import Holiday

    closed = published.financial_holidays(calendar, years=years)
    shortened = published.financial_holidays(calendar, years=years, categories=(published.HALF_DAY,))
    closings = dict.fromkeys(closed) | {day: _early_close(name) for day, name in shortened.items() if day not in closed}
    before = Holiday.objects.filter(calendar=calendar).count()
    Holiday.objects.bulk_create(
        [
            Holiday(calendar=calendar, day=day, name=(closed | shortened)[day][:100], close_time=close)
            for day, close in closings.items()
        ],
        ignore_conflicts=True,
    )
    Calendar.named(calendar).expire()
    many_changed.send(Holiday)
    return Holiday.objects.filter(calendar=calendar).count() - before


def _early_close(name: str) -> time | None:
    """The time in "Christmas Eve (markets close at 1:00pm)"; without one the whole day is closed."""
    match = re.search(r"at (\d+):(\d+)(am|pm)", name)
    if match is None:
        return None
    return time(int(match[1]) % 12 + (12 if match[3] == "pm" else 0), int(match[2]))


class Session:
    """The trading hours of an instrument. Moments are aware datetimes; those it gives back are in UTC.

    What asks for the coming session raises `NeverOpens` where there is none.
    """

    def __init__(self, hours: Mapping[int, Hours], zone: ZoneInfo, calendar: Calendar) -> None:
        self._hours = hours
        self._zone = zone
        self._calendar = calendar
        self._holidays: Holidays = {}
        self._spans: dict[date, Span | None] = {}
        self._recent: Span | None = None

    @staticmethod
    def parse(text: str, timezone: str, calendar: Calendar | None = None) -> Session:
        """The session of this notation, shared by all instruments that have the same. Raises `ValidationError`."""
        return _shared_session(text, timezone, calendar or Calendar.named(""))

    def is_open(self, at: datetime) -> bool:
        try:
            return self.span(at).start <= at
        except NeverOpens:
            return False

    def next_open(self, at: datetime) -> datetime:
        """The first moment from `at` on at which it is open: `at` itself in a session."""
        return max(at, self.span(at).start)

    def next_close(self, at: datetime) -> datetime:
        """The end of the session that `at` lies in, or of the coming one."""
        return self.span(at).end

    def trading_day(self, at: datetime) -> date:
        """The day the session ends in (SES-3); in a closed moment that of the coming session."""
        return self.span(at).trading_day

    def start_of(self, trading_day: date) -> datetime:
        """When the trading day begins. Raises `ValueError` when nothing is traded on it."""
        return self._required(trading_day).start

    def minutes(self, trading_day: date) -> Iterator[datetime]:
        """The starts of the trading day's minutes, rising. Raises `ValueError` when nothing is traded on it."""
        span = self._required(trading_day)
        count = (span.end - span.start) // timedelta(minutes=1)
        return (span.start + timedelta(minutes=number) for number in range(count))

    def span(self, at: datetime) -> Span:
        """The session that `at` lies in, or the coming one. Raises `NeverOpens`."""
        self._notice_new_holidays()
        recent = self._recent  # ticks come in the order of time: nearly always the answer is the last one
        if recent is not None and recent.start <= at < recent.end:
            return recent
        today = at.astimezone(self._zone).date()
        for days in range(CLOSED_DAYS_LIMIT):
            found = self.span_of(today + timedelta(days=days))
            if found is not None and at < found.end:
                self._recent = found
                return found
        raise NeverOpens(f"No session in the {CLOSED_DAYS_LIMIT} days after {today}.")

    def span_of(self, trading_day: date) -> Span | None:
        """The session of a trading day, None when nothing is traded on it."""
        self._notice_new_holidays()
        if trading_day not in self._spans:
            self._spans[trading_day] = self._compute_span(trading_day)
        return self._spans[trading_day]

    def _notice_new_holidays(self) -> None:
        if (holidays := self._calendar.days) is not self._holidays:
            self._holidays, self._spans, self._recent = holidays, {}, None

    def _compute_span(self, trading_day: date) -> Span | None:
        hours = self._hours.get(trading_day.isoweekday() % 7 + 1)
        if hours is None:
            return None
        end = hours.end
        if trading_day in self._holidays:
            close = self._holidays[trading_day]
            end = min(end, close.hour * 60 + close.minute) if close else hours.start
        span = Span(trading_day, self._instant(trading_day, hours.start), self._instant(trading_day, end))
        return span if span.start < span.end else None

    def _required(self, trading_day: date) -> Span:
        if (span := self.span_of(trading_day)) is None:
            raise ValueError(f"Nothing is traded on {trading_day}.")
        return span

    def _instant(self, day: date, minute: int) -> datetime:
        """The moment of a local time: of one that comes twice the first, of a skipped one the moment of the change."""
        wall = datetime.combine(day, time()) + timedelta(minutes=minute)
        first = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if first.astimezone(self._zone).replace(tzinfo=None) == wall:
            return first
        before = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        old_offset = before.astimezone(self._zone).utcoffset()
        moments = [before + timedelta(minutes=number) for number in range((first - before) // timedelta(minutes=1) + 1)]
        return moments[bisect_left(moments, True, key=lambda at: at.astimezone(self._zone).utcoffset() != old_offset)]


@lru_cache(maxsize=1024)
def _shared_session(text: str, timezone: str, calendar: Calendar) -> Session:
    validate_timezone(timezone)
    return Session(parse_hours(text), ZoneInfo(timezone), calendar)
