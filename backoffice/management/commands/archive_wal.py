import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice import recovery


class Command(BaseCommand):
    help = "Write every commit into a directory of backups, until told to stop. Run one, as a process of its own."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="the directory that `back_up` is given")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        try:
            program, *arguments = recovery.archive_command(directory)
        except (recovery.RecoveryError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Writing every commit into {directory / 'wal'}.")
        self.stdout.flush()
        os.execve(program, [program, *arguments], {**os.environ, **recovery.environment()})  # noqa: S606 (no shell)
