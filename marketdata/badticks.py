"""Ticks that nobody should trade on: crossed, zero, out of order, or a jump beyond what the symbol usually moves.

The engine judges every tick of the log, in order, and keeps of each symbol a reference: the last good middle price and
the average range of its minutes. The reference lies in Redis, so that everybody who reads a latest quote judges alike.
A jump that stays is a new price: once it has stood for `CONFIRM_MS` and some ticks, it becomes the reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
from django.conf import settings
from django.db.models import F

from marketdata import ticklog
from marketdata.choices import Defect
from marketdata.models import BadQuotes, Instrument
from marketdata.quotes import Quote
from marketdata.ticklog import Entry

REFERENCES = "quotes:references"
AVERAGE_OVER = 14  # minutes
CONFIRM_MS = 2000
CONFIRM_TICKS = 3
REFERENCE_MS = 60_000  # without a good tick for longer (a night, a weekend) the next price may lie anywhere
LATE_MS = 30_000
MINUTE_MS = 60_000


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """What a symbol's next price is held against. `range` is the average range of a minute, in price."""

    mid: Decimal
    range: Decimal
    time_ms: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Reference).decode


def defect(bid: Decimal, ask: Decimal, reference: Reference | None, at_ms: int) -> Defect | None:
    """What is wrong with these prices, if anything; without a recent reference no jump is seen."""
    if bid <= 0 or ask <= 0:
        return Defect.ZERO
    if bid > ask:
        return Defect.CROSSED
    if reference and at_ms - reference.time_ms <= REFERENCE_MS and not _is_near((bid + ask) / 2, reference):
        return Defect.JUMP
    return None


def latest(symbols: Iterable[str]) -> dict[str, tuple[Quote, Defect | None]]:
    """The latest quotes by symbol, each with what is wrong with it. Raises `redis.RedisError`."""
    names = list(dict.fromkeys(symbols))
    if not names:
        return {}
    with ticklog.connection().pipeline(transaction=False) as pipe:
        pipe.hmget(ticklog.QUOTES, names)
        pipe.hmget(REFERENCES, names)
        quotes, references = cast("tuple[list[bytes | None], list[bytes | None]]", pipe.execute())
    found = {}
    for name, value, stored in zip(names, quotes, references, strict=True):
        if value:
            quote = Quote.of(ticklog.decode_quote(value))
            reference = _decode(stored) if stored else None
            at_ms = int(quote.time.timestamp() * 1000)
            found[name] = (quote, defect(quote.bid, quote.ask, reference, at_ms))
    return found


def last_good(symbol: str) -> Decimal | None:
    """The middle of the symbol's last good tick; None before the first. Raises `redis.RedisError`."""
    stored = cast("bytes | None", ticklog.connection().hget(REFERENCES, symbol))
    return _decode(stored).mid if stored else None


def reference_in(stored: bytes) -> Reference:
    """A reference as it lies in Redis."""
    return _decode(stored)


def _is_near(mid: Decimal, reference: Reference) -> bool:
    usual: Decimal = max(reference.range * settings.QUOTE_JUMP_RANGES, reference.mid * settings.QUOTE_JUMP_FLOOR)
    return bool(abs(mid - reference.mid) <= usual)


@dataclass(slots=True)
class _Symbol:
    reference: Reference | None = None
    minute: int = 0
    high: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    newest_ms: int = 0
    jump: Reference | None = None  # where a jump went, and when
    jump_ticks: int = 0
    changed: bool = False


@dataclass(slots=True)
class Quality:
    """The judge of all ticks of the log: one in each deployment, in the process that reads the log for the orders."""

    _symbols: dict[str, _Symbol] = field(default_factory=dict)
    _counts: Counter[tuple[str, Defect]] = field(default_factory=Counter)
    _last: dict[tuple[str, Defect], Entry] = field(default_factory=dict)

    def judge(self, entry: Entry) -> Defect | None:
        """What is wrong with the next tick of the log, counted; a good one moves the reference."""
        tick = entry.tick
        symbol = self._symbols.setdefault(tick.symbol, _Symbol())
        found = self._defect(symbol, entry)
        if found:
            self._counts[tick.symbol, found] += 1
            self._last[tick.symbol, found] = entry
        else:
            _move(symbol, (tick.bid + tick.ask) / 2, tick.time_ms)
        return found

    def _defect(self, symbol: _Symbol, entry: Entry) -> Defect | None:
        tick = entry.tick
        late_ms = int(entry.id.partition("-")[0]) - tick.time_ms
        if tick.time_ms < symbol.newest_ms or late_ms > LATE_MS:
            return Defect.STALE
        symbol.newest_ms = tick.time_ms
        found = defect(tick.bid, tick.ask, symbol.reference, tick.time_ms)
        if found is Defect.JUMP and _is_confirmed(symbol, (tick.bid + tick.ask) / 2, tick.time_ms):
            return None
        return found

    def publish(self) -> None:
        """Let everybody see the references that moved."""
        moved = {name: _encode(each.reference) for name, each in self._symbols.items() if each.changed}
        if moved:
            ticklog.connection().hset(REFERENCES, mapping=cast("Any", moved))
        for name in moved:
            self._symbols[name].changed = False

    def store_counts(self) -> None:
        """Add what was counted to the table, in the transaction that stores the place in the log: once is once."""
        if not self._counts:
            return
        instruments = Instrument.objects.in_bulk({name for name, _defect in self._counts}, field_name="symbol")
        for (name, found), count in self._counts.items():
            if name in instruments:
                _add(instruments[name], found, count, self._last[name, found])
        self._counts.clear()
        self._last.clear()


def _add(instrument: Instrument, found: Defect, count: int, last: Entry) -> None:
    at = datetime.fromtimestamp(int(last.id.partition("-")[0]) / 1000, UTC)
    seen = {"last_bid": last.tick.bid, "last_ask": last.tick.ask, "last_at": at}
    row, is_new = BadQuotes.objects.get_or_create(
        instrument=instrument, defect=found, day=at.date(), defaults={"count": count, **seen}
    )
    if not is_new:
        BadQuotes.objects.filter(pk=row.pk).update(count=F("count") + count, **seen)


def _is_confirmed(symbol: _Symbol, mid: Decimal, time_ms: int) -> bool:
    """Has the price stood near the place it jumped to for a while?"""
    if symbol.jump is None or not _is_near(mid, symbol.jump):
        symbol.jump, symbol.jump_ticks = Reference(mid, Decimal(0), time_ms), 0
    symbol.jump_ticks += 1
    return symbol.jump_ticks >= CONFIRM_TICKS and time_ms - symbol.jump.time_ms >= CONFIRM_MS


def _move(symbol: _Symbol, mid: Decimal, time_ms: int) -> None:
    """Take a good price into the reference; at the end of a minute, its range into the average."""
    average = symbol.reference.range if symbol.reference else Decimal(0)
    minute = time_ms // MINUTE_MS
    if minute != symbol.minute or symbol.jump is not None:
        if symbol.minute and symbol.jump is None:
            ended = symbol.high - symbol.low
            average = ended if not average else average + (ended - average) / AVERAGE_OVER
        symbol.minute, symbol.high, symbol.low = minute, mid, mid
    symbol.high, symbol.low = max(symbol.high, mid), min(symbol.low, mid)
    symbol.reference, symbol.jump, symbol.changed = Reference(mid, average, time_ms), None, True
