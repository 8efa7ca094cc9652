"""`manage.py import_tradingview_symbols`: TradingView's list of symbols, which mappings are checked against."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from marketdata import tradingview_list
from marketdata.management.recording_command import FileCommand
from marketdata.tradingview_list import Report


class Command(FileCommand):
    help = (
        "Reads a JSON array of TradingView's symbols (symbol-fullname, type, currency, description, and minmovement "
        "with pricescale where known), adds and updates them, and looks for suggestions. Wrong rows are reported by "
        "line and left out; everything else is written in one transaction, or nothing is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--whole", action="store_true", help="the file is the whole list: symbols that it lacks have gone"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        began = time.monotonic()
        shown = options["progress"] or sys.stderr.isatty()
        with self.refusing_unreadable_files():
            rows = tqdm(tradingview_list.read(options["file"]), unit=" rows", disable=not shown, file=sys.stderr)
            symbols = list(self.sound(rows, strict=options["strict"]))
        report = tradingview_list.save(symbols, is_whole=options["whole"])
        self._conclude(report, time.monotonic() - began)

    def _conclude(self, report: Report, seconds: float) -> None:
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
        if report.removed:
            self.stdout.write(_("%(count)d symbols have gone at TradingView.") % {"count": report.removed})
        self.stdout.write(_("%(count)d symbols are suggested for instruments.") % {"count": report.suggested})
