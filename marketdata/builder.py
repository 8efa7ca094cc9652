"""The bar builder: reads the tick log and makes minute bars of it.

A batch's bars and its place in the log are stored in one transaction, so a crash at any moment neither loses nor
repeats a tick. Several builders may run: only one whose batch begins where the stored position stands can store it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from django.db import transaction

from marketdata import bars, ticklog
from marketdata.folding import Fold, Ignored, LaneKey, Minute, Sources
from marketdata.models import LogPosition, OpenBar
from marketdata.ticklog import Entry

READER = "bars"
START = "0-0"  # before the first entry of any log
BATCH = 5000  # entries in one transaction

logger = logging.getLogger(__name__)


def position() -> str:
    """The id of the last entry of the log whose bars are stored."""
    return LogPosition.objects.filter(reader=READER).values_list("entry_id", flat=True).first() or START


def has_passed(entry_id: str) -> bool:
    """Whether the bars of this entry of the log, and of all before it, are stored."""
    return order(position()) >= order(entry_id)


def order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


class BarBuilder:
    """Follows the tick log from its stored position on; `ignored` counts the ticks that made no bar, by reason.

    It keeps the minutes in progress in memory between batches, which is safe because nobody else can have stored a
    batch while the stored position is the one it left.
    """

    def __init__(self) -> None:
        self.ignored: Counter[Ignored] = Counter()
        self._position: str | None = None
        self._minutes: dict[LaneKey, Minute | None] = {}
        self._sources = Sources()

    def run_once(self, block_ms: int | None = None) -> int:
        """Store the bars of the next batch, and return its number of entries.

        When the log has nothing new, waits up to `block_ms` for an entry. Returns 0 when none came, or when another
        builder has stored the batch. Raises `redis.RedisError` or `django.db.Error`, with nothing stored; then call it
        again.
        """
        if self._position is None:
            self._position = position()
        entries = ticklog.read(self._position, count=BATCH, block_ms=block_ms)
        if not entries:
            self._notice_new_log(self._position)
            return 0
        try:
            stored = self._store(entries, self._position)
        except BaseException:
            self._forget()
            raise
        if stored is None:
            self._forget()
            return 0
        self.ignored += stored.ignored
        self._position = entries[-1].id
        return len(entries)

    def close(self) -> None:
        """Stop. Everything read is stored already, so what is left is to say what made no bar."""
        self._forget()
        if self.ignored:
            logger.info("Ticks without a bar: %s", ", ".join(f"{n} {why}" for why, n in self.ignored.most_common()))

    @transaction.atomic
    def _store(self, entries: Sequence[Entry], after: str) -> Fold | None:
        """Write the entries' bars and the new position; None, and nothing written, when others have moved it."""
        LogPosition.objects.bulk_create([LogPosition(reader=READER, entry_id=START)], ignore_conflicts=True)
        stored = LogPosition.objects.select_for_update().get(reader=READER)
        if stored.entry_id != after:
            return None
        fold = Fold(self._sources, self._minutes)
        fold.add_all([entry.tick for entry in entries])
        bars.write_all(fold.closed)
        OpenBar.objects.bulk_create(
            fold.open_bars(),
            update_conflicts=True,
            unique_fields=["instrument", "lane"],
            update_fields=["minute", "o", "h", "l", "c", "v", "last_seq"],
        )
        stored.entry_id = entries[-1].id
        stored.save()
        return fold

    def _notice_new_log(self, after: str) -> None:
        """A log that ends before the position is another one: Redis lost its own, and its clock went back."""
        newest = ticklog.last_id()
        if newest == START or order(newest) >= order(after):
            return
        logger.warning("The tick log begins anew: its last entry %s is before %s", newest, after)
        LogPosition.objects.filter(reader=READER, entry_id=after).update(entry_id=START)
        self._forget()

    def _forget(self) -> None:
        """Start again from what is stored."""
        self._position = None
        self._minutes = {}
        self._sources = Sources()
