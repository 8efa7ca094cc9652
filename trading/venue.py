"""Who executes. One venue so far: `internal`, the broker itself, which fills from its own quotes and their depth."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from marketdata.quotes import Quote
from trading.choices import OrderType, Side
from trading.models import Order

INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Fill:
    """What a venue reports of an execution. By `exec_id`, the venue's own, a report that comes twice is known."""

    qty: Decimal
    price: Decimal
    exec_id: str


def is_marketable(order: Order, quote: Quote) -> bool:
    """Does the order trade at these prices: any market order, a touched limit, a stop that was or is now reached?"""
    price = quote.ask if order.side == Side.BUY else quote.bid
    match order.type:
        case OrderType.LIMIT:
            assert order.limit_price is not None
            return price <= order.limit_price if order.side == Side.BUY else price >= order.limit_price
        case OrderType.STOP:
            assert order.stop_price is not None
            reached = price >= order.stop_price if order.side == Side.BUY else price <= order.stop_price
            return reached or order.triggered_at is not None
        case _:
            return True


def match(order: Order, quote: Quote) -> list[Fill]:
    """The fills of an order against the depth of one book, best level first; never worse than its limit.

    Each book is used once for an order (`last_book`): what it does not hold is filled from the next one.
    """
    if quote.version == order.last_book or not is_marketable(order, quote):
        return []
    fills: list[Fill] = []
    leaves, step = order.leaves_qty, order.instrument.qty_step
    for level, (price, size) in enumerate(quote.asks if order.side == Side.BUY else quote.bids):
        if not leaves or not _within_limit(order, price):
            break
        qty = min(leaves, (size / step).to_integral_value(ROUND_DOWN) * step)
        if qty > 0:
            fills.append(Fill(qty, price, f"{order.pk}-{quote.version}-{level}"))
            leaves -= qty
    return fills


def _within_limit(order: Order, price: Decimal) -> bool:
    if order.limit_price is None:
        return True
    return price <= order.limit_price if order.side == Side.BUY else price >= order.limit_price
