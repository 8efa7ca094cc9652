"""Readers of `/tv/streaming`, in a process of their own: how late each price came, and whether all came in order. Knows
no Django.

`python -m backoffice.bench.readers` reads a `Plan` from its standard input, writes an empty line once everybody
listens, and a `Result` when everybody has the last price, or waits for one no longer.
"""

from __future__ import annotations

import http.client
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import msgspec

from backoffice.quantiles import of_sorted

# Of a quote's line the time of its price, and what is bid: the number of the price.
_QUOTE = re.compile(rb'"f":"q","id":"[^"]*","t":([\d.]+),[^\n]*"bs":(\d+)')
SILENCE_SECONDS = 20.0  # there are heartbeats besides


class Plan(msgspec.Struct):
    """So many readers with this token, each waiting for the prices from 1 to `ticks`."""

    port: int
    token: str
    readers: int
    ticks: int


class Result(msgspec.Struct):
    """`least` is what the reader got who got least, `reordered` how often a price came after a later one."""

    least: int
    reordered: int
    p50_ms: float
    p99_ms: float
    most_ms: float


def read(plan: Plan, listening: threading.Barrier) -> tuple[list[int], list[float]]:
    """What one reader got: the prices' numbers, and each one's milliseconds from its time to here."""
    connection = http.client.HTTPConnection("127.0.0.1", plan.port, timeout=SILENCE_SECONDS)
    connection.request("GET", "/tv/streaming", headers={"Authorization": f"Bearer {plan.token}"})
    response = connection.getresponse()
    listening.wait()
    numbers: list[int] = []
    late_ms: list[float] = []
    rest, deadline = b"", time.monotonic() + SILENCE_SECONDS
    while not numbers or numbers[-1] < plan.ticks:
        received, now = response.read1(1 << 20), time.time()
        if not received or time.monotonic() > deadline:
            break
        lines, newline, rest = (rest + received).rpartition(b"\n")
        for at, number in _QUOTE.findall(lines + newline):
            numbers.append(int(number))
            late_ms.append((now - float(at)) * 1000)
            deadline = time.monotonic() + SILENCE_SECONDS
    connection.close()
    return numbers, late_ms


def run(plan: Plan) -> Result:
    def everybody_listens() -> None:
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()

    listening = threading.Barrier(plan.readers, everybody_listens)
    with ThreadPoolExecutor(plan.readers) as pool:
        found = list(pool.map(lambda _reader: read(plan, listening), range(plan.readers)))
    late_ms = sorted(each for _numbers, late in found for each in late) or [0.0]
    return Result(
        least=min(len(set(numbers)) for numbers, _late in found),
        reordered=sum(b <= a for numbers, _late in found for a, b in pairwise(numbers)),
        p50_ms=of_sorted(late_ms, 0.5),
        p99_ms=of_sorted(late_ms, 0.99),
        most_ms=late_ms[-1],
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan))))
