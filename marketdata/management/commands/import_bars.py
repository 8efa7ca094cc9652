"""`manage.py import_bars`: closed bars from a file of recorded ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from marketdata import bars
from marketdata.bars import Bar, WriteReport
from marketdata.management.recording_command import RecordingCommand
from marketdata.recordings import BAR_FORMATS, Skip, read_bars


class Command(RecordingCommand):
    help = "Imports recorded bars. Minutes that are there already stay as they are, so importing twice is harmless."
    formats = BAR_FORMATS

    def handle(self, *_args: Any, **options: Any) -> None:
        form = BAR_FORMATS[options["format"]]
        recording = self.recording(options, needs_date=not form.dated)
        skips: Counter[Skip] = Counter()
        rows: Iterator[Bar | Skip] = self.sound(
            self.progress(read_bars(options["file"], form, recording), options), strict=options["strict"]
        )
        with self.refusing_unreadable_files(), transaction.atomic():
            report = bars.write(recording.instrument, _without_skips(rows, skips), form.resolution)
        self._conclude(report, skips)

    def _conclude(self, report: WriteReport, skips: Counter[Skip]) -> None:
        for why, count in skips.items():
            self.stdout.write(_("%(count)d rows %(why)s make no bar.") % {"count": count, "why": why.value})
        if report.conflicts:
            self.stdout.write(
                _("%(count)d bars are there already with other values, and stay as they are.")
                % {"count": report.conflicts}
            )
        skipped = self.faults + skips.total() + report.conflicts
        self.stdout.write(
            _("read %(read)d, added %(added)d, unchanged %(unchanged)d, skipped %(skipped)d")
            % {
                "read": report.added + report.unchanged + skipped,
                "added": report.added,
                "unchanged": report.unchanged,
                "skipped": skipped,
            }
        )


def _without_skips(rows: Iterable[Bar | Skip], skips: Counter[Skip]) -> Iterator[Bar]:
    for row in rows:
        if isinstance(row, Skip):
            skips[row] += 1
        else:
            yield row
