"""Messages that follow a commit: nudges to the drains, and news of orders for the engine.

None of them carries what could be lost: a lost nudge is made up by the sweeper, lost news by the engine's own look.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

import kombu.exceptions
import redis
from django.conf import settings
from django.db import transaction

from marketdata.ticklog import connection

log = logging.getLogger(__name__)

CHANGES = "orders:changes"  # a Redis Stream of order ids
CHANGES_KEPT = 100_000
NUDGE_SECONDS = 10  # a nudge whose task was lost does not stop later ones for longer


def shard_of(account_id: int) -> int:
    shards: int = settings.ORDER_SHARDS
    return account_id % shards


def after_commit(*, account_id: int, order_ids: Iterable[int], drain: bool) -> None:
    """Once the change is committed: tell the engine of these orders, and with `drain` have them worked off."""
    transaction.on_commit(partial(_send, shard_of(account_id) if drain else None, list(order_ids)))


def nudge(shard: int) -> None:
    """Have the shard's queued orders worked off: one task, however many ask."""
    from trading.tasks import drain  # the task imports the services, and they this

    if connection().set(_nudge_key(shard), 1, nx=True, ex=NUDGE_SECONDS):
        drain.delay(shard)


def nudge_taken(shard: int) -> None:
    """The drain has begun: orders queued from now on need a new nudge."""
    connection().delete(_nudge_key(shard))


def _send(shard: int | None, order_ids: list[int]) -> None:
    try:
        pipeline = connection().pipeline(transaction=False)
        for order_id in order_ids:
            pipeline.xadd(CHANGES, {"id": order_id}, maxlen=CHANGES_KEPT, approximate=True)
        pipeline.execute()
        if shard is not None:
            nudge(shard)
    except (redis.RedisError, kombu.exceptions.OperationalError):
        # What matters is committed; the sweeper and the engine's own look find it.
        log.warning("Redis is away: orders %s wait for the sweeper", order_ids)


def _nudge_key(shard: int) -> str:
    return f"drain:{shard}"
