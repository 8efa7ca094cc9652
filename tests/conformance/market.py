"""The market of the broker in memory: one symbol whose bars and prices follow from the time, with a hole in its bars
every 97 minutes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

D = Decimal
MINUTE, DAY = 60, 86400


TICK = D("0.00001")
SPREAD = 20 * TICK
TICKS_A_SECOND = 20
_OPENED = time.monotonic()


def quote() -> tuple[Decimal, Decimal]:
    """Bid and ask, which rise steadily."""
    bid = D("1.10000") + int((time.monotonic() - _OPENED) * TICKS_A_SECOND) * TICK
    return bid, bid + SPREAD


class Refused(Exception):
    """Answered with `s: error`."""


def bar(at: int) -> tuple[Decimal, ...]:
    """Open, high, low, close, volume of the minute; the same for ever."""
    open_, close = D(10_000 + at // 60 * 7919 % 100) / 100, D(10_000 + at // 60 * 104_729 % 100) / 100
    return open_, max(open_, close) + D("0.01"), min(open_, close) - D("0.01"), close, D(1 + at // 60 % 9)


def history(query: Mapping[str, str]) -> dict[str, Any]:
    if query["symbol"] != "EURUSD":
        raise Refused("There is no such symbol.")
    start, end = int(query["from"]), min(int(query["to"]), int(time.time()))
    beginning = int(time.time()) // DAY * DAY - 5 * DAY
    if "D" in query["resolution"]:
        rows = [(at, *_day(at)) for at in range(beginning, end + 1, DAY) if at >= start]
    else:
        first = max(beginning, -(-start // MINUTE) * MINUTE)
        rows = [(at, *bar(at)) for at in range(first, end + 1, MINUTE) if at % (97 * MINUTE)]
        if "countback" in query:
            rows = [(at, *bar(at)) for at in range(beginning, end + 1, MINUTE) if at % (97 * MINUTE)]
            rows = rows[-int(query["countback"]) :]
    columns = zip(*rows, strict=True) if rows else [[]] * 6
    return {"s": "ok", **dict(zip("tohlcv", map(list, columns), strict=True))}


def _day(at: int) -> tuple[Decimal, ...]:
    minutes = [bar(m) for m in range(at, min(at + DAY, int(time.time())), MINUTE) if m % (97 * MINUTE)]
    volume = sum((each[4] for each in minutes), D(0))
    return minutes[0][0], max(m[1] for m in minutes), min(m[2] for m in minutes), minutes[-1][3], volume


SYMBOLS = {
    "symbol": ["EURUSD"],
    "description": ["Euro / US dollar"],
    "currency": "USD",
    "base-currency": "EUR",
    "exchange-listed": "DEMO",
    "exchange-traded": "DEMO",
    "minmovement": 1,
    "minmovement2": 10,
    "pricescale": 100_000,
    "type": "forex",
    "timezone": "Etc/UTC",
    "session-regular": "24x7",
    "has-daily": True,
}
