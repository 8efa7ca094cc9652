"""The plain way to work orders off: a Celery task for each, on a connection of its own. Only the benchmark uses it."""

from __future__ import annotations

from celery import shared_task
from django.db import connection

from trading import orders


@shared_task(queue="orders")
def work_one(account_id: int, order_id: int) -> None:
    orders.work(account_id, order_id)
    connection.close()  # as Celery does around every task, unless it is told to reuse connections
