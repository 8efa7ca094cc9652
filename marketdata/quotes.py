"""The latest quote of each symbol, as everybody sees it who is not following the tick log himself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from marketdata import ticklog
from marketdata.ticklog import Entry, Level


@dataclass(frozen=True, slots=True)
class Quote:
    """Bid and ask with the depth behind them, best level first; `version` is the id of the tick in the log."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time: datetime
    version: str

    @classmethod
    def of(cls, entry: Entry) -> Quote:
        tick = entry.tick
        return cls(
            symbol=tick.symbol,
            bid=tick.bid,
            ask=tick.ask,
            bids=tick.bids or ((tick.bid, tick.bid_size),),
            asks=tick.asks or ((tick.ask, tick.ask_size),),
            time=datetime.fromtimestamp(tick.time_ms / 1000, UTC),
            version=entry.id,
        )


def latest(symbols: Iterable[str]) -> dict[str, Quote]:
    """The latest quotes by symbol; a symbol that never had a price is missing. Raises `redis.RedisError`."""
    names = list(dict.fromkeys(symbols))
    if not names:
        return {}
    values = cast("list[bytes | None]", ticklog.connection().hmget(ticklog.QUOTES, names))
    return {name: Quote.of(ticklog.decode_quote(value)) for name, value in zip(names, values, strict=True) if value}


def get(symbol: str) -> Quote | None:
    """The latest quote of one symbol, or None when it never had a price."""
    return latest([symbol]).get(symbol)
