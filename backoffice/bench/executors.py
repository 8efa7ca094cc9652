"""Orders that wait, worked off by the drains, against a Celery task for each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from unittest import mock
from uuid import uuid4

from django.conf import settings

from backoffice.bench import fills, servers, world
from backoffice.bench.tasks import work_one
from backoffice.bench.world import World
from trading import dispatch, orders
from trading.choices import OrderType, Side
from trading.models import Order
from trading.tickets import Ticket

ORDERS = 200  # of a round
ACCOUNTS = 40


def compare(made: World, rounds: int) -> tuple[list[float], list[float]]:
    """Orders worked off a second: by the drains, and by a task for each, in turn."""
    drains, tasks = [], []
    with servers.worker(include="backoffice.bench.tasks"), world.ticking(made):
        _rate(made, _nudge_all, count=20)  # the worker's processes have started
        for _round in range(rounds):
            drains.append(_rate(made, _nudge_all))
            tasks.append(_rate(made, _send_each))
    return drains, tasks


def _rate(made: World, start: Callable[[], None], *, count: int = ORDERS) -> float:
    _place(made, count)
    began = time.monotonic()
    start()
    fills.drained()
    return count / (time.monotonic() - began)


def _place(made: World, count: int) -> None:
    """Market orders that nobody is told of."""
    with mock.patch.object(dispatch, "nudge"):
        for number in range(count):
            account = made.traders[number % ACCOUNTS].account
            side = Side.BUY if number // ACCOUNTS % 2 == 0 else Side.SELL
            ticket = Ticket(made.symbols[0], side, OrderType.MARKET, Decimal(fills.QTY))
            orders.place(account.pk, ticket, request_id=uuid4().hex)


def _nudge_all() -> None:
    for shard in range(settings.ORDER_SHARDS):
        dispatch.nudge(shard)


def _send_each() -> None:
    for account_id, order_id in Order.objects.queued().order_by("pk").values_list("account_id", "pk"):
        work_one.delay(account_id, order_id)
