"""A venue over FIX, as our books see it: what is decided is stored here as a request, which the session sends later."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any

from accounts import ledger
from accounts.models import Account, User
from trading import margin
from trading.choices import EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.venues.choices import Handling, RequestState, VenueRequestKind
from trading.venues.models import PREFIX, FixSession, VenueOrder, VenueRequest

if TYPE_CHECKING:
    from trading.tickets import Ticket

IMMEDIATE = {"ioc": "3", "fok": "4"}  # our durations by FIX TimeInForce
GOOD_TILL_CANCEL = "1"  # all others: an order that runs out is cancelled by us, at our own due date
IMMEDIATE_OR_CANCEL = "3"


class Fix:
    """See `interface.Venue`. What was not sent yet is changed or ended here, what was sent by the venue's word only."""

    def submit(self, order: Order) -> Handling:
        """Hand the order over, once. The caller saves it."""
        if not order.requests.filter(kind=VenueRequestKind.NEW).exists():
            session = FixSession.objects.get(name=order.venue.removeprefix(PREFIX))
            request = _request(order, session, VenueRequestKind.NEW)
            _protect(request)
            request.save()
            VenueOrder.objects.create(order=order, session=session, cl_ord_id=request.cl_ord_id)
        return Handling.THERE

    def cancel(self, order: Order, *, by: User | None) -> Handling:
        if order.queued and not _handed_over(order):
            return Handling.HERE
        if unsent := _unsent(order):
            unsent.state = RequestState.WITHDRAWN
            unsent.save(update_fields=["state"])
            VenueOrder.objects.filter(order=order).update(is_open=False)
            return Handling.HERE
        if not order.requests.pending().filter(kind=VenueRequestKind.CANCEL).exists():
            _request(order, order.at_venue.session, VenueRequestKind.CANCEL, by=by).save()
            order.record(EventKind.CANCEL_ASKED, by=by)
        return Handling.THERE

    def check_replace(self, order: Order, ticket: Ticket) -> None:
        if order.requests.filter(kind=VenueRequestKind.NEW).exclude(state=RequestState.WAITING).exists():
            _check_there(order, ticket)

    def replace(
        self, account: Account, order: Order, ticket: Ticket, held_before: Decimal, *, by: User | None
    ) -> Handling:
        """The order stays as it is until the venue agrees, and meanwhile holds enough for either outcome."""
        if order.queued and not _handed_over(order):
            return Handling.HERE
        if unsent := _unsent(order):
            _amend(unsent, ticket, order.held)
            unsent.save()
            return Handling.HERE
        _check_there(order, ticket)
        if not _differs(order, ticket):
            hold(account, order, held_before)
            return Handling.THERE  # nothing changes there
        held_after = order.held
        hold(account, order, max(held_before, held_after))
        order.save(update_fields=["held"])
        if ticket.qty == order.filled_qty:
            return self.cancel(order, by=by)  # there is no order for nothing: what is left is cancelled
        request = _request(order, order.at_venue.session, VenueRequestKind.REPLACE, by=by)
        request.held_before = held_before
        _amend(request, ticket, held_after)
        request.save()
        asked: dict[str, Any] = {
            "qty": ticket.qty,
            "limit_price": ticket.limit_price,
            "stop_price": ticket.stop_price,
        }
        order.record(EventKind.CHANGE_ASKED, by=by, **asked)
        return Handling.THERE

    def ask(self, order: Order) -> Handling:
        VenueOrder.objects.filter(order=order).update(ask_wanted=True)
        return Handling.THERE


def hold(account: Account, order: Order, amount: Decimal) -> None:
    """Make the order hold this amount, of a spot asset as far as it is free. The caller saves the order."""
    if not account.profile.has_positions:
        if amount > order.held:
            balance = account.balances.get(currency=order.held_currency_id)
            amount = min(amount, order.held + max(balance.available, Decimal(0)))
        ledger.reserve(account, order.held_currency_id, amount - order.held)
    order.held = amount


