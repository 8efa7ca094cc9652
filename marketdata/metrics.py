"""How long things take that happen all the time: a price's way into the sockets of `/tv/streaming`, and the engine's.

Each process counts for itself and tells Redis every few seconds; whoever wants to know asks Redis.
"""

from __future__ import annotations

import os
import socket
import time
from bisect import bisect_left
from collections.abc import Iterable
from typing import cast

import msgspec

from marketdata import ticklog

KEPT_SECONDS = 60  # what a process said longer ago is not true any more
WINDOW_SECONDS = 60.0
# Upper ends of the counted delays, in milliseconds: fine where it matters (STRM-6 demands 1 s), coarse beyond.
EDGES_MS = (*range(5, 200, 5), *range(200, 1000, 25), *range(1000, 5000, 250), 5_000, 10_000, 30_000, 60_000)
STREAM = "stream:metrics:"  # from the source's time to the socket
ENGINE_STEP = "engine:steps:"  # from the reading of ticks to the orders queued
ENGINE_LAG = "engine:lags:"  # from the log to that


class Delays(msgspec.Struct, frozen=True):
    """Delays of one process in its last minute; percentiles in milliseconds, 0 where nothing was sent."""

    process: str
    connections: int
    dropped: int  # readers that were too slow, since the process started
    lines: int
    p50_ms: int
    p99_ms: int
    most_ms: int


class Meter:
    """Counts delays; for one thread. A minute is counted while the one before it is told."""

    def __init__(self, process: str = "") -> None:
        self._process = process or f"{socket.gethostname()}:{os.getpid()}"
        self.connections = 0
        self.dropped = 0
        self._counts = [0] * (len(EDGES_MS) + 1)
        self._most_ms = 0
        self._began = time.monotonic()

    def sent(self, source_times_ms: Iterable[int]) -> None:
        """Lines with these source times have just gone into a socket."""
        now_ms = time.time_ns() // 1_000_000
        for time_ms in source_times_ms:
            self.took(max(0, now_ms - time_ms))

    def took(self, ms: int) -> None:
        self._counts[bisect_left(EDGES_MS, ms)] += 1
        self._most_ms = max(self._most_ms, ms)

    def read(self) -> Delays:
        """What was counted in this window, which ends when it is a minute old."""
        delays = Delays(
            process=self._process,
            connections=self.connections,
            dropped=self.dropped,
            lines=sum(self._counts),
            p50_ms=self._percentile(0.50),
            p99_ms=self._percentile(0.99),
            most_ms=self._most_ms,
        )
        if time.monotonic() - self._began >= WINDOW_SECONDS:
            self._counts = [0] * len(self._counts)
            self._most_ms, self._began = 0, time.monotonic()
        return delays

    def _percentile(self, part: float) -> int:
        """The upper end of the class that this part of the delays does not exceed."""
        wanted, seen = part * sum(self._counts), 0
        edges: tuple[int, ...] = (*EDGES_MS, self._most_ms)
        for edge, count in zip(edges, self._counts, strict=True):
            seen += count
            if seen >= wanted:
                return min(edge, self._most_ms)
        return self._most_ms


def tell(delays: Delays, of: str = STREAM) -> None:
    """Raises `redis.RedisError`."""
    ticklog.connection().set(of + delays.process, msgspec.json.encode(delays), ex=KEPT_SECONDS)


def told(of: str = STREAM) -> list[Delays]:
    """What the processes said last. Raises `redis.RedisError`."""
    client = ticklog.connection()
    keys = sorted(client.scan_iter(match=f"{of}*", count=1000))
    values = cast("list[bytes | None]", client.mget(keys)) if keys else []
    return [msgspec.json.decode(value, type=Delays) for value in values if value]
