from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from backoffice import health, partitions


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
