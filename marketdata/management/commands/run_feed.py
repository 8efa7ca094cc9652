import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from marketdata import simulator
from marketdata.feed import Feed


class Command(BaseCommand):
    help = "Build bars of all prices, and write the simulator's (not in production), until told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, default=simulator.SEED, help="of the simulator's random walks")

    def handle(self, *_args: Any, **options: Any) -> None:
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        feed = Feed(seed=options["seed"], simulates=not settings.IS_PRODUCTION)
        if not feed.run(stop):
            raise SystemExit(1)
