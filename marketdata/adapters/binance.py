"""Binance's public market data of spot symbols.

Over WebSocket trades and best bid and ask, combined in one connection; over HTTP, where a firewall lets nothing else
through, best bid and ask alone.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from marketdata.adapters.base import Adapter, Price, Unreadable


class Data(msgspec.Struct):
    """A trade (`e` is "trade") or a best bid and ask (without `e`)."""

    s: str  # symbol
    e: str = ""
    T: int = 0  # time of the trade, Unix milliseconds
    p: Decimal | None = None
    q: Decimal | None = None
    b: Decimal | int | None = None  # best bid; in older trades the buyer's order
    B: Decimal | None = None
    a: Decimal | int | None = None
    A: Decimal | None = None


class Message(msgspec.Struct):
    """Of a combined stream; answers to requests have no `data`."""

    stream: str = ""
    data: Data | None = None


_decode = msgspec.json.Decoder(Message).decode


class Binance(Adapter):
    public_url = "wss://stream.binance.com:9443"

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(symbols)
        self._books: dict[str, Price] = {}

    def address(self, url: str) -> str:
        names = (f"{symbol.lower()}@{kind}" for symbol in self.symbols for kind in ("bookTicker", "trade"))
        return f"{url.rstrip('/')}/stream?streams={'/'.join(names)}"

    def prices(self, message: str | bytes) -> Iterable[Price]:
        """A trade comes with the best bid and ask before it; one before any of them is left out."""
        try:
            data = _decode(message).data
        except msgspec.MsgspecError as error:
            raise Unreadable(str(error)) from error
        if data is None:
            return
        if data.e == "trade":
            if data.p and data.q and (book := self._books.get(data.s)):
                yield book._replace(time_ms=data.T, last=data.p, last_size=data.q)
        elif data.b and data.a and data.B is not None and data.A is not None:
            # The source gives these no time of their own.
            now_ms = time.time_ns() // 1_000_000
            book = Price(data.s, now_ms, Decimal(data.b), Decimal(data.a), data.B, data.A)
            self._books[data.s] = book
            yield book


class Ticker(msgspec.Struct):
    """The best bid and ask of a symbol at the moment of the answer."""

    symbol: str
    bidPrice: Decimal  # noqa: N815 (Binance's names)
    bidQty: Decimal  # noqa: N815
    askPrice: Decimal  # noqa: N815
    askQty: Decimal  # noqa: N815


_decode_tickers = msgspec.json.Decoder(list[Ticker]).decode


class PolledBinance(Adapter):
    """It knows no trades: bars of instruments that are made of trades stand still with it."""

    public_url = "https://api.binance.com"
    poll_seconds = 1.0

    def address(self, url: str) -> str:
        names = msgspec.json.encode(list(self.symbols)).decode()
        return f"{url.rstrip('/')}/api/v3/ticker/bookTicker?{urlencode({'symbols': names})}"

    def prices(self, message: str | bytes) -> Iterable[Price]:
        """One for each symbol, changed or not: that the source was asked and answered shows that it is alive."""
        try:
            tickers = _decode_tickers(message)
        except msgspec.MsgspecError as error:
            raise Unreadable(str(error)) from error
        now_ms = time.time_ns() // 1_000_000
        for each in tickers:
            if each.bidPrice and each.askPrice:
                yield Price(each.symbol, now_ms, each.bidPrice, each.askPrice, each.bidQty, each.askQty)
