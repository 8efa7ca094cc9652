"""How bars lie in the database: packed into one row per instrument and period, as integers.

This module knows the packing and nothing else: which row and slot a time belongs to, how prices become integers, and
how new bars join those already there without changing any of them (BAR-10).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, Self

from django.db import connection

from marketdata.choices import Resolution
from marketdata.models import BarChunk, Instrument

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400
UNIT_SECONDS = {Resolution.MINUTE: MINUTE_SECONDS, Resolution.DAY: DAY_SECONDS}  # what `t` of a chunk counts
VOLUME_DECIMALS = 8
VOLUME_UNIT = 10**VOLUME_DECIMALS
FINER_DECIMALS = 4  # how many digits beyond the instrument's grid a recorded price may have
MOST_DECIMALS = 12
LARGEST = 2**63  # the first integer that a bigint cannot hold
VOLUME_LIMIT = Decimal(LARGEST // VOLUME_UNIT)
EPOCH = date(1970, 1, 1)

Packed = tuple[int, int, int, int, int]  # o, h, l, c in 10**-price_scale, v in 10**-VOLUME_DECIMALS


class Bar(NamedTuple):
    """A bar. `time` is its start in Unix seconds (BAR-4), of a daily bar 00:00 UTC of its trading day (BAR-5)."""

    time: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's word)
    c: Decimal
    v: Decimal


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the bars given: added, there already with the same values, or there with others (and left so)."""

    added: int = 0
    unchanged: int = 0
    conflicts: int = 0

    def __add__(self, other: Self) -> WriteReport:
        return WriteReport(self.added + other.added, self.unchanged + other.unchanged, self.conflicts + other.conflicts)


