"""What a crash, a lost answer or an absent counterparty leaves between steps, taken up again."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading import endings, relatives
from trading.choices import EventKind
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.prices import Prices
from trading.states import OrderStatus
from trading.venues import outbox, reports
from trading.venues.choices import RequestState, VenueRequestKind
from trading.venues.models import VenueOrder, VenueRequest

UNSENT = timedelta(seconds=10)  # a new order or a change waits so long for its session; a cancel as long as it takes
UNANSWERED = timedelta(seconds=10)  # then the venue is asked how the order stands


def sweep() -> int:
    """Give up what could not be sent, and ask about what was not answered. Says how many orders it touched."""
    return _give_up_unsent() + _ask_about_unanswered()


def _give_up_unsent() -> int:
    overdue = VenueRequest.objects.filter(
        state=RequestState.WAITING,
        kind__in=[VenueRequestKind.NEW, VenueRequestKind.REPLACE],
        created_at__lt=timezone.now() - UNSENT,
    )
    found = list(overdue.order_by("order__account_id", "pk").values_list("pk", "order_id", "order__account_id"))
    for request_id, order_id, account_id in found:
        _give_up(request_id, order_id, account_id)
    return len(found)


@transaction.atomic
def _give_up(request_id: int, order_id: int, account_id: int) -> None:
    """Withdraw the request, unless it was sent meanwhile: an order that the market never saw is rejected."""
    account = Account.objects.changing(account_id)
    related = relatives.lock(account, [order_id])
    order = next(each for each in related if each.pk == order_id)
    now = timezone.now()
    waiting = VenueRequest.objects.select_for_update().filter(pk=request_id, state=RequestState.WAITING)
    request = waiting.first()
    if request is None or order.is_final:
        return
    refusal = OrderRejected(Reason.VENUE_AWAY)
    request.state, request.text = RequestState.WITHDRAWN, refusal.reason.value
    request.save(update_fields=["state", "text"])
    if request.kind == VenueRequestKind.NEW:
        endings.end(account, order, OrderStatus.REJECTED, at=now, because=refusal)
        order.record(EventKind.REJECTED, reason=refusal.reason)
        VenueOrder.objects.filter(order=order).update(is_open=False)
    else:
        outbox.hold_again(account, order, request.held_before, of=order.qty - request.filled_before)
        order.record(EventKind.REFUSED, request=request.kind, reason=refusal.reason)
    order.save()
    booking = Booking(account, account.conditions_at(now), Prices(), now)
    reports.tell(booking, order, has_changed=True)


def _ask_about_unanswered() -> int:
    overdue = VenueRequest.objects.filter(state=RequestState.SENT, sent_at__lt=timezone.now() - UNANSWERED)
    standing = VenueOrder.objects.filter(order__in=overdue.values("order"), is_open=True, ask_wanted=False)
    return standing.update(ask_wanted=True)
