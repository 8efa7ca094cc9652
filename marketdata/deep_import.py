"""Deep history, quickly: the minutes of a CSV file straight into new chunks, column by column.

What is checked is what the careful way checks row by row (`recordings.read_bars`); as soon as anything is unusual,
`NeedsCare` is raised with nothing written, and the careful way then says which row it is. Numbers of up to 15 digits
are the same as floats and as decimals, so integers made of floats are exact where they give the same floats back.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

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
    VOLUME_UNIT,
    PriceRange,
    from_unix,
    start_of_chunk,
    unix,
    unpack,
)
from marketdata.layouts import BAR_COLUMNS, Layout
from marketdata.models import BarChunk, Instrument
from marketdata.recording_text import RowFault, open_text
from marketdata.recordings import Skip
from marketdata.sessions import NeverOpens

BLOCK = 100_000  # rows in one go
LONGEST_NUMBER = 16  # characters: 15 digits and a point
EXACT = 2**53  # integers that a float holds

_COPY = "COPY marketdata_barchunk (instrument_id, resolution, start, price_scale, t, o, h, l, c, v) FROM STDIN"


class NeedsCare(Exception):
    """The file has something that only the careful way can judge."""


@dataclass
class Columns:
    """Minutes by column: times in Unix seconds, prices as integers of 10**-scale, volumes of 10**-8."""

    t: list[int]
    prices: list[list[int]]
    v: list[int]

    def cut(self, start: int, end: int | None = None) -> Columns:
        return Columns(self.t[start:end], [column[start:end] for column in self.prices], self.v[start:end])

    def with_rows(self, other: Columns) -> Columns:
        joined = [one + two for one, two in zip(self.prices, other.prices, strict=True)]
        return Columns(self.t + other.t, joined, self.v + other.v)


@transaction.atomic
def run(
    path: Path, layout: Layout, instrument: Instrument, *, progress: Callable[[int], object] = lambda count: None
) -> tuple[WriteReport, Counter[Skip]]:
    """Import the file's minutes in one transaction. Days that have bars already are merged as always.

    Raises `NeedsCare`, nothing written, for everything that is not plain; `UnreadableFile`.
    """
    importer = _Importer(instrument)
    pending = Columns([], [[], [], [], []], [])
    for rows in _blocks(path, layout):
        pending = pending.with_rows(importer.read(rows, layout))
        progress(len(rows))
        last_day = bisect_left(pending.t, pending.t[-1] // DAY_SECONDS * DAY_SECONDS) if pending.t else 0
        importer.write(pending.cut(0, last_day))
        pending = pending.cut(last_day)
    importer.write(pending)
    return importer.report, importer.skips


def _blocks(path: Path, layout: Layout) -> Iterator[list[list[str]]]:
    with open_text(path) as text:
        if layout.has_header:
            next(text, "")
        while lines := list(islice(text, BLOCK)):
            yield [line.rstrip("\r\n").split(",") for line in lines]


class _Importer:
    def __init__(self, instrument: Instrument) -> None:
        self.report = WriteReport()
        self.skips: Counter[Skip] = Counter()
        self._instrument = instrument
        self._scale = PriceRange.of(instrument).decimals
        self._finest = min(self._scale + FINER_DECIMALS, MOST_DECIMALS)
        self._last_time = -1

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, rows: list[list[str]], layout: Layout) -> Columns:
        """The bars of these rows. Raises `NeedsCare`."""
        if len(set(map(len, rows))) != 1 or any(layout.places.get(name, 0) >= len(rows[0]) for name in BAR_COLUMNS):
            raise NeedsCare
        cells = list(zip(*rows, strict=True))
        try:
            times = [_minute(text) for text in cells[layout.places["timestamp"]]]
            floats = [_floats(cells[layout.places[name]]) for name in BAR_COLUMNS[1:5]]
            volumes = _floats(cells[layout.places["volume"]]) if "volume" in layout.places else [0.0] * len(rows)
        except (ValueError, RowFault):
            raise NeedsCare from None
        self._check(times, floats, volumes)
        prices = [self._integers(column) for column in floats]
        v = [round(volume * VOLUME_UNIT) for volume in volumes]
        if max(v) >= EXACT:
            raise NeedsCare
        return self._kept(Columns(times, prices, v))

    def _check(self, times: list[int], floats: list[list[float]], volumes: list[float]) -> None:
        o, h, low, c = floats
        rising = times[0] > self._last_time and all(map(operator.lt, times, times[1:]))
        between = all(all(map(operator.le, below, above)) for below, above in ((low, o), (low, c), (o, h), (c, h)))
        if not rising or not between or not min(low) > 0 or not 0 <= min(volumes) <= max(volumes) < float("inf"):
            raise NeedsCare
        self._last_time = times[-1]

    def _integers(self, column: list[float]) -> list[int]:
        """The column as integers of the scale, none of which loses a digit. The scale stays as it was found first."""
        factor = 10**self._scale
        integers = [round(price * factor) for price in column]
        if max(integers) >= min(EXACT, LARGEST) or [integer / factor for integer in integers] != column:
            raise NeedsCare
        return integers

    def _kept(self, columns: Columns) -> Columns:
        """Without the minutes that make no bar: those outside the session (SES-8), and those without trades (BAR-9)."""
        if self._instrument.has_no_volume:
            columns.v = [volume or VOLUME_UNIT for volume in columns.v]
        inside = self._inside(columns.t)
        traded = list(map(bool, columns.v))
        if all(inside) and all(traded):
            return columns
        self.skips[Skip.OUTSIDE_SESSION] += inside.count(False)
        self.skips[Skip.NO_TRADES] += sum(is_in and not has for is_in, has in zip(inside, traded, strict=True))
        places = [place for place, both in enumerate(map(operator.and_, inside, traded)) if both]
        return Columns(
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

    def write(self, columns: Columns) -> None:
        """Whole days, none of them given before."""
        days = list(_days(columns))
        starts = [start_of_chunk(Resolution.MINUTE, day.t[0]) for day in days]
        chunks = BarChunk.objects.filter(instrument=self._instrument, resolution=Resolution.MINUTE, start__in=starts)
        there = set(chunks.values_list("start", flat=True))
        new = [(start, day) for start, day in zip(starts, days, strict=True) if start not in there]
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for start, day in new:
                base = day.t[0] // DAY_SECONDS * DAY_SECONDS
                slots = [(time - base) // MINUTE_SECONDS for time in day.t]
                arrays = "\t".join(map(_array, (slots, *day.prices, day.v)))
                copy.write(f"{self._instrument.pk}\t{Resolution.MINUTE}\t{start}\t{self._scale}\t{arrays}\n")
        self.report += WriteReport(added=sum(len(day.t) for _start, day in new))
        for start, day in zip(starts, days, strict=True):
            if start in there:
                rows = zip(day.t, *day.prices, day.v, strict=True)
                self.report += bars.write(self._instrument, [unpack(self._scale, *row) for row in rows])


def _days(columns: Columns) -> Iterator[Columns]:
    start = 0
    while start < len(columns.t):
        end = bisect_left(columns.t, (columns.t[start] // DAY_SECONDS + 1) * DAY_SECONDS, lo=start)
        yield columns.cut(start, end)
        start = end


def _array(values: Iterable[int]) -> str:
    return f"{{{','.join(map(str, values))}}}"


def _floats(texts: Sequence[str]) -> list[float]:
    """Raises `ValueError` for what is no number, or has more digits than a float is sure to keep."""
    if max(map(len, texts)) > LONGEST_NUMBER or "_" in "".join(texts):
        raise ValueError
    return list(map(float, texts))


def _minute(text: str) -> int:
    """Unix seconds of a minute's start. Raises `ValueError`, `RowFault`."""
    if text[16:] in (":00", ":00.000000", ":00.000", ":00Z", ""):
        return layouts.day_second(text[:10]) + int(text[11:13]) * 3600 + int(text[14:16]) * 60
    time_ms = layouts.time_ms(text)
    if time_ms % 60_000:
        raise ValueError
    return time_ms // 1000
