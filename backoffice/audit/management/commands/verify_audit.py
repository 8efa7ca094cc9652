from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.audit import verification


class Command(BaseCommand):
    help = "Hash the audit trail again and name entries that were edited or are missing. Exits 1 when any was."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--expect", default="", metavar="SEQ:HASH", help="the end of the trail an earlier run printed: still there?"
        )

    def handle(self, *args: Any, expect: str, **options: Any) -> None:
        verdict = verification.verify(expected=expect)
        for fault in verdict.faults:
            self.stderr.write(fault)
        if verdict.faults:
            raise CommandError(f"The audit trail is broken in {len(verdict.faults)} places.")
        self.stdout.write(f"The audit trail is whole: {verdict.count} entries, ending with {verdict.head}")
