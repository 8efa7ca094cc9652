"""What is wrong with an instrument's bars (DQ-4): holes, jumps, minutes without volume, days unlike their minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from marketdata import bars
from marketdata.bars import Bar
from marketdata.choices import Resolution
from marketdata.chunks import MINUTE_SECONDS, from_unix, unix, unix_of_day
from marketdata.models import BarChunk, Instrument
from marketdata.sessions import Span

SPIKE_FACTOR = 25  # so many times the usual range of the day's minutes, and back again
USUAL_TICKS = 3  # the usual range is at least so many price steps: on quiet days every move would be a jump


class Kind(StrEnum):
    GAP = "gap"
    SPIKE = "spike"
    NO_VOLUME = "no volume"
    DAY_DIFFERS = "day differs"


class Finding(NamedTuple):
    """Something to look at: where it begins, in Unix seconds, and the numbers."""

    kind: Kind
    time: int
    detail: str

    def __str__(self) -> str:
        return f"{from_unix(self.time):%Y-%m-%d %H:%M} {self.kind}: {self.detail}"


def check(instrument: Instrument, first: date, last: date, *, gap_minutes: int) -> Iterator[Finding]:
    """Look at the trading days from `first` to `last`, one after the other. A day without any bar is a gap as well.

    A gap is at least `gap_minutes` long: a minute without trades has no bar (BAR-9).
    """
    day = first
    while day <= last:
        if span := instrument.session.span_of(day):
            yield from _check_day(instrument, span, gap_minutes)
        day += timedelta(days=1)


def _check_day(instrument: Instrument, span: Span, gap_minutes: int) -> Iterator[Finding]:
    minutes = bars.read(instrument, unix(span.start), unix(span.end) - 1)
    yield from _gaps(span, minutes, gap_minutes)
    yield from _spikes(instrument, minutes)
    yield from _without_volume(instrument, span)
    if instrument.has_daily and minutes:
        yield from _day_differs(instrument, span, minutes)


def _gaps(span: Span, minutes: Sequence[Bar], gap_minutes: int) -> Iterator[Finding]:
    times = [unix(span.start) - MINUTE_SECONDS, *(minute.time for minute in minutes), unix(span.end)]
    for before, after in pairwise(times):
        missing = (after - before) // MINUTE_SECONDS - 1
        if missing >= gap_minutes:
            yield Finding(Kind.GAP, before + MINUTE_SECONDS, f"{missing} minutes")


def _spikes(instrument: Instrument, minutes: Sequence[Bar]) -> Iterator[Finding]:
    """Minutes that reach far beyond both their neighbours' prices."""
    if len(minutes) < 3:
        return
    usual = max(median(minute.h - minute.l for minute in minutes), instrument.tick_size * USUAL_TICKS)
    for before, minute, after in zip(minutes, minutes[1:], minutes[2:], strict=False):
        above = minute.h - max(before.h, after.h)
        below = min(before.l, after.l) - minute.l
        if (reach := max(above, below)) > usual * SPIKE_FACTOR:
            yield Finding(Kind.SPIKE, minute.time, f"{reach.normalize():f} beyond its neighbours, usual {usual:f}")


def _without_volume(instrument: Instrument, span: Span) -> Iterator[Finding]:
    """Stored minutes of volume 0, which the history leaves out (HIST-7)."""
    chunks = BarChunk.objects.filter(
        instrument=instrument,
        resolution=Resolution.MINUTE,
        start__range=(span.start.date(), span.end.date()),
        v__contains=[0],
    )
    for start, t, v in chunks.values_list("start", "t", "v"):
        for slot, volume in zip(t, v, strict=True):
            time = unix_of_day(start) + slot * MINUTE_SECONDS
            if not volume and unix(span.start) <= time < unix(span.end):
                yield Finding(Kind.NO_VOLUME, time, "0")


def _day_differs(instrument: Instrument, span: Span, minutes: Sequence[Bar]) -> Iterator[Finding]:
    """DT-18: a day opens and closes as its minutes do."""
    time = unix_of_day(span.trading_day)
    for day in bars.read(instrument, time, time, Resolution.DAY):
        of_minutes: tuple[Decimal, Decimal] = (minutes[0].o, minutes[-1].c)
        if (day.o, day.c) != of_minutes:
            detail = f"opens {day.o:f}, closes {day.c:f}; its minutes {of_minutes[0]:f}, {of_minutes[1]:f}"
            yield Finding(Kind.DAY_DIFFERS, time, detail)
