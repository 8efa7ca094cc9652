"""What the venue makes of an order at one book: acknowledged, filled as far as depth goes, or ended."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum

from marketdata.choices import InstrumentState
from marketdata.quotes import Quote
from trading import endings, executions, relatives, reserves, venue
from trading.choices import DurationType, EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Order, Position, PositionFill
from trading.states import OrderStatus

OF_FILLS = ("filled_qty", "avg_price", "held", "last_book")  # what fills change of an order


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
    is_whole = order.duration == DurationType.FOK
    if is_whole and sum(fill.qty for fill in fills) < order.leaves_qty:
        return
    before = {name: getattr(order, name) for name in OF_FILLS}
    try:
        with transaction.atomic() if is_whole else nullcontext():
            for fill in fills:
                _record(booking, order, fill, quote)
    except OrderRejected as refusal:
        if is_whole:
            for name, value in before.items():
                setattr(order, name, value)
        heir = relatives.partner_of(order) if order.held else None
        endings.end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=refusal, heir=heir)
        order.record(EventKind.CANCELLED, seen=quote, reason=refusal.reason)


def _record(booking: Booking, order: Order, fill: venue.Fill, quote: Quote) -> None:
    """Book one fill. Raises OrderRejected, which ends the order: it cannot be booked, or the rest closes nothing."""
    closing = _closable(order, fill.qty)
    executions.record(booking, order, replace(fill, qty=closing), seen=quote)
    order.last_book = quote.version
    if closing < fill.qty and not order.role:
        raise OrderRejected(Reason.POSITION_GONE)


def _closable(order: Order, qty: Decimal) -> Decimal:
    """So much of the quantity as is left of the position that the order closes, or turns (POS-5).

    Raises OrderRejected(POSITION_GONE).
    """
    position = order.closes_id or order.reverses_id
    if not position:
        return qty
    left = Position.objects.open().filter(pk=position).values_list("qty", flat=True).first() or Decimal(0)
    if order.reverses_id:  # half of it was to open the other side
        opening = PositionFill.objects.filter(execution__order=order, is_close=False)
        opened = abs(opening.aggregate(qty=Sum("qty"))["qty"] or Decimal(0))
        left += order.qty / 2 - opened
    if left <= 0:
        raise OrderRejected(Reason.POSITION_GONE)
    return min(qty, left)
