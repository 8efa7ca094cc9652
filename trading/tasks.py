"""Celery's part in an order's life: drains that work queued orders off, and the sweeper behind them."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Mod
from django.utils import timezone

from trading import dispatch, orders, reconciliation
from trading.models import Order
from trading.venues import sweeper

log = logging.getLogger(__name__)

BATCH = 200
UNNOTICED = timedelta(seconds=2)  # older ones were missed by their nudge


@shared_task(acks_late=True)
def drain(shard: int) -> int:
    """Work off every queued order of the shard and say how many. Running twice, or side by side, is harmless."""
    dispatch.nudge_taken(shard)
    done: set[int] = set()
    while waiting := _waiting(shard, besides=done):
        for order_id, account_id in waiting:
            done.add(order_id)
            try:
                orders.work(account_id, order_id)
            except OperationalError:
                raise  # the database is away: nothing else would work either, and the sweeper comes back
            except Exception:
                # One order that cannot be worked must not stop the others of its shard; it stays queued.
                log.exception("order %s could not be worked", order_id)
    return len(done)


@shared_task
def sweep() -> int:
    """Nudge the shards of orders that wait longer than their nudge explains: a crash, or Redis away. Says how many."""
    overdue = Order.objects.queued().filter(updated_at__lt=timezone.now() - UNNOTICED)
    shards = sorted({dispatch.shard_of(account_id) for account_id in overdue.values_list("account_id", flat=True)})
    for shard in shards:
        dispatch.nudge(shard)
    return len(shards)


@shared_task
def sweep_venues() -> int:
    """Give up what no venue could be given, and ask about what none answered. Says how many orders that touched."""
    return sweeper.sweep()


@shared_task
def reconcile() -> int:
    """Compare our books with themselves and with the venues. Says how many findings there are."""
    return reconciliation.run()


def _waiting(shard: int, *, besides: set[int]) -> list[tuple[int, int]]:
    waiting = (
        Order.objects.queued()
        .annotate(shard=Mod(F("account_id"), settings.ORDER_SHARDS))
        .filter(shard=shard)
        .exclude(pk__in=besides)
        .order_by("pk")
    )
    return list(waiting.values_list("pk", "account_id")[:BATCH])