class PriceRange(NamedTuple):
    """The prices that bars of an instrument can hold: above 0, below `limit`, whole multiples of `step`."""

    decimals: int  # of the grid
    step: Decimal
    limit: Decimal

    @classmethod
    def of(cls, instrument: Instrument) -> PriceRange:
        decimals = decimals_of(instrument.tick_size)
        finest = min(decimals + FINER_DECIMALS, MOST_DECIMALS)
        return cls(decimals, Decimal(1).scaleb(-finest), Decimal(LARGEST // 10**finest))

    def holds(self, price: Decimal) -> bool:
        return price.is_finite() and 0 < price < self.limit and not price % self.step


def decimals_of(value: Decimal) -> int:
    """Digits after the point, without idle zeros: 1.50 has one."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def start_of_chunk(resolution: Resolution, time: int) -> date:
    """The first day of the chunk that holds a bar of this time."""
    if resolution == Resolution.MINUTE:
        return _day(time // DAY_SECONDS)
    return _day(time // DAY_SECONDS).replace(month=1, day=1)


@lru_cache(maxsize=4096)
def _day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def unix_of_day(day: date) -> int:
    """00:00 UTC of the day in Unix seconds."""
    return (day - EPOCH).days * DAY_SECONDS


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


def from_unix(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def empty_chunk(instrument: Instrument, resolution: Resolution, start: date) -> BarChunk:
    return BarChunk(
        instrument=instrument,
        resolution=resolution,
        start=start,
        price_scale=PriceRange.of(instrument).decimals,
        t=[], o=[], h=[], l=[], c=[], v=[],
    )  # fmt: skip


def merge(chunk: BarChunk, bars: Sequence[Bar], *, has_volume: bool) -> WriteReport:
    """Add to the chunk, in memory, those bars whose times it does not have.

    The bars belong to the chunk's period, in any order; of two with one time the first counts. Where volume means
    nothing (`has_volume` false) bars are the same if their prices are.
    """
    packed = pack(chunk, bars)
    base, unit = unix_of_day(chunk.start), UNIT_SECONDS[Resolution(chunk.resolution)]
    known: dict[int, Packed] = dict(
        zip(chunk.t, zip(chunk.o, chunk.h, chunk.l, chunk.c, chunk.v, strict=True), strict=True)
    )
    compared = slice(None) if has_volume else slice(4)
    count_before, unchanged, conflicts = len(known), 0, 0
    for bar, values in zip(bars, packed, strict=True):
        earlier = known.setdefault((bar.time - base) // unit, values)
        if earlier is not values:
            same = earlier[compared] == values[compared]
            unchanged += same
            conflicts += not same
    added = len(known) - count_before
    if added:
        _fill(chunk, known)
    return WriteReport(added, unchanged, conflicts)


def pack(chunk: BarChunk, bars: Sequence[Bar]) -> list[Packed]:
    """The bars as integers of the chunk's scale, which grows first if one of them is finer."""
    packed = _scaled(bars, chunk.price_scale)
    if packed is None:
        finest = max(decimals_of(price) for bar in bars for price in bar[1:5])
        _rescale(chunk, finest)
        packed = _scaled(bars, finest)
        assert packed is not None
    return packed


def _scaled(bars: Iterable[Bar], scale: int) -> list[Packed] | None:
    """The bars as integers of 10**-scale, None when a price is finer than that."""
    factor = Decimal(10**scale)
    packed: list[Packed] = []
    for bar in bars:
        o, h, low, c = (bar.o * factor, bar.h * factor, bar.l * factor, bar.c * factor)
        o_int, h_int, low_int, c_int = int(o), int(h), int(low), int(c)
        if o_int != o or h_int != h or low_int != low or c_int != c:
            return None
        packed.append((o_int, h_int, low_int, c_int, round(bar.v * VOLUME_UNIT)))
    return packed


def _rescale(chunk: BarChunk, scale: int) -> None:
    factor = 10 ** (scale - chunk.price_scale)
    chunk.price_scale = scale
    chunk.o, chunk.h, chunk.l, chunk.c = (
        [value * factor for value in column] for column in (chunk.o, chunk.h, chunk.l, chunk.c)
    )


def replace(chunk: BarChunk, bar: Bar) -> Bar | None:
    """Put the bar, in memory, in the place of the one with its time, and return that one; None when there is none."""
    slot = (bar.time - unix_of_day(chunk.start)) // UNIT_SECONDS[Resolution(chunk.resolution)]
    if slot not in chunk.t:
        return None
    place = chunk.t.index(slot)
    o, h, low, c, v = (column[place] for column in _columns(chunk))
    earlier = unpack(chunk.price_scale, bar.time, o, h, low, c, v)
    packed = pack(chunk, [bar])[0]
    for column, value in zip(_columns(chunk), packed, strict=True):
        column[place] = value
    return earlier


def _columns(chunk: BarChunk) -> tuple[list[int], ...]:
    return chunk.o, chunk.h, chunk.l, chunk.c, chunk.v


def unpack(scale: int, time: int, o: int, h: int, low: int, c: int, v: int) -> Bar:
    """The bar of these integers of 10**-scale, exactly."""
    o_, h_, low_, c_ = (Decimal(price).scaleb(-scale) for price in (o, h, low, c))
    return Bar(time, o_, h_, low_, c_, Decimal(v).scaleb(-VOLUME_DECIMALS))


def _fill(chunk: BarChunk, known: dict[int, Packed]) -> None:
    times = list(known)
    if chunk.t != times[: len(chunk.t)] or times != sorted(times):
        times.sort()
    chunk.t = times
    chunk.o, chunk.h, chunk.l, chunk.c, chunk.v = map(list, zip(*(known[slot] for slot in times), strict=True))


def save(chunks: Iterable[BarChunk]) -> None:
    """Write the columns of chunks that are in the database already."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE marketdata_barchunk SET price_scale = %s, t = %s::smallint[], o = %s::bigint[], h = %s::bigint[],"
            " l = %s::bigint[], c = %s::bigint[], v = %s::bigint[] WHERE id = %s",
            [(k.price_scale, *map(_as_text, (k.t, k.o, k.h, k.l, k.c, k.v)), k.pk) for k in chunks],
        )


def _as_text(column: Iterable[int]) -> str:
    """The column as Postgres writes an array. psycopg would adapt number by number, ten times as slowly."""
    return f"{{{','.join(map(str, column))}}}"
