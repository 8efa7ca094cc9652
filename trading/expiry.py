"""Until when orders are good, and their end when that moment has come. The due dates are the database's own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from marketdata.models import Instrument
from marketdata.sessions import NeverOpens
from trading import brackets, dispatch, endings, relatives
from trading.choices import DurationType, EventKind
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Order
from trading.prices import Prices
from trading.states import OrderStatus
from trading.tickets import Ticket
from trading.venues import interface as venues
from trading.venues.choices import Handling

LONGEST = timedelta(days=366)


def due(instrument: Instrument, ticket: Ticket, now: datetime) -> datetime | None:
    """The moment from which the ticket's order is no longer good; None when it has none.

    A day order is good to the end of the instrument's session, and outside of it to the end of the coming one. Raises
    OrderRejected for a date that cannot be.
    """
    match ticket.duration:
        case DurationType.DAY:
            try:
                return instrument.session.next_close(now)
            except NeverOpens as error:
                raise OrderRejected(Reason.MARKET_CLOSED, symbol=instrument.symbol, opens="–") from error
        case DurationType.GTD:
            return _good_till(ticket.good_till, now)
        case _:
            return None


def _good_till(moment: datetime | None, now: datetime) -> datetime:
    if moment is None:
        raise OrderRejected(Reason.GTD_MISSING)
    if moment <= now:
        raise OrderRejected(Reason.GTD_PAST)
    if moment > now + LONGEST:
        raise OrderRejected(Reason.GTD_TOO_FAR, latest=text(now + LONGEST))
    return moment


def expire(account_id: int, order_ids: Iterable[int]) -> int:
    """Cancel those of an account's orders that are due, and say how many. Running twice is harmless."""
    with transaction.atomic():
        account = Account.objects.changing(account_id)
        now = timezone.now()
        booking = Booking(account, account.conditions_at(now), Prices(), now)
        ended = [order for order in relatives.lock(account, order_ids) if order.pk in order_ids and is_due(order, now)]
        touched = []
        for order in ended:
            end(booking, order)
            touched += brackets.settle(booking, order)
        ids = [order.pk for order in [*ended, *touched]]
        dispatch.after_commit(account_id=account_id, order_ids=ids, drain=any(each.queued for each in touched))
        return len(ended)


def is_due(order: Order, now: datetime) -> bool:
    return not order.is_final and order.expires_at is not None and order.expires_at <= now


def end(booking: Booking, order: Order) -> None:
    """Cancel an order that is due, and save it. There is no status of its own for it (ORD-3)."""
    assert order.expires_at is not None
    if venues.of(order).cancel(order, by=None) is Handling.THERE:
        return  # it ends when its venue says so
    because = OrderRejected(Reason.EXPIRED, due=text(order.expires_at))
    endings.end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=because)
    order.save()
    order.record(EventKind.CANCELLED, reason=Reason.EXPIRED)


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
