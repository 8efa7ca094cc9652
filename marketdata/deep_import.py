"""Deep history, quickly: the minutes of a CSV file straight into new chunks, column by column.

What is checked is what the careful way checks row by row (`recordings.read_bars`); as soon as anything is unusual,
`NeedsCare` is raised with nothing written, and the careful way then says which row it is. Numbers stay text from the
file to Postgres, less their points, so no digit can be lost.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from marketdata import bars, layouts
from marketdata.bars import WriteReport
from marketdata.choices import Resolution
from marketdata.chunks import (
    DAY_SECONDS,
    FINER_DECIMALS,
    LARGEST,
    MINUTE_SECONDS,
    MOST_DECIMALS,
    VOLUME_DECIMALS,
    VOLUME_LIMIT,
    VOLUME_UNIT,
    PriceRange,
    from_unix,
    start_of_chunk,
    unix,
    unpack,
)
from marketdata.layouts import BAR_COLUMNS, Layout
from marketdata.models import BarChunk, Instrument
from marketdata.recording_text import open_text
from marketdata.recordings import Skip, minute
from marketdata.sessions import NeverOpens

BLOCK = 20_000  # rows in one go: Postgres takes some days in while the next are read
PLAIN_SECONDS = frozenset({":00", ":00.000000", ":00.000", ":00Z", ""})
SECOND_OF_DAY = {f"{hour:02}:{minute:02}": hour * 3600 + minute * 60 for hour in range(24) for minute in range(60)}
NO_FRACTION = "0" * VOLUME_DECIMALS
ONE_VOLUME = f"1{NO_FRACTION}"
BATCH = 64  # days that have bars already, merged in one go

_COPY = "COPY marketdata_barchunk (instrument_id, resolution, start, price_scale, t, o, h, l, c, v) FROM STDIN"


Cells = list[list[str]]  # of some rows, by column


class NeedsCare(Exception):
    """The file has something that only the careful way can judge."""


@dataclass
class Columns:
    """Minutes by column: times in Unix seconds, and the digits of prices in 10**-scale and of volumes in 10**-8."""

    scale: int
    t: list[int]
    prices: list[list[str]]
    v: list[str]

    def cut(self, start: int, end: int | None = None) -> Columns:
        return Columns(self.scale, self.t[start:end], [column[start:end] for column in self.prices], self.v[start:end])

    def plain(self, scale: int) -> Columns:
        """With as few idle zeros in its prices as that scale allows."""
        for idle in range(self.scale - scale, 0, -1):
            if all(text.endswith("0" * idle) for column in self.prices for text in column):
                prices = [[text[:-idle] for text in column] for column in self.prices]
                return Columns(self.scale - idle, self.t, prices, self.v)
        return self

    def with_rows(self, other: Columns) -> Columns:
        scale = max(self.scale, other.scale)
        prices = zip(self.prices, other.prices, strict=True)
        joined = [_finer(one, scale - self.scale) + _finer(two, scale - other.scale) for one, two in prices]
        return Columns(scale, self.t + other.t, joined, self.v + other.v)


@transaction.atomic
def run(
    path: Path, layout: Layout, instrument: Instrument, *, progress: Callable[[int], object] = lambda count: None
) -> tuple[WriteReport, Counter[Skip]]:
    """Import the file's minutes in one transaction. Days that have bars already are merged as always.

    Raises `NeedsCare`, nothing written, for everything that is not plain; `UnreadableFile`.
    """
    importer = _Importer(instrument)
    days = importer.days(_blocks(path, layout), layout, progress)
    while known := importer.copy(days):
        importer.merge(known)
    return importer.report, +importer.skips  # without those that count nothing


def _blocks(path: Path, layout: Layout) -> Iterator[Cells]:
    """The cells of the file's rows by column. Raises `NeedsCare` where rows are of different lengths."""
    with open_text(path) as text:
        if layout.has_header:
            next(text, "")
        while lines := list(islice(text, BLOCK)):
            width = lines[0].count(",") + 1
            cells = "".join(lines).rstrip("\n").replace("\n", ",\n,").split(",")
            if len(cells) != len(lines) * (width + 1) - 1 or cells[width :: width + 1] != ["\n"] * (len(lines) - 1):
                raise NeedsCare
            yield [cells[place :: width + 1] for place in range(width)]


