"""Checks of a ticket that need no lock: instrument, quantity, prices, session."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from accounts.models import Account, TradingConditions
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from marketdata.quotes import Quote
from marketdata.sessions import NeverOpens
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.prices import Prices

if TYPE_CHECKING:
    from trading.models import Order
    from trading.orders import Ticket

PRICES_OF = {
    OrderType.MARKET: (False, False),
    OrderType.LIMIT: (True, False),
    OrderType.STOP: (False, True),
}


def ticket(
    instrument: Instrument,
    ticket: Ticket,
    prices: Prices,
    conditions: TradingConditions,
    now: datetime,
    *,
    closing: bool = False,
    before: Order | None = None,
) -> Quote | None:
    """Raise OrderRejected unless the instrument takes such an order now; return the quote it was decided on.

    A market order needs an open market and a fresh price; limit and stop orders may rest through the night, so for them
    the quote may be missing. `before` is the order as it is, when it is being modified.
    """
    if instrument.state == InstrumentState.HALTED:
        raise OrderRejected(Reason.INSTRUMENT_HALTED, symbol=instrument.symbol)
    _quantity(instrument, ticket.qty, closing=closing)
    _order_prices(instrument, ticket)
    if ticket.type is OrderType.MARKET:
        _market_open(instrument, now)
        return prices.fresh(instrument.symbol, now=now, max_age_seconds=conditions.max_quote_age_seconds)
    quote = prices.quote(instrument.symbol)
    if ticket.type is OrderType.STOP and quote and (before is None or before.stop_price != ticket.stop_price):
        _stop_side(ticket, quote)
    return quote


def room_for_one_more(account: Account, conditions: TradingConditions) -> None:
    """Refuse another order beyond the number of open ones that the group allows."""
    count = account.orders.live().count()
    if count >= conditions.max_open_orders:
        raise OrderRejected(Reason.TOO_MANY_ORDERS, count=count)


def _quantity(instrument: Instrument, qty: Decimal, *, closing: bool) -> None:
    symbol = instrument.symbol
    if qty % instrument.qty_step:
        raise OrderRejected(Reason.QTY_STEP, symbol=symbol, qty_step=instrument.qty_step)
    if qty < instrument.min_qty and not closing:  # what is left of a position may be less
        raise OrderRejected(Reason.QTY_TOO_SMALL, symbol=symbol, min_qty=instrument.min_qty)
    if qty > instrument.max_qty and not closing:
        raise OrderRejected(Reason.QTY_TOO_LARGE, symbol=symbol, max_qty=instrument.max_qty)


def _order_prices(instrument: Instrument, ticket: Ticket) -> None:
    """Exactly the prices of the order's type (ORD-10), above zero, on the instrument's grid."""
    for price, wanted in zip((ticket.limit_price, ticket.stop_price), PRICES_OF[ticket.type], strict=True):
        if price is None and wanted:
            raise OrderRejected(Reason.PRICE_MISSING)
        if price is None:
            continue
        if not wanted:
            raise OrderRejected(Reason.PRICE_UNWANTED)
        if price <= 0:
            raise OrderRejected(Reason.PRICE_NOT_POSITIVE)
        if price % instrument.tick_size:
            raise OrderRejected(Reason.PRICE_STEP, symbol=instrument.symbol, tick_size=instrument.tick_size)


def _market_open(instrument: Instrument, now: datetime) -> None:
    if instrument.session.is_open(now):
        return
    try:
        opens = f"{instrument.session.next_open(now):%Y-%m-%d %H:%M} UTC"
    except NeverOpens:
        opens = "–"
    raise OrderRejected(Reason.MARKET_CLOSED, symbol=instrument.symbol, opens=opens)


def _stop_side(ticket: Ticket, quote: Quote) -> None:
    """A stop order lies beyond the market (ORD-23)."""
    assert ticket.stop_price is not None
    if ticket.side is Side.BUY and ticket.stop_price <= quote.ask:
        raise OrderRejected(Reason.STOP_SIDE_BUY, price=quote.ask)
    if ticket.side is Side.SELL and ticket.stop_price >= quote.bid:
        raise OrderRejected(Reason.STOP_SIDE_SELL, price=quote.bid)
