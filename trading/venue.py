"""Who executes. One venue so far: `internal`, the broker itself, which fills from its own quotes and their depth."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Self

from marketdata.quotes import Quote
from trading.choices import Side
from trading.models import Order

if TYPE_CHECKING:
    from accounts.models import TradingConditions
    from marketdata.models import Instrument

INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Fill:
    """What a venue reports of an execution. By `exec_id`, the venue's own, a report that comes twice is known."""

    qty: Decimal
    price: Decimal
    exec_id: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How we fill the orders of a group ourselves; all of it in price units of the instrument.

    `mark_up` makes each fill dearer for buyers and cheaper for sellers. Depth is used no further than `slippage` from
    its best price. `last_look` is how far the price may have moved since a market order was accepted.
    """

    mark_up: Decimal = Decimal(0)
    slippage: Decimal | None = None
    last_look: Decimal | None = None

    @classmethod
    def of(cls, conditions: TradingConditions, instrument: Instrument) -> Self:
        pip = instrument.pip_size
        slippage, last_look = conditions.slippage_pips, conditions.last_look_pips
        return cls(
            conditions.mark_up_pips * pip,
            None if slippage is None else slippage * pip,
            None if last_look is None else last_look * pip,
        )


def price_for(side: Side, quote: Quote) -> Decimal:
    """The price that an order of this side trades at: buys at the ask, sells at the bid."""
    return quote.ask if side is Side.BUY else quote.bid


def is_reached(order: Order, quote: Quote) -> bool:
    """Has the market come to the order's stop price: from below for a buy, unless it is an if-touched one (ORD-23)?"""
    assert order.stop_price is not None
    side = Side(order.side)
    price = price_for(side, quote)
    waits_for_rise = (side is Side.BUY) != order.if_touched
    return price >= order.stop_price if waits_for_rise else price <= order.stop_price


def is_marketable(order: Order, quote: Quote) -> bool:
    """Does the order trade at these prices: a stop that was or is now reached, and a limit that is touched?"""
    if order.awaits_stop and not is_reached(order, quote):
        return False
    return _within_limit(order, price_for(Side(order.side), quote))


def match(order: Order, quote: Quote, terms: Terms) -> list[Fill]:
    """The fills of an order against the depth of one book, best level first; never worse than its limit.

    Each book is used once for an order (`last_book`): what it does not hold, and what lies beyond the slippage of the
    terms, is filled from the next one.
    """
    if quote.version == order.last_book or not is_marketable(order, quote):
        return []
    fills: list[Fill] = []
    leaves, step = order.leaves_qty, order.instrument.qty_step
    levels = quote.asks if order.side == Side.BUY else quote.bids
    for level, (quoted, size) in enumerate(levels):
        if terms.slippage is not None and abs(quoted - levels[0][0]) > terms.slippage:
            break
        price = order.instrument.round_price(quoted + Side(order.side).sign * terms.mark_up)
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
