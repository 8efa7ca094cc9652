"""Checks of a ticket that need no lock: instrument, quantity, prices, session."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from accounts.choices import AccountState
from accounts.models import Account, TradingConditions
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from marketdata.quotes import Quote
from marketdata.sessions import NeverOpens
from trading import margin, venue
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.prices import Prices
from trading.tickets import Ticket

PRICES_OF = {
    OrderType.MARKET: (False, False),
    OrderType.LIMIT: (True, False),
    OrderType.STOP: (False, True),
    OrderType.STOP_LIMIT: (True, True),
}
IMMEDIATE_TYPES = (OrderType.MARKET, OrderType.LIMIT)


def ticket(
    instrument: Instrument,
    ticket: Ticket,
    prices: Prices,
    conditions: TradingConditions,
    now: datetime,
    *,
    closing: bool = False,
    whole: bool = False,
    before: Order | None = None,
) -> Quote | None:
    """Raise OrderRejected unless the instrument takes such an order now; return the quote it was decided on.

    A market order needs an open market and a fresh price; limit and stop orders may rest through the night, so for them
    the quote may be missing. `closing`: it closes a position, and with `whole` all that is left to be closed of it.
    `before` is the order as it is, when it is being modified.
    """
    if instrument.state == InstrumentState.HALTED:
        raise OrderRejected(Reason.INSTRUMENT_HALTED, symbol=instrument.symbol)
    _quantity(instrument, ticket.qty, closing=closing, whole=whole)
    _order_prices(instrument, ticket)
    if ticket.duration.is_immediate and ticket.type not in IMMEDIATE_TYPES:
        raise OrderRejected(Reason.DURATION_OF_TYPE, type=ticket.type.label, duration=ticket.duration.label)
    if ticket.type is OrderType.MARKET or ticket.duration.is_immediate:
        _market_open(instrument, now)
        return prices.fresh(instrument.symbol, now=now, max_age_seconds=conditions.max_quote_age_seconds)
    quote = prices.sound(instrument.symbol)
    if quote is None and ticket.stop_price is not None and prices.quote(instrument.symbol):
        raise OrderRejected(Reason.NO_PRICE, symbol=instrument.symbol)  # on which side of a bad price would it lie?
    if quote:
        if ticket.stop_price is not None and (before is None or before.stop_price != ticket.stop_price):
            _stop_side(ticket, quote, conditions, before)
        _price_band(ticket, quote, conditions, before)
    return quote


def account(account: Account, instrument: Instrument, ticket: Ticket, *, before: Order | None = None) -> None:
    """Refuse what the state of account, group or instrument does not allow. `before` as for `ticket`."""
    may_trade(account)
    state = account.trading_state
    close_only = instrument.state == InstrumentState.CLOSE_ONLY
    if state is AccountState.ACTIVE and not close_only:
        return
    if not _opens(account, instrument, ticket, before):
        return
    if state is AccountState.CLOSE_ONLY:
        raise OrderRejected(Reason.ACCOUNT_CLOSE_ONLY)
    raise OrderRejected(Reason.INSTRUMENT_CLOSE_ONLY, symbol=instrument.symbol)


def may_trade(account: Account) -> None:
    """Refuse whatever a client asks of an account that may not trade at all."""
    if account.trading_state not in (AccountState.ACTIVE, AccountState.CLOSE_ONLY):
        raise OrderRejected(Reason.ACCOUNT_NO_TRADING)


def _opens(account: Account, instrument: Instrument, ticket: Ticket, before: Order | None) -> bool:
    if before and before.closes_id:
        return False
    if not account.profile.has_positions:
        return ticket.side is Side.BUY
    leaves = ticket.qty - (before.filled_qty if before else 0)
    return bool(margin.opening_qty(account, instrument, ticket.side, leaves, besides=before))


def room_for(more: int, live_orders: int, conditions: TradingConditions) -> None:
    """Refuse so many more orders beyond the number of open ones that the group allows."""
    if live_orders + more > conditions.max_open_orders:
        raise OrderRejected(Reason.TOO_MANY_ORDERS, count=live_orders)


def is_if_touched(ticket: Ticket, quote: Quote | None) -> bool:
    """Does the stop price lie on this side of the market, so that it is reached from the other direction (ORD-23)?"""
    if ticket.stop_price is None or quote is None:
        return False
    return ticket.stop_price < quote.ask if ticket.side is Side.BUY else ticket.stop_price > quote.bid


def _quantity(instrument: Instrument, qty: Decimal, *, closing: bool, whole: bool) -> None:
    symbol = instrument.symbol
    if qty % instrument.qty_step and not whole:  # the step may have grown since the position was opened
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


def _stop_side(ticket: Ticket, quote: Quote, conditions: TradingConditions, before: Order | None) -> None:
    """A stop order lies beyond the market, unless the group takes them on both sides (ORD-23), and we have it."""
    is_limit = ticket.type is OrderType.STOP_LIMIT
    both_ways = conditions.stop_limits_both_ways if is_limit else conditions.stops_both_ways
    if both_ways and (before is None or before.venue == venue.INTERNAL):
        return
    assert ticket.stop_price is not None
    if ticket.side is Side.BUY and ticket.stop_price <= quote.ask:
        raise OrderRejected(Reason.STOP_SIDE_BUY, price=quote.ask)
    if ticket.side is Side.SELL and ticket.stop_price >= quote.bid:
        raise OrderRejected(Reason.STOP_SIDE_SELL, price=quote.bid)


def _price_band(ticket: Ticket, quote: Quote, conditions: TradingConditions, before: Order | None) -> None:
    """Refuse new prices that lie further from the market than the group allows: mistyped, most of the time."""
    if conditions.price_band is None:
        return
    low, high = quote.bid * (1 - conditions.price_band), quote.ask * (1 + conditions.price_band)
    old = (before.limit_price, before.stop_price) if before else ()
    for price in (ticket.limit_price, ticket.stop_price):
        if price is not None and price not in old and not low <= price <= high:
            raise OrderRejected(Reason.PRICE_BAND, low=low, high=high)
