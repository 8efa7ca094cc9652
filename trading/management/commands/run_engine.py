import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from trading.engine import Engine, part
from trading.leases import RENEW_SECONDS, Crew
from trading.marginwatch import MarginWatch

log = logging.getLogger(__name__)

MARGIN = "margin"


class Command(BaseCommand):
    help = "Watch prices for working orders and for margin, until told to stop. Several share the work."

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = False

        def stop(*_: object) -> None:
            nonlocal stopped
            stopped = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        engines = {part(shard): _engine(shard) for shard in range(settings.ENGINE_SHARDS)}
        crew = Crew({MARGIN: _watch_margin, **engines})
        while not (stopped or crew.has_failed):
            _try(lambda: crew.step(lambda: stopped))
            time.sleep(RENEW_SECONDS)
        stopped = True
        _try(crew.leave)
        if crew.has_failed:
            raise CommandError("A part of the engine failed; see its traceback above.")


def _engine(shard: int) -> Callable[[Callable[[], bool]], None]:
    return lambda stopping: Engine(shard, settings.ENGINE_SHARDS).run(stopping)


def _watch_margin(stopping: Callable[[], bool]) -> None:
    MarginWatch().run(stopping)  # a new one with each lease: what an old one knew is of before somebody else had it


def _try(do: Callable[[], None]) -> None:
    """Without Postgres no lease can be kept. Whoever works stops when his has ended, and we ask again."""
    try:
        do()
    except OperationalError as error:
        connection.close()
        log.warning("the engine's leases cannot be kept: %s", error)
