from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice import recovery


class Command(BaseCommand):
    help = (
        "Make a backup of the database and verify it. With `archive_wal` running, every later moment can be restored."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="where backups are kept, best on another machine")
        parser.add_argument("--keep", type=int, default=7, help="how many stay, with the log since the oldest (7)")

    def handle(self, *args: Any, directory: Path, keep: int, **options: Any) -> None:
        if keep < 1:
            raise CommandError("--keep is a number from 1 on: this backup is one of them.")
        try:
            base = recovery.back_up(directory, keep)
        except (recovery.RecoveryError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{base.path}: {sum(file.stat().st_size for file in base.path.iterdir()) / 1e6:,.1f} MB, whole."
        )
