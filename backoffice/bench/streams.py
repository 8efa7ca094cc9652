"""Prices from the log to the readers of `/tv/streaming`."""

from __future__ import annotations

import sys
import time
from decimal import Decimal

import msgspec

from backoffice.bench import servers, world
from backoffice.bench.readers import Plan, Result
from backoffice.bench.world import World
from marketdata import ticklog

READERS = 16
TICKS_A_SECOND = 5000
_READERS = (sys.executable, "-m", "backoffice.bench.readers")
STEP_SECONDS = 0.01  # prices come in small batches, as from a feed


def measure(made: World, seconds: float, readers: int = READERS) -> tuple[Result, int, float]:
    """What the readers of one process got, how many prices there were, and how many a second."""
    ticks = round(TICKS_A_SECOND * seconds)
    with servers.web({"PART": "stream"}) as web:
        plan = Plan(web.port, world.data_token(), readers, ticks)
        with servers.start_load(plan, _READERS) as process:
            assert process.stdout is not None
            process.stdout.readline()
            took = _tick(made.symbols, ticks)
            return msgspec.json.decode(process.stdout.read(), type=Result), ticks, ticks / took


def _tick(symbols: list[str], ticks: int) -> float:
    """Write so many prices, numbered by what is bid, at an even pace; the seconds that it took."""
    began, step = time.monotonic(), round(TICKS_A_SECOND * STEP_SECONDS)
    for first in range(1, ticks + 1, step):
        time.sleep(max(0.0, began + first / TICKS_A_SECOND - time.monotonic()))
        now_ms = time.time_ns() // 1_000_000
        ticklog.append(
            [
                ticklog.Tick(
                    symbols[number % len(symbols)],
                    now_ms,
                    Decimal("1.1") + Decimal(number % 50) / 100_000,
                    Decimal("1.101") + Decimal(number % 50) / 100_000,
                    Decimal(number),
                    Decimal(10**6),
                )
                for number in range(first, min(first + step, ticks + 1))
            ]
        )
    return time.monotonic() - began
