"""What the venue makes of an order at one book: acknowledged, filled as far as depth goes, or ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from accounts.models import Account
from marketdata.choices import InstrumentState
from marketdata.quotes import Quote
from trading import brackets, endings, executions, reserves, venue
from trading.choices import DurationType, EventKind, OrderType
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Order, Position
from trading.states import OrderStatus


def look(booking: Booking, order: Order, quote: Quote | None) -> None:
    """Acknowledge a queued order and book what this book fills. Account and order are locked; the caller saves it."""
    now = booking.at
    _acknowledge(booking.account, order, quote, now)
    if order.is_final:
        return
    if quote and _is_open(order, now):
        if order.awaits_stop and venue.is_reached(order, quote):
            order.triggered_at = now
            order.record(EventKind.TRIGGERED, seen=quote)
        if order.role and (partner := brackets.partner_of(order)) and partner.held:
            reserves.take_over(order, partner)
            partner.save()
        _fill(booking, order, quote)
    if DurationType(order.duration).is_immediate and not order.is_final:
        is_fok = order.duration == DurationType.FOK
        because = OrderRejected(Reason.FOK_UNFILLED if is_fok else Reason.IOC_REST)
        endings.end(booking.account, order, OrderStatus.CANCELLED, at=now, because=because)
        order.record(EventKind.CANCELLED, seen=quote, reason=because.reason)


def _acknowledge(account: Account, order: Order, quote: Quote | None, now: datetime) -> None:
    if order.status != OrderStatus.PLACING:
        return
    if order.type == OrderType.MARKET and quote is None:
        refusal = OrderRejected(Reason.NO_PRICE, symbol=order.instrument.symbol)
        endings.end(account, order, OrderStatus.REJECTED, at=now, because=refusal)
        order.record(EventKind.REJECTED)
        return
    order.advance(OrderStatus.WORKING, at=now)
    order.record(EventKind.ACKNOWLEDGED, seen=quote)


def _is_open(order: Order, now: datetime) -> bool:
    instrument = order.instrument
    return instrument.state != InstrumentState.HALTED and instrument.session.is_open(now)


def _fill(booking: Booking, order: Order, quote: Quote) -> None:
    """Book the order's fills from one book. What the account cannot bear, or has nothing to close, is cancelled."""
    fills = venue.match(order, quote)
    if order.duration == DurationType.FOK and sum(fill.qty for fill in fills) < order.leaves_qty:
        return
    for fill in fills:
        try:
            part = _closable(order, fill)
            executions.record(booking, order, part, seen=quote)
        except OrderRejected as refusal:
            endings.end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=refusal)
            order.record(EventKind.CANCELLED, seen=quote, reason=refusal.reason)
            return
        order.last_book = quote.version


def _closable(order: Order, fill: venue.Fill) -> venue.Fill:
    """The fill, cut to what is left of the position that the order closes. Raises OrderRejected(POSITION_GONE)."""
    if not order.closes_id:
        return fill
    left = Position.objects.open().filter(pk=order.closes_id).values_list("qty", flat=True).first()
    if left is None:
        raise OrderRejected(Reason.POSITION_GONE)
    return replace(fill, qty=min(fill.qty, left))
