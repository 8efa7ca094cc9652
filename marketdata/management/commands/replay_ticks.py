"""`manage.py replay_ticks`: recorded ticks through the live pipeline."""

from __future__ import annotations

import math
import time
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from marketdata import builder, ticklog
from marketdata.choices import BarSource
from marketdata.management.recording_command import RecordingCommand
from marketdata.recordings import TICK_FORMATS, read_ticks
from marketdata.ticklog import Tick

BATCH = 1000
QUOTES_ONLY = ("lean-forex-tick", "truefx")
MOST_AHEAD = 50_000  # entries that the replay may be ahead of the bar builder, so that a long one does not fill Redis
POLL_SECONDS = 0.05


class Command(RecordingCommand):
    help = (
        "Replays recorded ticks through the tick log, and waits until their bars are there. A replay that was broken "
        "off may be started again: ticks that come twice change nothing."
    )
    formats = TICK_FORMATS

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--speed", type=_speed, required=True, help="max, or how many times faster than recorded")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for the bars")
        parser.add_argument(
            "--patience",
            type=float,
            default=60,
            metavar="SECONDS",
            help="how long the bar builder may stand still (60)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        recording = self.recording(options, TICK_FORMATS[options["format"]])
        if recording.instrument.bar_source == BarSource.TRADE and options["format"] in QUOTES_ONLY:
            self.stderr.write(
                _("Bars of %(symbol)s are made of trades, the file has quotes: it makes no bars.")
                % {"symbol": recording.instrument}
            )

        def read() -> Iterator[Tick]:
            rows = read_ticks(options["file"], options["format"], recording)
            return self.sound(self.progress(rows, options), strict=options["strict"])

        with self.refusing_unreadable_files():
            if options["strict"]:
                for _tick in read():  # every row is looked at before the first is sent
                    pass
            patience = None if options["no_wait"] else options["patience"]
            sent = self._send(_paced(read(), options["speed"]), patience)
        self.stdout.write(
            _("read %(read)d, sent %(sent)d, skipped %(skipped)d")
            % {"read": sent + self.faults, "sent": sent, "skipped": self.faults}
        )

    def _send(self, batches: Iterable[list[Tick]], patience: float | None) -> int:
        """Append the batches to the tick log, never too far ahead of the bar builder; the number of ticks sent."""
        sent = since_mark = 0
        mark = last = builder.START
        for batch in batches:
            last = ticklog.append(batch)[-1]
            sent += len(batch)
            since_mark += len(batch)
            if since_mark >= MOST_AHEAD // 2:
                if patience is not None:
                    _wait_for_bars(mark, patience)
                mark, since_mark = last, 0
        if patience is not None:
            _wait_for_bars(last, patience)
        return sent


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise ArgumentTypeError(f"{text} is neither max nor a number above 0")
    return speed


def _paced(ticks: Iterable[Tick], speed: float) -> Iterator[list[Tick]]:
    """The ticks in batches, each when its time has come: recorded spacing divided by `speed`."""
    if speed == math.inf:
        yield from ticklog.batches(ticks, BATCH)
        return
    batch: list[Tick] = []
    first_ms, started = None, time.monotonic()
    for tick in ticks:
        first_ms = tick.time_ms if first_ms is None else first_ms
        wait = started + (tick.time_ms - first_ms) / 1000 / speed - time.monotonic()
        if batch and (wait > 0 or len(batch) == BATCH):
            yield batch
            batch = []
        if wait > 0:
            time.sleep(wait)
        batch.append(tick)
    if batch:
        yield batch


def _wait_for_bars(entry_id: str, patience: float) -> None:
    """Return when the bars up to this entry of the log are stored.

    Raises `CommandError` when the bar builder stands still for `patience` seconds.
    """
    seen, since = builder.position(), time.monotonic()
    while not builder.has_passed(entry_id):
        if (now_at := builder.position()) != seen:
            seen, since = now_at, time.monotonic()
        elif time.monotonic() - since > patience:
            raise CommandError(
                _("The ticks are in the log, but for %(seconds)d s nobody made bars of them: is the feed running?")
                % {"seconds": patience}
            )
        time.sleep(POLL_SECONDS)
