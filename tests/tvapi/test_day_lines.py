"""Daily lines of the stream (STRM-11): the day so far, the same whenever a process begins to read."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from marketdata import bars, ticklog
from marketdata.builder import BarBuilder
from marketdata.models import Instrument
from marketdata.ticklog import Entry, Tick
from tests import factories
from tvapi.lines import Lines

pytestmark = pytest.mark.django_db


@pytest.fixture
def coin() -> Instrument:
    return factories.instrument("BTCUSDT", has_daily=True)


def trade(price: str, size: str = "1") -> Entry:
    """A trade of now, in the log."""
    at = Decimal(price)
    tick = Tick("BTCUSDT", time.time_ns() // 1_000_000, at, at, last=at, last_size=Decimal(size))
    return Entry(ticklog.append([tick])[0], tick)


def build() -> None:
    builder = BarBuilder()
    while builder.run_once():
        pass


def day_lines(lines: Lines, *entries: Entry) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.of(entries).data.splitlines()]
    return [line for line in found if line["f"] == "d"]


def values(line: dict[str, Any]) -> tuple[float, ...]:
    return tuple(line[name] for name in "ohlcv")


def test_every_trade_brings_the_day_up_to_date(coin: Instrument) -> None:
    lines = Lines({})
    sent = day_lines(lines, trade("100"), trade("110", "0.5"), trade("90"))
    assert [values(line) for line in sent] == [
        (100, 100, 100, 100, 1), (100, 110, 100, 110, 1.5), (100, 110, 90, 90, 2.5),
    ]  # fmt: skip
    assert {line["t"] % 86_400 for line in sent} == {0}
    build()
    day = bars.history(coin, "1D", sent[0]["t"], sent[0]["t"])
    assert (day.o, day.h, day.l, day.c, day.v) == ([100.0], [110.0], [90.0], [90.0], [2.5])


@pytest.mark.parametrize("built_after", [0, 1, 2, 3])
def test_a_process_that_begins_later_has_the_same_day(coin: Instrument, built_after: int) -> None:
    """Whether the builder has stored none, some or all of what came before, or even what is still to be sent."""
    entries = []
    for number, price in enumerate(("100", "110", "90")):
        if number == built_after:
            build()
        entries.append(trade(price))
    if built_after == 3:
        build()
    assert values(day_lines(Lines({}), entries[2])[0]) == (100, 110, 90, 90, 3)
    first, second = Lines({}), Lines({})
    day_lines(first, *entries)
    last = trade("95")
    assert day_lines(first, last) == day_lines(second, last) != []


def test_symbols_without_daily_bars_have_no_daily_lines() -> None:
    factories.instrument("BTCUSDT")
    assert day_lines(Lines({}), trade("100")) == []
