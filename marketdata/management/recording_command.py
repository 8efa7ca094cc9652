"""What the commands that read recorded market data have in common."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from marketdata.models import Instrument
from marketdata.recording_text import UnreadableFile
from marketdata.recordings import BarFormat, Fault, Recording, TickFormat, count_rows

FAULTS_SHOWN = 100

Row = TypeVar("Row")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text} is not a day like 2014-05-08") from None


class FileCommand(BaseCommand):
    """A command that takes a file, and its format where there are several, and goes through its rows."""

    formats: Iterable[str] = ()
    faults = 0  # malformed rows so far

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="plain, .gz, or .zip with one file inside")
        if formats := sorted(self.formats):
            parser.add_argument("--format", required=True, choices=formats)
        parser.add_argument(
            "--strict", action="store_true", help="stop at the first malformed row, with nothing written"
        )
        parser.add_argument("--progress", action="store_true", help="show the progress bar even off a terminal")

    def progress(self, rows: Iterable[Row], options: dict[str, Any]) -> Iterator[Row]:
        """The rows, with a bar on standard error that shows how many and how fast."""
        shown = options["progress"] or sys.stderr.isatty()
        with self.refusing_unreadable_files():
            total = count_rows(options["file"]) if shown else None
        return iter(tqdm(rows, total=total, unit=" rows", disable=not shown, file=sys.stderr))

    def counter(self, options: dict[str, Any]) -> tqdm[Any]:
        """A bar on standard error that is told how many rows were gone through."""
        shown = options["progress"] or sys.stderr.isatty()
        return tqdm(total=count_rows(options["file"]) if shown else None, unit=" rows", disable=not shown)

    def sound(self, rows: Iterable[Row | Fault], *, strict: bool) -> Iterator[Row]:
        """The rows but the malformed ones, see `report`."""
        for row in rows:
            if not isinstance(row, Fault):
                yield row
                continue
            self.report(row, strict=strict)

    def report(self, fault: Fault, *, strict: bool) -> None:
        """Count a malformed row, and say what is wrong with it. Raises `CommandError` when strict."""
        report = _("line %(line)d: %(reason)s") % {"line": fault.line, "reason": fault.reason}
        if strict:
            raise CommandError(_("Nothing was written: %(report)s") % {"report": report})
        self.faults += 1
        if self.faults <= FAULTS_SHOWN:
            self.stderr.write(report)
        elif self.faults == FAULTS_SHOWN + 1:
            self.stderr.write(_("Further malformed rows are only counted."))

    @contextmanager
    def refusing_unreadable_files(self) -> Iterator[None]:
        try:
            yield
        except UnreadableFile as error:
            raise CommandError(str(error)) from error


class RecordingCommand(FileCommand):
    """A command that takes recorded prices of one symbol, of one day where their rows do not say which."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--symbol", required=True)
        parser.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the day of the rows")
        parser.add_argument(
            "--columns",
            metavar="NAME=COLUMN,…",
            help="for csv: which column is which, by its name in the header or its number from 1",
        )

    def recording(self, options: dict[str, Any], form: BarFormat | TickFormat) -> Recording:
        instrument = Instrument.objects.filter(symbol=options["symbol"]).first()
        if instrument is None:
            raise CommandError(_("There is no instrument %(symbol)s.") % {"symbol": options["symbol"]})
        if options["date"] is None and not form.dated:
            raise CommandError(
                _("Rows of %(format)s have only a time of day: give their --date.") % {"format": options["format"]}
            )
        with self.refusing_unreadable_files():
            layout = form.layout(options["file"], options["columns"]) if form.layout else None
        return Recording(instrument, options["date"] or date.min, layout)
