"""Trading sessions as TradingView writes them (SES-1 … SES-7), read for the tests' own needs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
_PART = re.compile(r"([01]\d|2[0-3])([0-5]\d)-(?:([01]\d|2[0-3])([0-5]\d)|(24)(00))(?::([1-7]+))?")
_WEEKDAYS = "23456"  # Monday to Friday; 1 is Sunday
_FAR_BACK_DAYS = 10


class BadSession(ValueError):
    """A text that is no session, or one whose parts overlap."""


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes from the midnight that begins the trading day; below zero where the session began the day before."""

    weekday: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Session:
    """A week's spans in a time zone."""

    spans: tuple[Span, ...]
    zone: ZoneInfo

    def is_open(self, at: float) -> bool:
        """Whether the market is open at this Unix time; the end minute is outside (SES-2)."""
        return any(start <= at < end for start, end in self._around(at))

    def last_start(self, at: float) -> float | None:
        """The Unix time at which the last session before `at` began."""
        starts = [start for start, _end in self._around(at) if start <= at]
        return max(starts, default=None)

    def _around(self, at: float) -> Iterator[tuple[float, float]]:
        today = datetime.fromtimestamp(at, self.zone).date()
        for offset in range(-_FAR_BACK_DAYS, 3):
            day = today + timedelta(days=offset)
            for span in self.spans:
                if span.weekday == day.isoweekday() % 7 + 1:
                    yield self._moment(day, span.start), self._moment(day, span.end)

    def _moment(self, day: date, minutes: int) -> float:
        midnight = datetime.combine(day, time())
        return (midnight + timedelta(minutes=minutes)).replace(tzinfo=self.zone).timestamp()


def parse(text: str, zone: str = "Etc/UTC") -> Session:
    """Raises BadSession, KeyError for an unknown time zone."""
    spans = (
        tuple(Span(day, 0, DAY_MINUTES) for day in range(1, 8))
        if text == "24x7"
        else tuple(span for part in text.split("|") for span in _spans(part))
    )
    _refuse_overlaps(text, spans)
    return Session(spans, ZoneInfo(zone))


def bounds(text: str) -> tuple[int, int]:
    """First and last minute of the first part, for comparing pre-market, session and post-market of a day."""
    first = parse(text).spans[0]
    return first.start, first.end


def _spans(part: str) -> Iterator[Span]:
    found = _PART.fullmatch(part)
    if not found:
        raise BadSession(f"{part!r} is no session")
    start = int(found[1]) * 60 + int(found[2])
    end = int(found[3] or found[5]) * 60 + int(found[4] or found[6])
    if start >= end:
        start -= DAY_MINUTES  # SES-3: the trading day is the one it ends in
    for day in found[7] or _WEEKDAYS:
        yield Span(int(day), start, end)


def _refuse_overlaps(text: str, spans: tuple[Span, ...]) -> None:
    """SES-5. The week is a circle: the end of Saturday may reach into Sunday."""
    minutes = sorted(((span.weekday - 1) * DAY_MINUTES + span.start, span.end - span.start) for span in spans)
    if not minutes:
        raise BadSession(f"{text!r} has no day")
    circle = [*minutes, (minutes[0][0] + WEEK_MINUTES, minutes[0][1])]
    for (start, length), (following, _length) in itertools.pairwise(circle):
        if start + length > following:
            raise BadSession(f"the parts of {text!r} overlap")
