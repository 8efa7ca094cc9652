import signal
from typing import Any

from django.core.management.base import BaseCommand

from trading.engine import Engine


class Command(BaseCommand):
    help = "Watch prices for working orders, until told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = False

        def stop(*_: object) -> None:
            nonlocal stopped
            stopped = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        Engine().run(lambda: stopped)
