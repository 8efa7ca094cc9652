"""Prices set by hand, and how long the simulator leaves them as they are.

A price set by hand is stronger than one the simulator is just making: it is appended after whatever the latest quote
is, while the simulator's is left out unless the quote it comes from is still the latest (`ticklog.append`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from marketdata import simulator, ticklog
from marketdata.models import Instrument
from marketdata.simulator import Market
from marketdata.ticklog import Entry, Tick


class Hold(msgspec.Struct, frozen=True):
    """The bid and ask that a symbol keeps."""

    bid: Decimal
    ask: Decimal


_decode = msgspec.json.Decoder(Hold).decode


def set_price(instrument: Instrument, bid: Decimal, ask: Decimal, *, hold_seconds: float) -> None:
    """Make this the instrument's latest quote, and keep it for a while; a hold from before ends. 0 s keeps nothing.

    The prices are taken as they are: whoever calls has checked them. Raises `redis.RedisError`.
    """
    # The hold comes first: whoever sees the price below sees that it is held.
    if hold_seconds > 0:
        ticklog.connection().set(
            _key(instrument.symbol), msgspec.json.encode(Hold(bid, ask)), px=int(hold_seconds * 1000)
        )
    else:
        ticklog.connection().delete(_key(instrument.symbol))
    taken = False
    while not taken:  # until no other tick came between reading the latest one and this
        latest, _hold = state([instrument.symbol])[0]
        time_ms = max(time.time_ns() // 1_000_000, latest.tick.time_ms if latest else 0)
        tick = _tick(instrument, bid, ask, time_ms)
        taken = bool(ticklog.append([tick], following={tick.symbol: latest.id if latest else ticklog.NONE}))


def state(symbols: Sequence[str]) -> list[tuple[Entry | None, Hold | None]]:
    """The latest tick and the hold of each symbol, all of one moment. Raises `redis.RedisError`."""
    if not symbols:
        return []
    with ticklog.connection().pipeline(transaction=True) as pipe:
        pipe.hmget(ticklog.QUOTES, symbols)
        pipe.mget([_key(symbol) for symbol in symbols])
        quotes, holds = pipe.execute()
    return [
        (ticklog.decode_quote(quote) if quote else None, _decode(hold) if hold else None)
        for quote, hold in zip(quotes, holds, strict=True)
    ]


def _key(symbol: str) -> str:
    return f"hold:{symbol}"


def _tick(instrument: Instrument, bid: Decimal, ask: Decimal, time_ms: int) -> Tick:
    """With the depth that the simulator gives it, else with one level that takes the largest order."""
    if market := Market.of(instrument):
        # A quote, not a trade: what is bid and asked is set here, not what somebody paid.
        return msgspec.structs.replace(simulator.held_tick(market, bid, ask, time_ms), last=None, last_size=None)
    return Tick(instrument.symbol, time_ms, bid, ask, bid_size=instrument.max_qty, ask_size=instrument.max_qty)
