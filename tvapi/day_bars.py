"""The trading days' bars as the stream knows them, where we give daily bars: every trade line brings one up to date.

Every process that streams has the same bars (STRM-5), because each begins with the minutes that the bar builder has
stored up to a place in the tick log, and adds all ticks behind that place.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import redis
from django import db

from marketdata import bars, builder, ticklog
from marketdata.chunks import MINUTE_SECONDS, Bar, from_unix, unix, unix_of_day
from marketdata.folding import MINUTE_MS, Source
from marketdata.sessions import NeverOpens, Span
from marketdata.ticklog import Entry, Tick

TRIES = 5  # to read the stored minutes while the builder stands still
LONGEST_GAP = 50_000  # entries that the builder may be behind

logger = logging.getLogger(__name__)


class Day(NamedTuple):
    """Values of a daily line; `t` is 00:00 UTC of the trading day (BAR-5)."""

    t: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's word)
    c: Decimal
    v: Decimal


@dataclass(slots=True)
class _InProgress:
    """A trading day, its bar without any tick yet being None, and the last entry of the log that is in it."""

    span: Span
    bar: Bar | None
    last: tuple[int, int]

    def add(self, entry: Entry, source: Source) -> None:
        """Add the tick, unless it is in already or counts for no bar of this day."""
        place = builder.order(entry.id)
        if place <= self.last:
            return
        self.last = place
        minute = entry.tick.time_ms // MINUTE_MS * MINUTE_SECONDS
        priced = source.price_and_size(entry.tick)
        if priced is None or not source.is_open(minute) or not self.covers(entry.tick):
            return
        price, size = priced
        if self.bar is None:
            self.bar = Bar(unix_of_day(self.span.trading_day), price, price, price, price, size)
        else:
            time, o, h, low, _close, v = self.bar
            self.bar = Bar(time, o, max(h, price), min(low, price), price, v + size)

    def covers(self, tick: Tick) -> bool:
        return unix(self.span.start) <= tick.time_ms // 1000 < unix(self.span.end)


class DayBars:
    """For one thread."""

    def __init__(self) -> None:
        self._days: dict[str, _InProgress] = {}

    def with_tick(self, entry: Entry, source: Source) -> Day | None:
        """The day's bar with this tick in it; None when the tick is in no day, or the database cannot say more."""
        symbol = entry.tick.symbol
        day = self._days.get(symbol)
        if day is None or not day.covers(entry.tick):
            try:
                day = _begin(entry, source)
            except (db.Error, redis.RedisError, NeverOpens) as error:
                logger.warning("The day of %s is not known yet: %s", symbol, error)
                return None
            self._days[symbol] = day
        day.add(entry, source)
        return Day(*day.bar) if day.bar else None


def _begin(entry: Entry, source: Source) -> _InProgress:
    """The day of the tick, with everything before it. Raises `db.Error`, `redis.RedisError`, `NeverOpens`."""
    span = source.instrument.session.span(from_unix(entry.tick.time_ms // 1000))
    for _try in range(TRIES):
        stored = builder.position()
        bar = bars.day_of_minutes(source.instrument, span)
        if builder.position() == stored:
            break
    day = _InProgress(span, bar, builder.order(stored))
    for earlier in ticklog.read(stored, count=LONGEST_GAP):
        if builder.order(earlier.id) >= builder.order(entry.id):
            break
        if earlier.tick.symbol == entry.tick.symbol and not earlier.tick.lane:
            day.add(earlier, source)
    return day