def hold_again(account: Account, order: Order, held: Decimal, *, of: Decimal) -> None:
    """Hold what belongs to the rest of the order, of an amount that was held for this quantity."""
    left = order.leaves_qty
    hold(account, order, order.held_currency.round(held * left / of) if left and of else Decimal(0))


def _handed_over(order: Order) -> bool:
    return order.requests.filter(kind=VenueRequestKind.NEW).exists()


def _unsent(order: Order) -> VenueRequest | None:
    """The order's first request while it waits, locked: the session that is about to send it comes first, or not."""
    waiting = order.requests.select_for_update(of=("self",))
    return waiting.filter(kind=VenueRequestKind.NEW, state=RequestState.WAITING).first()


def _check_there(order: Order, ticket: Ticket) -> None:
    """Of an order that was sent: it does not become immediate, or the reverse, and takes one change at a time."""
    if _time_in_force(ticket.duration) != _time_in_force(order.duration):
        raise OrderRejected(Reason.VENUE_DURATION, duration=ticket.duration.label)
    on_their_way = order.requests.pending().filter(kind__in=[VenueRequestKind.REPLACE, VenueRequestKind.CANCEL])
    if _differs(order, ticket) and on_their_way.exists():
        raise OrderRejected(Reason.CHANGE_PENDING)


def _differs(order: Order, ticket: Ticket) -> bool:
    """Whether the venue is told of the change: due dates are ours."""
    asked = (ticket.qty, ticket.limit_price, ticket.stop_price)
    return asked != (order.qty, order.limit_price, order.stop_price)


def _time_in_force(duration: str) -> str:
    return IMMEDIATE.get(duration, GOOD_TILL_CANCEL)


def _request(order: Order, session: FixSession, kind: VenueRequestKind, *, by: User | None = None) -> VenueRequest:
    return VenueRequest(
        order=order,
        session=session,
        kind=kind,
        cl_ord_id=f"{order.pk}-{order.requests.count() + 1}",
        side=order.side,
        type=_type_there(order),
        qty=order.qty,
        limit_price=order.limit_price,
        stop_price=None if order.triggered_at else order.stop_price,
        time_in_force=_time_in_force(order.duration),
        filled_before=order.filled_qty,
        held_before=order.held,
        held_after=order.held,
        by=by,
    )


def _amend(request: VenueRequest, ticket: Ticket, held_after: Decimal) -> None:
    request.qty, request.limit_price, request.stop_price = ticket.qty, ticket.limit_price, ticket.stop_price
    request.type, request.held_after = _type_there(request.order), held_after
    request.time_in_force = _time_in_force(ticket.duration)
    _protect(request)


def _type_there(order: Order) -> OrderType:
    """What the venue is given: a stop that was reached here, as those of brackets are, has become what it triggers."""
    if order.triggered_at is None:
        return OrderType(order.type)
    return OrderType.LIMIT if order.limit_price is not None else OrderType.MARKET


def _protect(request: VenueRequest) -> None:
    """Give a spot market buy the price up to which its reserve pays: a spot asset is never overdrawn.

    The price moves no further than what was reserved, fee included; what is not filled at once is cancelled.
    """
    order = request.order
    if request.type != OrderType.MARKET or request.side != Side.BUY or order.account.profile.has_positions:
        return
    instrument, units = order.instrument, request.qty * order.instrument.contract_size
    conditions = order.account.conditions_at(order.created_at)
    highest = request.held_after / units
    fee, currency = margin.spot_fee(conditions, instrument, Side.BUY, (request.qty, highest))
    if currency == instrument.quote_currency:
        highest = (request.held_after - fee) / units
    ticks = (highest / instrument.tick_size).to_integral_value(ROUND_DOWN)
    request.type, request.limit_price = OrderType.LIMIT, ticks * instrument.tick_size
    request.time_in_force = IMMEDIATE_OR_CANCEL
