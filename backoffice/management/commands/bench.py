import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backoffice.bench import cases, runs


class Command(BaseCommand):
    help = "Measure what is asked often, on servers of its own, each case against its yardstick in the same run."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only", action="append", choices=list(cases.CASES), default=[], help="one case; repeat it"
        )
        parser.add_argument("--rounds", type=int, default=5, help="of each case (default: 5)")
        parser.add_argument("--json", type=Path, help="a file for the figures")
        parser.add_argument("--page", action="store_true", help=f"put the rows into the table of {runs.PAGE}")

        parser.add_argument("--growth", action="store_true", help="instead: how cost grows, drawn into docs/images")
        parser.add_argument("--shrink", type=int, default=1, metavar="N", help="divide the sizes of --growth by N")

    def handle(self, *args: Any, **options: Any) -> None:
        if runs.INSIDE not in os.environ:
            sys.exit(runs.on_servers_of_its_own([sys.executable, *sys.argv]))
        if options["growth"]:
            runs.grow(max(1, options["shrink"]))
            return
        rows = runs.run(options["only"], options["rounds"], page=options["page"])
        if options["json"]:
            options["json"].write_text(runs.as_json(rows))
        if short := [row.case for row in rows if not row.is_met]:
            raise CommandError(f"Short of what is wanted: {'; '.join(short)}.")
