import sys
from typing import Any

from django.core.management.base import BaseCommand

from backoffice import launcher


class Command(BaseCommand):
    help = "Start the whole demo: servers, data and every process, supervised until Ctrl-C. `make demo` calls this."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(launcher.main())
