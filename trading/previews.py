"""What an order would mean before it is placed or changed. Nothing is stored, reserved or locked (PRV-4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_UP, Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account
from trading import confirmations, executions, expiry, legs, margin, orders, risk, tradables, venue
from trading.choices import OrderType
from trading.errors import OrderRejected, Reason, final_reason
from trading.executions import Booking
from trading.models import Order
from trading.prices import Prices
from trading.tickets import Ticket
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


def of_ticket(account: Account, ticket: Ticket, *, order_id: int | None = None) -> Preview:
    """The preview of a new order, or of what the order of this id would become.

    What would be refused is said in its `errors`. Raises OrderRejected where there is nothing to estimate: the
    instrument or the order is unknown, or a market order has no price.
    """
    tradable = tradables.find(account, ticket.symbol)
    order = _order(account, order_id) if order_id is not None else None
    if order:
        duration = ticket.duration
        ticket = orders.amended(
            order, ticket.qty, ticket.limit_price, ticket.stop_price, duration, ticket.good_till, ticket.brackets
        )
    now = timezone.now()
    booking = Booking(account, account.conditions_at(now), Prices([ticket.symbol]), now)
    price = _price(booking, ticket)
    preview = _estimate(booking, tradable, ticket, price)
    try:
        _check(booking, tradable, ticket, order, preview)
    except OrderRejected as refusal:
        preview.errors.append(str(refusal))
    else:
        preview.warnings = _warnings(booking, tradable, ticket)
        preview.confirm_id = confirmations.issue(account, ticket, order_id=order_id)
    return preview


def _order(account: Account, order_id: int) -> Order:
    order = account.orders.select_related("instrument", "held_currency").filter(pk=order_id).first()
    if order is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    if order.is_final:
        raise OrderRejected(final_reason(order.status))
    return order


def _price(booking: Booking, ticket: Ticket) -> Decimal:
    if ticket.own_price is not None:
        return ticket.own_price
    quote = booking.prices.quote(ticket.symbol)
    if quote is None:
        raise OrderRejected(Reason.NO_PRICE, symbol=ticket.symbol)
    return venue.price_for(ticket.side, quote)


def _estimate(booking: Booking, tradable: Tradable, ticket: Ticket, price: Decimal) -> Preview:
    """The figures that do not depend on whether the order would be taken."""
    account, instrument = booking.account, tradable.instrument
    is_spot = not account.profile.has_positions
    turnover = risk.turnover(ticket.qty, price, instrument.contract_size)
    if is_spot:
        fee, currency = margin.spot_fee(booking.conditions, instrument, ticket.side, (ticket.qty, price))
        commission = (account.unit(currency).round(fee, ROUND_UP), currency)
    else:
        fill = Fill(ticket.qty, price, "")
        commission = (executions.commission(booking, instrument, fill), account.currency_id)
    return Preview(is_spot, price, (turnover, instrument.quote_currency), commission)


def _check(booking: Booking, tradable: Tradable, ticket: Ticket, order: Order | None, preview: Preview) -> None:
    """Everything that placing or changing would check, and the figures that come of it. Raises OrderRejected."""
    account, now = booking.account, booking.at
    leaves = ticket.qty
    if order:
        seen = orders.check_change(account, order, ticket, booking.conditions, booking.prices, now)
        leaves -= order.filled_qty
    else:
        seen = orders.check(account, tradable, ticket, booking.conditions, booking.prices, now)
    is_free = order is not None and (order.closes_id is not None or order.role != "")
    if leaves and not is_free:
        needed = orders.need(tradable, replace(ticket, qty=leaves), seen, order)
        held = margin.hold(account, booking.conditions, needed, booking.prices)
        preview.held = (held.amount, held.currency)
    preview.expires_at = expiry.due(tradable.instrument, ticket, now)
    base = orders.base_price(ticket, seen)
    for leg in legs.legs(tradable.instrument, ticket.side, ticket.brackets, base):
        legs.check_side(leg, ticket.side, base)
        if leg.limit_price is not None:
            preview.at_take_profit = _result(booking, tradable, ticket, preview.price, leg.limit_price)
        elif leg.stop_price is not None:
            preview.at_stop_loss = _result(booking, tradable, ticket, preview.price, leg.stop_price)


def _result(booking: Booking, tradable: Tradable, ticket: Ticket, entry: Decimal, exit_: Decimal) -> Amount:
    """Profit or loss in the account's currency, before commission."""
    account, instrument = booking.account, tradable.instrument
    amount = risk.profit(ticket.side.sign, ticket.qty, entry, exit_, instrument.contract_size)
    converted = booking.prices.convert(amount, instrument.quote_currency, account.currency_id)
    return account.currency.round_cash(converted), account.currency_id


def _warnings(booking: Booking, tradable: Tradable, ticket: Ticket) -> list[str]:
    warnings = []
    quote = booking.prices.quote(ticket.symbol)
    if not tradable.instrument.session.is_open(booking.at):
        warnings.append(_("The market is closed: the order waits until it opens."))
    elif ticket.type is OrderType.LIMIT and ticket.limit_price is not None and quote:
        price = venue.price_for(ticket.side, quote)
        if ticket.side.sign * (ticket.limit_price - price) >= 0:
            warnings.append(_("The market is at the limit price already: the order is filled at once."))
    return warnings
