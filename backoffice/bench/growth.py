"""How cost grows: with accounts, open orders, symbols and readers, at three sizes each, as figures and as pictures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.test import Client

from backoffice.bench import engine, streams, symbols, world
from backoffice.bench.world import Trader, World

IMAGES = settings.BASE_DIR / "docs" / "images"
BATCH = 5000  # accounts written in one go
REQUESTS = 100  # of each size,
FEW = 10  # and of so many accounts
STREAM_SECONDS = 4.0


@dataclass(frozen=True)
class Growth:
    """`costs` are what each of `sizes` came to, in `unit`."""

    name: str
    title: str
    unit: str
    sizes: Sequence[int]
    costs: Sequence[float]


@dataclass(frozen=True)
class _Axis:
    title: str
    unit: str
    sizes: tuple[int, int, int]
    measure: Callable[[World, int], float]


def _accounts(made: World, size: int) -> float:
    """A list of orders through Django, asked for a few accounts over again, when there are so many besides."""
    while (missing := size - len(made.traders)) > 0:
        made.traders.extend(world.more_traders(made, min(missing, BATCH)))
    asked = [_order_list(trader) for trader in Random(size).sample(made.traders[:size], min(size, FEW))]
    _median_ms(asked)  # the first answer of an account makes its snapshot, at any size
    return _median_ms(asked * (REQUESTS // len(asked)))


def _order_list(trader: Trader) -> Callable[[], Any]:
    target = f"/tv/accounts/{trader.account.number}/orders?locale=en"
    return lambda: Client().get(target, headers={"authorization": f"Bearer {trader.token}"})


def _open_orders(made: World, size: int) -> float:
    """A tick of a symbol, when the engine watches so many orders."""
    return 1e6 / statistics.median(engine.tick_rate(size, seed) for seed in range(3))


def _symbols(made: World, size: int) -> float:
    """`/symbol_info` of a group that has grown to so many, made anew."""
    name = symbols.make_group("bench_grow", size)
    token = made.traders[0].token

    def ask() -> Any:
        cache.clear()
        return Client().get(f"/tv/symbol_info?group={name}", headers={"authorization": f"Bearer {token}"})

    return _median_ms([ask] * 3)


def _readers(made: World, size: int) -> float:
    found, _ticks, _pace = streams.measure(made, STREAM_SECONDS, readers=size)
    return found.p99_ms


def _median_ms(asked: Sequence[Callable[[], Any]]) -> float:
    times = []
    for ask in asked:
        started = time.perf_counter()
        answer = ask()
        times.append((time.perf_counter() - started) * 1000)
        if not answer.content.startswith(b'{"s":"ok"'):
            raise RuntimeError(answer.content[:200].decode())
    return statistics.median(times)


AXES = {
    "accounts": _Axis("accounts", "ms for a list of orders", (1, 1000, 100_000), _accounts),
    "orders": _Axis("open orders", "µs for a tick", (1000, 10_000, 100_000), _open_orders),
    "symbols": _Axis("symbols", "ms for /symbol_info", (100, 1000, 10_000), _symbols),
    "readers": _Axis("readers of the stream", "ms at the 99th percentile", (1, 4, 16), _readers),
}


def measure(made: World, shrink: int) -> list[Growth]:
    """All of it, with sizes divided by `shrink`, smallest first."""
    found = []
    for name, axis in AXES.items():
        sizes = sorted({max(1, size // shrink) for size in axis.sizes})
        found.append(Growth(name, axis.title, axis.unit, sizes, [axis.measure(made, size) for size in sizes]))
    return found


def draw(growth: Growth, directory: Path) -> Path:
    """The picture of one, with both axes in powers of ten: cost that grows with size is a line that rises like it."""
    from matplotlib.figure import Figure  # of the tools alone, and long to load

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(growth.sizes, growth.costs, marker="o")
    for size, cost in zip(growth.sizes, growth.costs, strict=True):
        axes.annotate(f"{cost:.3g}", (size, cost), textcoords="offset points", xytext=(0, 8), ha="center")
    axes.set_xlabel(growth.title)
    axes.set_ylabel(growth.unit)
    axes.set_ylim(min(growth.costs) / 5, max(growth.costs) * 5)
    axes.grid(alpha=0.3)
    path = directory / f"growth-{growth.name}.png"
    figure.savefig(path, dpi=120)
    return path
