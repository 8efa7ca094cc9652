from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice import recovery
from backoffice.management.commands.restore_drill import moment


class Command(BaseCommand):
    help = "Lay out a data directory for Postgres from a backup, as the database was at a moment. Starts nothing."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="the directory that `back_up` was given")
        parser.add_argument("target", type=Path, help="the new data directory: empty, or not there yet")
        parser.add_argument("--to", type=moment, help="such as 2026-03-02T14:30:00Z; without it, up to the last commit")

    def handle(self, *args: Any, directory: Path, target: Path, to: datetime | None, **options: Any) -> None:
        try:
            base = recovery.restore(directory, target, to)
        except (recovery.RecoveryError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{target} holds the backup of {base.finished:%Y-%m-%d %H:%M:%S} UTC and the log since. Start Postgres on "
            "it: it replays the log and is then an ordinary server. Run `manage.py verify_books` before anybody trades."
        )
