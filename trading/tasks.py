"""Celery's part in an order's life: drains that work queued orders off, and the sweeper behind them."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

from celery import shared_task
from django.conf import settings
from django.db import OperationalError
from django.db.models import Case, F, When
from django.db.models.functions import Mod
from django.utils import timezone

from backoffice import logs, traces
from trading import charges, confirmations, dispatch, expiry, orders, reconciliation
from trading.models import Order
from trading.states import OrderStatus
from trading.venues import sweeper

log = logging.getLogger(__name__)

BATCH = 200
WAITING_READ = 20  # so few, because an order that is placed meanwhile is seen at the next reading
DRAIN_SECONDS = 5.0  # then another task goes on: one that never ended could not be waited for
UNNOTICED = timedelta(seconds=2)  # older ones were missed by their nudge


@shared_task(acks_late=True)
def drain(shard: int) -> int:
    """Work off the queued orders of the shard and say how many. Running twice, or side by side, is harmless.

    Of two side by side one leaves an account to the other that is at it, which reads what waits once more afterwards:
    so none waits for the other, order by order.
    """
    dispatch.nudge_taken(shard)
    count = 0
    faulty: set[int] = set()
    left: set[int] = set()
    end_at = time.monotonic() + DRAIN_SECONDS
    # An order that is queued again meanwhile is worked again: who was told of it may have left its account to us.
    while waiting := _waiting(shard, besides=faulty, not_of=left):
        if count and time.monotonic() >= end_at:
            dispatch.nudge(shard)
            break
        for order_id, account_id in waiting:
            if account_id in left:
                continue
            with logs.of_order(order_id), traces.span("work off an order", order_id=order_id, account_id=account_id):
                try:
                    is_ours = orders.work(account_id, order_id, leave_to_others=True)
                except OperationalError:
                    raise  # the database is away: nothing else would work either, and the sweeper comes back
                except Exception:
                    # One order that cannot be worked must not stop the others of its shard; it stays queued.
                    log.exception("order %s could not be worked", order_id)
                    faulty.add(order_id)
                    continue
                if is_ours:
                    count += 1
                    log.info("order %s was worked", order_id)
                else:
                    left.add(account_id)
    return count


@shared_task
def sweep() -> int:
    """Nudge the shards of orders that wait longer than their nudge explains: a crash, or Redis away. Says how many."""
    overdue = Order.objects.queued().filter(updated_at__lt=timezone.now() - UNNOTICED)
    shards = sorted({dispatch.shard_of(account_id) for account_id in overdue.values_list("account_id", flat=True)})
    for shard in shards:
        dispatch.nudge(shard)
    return len(shards)


@shared_task
def charge_swaps() -> int:
    """Book the swaps that are due. Running twice, or side by side, is harmless."""
    return charges.charge_swaps()


@shared_task
def charge_funding() -> int:
    """Book the funding that is due. Running twice, or side by side, is harmless."""
    return charges.charge_funding()


@shared_task
def expire() -> int:
    """Cancel the orders that are no longer good, account by account, and say how many. Running twice is harmless."""
    ended = 0
    done: set[int] = set()
    while due := _due(besides=done):
        for account_id, rows in groupby(due, key=itemgetter(0)):
            order_ids = {order_id for _account, order_id in rows}
            done |= order_ids
            try:
                ended += expiry.expire(account_id, order_ids)
            except OperationalError:
                raise  # the database is away; they are due at the next run too
            except Exception:
                log.exception("orders %s could not be ended", sorted(order_ids))
    return ended


@shared_task
def forget_confirmations() -> int:
    """Delete the used confirmations that nobody can use again. Says how many."""
    return confirmations.forget_old()


@shared_task
def sweep_venues() -> int:
    """Give up what no venue could be given, and ask about what none answered. Says how many orders that touched."""
    return sweeper.sweep()


@shared_task
def reconcile() -> int:
    """Compare our books with themselves and with the venues. Says how many findings there are."""
    return reconciliation.run()


def _due(*, besides: set[int]) -> list[tuple[int, int]]:
    """The next orders to expire, the longest overdue first, together by account."""
    oldest = Order.objects.due(timezone.now()).exclude(pk__in=besides).order_by("expires_at")
    return sorted(oldest.values_list("account_id", "pk")[:BATCH])


def _waiting(shard: int, *, besides: set[int], not_of: set[int]) -> list[tuple[int, int]]:
    """The next orders to work off: those a client waits for come before those that a price has put to work."""
    waiting = (
        Order.objects.queued()
        .annotate(shard=Mod(F("account_id"), settings.ORDER_SHARDS))
        .filter(shard=shard)
        .exclude(pk__in=besides)
        .exclude(account__in=not_of)
        .order_by(Case(When(status=OrderStatus.PLACING, then=0), default=1), "pk")
    )
    return list(waiting.values_list("pk", "account_id")[:WAITING_READ])
