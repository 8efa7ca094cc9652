"""The stream as it is judged: a recording made line by line, against the history of a broker in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.conformance.broker import TOKEN, Server
from tests.conformance.market import bar
from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.contract import contract
from tvapi.conformance.data import Data
from tvapi.conformance.framework import CHECKS, Options, Result, Status, carry_out
from tvapi.conformance.recording import Journal, Recording

MINUTE = 60


@pytest.fixture(scope="module")
def broker() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def _minutes() -> list[int]:
    """Two closed minutes in which the broker has bars."""
    now = int(time.time()) // MINUTE * MINUTE
    return [at for at in range(now - 5 * MINUTE, now - MINUTE, MINUTE) if at % (97 * MINUTE)][:2]


def _trades(at: int) -> list[dict[str, Any]]:
    """Trades that make the broker's bar of the minute."""
    open_, high, low, close, volume = bar(at)
    prices = (open_, high, low, close)
    return [
        {"f": "t", "id": "EURUSD", "p": float(price), "s": float(volume / 4), "t": at + 10 * number}
        for number, price in enumerate(prices)
    ]


def _judge(broker: Server, name: str, lines: list[dict[str, Any]], minutes: list[int]) -> Result:
    journal = Journal(contract())
    for line in lines:
        journal.take(json.dumps(line), float(line["t"]))
    recording = SimpleNamespace(
        journal=journal,
        failure="",
        head=Exchange("GET", f"{broker.url}/streaming", "/streaming", status=200),
        started=minutes[0] - 1,
        ended=minutes[-1] + 2 * MINUTE,
        seconds=float(len(minutes) * MINUTE),
        closed_by_server=False,
        finish=lambda _seconds: None,
        stop=lambda: None,
    )
    data = Data(Client(broker.url, TOKEN), contract(), Options())
    data.use_recordings([cast(Recording, recording)])
    return carry_out(CHECKS[name], data)


def test_minutes_of_the_stream_equal_those_of_the_history(broker: Server) -> None:
    minutes = _minutes()
    lines = [
        line for at in range(minutes[0], minutes[-1] + 2 * MINUTE, MINUTE) if at % (97 * MINUTE) for line in _trades(at)
    ]
    result = _judge(broker, "streamingHistoryEquality", lines, minutes)
    assert (result.status, result.findings) == (Status.PASSED, [])


@pytest.mark.parametrize("spoiled", ["price", "size", "missing"])
def test_minute_that_differs_is_found(broker: Server, spoiled: str) -> None:
    minutes = _minutes()
    lines = [line for at in minutes for line in _trades(at)]
    if spoiled == "price":
        lines[1]["p"] += 0.01
    elif spoiled == "size":
        lines[1]["s"] += 1
    else:
        lines = lines[4:]
    result = _judge(broker, "streamingHistoryEquality", lines, minutes)
    assert result.status is Status.FAILED
    assert "EURUSD" in result.findings[0]


def test_bar_of_the_contracts_own_example() -> None:
    """BAR-7."""
    journal = Journal(contract())
    for price, size, at in (("33405.5", "0.092", 1624797120), ("33417.5", "0.057", 1624797179)):
        journal.take(f'{{"f":"t","id":"BTCUSD","p":{price},"s":{size},"t":{at}}}', float(at))
    built = journal.minutes["BTCUSD", 1624797120]
    assert (built.o, built.h, built.l, built.c, built.v) == tuple(
        map(Decimal, ("33405.5", "33417.5", "33405.5", "33417.5", "0.149"))
    )


def test_tick_from_long_ago_is_a_delay_and_a_fall() -> None:
    journal = Journal(contract())
    for at in (1000, 994):
        journal.take(f'{{"f":"q","id":"EURUSD","t":{at},"ap":2,"as":1,"bp":1,"bs":1}}', 1000.5)
    assert journal.worst_delay == pytest.approx(6.5)
    assert len(journal.falls) == 1
    assert journal.misshapen == []
