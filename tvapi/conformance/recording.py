"""The stream of prices, recorded as TradingView reads it: every line with the moment of its arrival."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from urllib3.exceptions import HTTPError

from tvapi.conformance.client import Client, Exchange, Unanswered
from tvapi.conformance.contract import Contract

MINUTE = 60
FIRST_LINES = 4000  # of each connection, kept to be compared
MOST_FAULTS = 20
SCHEMAS = {"t": "StreamingTrade", "q": "StreamingQuote", "d": "StreamingDailyBar"}


@dataclass(slots=True)
class Built:
    """A minute bar made of trades (BAR-7)."""

    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's name)
    c: Decimal
    v: Decimal

    def __str__(self) -> str:
        return f"{self.o} {self.h} {self.l} {self.c}, volume {self.v}"

    def add(self, price: Decimal, size: Decimal) -> None:
        self.h, self.l, self.c = max(self.h, price), min(self.l, price), price
        self.v += size


@dataclass
class Journal:
    """What was seen in a stream, however long it lasts: its memory grows with the symbols and minutes only."""

    contract: Contract
    lines: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)  # (id, kind)
    latest: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    minutes: dict[tuple[str, int], Built] = field(default_factory=dict)
    heartbeats: list[float] = field(default_factory=list)
    zero_sizes: Counter[str] = field(default_factory=Counter)
    worst_delay: float = 0.0
    misshapen: list[str] = field(default_factory=list)
    delays: list[str] = field(default_factory=list)
    falls: list[str] = field(default_factory=list)
    first_lines: list[str] = field(default_factory=list)

    def take(self, text: str, arrived: float) -> None:
        """One line, at the Unix time of its arrival."""
        self.lines += 1
        if len(self.first_lines) < FIRST_LINES:
            self.first_lines.append(text)
        try:
            line = json.loads(text, parse_float=Decimal)
        except ValueError:
            _note(self.misshapen, f"no JSON: {text[:200]}")
            return
        if not isinstance(line, dict):
            _note(self.misshapen, f"no object: {text[:200]}")
        elif "heartbeat" in line:
            self.heartbeats.append(arrived)
            self._fit("StreamingHeartbeat", line, text)
        elif self._fit(SCHEMAS.get(str(line.get("f")), "StreamingMessage"), line, text):
            self._take_price(line, arrived, text)

    def _fit(self, schema: str, line: dict[str, Any], text: str) -> bool:
        differences = self.contract.against(schema, line)
        for difference in differences:
            _note(self.misshapen, f"{difference}, in {text[:200]}")
        return not differences or {"id", "f", "t"} <= line.keys()

    def _take_price(self, line: dict[str, Any], arrived: float, text: str) -> None:
        symbol, kind, at = str(line["id"]), str(line["f"]), Decimal(line["t"])
        self.seen[symbol, kind] += 1
        if at < self.latest.get((symbol, kind), at):
            _note(self.falls, f"{symbol} {kind} goes back from {self.latest[symbol, kind]} to {at}: {text[:200]}")
        self.latest[symbol, kind] = at
        if kind == "d":
            return
        delay = arrived - float(at)
        if abs(delay) > abs(self.worst_delay):
            self.worst_delay = delay
        if abs(delay) > 1:
            _note(self.delays, f"{symbol} {kind} arrives {delay:.3f} s after its time: {text[:200]}")
        if kind == "t" and "p" in line:
            self._build(symbol, int(at) // MINUTE * MINUTE, Decimal(line["p"]), Decimal(line.get("s") or 0))

    def _build(self, symbol: str, minute: int, price: Decimal, size: Decimal) -> None:
        if not size:
            self.zero_sizes[symbol] += 1
        if (symbol, minute) in self.minutes:
            self.minutes[symbol, minute].add(price, size)
        else:
            self.minutes[symbol, minute] = Built(price, price, price, price, size)


class Recording:
    """One connection to `/streaming`, read by a thread from its making on."""

    def __init__(self, client: Client, contract: Contract) -> None:
        self.journal = Journal(contract)
        self.head: Exchange | None = None
        self.failure = ""
        self.started = time.time()
        self.ended: float | None = None  # when reading ended
        self.closed_by_server = False
        self._client = client
        self._begun, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._read, name="recording", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        return (self.ended or time.time()) - self.started

    def finish(self, seconds: float) -> None:
        """Wait until it has recorded for so long since the answer began, or broken off, and end it."""
        self._begun.wait(self._client.timeout_seconds)
        self._thread.join(max(0.0, self.started + seconds - time.time()))
        self.stop()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(self._client.timeout_seconds + 1)

    def _read(self) -> None:
        try:
            self.head, response = self._client.open("/streaming")
        except Unanswered as unanswered:
            self.failure, self.head = str(unanswered), unanswered.exchange
            return
        finally:
            self.started = time.time()
            self._begun.set()
        with response:
            if response.status_code != 200:
                self.failure = f"Status {response.status_code} instead of 200."
                return
            try:
                # What has come, at once: iter_content() would wait for the end of an answer that is not chunked.
                self._follow(iter(response.raw.read1, b""))
            except (HTTPError, OSError) as error:
                self.closed_by_server = not self._end.is_set()
                if "timed out" in str(error).lower():
                    self.failure = f"Nothing came for {self._client.timeout_seconds:.0f} s, not even a heartbeat."
            finally:
                self.ended = time.time()

    def _follow(self, chunks: Iterable[bytes]) -> None:
        rest = b""
        for chunk in chunks:
            arrived = time.time()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    self.journal.take(line.decode("utf-8", "replace"), arrived)
            if self._end.is_set():
                return
        self.closed_by_server = not self._end.is_set()


def _note(faults: list[str], fault: str) -> None:
    if len(faults) < MOST_FAULTS:
        faults.append(fault)
