"""From ticks to minutes: which price of a tick counts, which minute it belongs to, and when that minute is closed."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from django.core.exceptions import ValidationError

from marketdata.choices import BarSource
from marketdata.chunks import MINUTE_SECONDS, VOLUME_DECIMALS, VOLUME_LIMIT, Bar, PriceRange, from_unix, unix
from marketdata.models import Instrument, OpenBar
from marketdata.ticklog import Tick

MINUTE_MS = MINUTE_SECONDS * 1000
FUTURE_MS = 60_000  # how far a source's clock may be ahead: one tick of next year would make all others late
SOURCES_SECONDS = 10  # how long a changed instrument may go unnoticed

logger = logging.getLogger(__name__)


class Ignored(StrEnum):
    """Why a tick made no bar."""

    UNKNOWN_SYMBOL = "unknown symbol"
    NO_PRICE = "no price for bars"  # a quote where bars are made of trades, or a price that cannot be one
    OUTSIDE_SESSION = "outside the session"
    LATE = "its minute is closed"
    FUTURE = "ahead of the clock"
    REPEATED = "seen before"


@dataclass(slots=True)
class Minute:
    """A bar in the making. `start` is in Unix seconds, `last_seq` the number of the lane's last tick in it."""

    start: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's word)
    c: Decimal
    v: Decimal
    last_seq: int

    def add(self, price: Decimal, size: Decimal, seq: int) -> None:
        """BAR-7."""
        if price > self.h:
            self.h = price
        elif price < self.l:
            self.l = price
        self.c = price
        self.v = min(self.v + size, VOLUME_LIMIT)
        self.last_seq = seq

    def bar(self) -> Bar:
        return Bar(self.start, self.o, self.h, self.l, self.c, self.v)


class Source:
    """What bars need to know of an instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._kind = BarSource(instrument.bar_source)
        self._prices = PriceRange.of(instrument)
        self._session = instrument.session
        self._asked_minute = -1
        self._is_open = False

    def price_and_size(self, tick: Tick) -> tuple[Decimal, Decimal] | None:
        """The price that makes bars (BAR-8) and what it adds to the volume; None when the tick has none.

        A trade adds its size, a quote counts as one.
        """
        size = Decimal(1)
        price: Decimal | None
        if self._kind == BarSource.BID:
            price = tick.bid
        elif self._kind == BarSource.ASK:
            price = tick.ask
        elif self._kind == BarSource.MID:
            price = (tick.bid + tick.ask) / 2
        else:
            price, size = tick.last, tick.last_size or Decimal(0)
        if price is None or not self._prices.holds(price) or not size.is_finite() or not 0 <= size < VOLUME_LIMIT:
            return None
        return price, round(size, VOLUME_DECIMALS)

    def is_open(self, minute: int) -> bool:
        """Whether the regular session is open in the minute that begins then: others make no bars (SES-8)."""
        if minute != self._asked_minute:
            self._asked_minute = minute
            self._is_open = self._session.is_open(from_unix(minute))
        return self._is_open


class Sources:
    """The instruments by symbol, read when first seen and again every few seconds."""

    def __init__(self) -> None:
        self._known: dict[str, Source | None] = {}
        self._stale_at = 0.0

    def load(self, symbols: Iterable[str]) -> None:
        """Read those of the symbols that are not known yet."""
        if time.monotonic() >= self._stale_at:
            self._known = {}
            self._stale_at = time.monotonic() + SOURCES_SECONDS
        if missing := set(symbols) - self._known.keys():
            self._known.update(dict.fromkeys(missing))
            for instrument in Instrument.objects.filter(symbol__in=missing):
                try:
                    self._known[instrument.symbol] = Source(instrument)
                except ValidationError:
                    logger.exception("The session of %s cannot be read: it gets no bars", instrument)

    def get(self, symbol: str) -> Source | None:
        return self._known[symbol]


LaneKey = tuple[int, str]  # an instrument and one of its lanes


class Fold:
    """The work of one batch of ticks: which minutes it closes, and how it leaves those in progress.

    `minutes` holds the minutes in progress by lane, as far as they were asked for; it is brought up to date.
    """

    def __init__(self, sources: Sources, minutes: dict[LaneKey, Minute | None]) -> None:
        self.closed: dict[Instrument, list[Bar]] = defaultdict(list)
        self.ignored: Counter[Ignored] = Counter()
        self._sources = sources
        self._minutes = minutes
        self._touched: dict[LaneKey, Instrument] = {}
        self._horizon_ms = int(time.time() * 1000) + FUTURE_MS

    def add_all(self, ticks: list[Tick]) -> None:
        self._sources.load({tick.symbol for tick in ticks})
        self._load_minutes(ticks)
        for tick in ticks:
            if reason := self._add(tick):
                self.ignored[reason] += 1

    def _load_minutes(self, ticks: list[Tick]) -> None:
        lanes = {(source.instrument.pk, t.lane) for t in ticks if (source := self._sources.get(t.symbol)) is not None}
        if missing := lanes - self._minutes.keys():
            self._minutes.update(dict.fromkeys(missing))
            keys, names = zip(*missing, strict=True)
            for row in OpenBar.objects.filter(instrument__in=keys, lane__in=names):
                self._minutes[row.instrument_id, row.lane] = Minute(
                    unix(row.minute), row.o, row.h, row.l, row.c, row.v, row.last_seq
                )

    def _add(self, tick: Tick) -> Ignored | None:
        """Add the tick to its minute, or say why not."""
        if (source := self._sources.get(tick.symbol)) is None:
            return Ignored.UNKNOWN_SYMBOL
        if (priced := source.price_and_size(tick)) is None:
            return Ignored.NO_PRICE
        if not 0 <= tick.time_ms < self._horizon_ms:
            return Ignored.FUTURE
        start = tick.time_ms // MINUTE_MS * MINUTE_SECONDS
        if not source.is_open(start):
            return Ignored.OUTSIDE_SESSION
        key = (source.instrument.pk, tick.lane)
        minute = self._minutes[key]
        if minute is None or minute.start < start:
            if minute is not None:
                self.closed[source.instrument].append(minute.bar())
            price, size = priced
            self._minutes[key] = Minute(start, price, price, price, price, size, tick.seq)
        elif start < minute.start:
            return Ignored.LATE
        elif tick.seq and tick.seq <= minute.last_seq:
            return Ignored.REPEATED
        else:
            minute.add(*priced, tick.seq)
        self._touched[key] = source.instrument
        return None

    def open_bars(self) -> list[OpenBar]:
        """The rows of the minutes in progress that the batch has changed."""
        return [
            OpenBar(
                instrument=instrument, lane=key[1], minute=from_unix(minute.start), last_seq=minute.last_seq,
                o=minute.o, h=minute.h, l=minute.l, c=minute.c, v=minute.v,
            )
            for key, instrument in sorted(self._touched.items(), key=lambda item: item[0])
            if (minute := self._minutes[key]) is not None
        ]  # fmt: skip
