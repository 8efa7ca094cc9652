"""Following the tick log from a thread of one's own, through restarts of Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import redis

from marketdata import ticklog
from marketdata.ticklog import Entry

BATCH = 5000  # entries at most in one go
BLOCK_MS = 250  # how long a follower takes to notice that it is to stop
BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

logger = logging.getLogger(__name__)


def live(stop: threading.Event, *, pause_seconds: float, listening: Callable[[], None]) -> Iterator[list[Entry]]:
    """What enters the log from now on, in order, until `stop` is set. Calls `listening` once nothing escapes it.

    A batch is what has come while the one before it was worked on, and for `pause_seconds` after that: work is done in
    batches however fast the ticks come, and the first tick after a silence comes at once. While Redis is away it waits
    and tries again, and then goes on where it was; entries that the log has lost by then are lost to the follower too.
    """
    position: str | None = None
    failures = 0
    while not stop.is_set():
        try:
            if position is None:
                position = ticklog.last_id()
                listening()
            entries = ticklog.read(position, count=BATCH, block_ms=BLOCK_MS)
        except redis.RedisError as error:
            if not failures:
                logger.warning("The tick log cannot be read, trying again: %s", error)
            stop.wait(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])
            failures += 1
            continue
        if failures:
            logger.info("The tick log can be read again.")
            failures = 0
        if entries:
            position = entries[-1].id
            yield entries
            if len(entries) < BATCH:
                stop.wait(pause_seconds)
