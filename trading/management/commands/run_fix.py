import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from trading.venues.fix import runner


class Command(BaseCommand):
    help = "Keep the FIX sessions connected and route orders over them, until told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stopping.set())
        runner.run(stopping)
