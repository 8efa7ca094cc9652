"""Ticks for tests of bars, and the bars that came of them."""

from __future__ import annotations

from decimal import Decimal

from marketdata import bars, ticklog
from marketdata.builder import BarBuilder
from marketdata.models import Instrument
from marketdata.ticklog import Tick

START = 1_624_797_120  # 2021-06-27 12:32 UTC, a Sunday


def quote(
    second: float, bid: str, ask: str | None = None, *, symbol: str = "EURUSD", lane: str = "", seq: int = 0
) -> Tick:
    """A quote so many seconds after START; the ask is the bid unless given."""
    time_ms = int((START + second) * 1000)
    return Tick(symbol=symbol, time_ms=time_ms, bid=Decimal(bid), ask=Decimal(ask or bid), lane=lane, seq=seq)


def trade(second: float, last: str, size: str, *, symbol: str = "BTCUSDT") -> Tick:
    price = Decimal(last)
    time_ms = int((START + second) * 1000)
    return Tick(symbol=symbol, time_ms=time_ms, bid=price, ask=price, last=price, last_size=Decimal(size))


def build(*ticks: Tick, builder: BarBuilder | None = None) -> BarBuilder:
    """Append the ticks to the log and let a builder read it to the end."""
    ticklog.append(ticks)
    builder = builder or BarBuilder()
    while builder.run_once():
        pass
    return builder


def minutes(instrument: Instrument, start: int = START, end: int = START + 86_400) -> list[tuple[float, ...]]:
    """The minute bars as rows (time, open, high, low, close, volume), times as minutes after START."""
    columns = bars.history(instrument, "1", start, end)
    return [((row[0] - START) // 60, *row[1:]) for row in zip(*columns, strict=True)]
