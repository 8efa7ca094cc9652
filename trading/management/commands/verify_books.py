from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading import books


class Command(BaseCommand):
    help = "Recompute the books from their rows and say where what is stored differs. Exits 1 when anything does."

    def handle(self, *args: Any, **options: Any) -> None:
        faults = books.verify()
        for fault in faults:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"The books do not agree in {len(faults)} places.")
        self.stdout.write(f"The books agree: {books.extent()}.")
