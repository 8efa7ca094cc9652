"""`manage.py import_bars`: closed bars from a file of recorded ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from marketdata import bars, deep_import
from marketdata.bars import Bar, WriteReport
from marketdata.management.recording_command import RecordingCommand
from marketdata.recordings import BAR_FORMATS, BarFormat, Recording, Skip, read_bars

Outcome = tuple[WriteReport, Counter[Skip]]


class Command(RecordingCommand):
    help = "Imports recorded bars. Minutes that are there already stay as they are, so importing twice is harmless."
    formats = BAR_FORMATS
    verbosity = 1

    def handle(self, *_args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        form = BAR_FORMATS[options["format"]]
        recording = self.recording(options, form)
        began = time.monotonic()
        with self.refusing_unreadable_files():
            if form.layout is None or (done := self._copied(recording, options)) is None:
                done = self._written(form, recording, options)
        self._conclude(*done, time.monotonic() - began)

    def _copied(self, recording: Recording, options: dict[str, Any]) -> Outcome | None:
        """The quick way, for files without any fault; None, nothing written, for others."""
        assert recording.layout is not None
        with self.counter(options) as bar:
            try:
                return deep_import.run(options["file"], recording.layout, recording.instrument, progress=bar.update)
            except (deep_import.NeedsCare, IntegrityError):  # or somebody else has just written one of the days
                return None

    @transaction.atomic
    def _written(self, form: BarFormat, recording: Recording, options: dict[str, Any]) -> Outcome:
        """Row by row, saying what is wrong with each."""
        skips: Counter[Skip] = Counter()
        rows: Iterator[Bar | Skip] = self.sound(
            self.progress(read_bars(options["file"], form, recording), options), strict=options["strict"]
        )
        return bars.write(recording.instrument, _without_skips(rows, skips), form.resolution), skips

    def _conclude(self, report: WriteReport, skips: Counter[Skip], seconds: float) -> None:
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
        if self.verbosity > 1:
            self.stdout.write(
                _("%(rate)d bars/s in %(seconds).2f s") % {"rate": report.added / seconds, "seconds": seconds}
            )


def _without_skips(rows: Iterable[Bar | Skip], skips: Counter[Skip]) -> Iterator[Bar]:
    for row in rows:
        if isinstance(row, Skip):
            skips[row] += 1
        else:
            yield row
