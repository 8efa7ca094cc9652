"""What the venue makes of an order at one book: acknowledged, filled as far as depth goes, or ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from marketdata.choices import InstrumentState
from marketdata.quotes import Quote
from trading import endings, executions, relatives, reserves, venue
from trading.choices import DurationType, EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Order, Position
from trading.states import OrderStatus


def look(booking: Booking, order: Order, quote: Quote | None) -> None:
    """Acknowledge a queued order and book what this book fills. Account and order are locked; the caller saves it."""
    now = booking.at
    terms = venue.Terms.of(booking.conditions, order.instrument)
    _acknowledge(booking, order, quote, terms)
    if order.is_final:
        return
    if quote and _is_open(order, now):
        if order.awaits_stop and venue.is_reached(order, quote):
            order.triggered_at = now
            order.record(EventKind.TRIGGERED, seen=quote)
        if order.role and (partner := relatives.partner_of(order)) and partner.held:
            reserves.take_over(order, partner)
            partner.save()
        _fill(booking, order, quote, terms)
    if DurationType(order.duration).is_immediate and not order.is_final:
        is_fok = order.duration == DurationType.FOK
        because = OrderRejected(Reason.FOK_UNFILLED if is_fok else Reason.IOC_REST)
        endings.end(booking.account, order, OrderStatus.CANCELLED, at=now, because=because)
        order.record(EventKind.CANCELLED, seen=quote, reason=because.reason)


def _acknowledge(booking: Booking, order: Order, quote: Quote | None, terms: venue.Terms) -> None:
    """Accept a new order, unless its market is gone or has moved too far since it was placed."""
    if order.status != OrderStatus.PLACING:
        return
    if refusal := _refusal(order, quote, terms):
        endings.end(booking.account, order, OrderStatus.REJECTED, at=booking.at, because=refusal)
        order.record(EventKind.REJECTED, seen=quote, reason=refusal.reason)
        return
    order.advance(OrderStatus.WORKING, at=booking.at)
    order.record(EventKind.ACKNOWLEDGED, seen=quote)


def _refusal(order: Order, quote: Quote | None, terms: venue.Terms) -> OrderRejected | None:
    if order.type != OrderType.MARKET:
        return None
    if quote is None:
        return OrderRejected(Reason.NO_PRICE, symbol=order.instrument.symbol)
    if terms.last_look is None or order.closes_id:
        return None
    accepted_at = order.events.filter(kind=EventKind.PLACED).values_list(
        "ask" if order.side == Side.BUY else "bid", flat=True
    )
    moved = venue.price_for(Side(order.side), quote) - accepted_at[0]
    return OrderRejected(Reason.VENUE_REJECTED, text="") if abs(moved) > terms.last_look else None


def _is_open(order: Order, now: datetime) -> bool:
    instrument = order.instrument
    return instrument.state != InstrumentState.HALTED and instrument.session.is_open(now)


def _fill(booking: Booking, order: Order, quote: Quote, terms: venue.Terms) -> None:
    """Book the order's fills from one book. What the account cannot bear, or has nothing to close, is cancelled."""
    fills = venue.match(order, quote, terms)
    if order.duration == DurationType.FOK and sum(fill.qty for fill in fills) < order.leaves_qty:
        return
    for fill in fills:
        try:
            part = _closable(order, fill)
            executions.record(booking, order, part, seen=quote)
        except OrderRejected as refusal:
            heir = relatives.partner_of(order) if order.held else None
            endings.end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=refusal, heir=heir)
            if heir:
                heir.save()
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
