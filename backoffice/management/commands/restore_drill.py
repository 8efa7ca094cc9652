import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from backoffice import recovery

VERIFICATIONS = ("verify_books", "verify_audit")


def moment(text: str) -> datetime:
    """An instant with its time zone, of the command line."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} is no moment with a time zone, such as 2026-03-02T14:30:00Z.")
    return found


class Command(BaseCommand):
    help = "Restore a backup beside the running system, verify its books and its audit trail, and remove it again."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="the directory that `back_up` is given")
        parser.add_argument("--to", type=moment, help="such as 2026-03-02T14:30:00Z; without it, up to the last commit")

    def handle(self, *args: Any, directory: Path, to: datetime | None, **options: Any) -> None:
        started = time.monotonic()
        place = Path(tempfile.mkdtemp(dir=recovery.home(), prefix="drill-"))
        place.chmod(0o711)  # Postgres' own user goes through it
        try:
            base = recovery.restore(directory, place / "data", to)
            self.stdout.write(f"Backup of {base.finished:%Y-%m-%d %H:%M:%S} UTC, {time.monotonic() - started:.1f} s.")
            with recovery.running(place / "data") as restored:
                until = f"{restored.until:%Y-%m-%d %H:%M:%S.%f}" if restored.until else "that backup"
                self.stdout.write(f"Restored as of {until}, {time.monotonic() - started:.1f} s.")
                failed = [name for name in VERIFICATIONS if not self._holds(name, restored.url)]
        except (recovery.RecoveryError, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if failed:
            raise CommandError(f"What was restored is not sound: {', '.join(failed)}.")
        self.stdout.write(f"The restored database is sound. {time.monotonic() - started:.1f} s in all.")

    def _holds(self, command: str, url: str) -> bool:
        """Run a command of ours on the restored database, as an operator would: in a process with that DATABASE_URL."""
        done = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": url, "REDIS_URL": settings.REDIS_URL},
            capture_output=True,
            text=True,
            check=False,
        )
        self.stdout.write((done.stdout + done.stderr).strip())
        return done.returncode == 0
