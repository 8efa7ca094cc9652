from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backoffice import demo


class Command(BaseCommand):
    help = "Make the demo broker: logins, instruments with thirty days of bars, accounts. Harmless when repeated."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            demo.seed()
        except demo.SeedingRefusedError as refusal:
            raise CommandError(str(refusal)) from refusal
