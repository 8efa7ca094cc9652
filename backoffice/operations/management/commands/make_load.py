from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.operations import load


class Command(BaseCommand):
    help = "Add many orders and postings to a database for measuring, and time the pages that list them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--orders", type=int, default=0, help="so many orders more")
        parser.add_argument("--postings", type=int, default=0, help="so many postings more, two a transfer")
        parser.add_argument("--measure", action="store_true", help="time the pages afterwards")

    def handle(self, *args: Any, orders: int, postings: int, measure: bool, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("This is ENVIRONMENT=production: its tables take no rows made up for measuring.")
        if orders < 0 or postings < 0 or postings % 2:
            raise CommandError("Give numbers from 0 on, and an even one of postings.")
        if orders or postings:
            load.make(orders, postings, self.stdout.write)
        if measure:
            for page in load.measure():
                times = f"{page.median_ms:7.0f} ms {page.worst_ms:7.0f} ms {page.cpu_ms:7.0f} ms of work"
                self.stdout.write(f"{times}  {page.status}  {page.path}")
