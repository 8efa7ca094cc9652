from typing import Any

from celery import shared_task
from celery.signals import task_prerun, worker_ready
from django import db

from backoffice import health, partitions


@task_prerun.connect
def reconnect(**kwargs: Any) -> None:
    """Give up a connection that Postgres has closed meanwhile: Celery keeps it, and every task would fail with it."""
    for connection in db.connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # a task that runs inside of a transaction is part of it
            connection.close_if_unusable_or_obsolete()


@shared_task
def heartbeat() -> None:
    """Prove that beat sends and a worker works: the schedule sends it every five seconds."""
    health.beat("worker")


@shared_task
def make_partitions() -> list[str]:
    """Have the partitions of the next months ready. Running twice is harmless."""
    return partitions.make_ahead()


@worker_ready.connect
def first_heartbeat(**kwargs: Any) -> None:
    """A worker that has just started need not be missed until beat's first turn."""
    health.beat("worker")
