import signal
import threading
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.engine import Engine
from trading.marginwatch import MarginWatch


class Command(BaseCommand):
    help = "Watch prices for working orders and for margin, until told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = False

        def stop(*_: object) -> None:
            nonlocal stopped
            stopped = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        failed = threading.Event()
        watch = threading.Thread(target=_watch_margin, args=(lambda: stopped, failed), name="margin", daemon=True)
        watch.start()
        Engine().run(lambda: stopped or failed.is_set())
        stopped = True
        watch.join()
        if failed.is_set():
            raise CommandError("The margin watch failed; see its traceback above.")


def _watch_margin(stopping: Callable[[], bool], failed: threading.Event) -> None:
    """The watch in a thread. When it fails the whole process ends, and is started again: half an engine is none."""
    try:
        MarginWatch().run(stopping)
    except BaseException:
        failed.set()
        raise
