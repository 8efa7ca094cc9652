"""`/symbol_info` of a group of ten thousand symbols against one of a single symbol."""

from __future__ import annotations

import statistics
import time

from django.test import Client

from backoffice.bench import world
from backoffice.bench.world import World
from marketdata.models import Instrument, SymbolGroup

SYMBOLS = 10_000


def compare(made: World, rounds: int) -> tuple[float, float]:
    """Milliseconds of an answer: of one symbol, and of all."""
    sizes = {"bench_one": 1, "bench_many": SYMBOLS}
    for name, size in sizes.items():
        make_group(name, size)
    times: dict[str, list[float]] = {name: [] for name in sizes}
    for _round in range(rounds + 1):  # the first one prepares
        for name in sizes:
            times[name].append(_milliseconds(f"/tv/symbol_info?group={name}", made.traders[0].token))
    return statistics.median(times["bench_one"][1:]), statistics.median(times["bench_many"][1:])


def make_group(name: str, size: int) -> str:
    """A group of so many symbols; its name."""
    group, _created = SymbolGroup.objects.get_or_create(name=name, defaults={"description": name})
    Instrument.objects.bulk_create(
        [world.instrument(f"{name.upper()}{number:05}", group) for number in range(size)],
        batch_size=2000,
        ignore_conflicts=True,
    )
    return name


def _milliseconds(target: str, token: str) -> float:
    client = Client()
    started = time.perf_counter()
    answer = client.get(target, headers={"authorization": f"Bearer {token}"})
    elapsed = time.perf_counter() - started
    if not answer.content.startswith(b'{"s":"ok"'):
        raise RuntimeError(answer.content[:200].decode())
    return elapsed * 1000
