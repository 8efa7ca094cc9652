"""Bars: writing closed ones, and answering for all of them, the minutes in progress included."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from time import time as now
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from marketdata import prepared
from marketdata.choices import Resolution
from marketdata.chunks import (
    DAY_SECONDS,
    MINUTE_SECONDS,
    UNIT_SECONDS,
    VOLUME_LIMIT,
    VOLUME_UNIT,
    Bar,
    WriteReport,
    empty_chunk,
    from_unix,
    merge,
    save,
    start_of_chunk,
    unix,
    unix_of_day,
    unpack,
)
from marketdata.models import BarChunk, Instrument, OpenBar
from marketdata.sessions import Span

__all__ = ["Bar", "Columns", "UnknownResolution", "WriteReport", "history", "whole_days", "write", "write_all"]

WIRE_RESOLUTIONS = {"1": Resolution.MINUTE, "D": Resolution.DAY, "1D": Resolution.DAY}
FIRST_SECOND = unix_of_day(date.min)
MINUTES_A_CHUNK = 1440
WHOLE_DAYS = "1"  # the resolution of which TradingView asks for whole days
OPEN_DAYS = 5  # a day that ended longer ago is closed, or was never traded

# --- writing ----------------------------------------------------------------------------------------------------------


def write(instrument: Instrument, bars: Iterable[Bar], resolution: Resolution = Resolution.MINUTE) -> WriteReport:
    """Add closed bars of one instrument, in any order, in one transaction; see `write_all`."""
    return write_all({instrument: list(bars)}, resolution)


@transaction.atomic
def write_all(bars: Mapping[Instrument, Sequence[Bar]], resolution: Resolution = Resolution.MINUTE) -> WriteReport:
    """Add closed bars. A time that has a bar keeps it: a bar never changes (BAR-10), a different one is a conflict.

    Raises `ValueError`, with nothing written, when a time is not the start of a minute (of a day).
    """
    by_chunk: dict[tuple[Instrument, date], list[Bar]] = defaultdict(list)
    unit = UNIT_SECONDS[resolution]
    for instrument, of_instrument in bars.items():
        for bar in of_instrument:
            if bar.time % unit:
                raise ValueError(f"A bar of resolution {resolution} cannot begin at {bar.time}.")
            by_chunk[instrument, start_of_chunk(resolution, bar.time)].append(bar)
    report, changed = WriteReport(), []
    chunks = _locked_chunks(by_chunk.keys(), resolution)
    for (instrument, start), of_chunk in by_chunk.items():
        chunk = chunks[instrument.pk, start]
        outcome = merge(chunk, of_chunk, has_volume=not instrument.has_no_volume)
        if outcome.added:
            changed.append(chunk)
        report += outcome
    save(changed)
    return report


def _locked_chunks(
    wanted: Iterable[tuple[Instrument, date]], resolution: Resolution
) -> dict[tuple[int, date], BarChunk]:
    """The rows of these instruments and periods, locked in one order everywhere; those missing are made first."""
    instruments = {instrument.pk: instrument for instrument, _start in wanted}
    keys = sorted({(instrument.pk, start) for instrument, start in wanted})
    rows = BarChunk.objects.filter(
        resolution=resolution, instrument__in=instruments, start__in={start for _pk, start in keys}
    ).order_by("instrument_id", "start")
    present = set(rows.values_list("instrument_id", "start"))
    BarChunk.objects.bulk_create(
        [empty_chunk(instruments[pk], resolution, start) for pk, start in keys if (pk, start) not in present],
        ignore_conflicts=True,  # another writer may have made it in the meantime
    )
    return {(row.instrument_id, row.start): row for row in rows.select_for_update(of=("self",))}


# --- reading ----------------------------------------------------------------------------------------------------------


class UnknownResolution(ValueError):
    """A resolution of which there are no bars; the message is for the one who asked."""


Row = tuple[int, float, float, float, float, float]  # t, o, h, l, c, v


class Columns(NamedTuple):
    """Bars by column, ready for JSON: Unix seconds rising, prices and volumes (HIST-8)."""

    t: list[int]
    o: list[float]
    h: list[float]
    l: list[float]  # noqa: E741 (the wire's word)
    c: list[float]
    v: list[float]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        return cls(*map(list, zip(*rows, strict=True))) if rows else cls([], [], [], [], [], [])


def history(instrument: Instrument, resolution: str, from_: int, to: int, countback: int | None = None) -> Columns:
    """The bars whose times lie in `from_` … `to` (Unix seconds), both included, none later than now (HIST-4 … HIST-9).

    With `countback` the last so many up to `to`, whatever `from_` says (HIST-11). Minutes in progress count, bars
    without volume do not (HIST-7). Minutes and days only: TradingView builds the rest (BAR-3). Raises
    `UnknownResolution`.
    """
    if (known := WIRE_RESOLUTIONS.get(resolution)) is None:
        raise UnknownResolution(
            _("There are bars of minutes (1) and of days (1D), not of %(resolution)s.") % {"resolution": resolution}
        )
    from_ = FIRST_SECOND if countback is not None else max(from_, FIRST_SECOND)
    to = min(to, int(now()))
    if to < from_:
        return Columns.of([])
    # Open bars first: a minute that closes between the two queries is then seen twice, not lost (HIST-10).
    in_progress = _open_rows(instrument, from_, to) if known == Resolution.MINUTE else []
    chunks = BarChunk.objects.filter(instrument=instrument, resolution=known, start__lte=start_of_chunk(known, to))
    if countback is None:
        closed = _closed_rows(chunks.filter(start__gte=start_of_chunk(known, from_)), known, from_, to)
    else:
        closed = _last_closed_rows(chunks, known, to, countback)
    if known == Resolution.DAY and instrument.has_daily:
        in_progress = _open_days(instrument, from_, to, closed)
    rows = sorted({row[0]: row for row in (*in_progress, *closed)}.values())  # of two with one time the closed bar
    return Columns.of(rows if countback is None else rows[max(0, len(rows) - countback) :])


def whole_days(instrument_id: int, resolution: str, from_: int, to: int) -> dict[str, str] | None:
    """What `history` answers, as JSON columns less their brackets, where whole days are asked for; None for the rest.

    Nothing is computed that the database holds already: this is how the archive is filled (HIST-2).
    """
    to = min(to, int(now()))
    if resolution != WHOLE_DAYS or from_ < FIRST_SECOND or to - from_ < DAY_SECONDS - MINUTE_SECONDS:
        return None
    return prepared.minutes(instrument_id, from_, to)


def _open_rows(instrument: Instrument, from_: int, to: int) -> list[Row]:
    """The minutes in progress of all lanes; where two have the same minute, live prices come last."""
    found = OpenBar.objects.filter(
        instrument=instrument, minute__gte=from_unix(from_), minute__lte=from_unix(to), v__gt=0
    ).order_by("-lane")
    return [(unix(bar.minute), float(bar.o), float(bar.h), float(bar.l), float(bar.c), float(bar.v)) for bar in found]


def _open_days(instrument: Instrument, from_: int, to: int, closed: Sequence[Row]) -> list[Row]:
    """The trading days of late whose bars are not closed yet, as far as their minutes go (BAR-5)."""
    known = {row[0] for row in closed}
    today = int(now()) // DAY_SECONDS * DAY_SECONDS
    rows: list[Row] = []
    for time in range(today - OPEN_DAYS * DAY_SECONDS, today + 1, DAY_SECONDS):
        if not from_ <= time <= to or time in known:
            continue
        if (span := instrument.session.span_of(from_unix(time).date())) and (bar := day_of_minutes(instrument, span)):
            rows.append((time, float(bar.o), float(bar.h), float(bar.l), float(bar.c), float(bar.v)))
    return rows


def day_of_minutes(instrument: Instrument, span: Span) -> Bar | None:
    """The bar of a trading day, made of its minutes so far; None without any."""
    minutes = read(instrument, unix(span.start), unix(span.end) - 1)
    if not minutes:
        return None
    return Bar(
        time=unix_of_day(span.trading_day),
        o=minutes[0].o,
        h=max(minute.h for minute in minutes),
        l=min(minute.l for minute in minutes),
        c=minutes[-1].c,
        v=min(sum((minute.v for minute in minutes), Decimal(0)), VOLUME_LIMIT - 1),
    )


def read(instrument: Instrument, from_: int, to: int, resolution: Resolution = Resolution.MINUTE) -> list[Bar]:
    """The bars between the two times included, exactly, rising; live minutes in progress included."""
    live = OpenBar.objects.filter(
        instrument=instrument, lane="", minute__gte=from_unix(from_), minute__lte=from_unix(to), v__gt=0
    )
    found = {}
    if resolution == Resolution.MINUTE:
        found = {unix(bar.minute): Bar(unix(bar.minute), bar.o, bar.h, bar.l, bar.c, bar.v) for bar in live}
    unit = UNIT_SECONDS[resolution]
    chunks = BarChunk.objects.filter(
        instrument=instrument,
        resolution=resolution,
        start__range=(start_of_chunk(resolution, from_), start_of_chunk(resolution, to)),
    )
    for start, scale, *columns in chunks.values_list("start", "price_scale", "t", "o", "h", "l", "c", "v"):
        base = unix_of_day(start)
        for slot, o, h, low, c, v in zip(*columns, strict=True):
            if v and from_ <= (time := base + slot * unit) <= to:
                found[time] = unpack(scale, time, o, h, low, c, v)
    return [found[time] for time in sorted(found)]


def _closed_rows(chunks: QuerySet[BarChunk], resolution: Resolution, from_: int, to: int) -> list[Row]:
    unit = UNIT_SECONDS[resolution]
    rows: list[Row] = []
    for start, scale, t, *columns in chunks.order_by("start").values_list(
        "start", "price_scale", "t", "o", "h", "l", "c", "v"
    ):
        base, factor = unix_of_day(start), 10**scale
        asked = slice(bisect_left(t, -((base - from_) // unit)), bisect_right(t, (to - base) // unit))
        # An integer divided by an integer is the float nearest to the exact price.
        rows += [
            (base + slot * unit, o / factor, h / factor, low / factor, c / factor, v / VOLUME_UNIT)
            for slot, o, h, low, c, v in zip(t[asked], *(column[asked] for column in columns), strict=True)
            if v
        ]
    return rows


def _last_closed_rows(chunks: QuerySet[BarChunk], resolution: Resolution, to: int, count: int) -> list[Row]:
    """At least the last `count` bars up to `to`, or all there are: backwards, each time twice as many chunks."""
    starts = list(chunks.order_by("-start").values_list("start", flat=True))
    rows: list[Row] = []
    taken, batch = 0, count // MINUTES_A_CHUNK + 2
    while len(rows) < count and taken < len(starts):
        rows = _closed_rows(chunks.filter(start__in=starts[taken : taken + batch]), resolution, FIRST_SECOND, to) + rows
        taken, batch = taken + batch, batch * 2
    return rows
