"""`manage.py import_instruments`: definitions of instruments from a file."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from tqdm import tqdm

from marketdata import definition_files, instruments
from marketdata.definition_files import Definition
from marketdata.instruments import Report
from marketdata.management.recording_command import FileCommand
from marketdata.models import SymbolGroup
from marketdata.triggers import MOST_SYMBOLS


class Command(FileCommand):
    help = (
        "Adds the instruments of a file, and updates those that are there already. Malformed rows are reported by line "
        "and left out; everything else is written in one transaction, or nothing is. A csv file names its columns as "
        "the fields of an instrument; exchange stands for both exchanges."
    )
    formats = definition_files.FORMATS

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--group", help="symbol group that the instruments are put in; a new one stays for ever")
        parser.add_argument("--exchange", default="", help="exchange of all instruments, instead of the file's")
        parser.add_argument("--limit", type=_count, metavar="N", help="stop after N instruments")

    def handle(self, *_args: Any, **options: Any) -> None:
        began = time.monotonic()
        read = definition_files.read(options["file"], options["format"], exchange=options["exchange"].upper())
        with self.refusing_unreadable_files():
            rows = self.sound(self.progress(read, options), strict=options["strict"])
            definitions = list(islice(rows, options["limit"]))
        shown = options["progress"] or sys.stderr.isatty()
        with tqdm(total=len(definitions), unit=" written", disable=not shown, file=sys.stderr) as bar:
            report = self._write(definitions, options, bar.update)
        self._conclude(report, time.monotonic() - began)

    @transaction.atomic
    def _write(
        self, definitions: list[Definition], options: dict[str, Any], progress: Callable[[int], object]
    ) -> Report:
        """Raises `CommandError`, nothing written."""
        group = self._group(options["group"])
        try:
            report = instruments.save(definitions, group=group, progress=progress)
        except IntegrityError as error:
            if group is None or "symbol group" not in str(error):
                raise
            raise CommandError(
                _("Nothing was written: %(group)s would have more than %(count)d symbols.")
                % {"group": group, "count": MOST_SYMBOLS}
            ) from error
        for fault in report.faults:
            self.report(fault, strict=options["strict"])
        return report

    def _group(self, name: str | None) -> SymbolGroup | None:
        """The group of that name, made if it is new: it never goes again (GRP-4). Raises `CommandError`."""
        if name is None:
            return None
        group = SymbolGroup.objects.filter(name=name).first() or SymbolGroup(name=name)
        if not group.pk:
            try:
                group.full_clean()
            except ValidationError as error:
                raise CommandError("\n".join(error.messages)) from error
            group.save()
            self.stdout.write(_("The symbol group %(name)s is new.") % {"name": name})
        return group

    def _conclude(self, report: Report, seconds: float) -> None:
        if report.critical:
            self.stdout.write(
                _("TradingView must be told of changed sessions or price formats: %(symbols)s.")
                % {"symbols": ", ".join(report.critical)}
            )
        self.stdout.write(
            _("added %(added)d, updated %(updated)d, unchanged %(unchanged)d, skipped %(skipped)d in %(seconds).1f s")
            % {
                "added": report.added,
                "updated": report.updated,
                "unchanged": report.unchanged,
                "skipped": self.faults,
                "seconds": seconds,
            }
        )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)
