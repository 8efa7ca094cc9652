"""The lines of `/tv/streaming`: what a tick of the log becomes for TradingView (STRM-7 … STRM-13)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec
from django import db

from marketdata.choices import BarSource, SymbolType
from marketdata.chunks import MINUTE_SECONDS
from marketdata.folding import FUTURE_MS, MINUTE_MS, Source
from marketdata.models import Instrument
from marketdata.ticklog import Entry, Tick
from tvapi.day_bars import DayBars

REFRESH_SECONDS = 4.0  # how long a changed instrument goes unnoticed

logger = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """Whole lines, and the source times of their ticks in Unix milliseconds."""

    data: bytes
    times_ms: tuple[int, ...] = ()


class TradeLine(msgspec.Struct, tag_field="f", tag="t"):
    """A trade, or what stands for one where there are none (STRM-8). `t` is in Unix seconds, to the millisecond."""

    id: str
    p: Decimal
    s: Decimal
    t: float


class QuoteLine(msgspec.Struct, tag_field="f", tag="q", rename={"as_": "as"}):
    """Both sides of the market (STRM-10)."""

    id: str
    t: float
    ap: Decimal
    as_: Decimal
    bp: Decimal
    bs: Decimal


class DayLine(msgspec.Struct, tag_field="f", tag="d"):
    """The bar of the trading day so far, where we give daily bars (STRM-11); `t` is 00:00 UTC of it (BAR-5)."""

    id: str
    t: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's word)
    c: Decimal
    v: Decimal


class HeartbeatLine(msgspec.Struct):
    """It keeps TradingView subscribed when nothing is traded; `heartbeat` is the Unix time in whole seconds
    (STRM-14)."""

    heartbeat: int


_encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines


def heartbeat(now: float) -> Chunk:
    return Chunk(_encode_lines([HeartbeatLine(round(now))]))


class Lines:
    """Writes ticks as lines. For one thread; reads the instruments from the database every few seconds.

    `sent_ms` has the time of each symbol's latest price in Unix milliseconds: lines do not go back behind it.
    """

    def __init__(self, sent_ms: Mapping[str, int]) -> None:
        self._sources: dict[str, Source] = {}
        self._refresh_at = 0.0
        self._sent_ms = dict(sent_ms)
        self._days = DayBars()

    def of(self, entries: Iterable[Entry]) -> Chunk:
        """The lines of these ticks; none for those of unknown symbols, and for those that come too late or too
        early."""
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            self._refresh()
        horizon_ms = int(time.time() * 1000) + FUTURE_MS
        lines: list[msgspec.Struct] = []
        times_ms: list[int] = []
        for entry in entries:
            source = self._sources.get(entry.tick.symbol)
            if source and (tick := self._in_time(entry.tick, horizon_ms)):
                times_ms.append(entry.tick.time_ms)
                lines += self._lines_of(Entry(entry.id, tick), source)
        return Chunk(_encode_lines(lines), tuple(times_ms))

    def _in_time(self, tick: Tick, horizon_ms: int) -> Tick | None:
        """The tick with a time that is not before that of the one before it (STRM-13); None when it makes no line.

        A late one whose minute is still open corrects its bar, and so gets a line, with the latest time. Recorded
        prices, replayed, come too late where there are prices of today.
        """
        sent_ms = self._sent_ms.get(tick.symbol, 0)
        if tick.time_ms >= horizon_ms or tick.time_ms // MINUTE_MS < sent_ms // MINUTE_MS:
            return None
        if tick.time_ms < sent_ms:
            if tick.lane:
                return None
            return msgspec.structs.replace(tick, time_ms=sent_ms)
        self._sent_ms[tick.symbol] = tick.time_ms
        return tick

    def _lines_of(self, entry: Entry, source: Source) -> list[msgspec.Struct]:
        tick, seconds = entry.tick, entry.tick.time_ms / 1000
        lines: list[msgspec.Struct] = []
        if trade := _trade(tick, source):
            lines.append(TradeLine(tick.symbol, *trade, seconds))
        lines.append(QuoteLine(tick.symbol, seconds, tick.ask, tick.ask_size, tick.bid, tick.bid_size))
        if trade and source.instrument.has_daily and (day := self._days.with_tick(entry, source)):
            lines.append(DayLine(tick.symbol, *day))
        return lines

    def _refresh(self) -> None:
        """Read which symbols `/symbol_info` has (STRM-12). Without the database it goes on with those it knows."""
        try:
            instruments = Instrument.objects.exclude(symbol_group=None)
            self._sources = {instrument.symbol: Source(instrument) for instrument in instruments}
        except db.Error as error:
            db.close_old_connections()
            logger.warning("The instruments cannot be read, going on with those known: %s", error)


def _trade(tick: Tick, source: Source) -> tuple[Decimal, Decimal] | None:
    """Price and size of the tick's trade line; None when it makes no bar either.

    STRM-8 asks for artificial trades at the bid, of forex at the middle price with size 0. We send them at the price
    that our bars are made of, which `/symbol_info` declares as `bar-source`: bars built from the trades, those built
    from the quotes, and those of `/history` are then the same (STRM-15). For forex the size is 0; otherwise it is what
    the tick adds to the volume of its bar, one, and not what is bid.
    """
    if (priced := source.price_and_size(tick)) is None or not _is_open(source, tick):
        return None
    price, size = priced
    if source.instrument.bar_source == BarSource.TRADE:
        return price, size
    if source.instrument.type == SymbolType.FOREX:
        return price, Decimal(0)
    return price, size


def _is_open(source: Source, tick: Tick) -> bool:
    """Whether the tick counts for a bar (SES-8); without the database it does in doubt."""
    try:
        return source.is_open(tick.time_ms // MINUTE_MS * MINUTE_SECONDS)
    except db.Error:
        return True
