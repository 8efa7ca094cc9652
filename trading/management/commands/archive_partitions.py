"""`manage.py archive_partitions`: events of orders that ended long ago leave the database."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading import event_archive


class Command(BaseCommand):
    help = (
        "Writes the order events of each month before the given one to a file of its own (CSV, gzip, and SHA-256), "
        "reads it back, and takes the month out of the database. A month is refused while it is not over, or while an "
        "order that had events in it has not ended; what came before it is then archived already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--before", type=_month, required=True, metavar="YYYY-MM", help="the first month that stays"
        )
        parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the files go")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = False
        try:
            for done in event_archive.archive(options["before"], options["to"]):
                found = True
                self.stdout.write(f"{done.path}: {done.rows} events")
        except (event_archive.NotArchivedError, OSError) as error:
            raise CommandError(str(error)) from error
        if not found:
            self.stdout.write(f"No month before {options['before']:%Y-%m} is in the database.")


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 (a month has no time zone)
    except ValueError as error:
        raise ArgumentTypeError(f"{text} is no month like 2026-03.") from error
