"""What an order would mean before it is placed or changed. Nothing is stored, reserved or locked (PRV-4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import partial

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account
from marketdata.models import Instrument
from trading import brackets, confirmations, executions, expiry, legs, margin, orders, risk, tradables, venue
from trading.choices import DurationType, OrderType
from trading.errors import OrderRejected, Reason, final_reason
from trading.executions import Booking
from trading.legs import Leg
from trading.models import Order
from trading.prices import Prices
from trading.tickets import NO_BRACKETS, Brackets, Ticket
from trading.tradables import Tradable
from trading.venue import Fill

Amount = tuple[Decimal, str]  # and its currency


@dataclass(slots=True)
class Preview:
    """Estimates at the prices of the moment. With errors there is nothing to confirm."""

    is_spot: bool
    price: Decimal
    value: Amount
    commission: Amount
    held: Amount | None = None
    expires_at: datetime | None = None
    at_stop_loss: Amount | None = None
    at_take_profit: Amount | None = None
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    confirm_id: str = ""


def of_ticket(account: Account, ticket: Ticket) -> Preview:
    """The preview of a new order.

    What would be refused is said in its `errors`. Raises OrderRejected where there is nothing to estimate: the
    instrument is unknown, or a market order has no price.
    """
    tradable = tradables.find(account, ticket.symbol)
    return _preview(account, tradable.instrument, ticket, partial(_check_new, tradable=tradable))


def of_change(
    account: Account,
    order_id: int,
    *,
    qty: Decimal,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    duration: DurationType | None = None,
    good_till: datetime | None = None,
    wanted: Brackets = NO_BRACKETS,
) -> Preview:
    """The preview of what `orders.modify` would make of the order, otherwise as `of_ticket`."""
    order = account.orders.select_related("instrument", "held_currency").filter(pk=order_id).first()
    if order is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    if order.is_final:
        raise OrderRejected(final_reason(order.status))
    ticket = orders.amended(order, qty, limit_price, stop_price, duration, good_till, wanted)
    check = partial(_check_bracket if order.role else _check_change, order=order)
    return _preview(account, order.instrument, ticket, check, order_id=order_id)


def _preview(
    account: Account,
    instrument: Instrument,
    ticket: Ticket,
    check: Callable[[Booking, Ticket, Preview], None],
    *,
    order_id: int | None = None,
) -> Preview:
    now = timezone.now()
    booking = Booking(account, account.conditions_at(now), Prices([ticket.symbol]), now)
    preview = _estimate(booking, instrument, ticket, _price(booking, ticket))
    try:
        check(booking, ticket, preview)
    except OrderRejected as refusal:
        preview.errors.append(str(refusal))
    else:
        preview.warnings = _warnings(booking, instrument, ticket)
        preview.confirm_id = confirmations.issue(account, ticket, order_id=order_id)
    return preview


def _price(booking: Booking, ticket: Ticket) -> Decimal:
    if ticket.own_price is not None:
        return ticket.own_price
    quote = booking.prices.quote(ticket.symbol)
    if quote is None:
        raise OrderRejected(Reason.NO_PRICE, symbol=ticket.symbol)
    return venue.price_for(ticket.side, quote)


def _estimate(booking: Booking, instrument: Instrument, ticket: Ticket, price: Decimal) -> Preview:
    """The figures that do not depend on whether the order would be taken."""
    account = booking.account
    is_spot = not account.profile.has_positions
    turnover = risk.turnover(ticket.qty, price, instrument.contract_size)
    if is_spot:
        fee, currency = margin.spot_fee(booking.conditions, instrument, ticket.side, (ticket.qty, price))
        commission = (account.unit(currency).round(fee, ROUND_UP), currency)
    else:
        fill = Fill(ticket.qty, price, "")
        commission = (executions.commission(booking, instrument, fill), account.currency_id)
    return Preview(is_spot, price, (turnover, instrument.quote_currency), commission)


def _check_new(booking: Booking, ticket: Ticket, preview: Preview, tradable: Tradable) -> None:
    """Everything that placing would check, and the figures that come of it. Raises OrderRejected."""
    account, conditions, prices, now = booking.account, booking.conditions, booking.prices, booking.at
    live_orders = account.orders.live().count()
    seen = orders.check(account, tradable, ticket, conditions, prices, now, live_orders=live_orders)
    held = margin.hold(account, conditions, orders.need(tradable, ticket, seen), prices)
    preview.held = (held.amount, held.currency)
    preview.expires_at = expiry.due(tradable.instrument, ticket, now)
    base = orders.base_price(ticket, seen)
    asked = legs.legs(tradable.instrument, ticket.side, ticket.brackets, base)
    for leg in asked:
        legs.check_side(leg, ticket.side, base)
    _add_results(booking, ticket, preview, tradable.instrument, asked)


def _check_change(booking: Booking, ticket: Ticket, preview: Preview, order: Order) -> None:
    """Everything that changing an order would check, and the figures that come of it. Raises OrderRejected."""
    seen = orders.check_change(booking.account, order, ticket, booking.conditions, booking.prices, booking.at)
    held = orders.hold(booking, order, ticket, seen)
    preview.held = (held.amount, held.currency)
    preview.expires_at = orders.due(order, ticket, booking.at)
    asked = brackets.check_on_order(booking, order, ticket.brackets, orders.base_price(ticket, seen))
    _add_results(booking, ticket, preview, order.instrument, asked)


def _check_bracket(booking: Booking, ticket: Ticket, _preview: Preview, order: Order) -> None:
    """Everything that changing a bracket by itself would check. It holds nothing, and lasts as long as its parent."""
    brackets.check_change(booking, order, ticket)


def _add_results(
    booking: Booking, ticket: Ticket, preview: Preview, instrument: Instrument, asked: Iterable[Leg]
) -> None:
    for leg in asked:
        if leg.limit_price is not None:
            preview.at_take_profit = _result(booking, instrument, ticket, preview.price, leg.limit_price)
        elif leg.stop_price is not None:
            preview.at_stop_loss = _result(booking, instrument, ticket, preview.price, leg.stop_price)


def _result(booking: Booking, instrument: Instrument, ticket: Ticket, entry: Decimal, exit_: Decimal) -> Amount:
    """Profit or loss in the account's currency, before commission."""
    account = booking.account
    amount = risk.profit(ticket.side.sign, ticket.qty, entry, exit_, instrument.contract_size)
    converted = booking.prices.convert(amount, instrument.quote_currency, account.currency_id)
    return account.currency.round_cash(converted), account.currency_id


def _warnings(booking: Booking, instrument: Instrument, ticket: Ticket) -> list[str]:
    warnings = []
    quote = booking.prices.quote(ticket.symbol)
    if not instrument.session.is_open(booking.at):
        warnings.append(_("The market is closed: the order waits until it opens."))
    elif ticket.type is OrderType.LIMIT and ticket.limit_price is not None and quote:
        price = venue.price_for(ticket.side, quote)
        if ticket.side.sign * (ticket.limit_price - price) >= 0:
            warnings.append(_("The market is at the limit price already: the order is filled at once."))
    return warnings
