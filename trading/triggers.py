"""What the engine does to orders: queue those that a price has reached, and move trailing stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Self

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from marketdata.quotes import Quote
from trading import quotebook
from trading.choices import EventKind, Side
from trading.models import Order, OrderEvent
from trading.states import OrderStatus


class Mark(NamedTuple):
    """What of an order a price is held against: its price, or how far it trails."""

    price: Decimal | None
    trailing_pips: Decimal | None

    @classmethod
    def of(cls, order: Order) -> Self:
        if order.trailing_pips is not None:
            return cls(None, order.trailing_pips)
        return cls(order.stop_price if order.awaits_stop else order.limit_price, None)


@dataclass(frozen=True, slots=True)
class Touch:
    """The book that reached an order; for a trailing stop also where the stop had moved to by then.

    `mark` is what the order was known to wait for: if it waits for something else by now, it was not reached (ORD-20).
    """

    quote: Quote
    stop_price: Decimal | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Where a trailing stop has moved to, and the moment of the price that moved it, in Unix milliseconds.

    `trailing_pips` is the distance it kept: one that keeps another by now is not moved.
    """

    stop_price: Decimal
    at_ms: int
    trailing_pips: Decimal | None = None


@transaction.atomic
def trigger(touched: Mapping[int, Touch]) -> list[tuple[int, int]]:
    """Queue the working orders whose prices were reached, each with the book that reached it.

    Returns (order id, account id) of those queued; one that has ended, is queued already or was given another price is
    passed over. What clients see changes only where a trailing stop moves: those accounts are locked first.
    """
    now = timezone.now()
    moving = Order.objects.filter(pk__in=[pk for pk, touch in touched.items() if touch.stop_price is not None])
    for account_id in sorted(set(moving.values_list("account_id", flat=True))):
        Account.objects.changing(account_id)
    working = Order.objects.locked().filter(pk__in=touched, status=OrderStatus.WORKING, queued=False)
    found = [each for each in working.select_related(None) if touched[each.pk].mark in (None, Mark.of(each))]
    stopped = []
    for order in found:
        touch = touched[order.pk]
        order.queued, order.book = True, quotebook.dump(touch.quote)
        if touch.stop_price is not None and order.trailing_pips is not None:
            order.stop_price = _further(order, touch.stop_price)
        if order.awaits_stop:
            order.triggered_at = now
            stopped.append(order)
    Order.objects.bulk_update(found, ["queued", "book", "stop_price", "triggered_at"])
    OrderEvent.objects.bulk_create(
        OrderEvent(
            order=order,
            kind=EventKind.TRIGGERED,
            status=order.status,
            bid=touched[order.pk].quote.bid,
            ask=touched[order.pk].quote.ask,
            book=touched[order.pk].quote.version,
        )
        for order in stopped
    )
    return [(order.pk, order.account_id) for order in found]


@transaction.atomic
def ratchet(moves: Mapping[int, Move]) -> int:
    """Store where trailing stops have moved to, and say how many did. They never move back (BRK-23).

    One that was reached, has ended or was given another distance meanwhile is passed over. `updated_at` becomes the
    moment of the price, so that an engine that starts again here lets later prices reach the stop.
    """
    trailing = Order.objects.filter(
        pk__in=moves, status=OrderStatus.WORKING, triggered_at=None, book__isnull=True, trailing_pips__gt=0
    )
    for account_id in sorted(set(trailing.values_list("account_id", flat=True))):
        Account.objects.changing(account_id)
    moved = []
    for order in trailing.locked():
        move = moves[order.pk]
        if move.trailing_pips not in (None, order.trailing_pips):
            continue
        stop, at = _further(order, move.stop_price), datetime.fromtimestamp(move.at_ms / 1000, UTC)
        if stop != order.stop_price:
            order.stop_price, order.updated_at = stop, max(at, order.updated_at)
            moved.append(order)
    Order.objects.bulk_update(moved, ["stop_price", "updated_at"])
    return len(moved)


def _further(order: Order, stop_price: Decimal) -> Decimal:
    """The stop that lies further in the direction the order trails in."""
    assert order.stop_price is not None
    return min(order.stop_price, stop_price) if order.side == Side.BUY else max(order.stop_price, stop_price)
