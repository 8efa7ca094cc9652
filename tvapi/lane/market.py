"""The latest quotes in the memory of the process. They follow the tick log, from which all quotes come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from marketdata import badticks, ticklog
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading.prices import Prices
from tvapi.lane.pipe import Pipe

BATCH = 5000
BLOCK_MS = 200
JUDGE_SECONDS = 0.2
SILENT_SECONDS = 3.0  # without a word from Redis, the quotes are not known to be the latest


class _Head(msgspec.Struct, array_like=True):
    """The beginning of a tick: whether a tick matters is to be told without reading all of it."""

    symbol: str
    time_ms: int


_decode_head = msgspec.json.Decoder(_Head).decode


class NotKnown(Exception):
    """What a price is to be held against is not here yet."""


class Market:
    """Every symbol's latest quote. It is read whole when somebody asks for it."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}  # as the hash of quotes has them
        self._times: dict[str, int] = {}
        self._quotes: dict[str, Quote] = {}
        # What prices of pairs are held against, for those asked for (see `marketdata.badticks`); None: nothing.
        self._references: dict[str, badticks.Reference | None] = {}
        self._wanted: set[str] = set()
        self._judged_at = 0.0
        self._heard = 0.0
        self.position = b"0-0"  # the last entry of the log that is in the quotes

    @property
    def is_live(self) -> bool:
        return time.monotonic() - self._heard < SILENT_SECONDS

    def quote(self, symbol: str) -> Quote | None:
        if (quote := self._quotes.get(symbol)) is None and (value := self._values.get(symbol)):
            quote = self._quotes[symbol] = Quote.of(ticklog.decode_quote(value))
        return quote

    def is_bad(self, symbol: str, quote: Quote) -> bool:
        """As `badticks.latest` judges it. Raises NotKnown."""
        if symbol not in self._references:
            self._wanted.add(symbol)
            raise NotKnown
        at_ms = int(quote.time.timestamp() * 1000)
        return badticks.defect(quote.bid, quote.ask, self._references[symbol], at_ms) is not None

    async def follow(self, pipe: Pipe) -> None:
        """Read all quotes, then every tick, until the pipe ends. Raises OSError."""
        await self._load(pipe)
        while True:
            self._heard = time.monotonic()
            await self._load_references(pipe)
            [found] = await pipe.ask(
                ("XREAD", "COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", ticklog.STREAM, self.position)
            )
            if found:
                [[_stream, entries]] = found
                self._take(entries)
                self.position = entries[-1][0]

    async def _load(self, pipe: Pipe) -> None:
        """Start afresh; ticks that come between the two questions are in both answers, which does no harm."""
        newest, values, times = await pipe.ask(
            ("XREVRANGE", ticklog.STREAM, "+", "-", "COUNT", 1),
            ("HGETALL", ticklog.QUOTES),
            ("HGETALL", ticklog.QUOTE_TIMES),
        )
        self._quotes.clear()
        self._values = {symbol.decode(): value for symbol, value in _pairs(values)}
        self._times = {symbol.decode(): int(time_ms) for symbol, time_ms in _pairs(times)}
        self.position = newest[0][0] if newest else b"0-0"

    async def _load_references(self, pipe: Pipe) -> None:
        """They move with the ticks of a minute, so a few looks a second are enough."""
        if not self._wanted or time.monotonic() - self._judged_at < JUDGE_SECONDS:
            return
        self._judged_at, symbols = time.monotonic(), list(self._wanted)
        [stored] = await pipe.ask(("HMGET", badticks.REFERENCES, *symbols))
        found = zip(symbols, stored, strict=True)
        self._references = {symbol: badticks.reference_in(value) if value else None for symbol, value in found}

    def _take(self, entries: Iterable[tuple[bytes, list[bytes]]]) -> None:
        """Keep what is not older than the quote there is: the rule by which the log itself keeps the latest."""
        for id_, [_name, body] in entries:
            head = _decode_head(body)
            if self._times.get(head.symbol, 0) <= head.time_ms:
                self._times[head.symbol] = head.time_ms
                self._values[head.symbol] = id_ + b" " + body
                self._quotes.pop(head.symbol, None)


class LivePrices(Prices):
    """A view of the market in memory, with the pairs that join currencies (see `Prices`)."""

    def __init__(self, market: Market, pairs: Mapping[str, list[Instrument]]) -> None:
        self._market = market
        super().__init__()
        self._pairs = pairs

    def sound(self, symbol: str) -> Quote | None:
        quote = self.quote(symbol)
        return None if quote is None or self._market.is_bad(symbol, quote) else quote

    def load(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            if symbol not in self._quotes:
                self._quotes[symbol] = self._market.quote(symbol)


def _pairs(flat: list[Any]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