class _Importer:
    def __init__(self, instrument: Instrument) -> None:
        self.report = WriteReport()
        self.skips: Counter[Skip] = Counter()
        self._instrument = instrument
        self._grid = PriceRange.of(instrument).decimals
        self._finest = min(self._grid + FINER_DECIMALS, MOST_DECIMALS)
        self._last_time = -1
        self._there = frozenset(
            BarChunk.objects.filter(instrument=instrument, resolution=Resolution.MINUTE).values_list("start", flat=True)
        )

    # --- reading ------------------------------------------------------------------------------------------------------

    def days(self, blocks: Iterator[Cells], layout: Layout, progress: Callable[[int], object]) -> Iterator[Columns]:
        """The bars by whole UTC days. Raises `NeedsCare`."""
        pending = Columns(self._grid, [], [[], [], [], []], [])
        for cells in blocks:
            pending = pending.with_rows(self.read(cells, layout))
            progress(len(cells[0]))
            last_day = bisect_left(pending.t, pending.t[-1] // DAY_SECONDS * DAY_SECONDS) if pending.t else 0
            yield from self._days(pending.cut(0, last_day))
            pending = pending.cut(last_day)
        yield from self._days(pending)

    def _days(self, columns: Columns) -> Iterator[Columns]:
        start = 0
        while start < len(columns.t):
            end = bisect_left(columns.t, (columns.t[start] // DAY_SECONDS + 1) * DAY_SECONDS, lo=start)
            yield columns.cut(start, end).plain(self._grid)
            start = end

    def read(self, cells: Cells, layout: Layout) -> Columns:
        """The bars of these rows. Raises `NeedsCare`."""
        if any(layout.places.get(name, 0) >= len(cells) for name in BAR_COLUMNS):
            raise NeedsCare
        try:
            times = _minutes(cells[layout.places["timestamp"]])
            scale, prices = self._prices([cells[layout.places[name]] for name in BAR_COLUMNS[1:5]])
            v = _volumes(cells[layout.places["volume"]]) if "volume" in layout.places else ["0"] * len(times)
            comparable, volumes = _comparable(prices), list(map(int, v))
        except ValueError:
            raise NeedsCare from None
        self._check(times, comparable, LARGEST // 10 ** (self._finest - scale))
        return self._kept(Columns(scale, times, prices, v), volumes)

    def _prices(self, texts: list[Sequence[str]]) -> tuple[int, list[list[str]]]:
        """Their scale, as large as they need, and their digits. Raises `ValueError`."""
        scale = self._grid
        try:
            return scale, [_digits(column, scale) for column in texts]
        except _TooFine:
            scale = max(len(text.partition(".")[2].rstrip("0")) for column in texts for text in column)
        if scale > self._finest:
            raise ValueError
        return scale, [_digits(column, scale) for column in texts]

    def _check(self, times: list[int], prices: list[list[Any]], limit: int) -> None:
        o, h, low, c = prices
        rising = times[0] > self._last_time and all(map(operator.lt, times, times[1:]))
        between = all(all(map(operator.le, below, above)) for below, above in ((low, o), (low, c), (o, h), (c, h)))
        if not rising or not between or not 0 < int(min(low)) <= int(max(h)) < limit:
            raise NeedsCare
        self._last_time = times[-1]

    def _kept(self, columns: Columns, volumes: list[int]) -> Columns:
        """Without the minutes that make no bar: those outside the session (SES-8), and those without trades (BAR-9)."""
        if max(volumes) >= VOLUME_LIMIT * VOLUME_UNIT:
            raise NeedsCare
        if self._instrument.has_no_volume:
            columns.v = [text if volume else ONE_VOLUME for text, volume in zip(columns.v, volumes, strict=True)]
            volumes = [1] * len(volumes)
        inside = self._inside(columns.t)
        if all(inside) and all(volumes):
            return columns
        self.skips[Skip.OUTSIDE_SESSION] += inside.count(False)
        self.skips[Skip.NO_TRADES] += sum(is_in and not has for is_in, has in zip(inside, volumes, strict=True))
        places = [place for place, (is_in, has) in enumerate(zip(inside, volumes, strict=True)) if is_in and has]
        return Columns(
            columns.scale,
            [columns.t[place] for place in places],
            [[column[place] for place in places] for column in columns.prices],
            [columns.v[place] for place in places],
        )

    def _inside(self, times: Sequence[int]) -> list[bool]:
        """Whether the session is open in each of these minutes, which rise."""
        session, found = self._instrument.session, []
        start = end = -1
        for time in times:
            if time >= end:
                try:
                    span = session.span(from_unix(time))
                except NeverOpens:
                    raise NeedsCare from None
                start, end = unix(span.start), unix(span.end)
            found.append(time >= start)
        return found

    # --- writing ------------------------------------------------------------------------------------------------------

    def copy(self, days: Iterator[Columns]) -> list[Columns]:
        """Write new days until there are no more, or many that have bars already: these are given back.

        Postgres takes one day in while the next ones are read.
        """
        known: list[Columns] = []
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for day in days:
                if (start := _start(day)) in self._there:
                    known.append(day)
                    if len(known) == BATCH:
                        break
                    continue
                base = day.t[0] // DAY_SECONDS * DAY_SECONDS
                slots = [str((time - base) // MINUTE_SECONDS) for time in day.t]
                arrays = "\t".join(f"{{{','.join(column)}}}" for column in (slots, *day.prices, day.v))
                copy.write(f"{self._instrument.pk}\t{Resolution.MINUTE}\t{start}\t{day.scale}\t{arrays}\n")
                self.report += WriteReport(added=len(day.t))
        return known

    def merge(self, known: list[Columns]) -> None:
        for day in known:
            rows = zip(day.t, *(map(int, column) for column in (*day.prices, day.v)), strict=True)
            self.report += bars.write(self._instrument, [unpack(day.scale, *row) for row in rows])


def _start(day: Columns) -> date:
    return start_of_chunk(Resolution.MINUTE, day.t[0])


class _TooFine(ValueError):
    """A number has more digits behind its point than the scale."""


def _digits(texts: Sequence[str], scale: int) -> list[str]:
    """Each number as an integer of 10**-scale. Raises `ValueError` for what is no plain number, `_TooFine`."""
    longest, count = scale, len(texts)
    line = f"{','.join(texts)},"
    width = len(line) // count  # of a number with its comma, where all are alike
    point = width - 2 - scale
    if scale and point >= 0 and line[width - 1 :: width] == "," * count and line[point::width] == "." * count:
        digits = line.replace(".", "")[:-1].split(",")
        are_plain = line.count(".") == count
    else:
        parts = [text.partition(".") for text in texts]
        fractions = [fraction.rstrip("0") for _whole, _point, fraction in parts]
        digits = [part[0] + fraction.ljust(scale, "0") for part, fraction in zip(parts, fractions, strict=True)]
        longest = max(map(len, fractions))
        are_plain = {"", "."}.isdisjoint(texts)
    together = "".join(digits)
    if not (are_plain and together.isdigit() and together.isascii()):
        raise ValueError
    if longest > scale:
        raise _TooFine
    return digits


def _comparable(columns: list[list[str]]) -> list[list[Any]]:
    """Their numbers, or their texts if these compare in the same way: all of one length."""
    if len({length for column in columns for length in set(map(len, column))}) == 1:
        return columns
    return [list(map(int, column)) for column in columns]


def _volumes(texts: Sequence[str]) -> list[str]:
    """As integers of 10**-8, rounded where they are finer: floats added up leave digits that nobody traded."""
    if all(map(str.isdigit, texts)) and "".join(texts).isascii():
        return [text + NO_FRACTION for text in texts]
    try:
        return _digits(texts, VOLUME_DECIMALS)
    except _TooFine:
        return [str(round(Decimal(text).scaleb(VOLUME_DECIMALS))) for text in texts]


def _finer(digits: list[str], by: int) -> list[str]:
    return [text + "0" * by for text in digits] if by else digits


def _minutes(texts: Sequence[str]) -> list[int]:
    """Unix seconds of minutes' starts. Raises `ValueError`."""
    if {text[16:] for text in texts} <= PLAIN_SECONDS and {text[10:11] for text in texts} <= {" ", "T"}:
        days = [text[:10] for text in texts]
        first_second = {day: layouts.day_second(day) for day in set(days)}
        try:
            return [first_second[day] + SECOND_OF_DAY[text[11:16]] for day, text in zip(days, texts, strict=True)]
        except KeyError:
            raise ValueError from None
    return [minute(text) for text in texts]
