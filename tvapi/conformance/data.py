"""What the checks of the data half share: symbols, groups, bars, and one recording of the stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from tvapi.conformance import sessions
from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.contract import Contract
from tvapi.conformance.framework import CHECKS, Failed, Options, Session, Skipped
from tvapi.conformance.recording import Recording

MINUTE = 60
DAY = 86400
COLUMNS = ("t", "o", "h", "l", "c", "v")
LISTS = frozenset({"supported-resolutions", "intraday-multipliers"})  # never one value for all (SYM-2)


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of `/history`."""

    t: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 (the wire's name)
    c: Decimal
    v: Decimal

    def __str__(self) -> str:
        return f"{self.o} {self.h} {self.l} {self.c}, volume {self.v}"


@dataclass(frozen=True)
class Symbol:
    """A row of `/symbol_info`. What the answer leaves out has its default (BAR-1, BAR-2)."""

    name: str
    row: dict[str, Any]

    @property
    def ticker(self) -> str:
        """Its name in requests and in the stream (SYM-4)."""
        return str(self.row.get("ticker") or self.name)

    @property
    def has_minutes(self) -> bool:
        return bool(self.row.get("has-intraday", True))

    @property
    def has_days(self) -> bool:
        return bool(self.row.get("has-daily", True))

    @property
    def type(self) -> str:
        return str(self.row.get("type", ""))

    def session(self) -> sessions.Session:
        """Raises BadSession, KeyError."""
        return sessions.parse(str(self.row.get("session-regular")), str(self.row.get("timezone")))


class Data(Session):
    """The data half of one server. Answers that several checks read are asked for once."""

    def __init__(self, client: Client, contract: Contract, options: Options) -> None:
        super().__init__(client, contract, options)
        self.kept_bars: dict[str, tuple[int, int, list[Bar]]] = {}  # for historyNoChangesInData
        self._recordings: list[Recording] = []

    # --- symbols ------------------------------------------------------------------------------------------------------

    @cached_property
    def groups_answer(self) -> Exchange:
        return self.client.get("/groups")

    @cached_property
    def symbols_answer(self) -> Exchange:
        return self.client.get("/symbol_info")

    @property
    def groups(self) -> list[str]:
        return [str(group["id"]) for group in self.read(self.groups_answer)["d"]["groups"]]

    @property
    def symbols(self) -> list[Symbol]:
        """All symbols, in the order of the answer. Raises Failed where it cannot be read."""
        return rows(self.read(self.symbols_answer))

    @property
    def sample(self) -> list[Symbol]:
        """The symbols that the tests of history ask for, spread over the list: all, or as many as were asked for."""
        found, count = self.symbols, self.options.symbols
        if count <= 0 or count >= len(found):
            return found
        return [found[number * len(found) // count] for number in range(count)]

    def with_minutes(self) -> list[Symbol]:
        """Raises Skipped where no symbol has minutes."""
        return self._those("has-intraday", [symbol for symbol in self.sample if symbol.has_minutes])

    def with_days(self) -> list[Symbol]:
        return self._those("has-daily", [symbol for symbol in self.sample if symbol.has_days])

    def _those(self, column: str, found: list[Symbol]) -> list[Symbol]:
        if not found:
            raise Skipped(f"“{column}” is false for every symbol.")
        return found

    # --- bars ---------------------------------------------------------------------------------------------------------

    def ask(self, symbol: Symbol, start: int, end: int, resolution: str = "1", **more: int) -> Exchange:
        query = {"symbol": symbol.ticker, "resolution": resolution, "from": start, "to": end, **more}
        return self.client.get("/history", query)

    def bars(self, symbol: Symbol, start: int, end: int, resolution: str = "1", **more: int) -> list[Bar]:
        """The bars of an interval, whatever their form, which other checks judge. Raises Failed for a refusal."""
        return bars_of(self.ask(symbol, start, end, resolution, **more))

    def session_start(self, symbol: Symbol, minutes: int) -> int:
        """When the last session began that is so many minutes old. Raises BadSession."""
        start = symbol.session().last_start(time.time() - minutes * MINUTE)
        if start is None:
            raise sessions.BadSession(f"{symbol.name} has no session in the last days")
        return int(start)

    # --- the stream ---------------------------------------------------------------------------------------------------

    def prepare(self, names: set[str]) -> None:
        if any(name.startswith("streaming") and CHECKS[name].is_late for name in names):
            self.start_recording()

    def start_recording(self) -> None:
        """Open two connections at once: all must get the same (STRM-5)."""
        if not self._recordings:
            self._recordings = [Recording(self.client, self.contract) for _connection in range(2)]

    @property
    def recording(self) -> Recording:
        """The stream of the set time, waited for. Raises Failed when there is none."""
        return self.recordings[0]

    @property
    def recordings(self) -> Sequence[Recording]:
        self.start_recording()
        for recording in self._recordings:
            recording.finish(self.options.stream_seconds)
        first = self._recordings[0]
        if first.failure:
            raise Failed(first.failure, first.head)
        return self._recordings

    def use_recordings(self, recordings: list[Recording]) -> None:
        """Judge these instead of what the server sends now."""
        self._recordings = recordings

    def close(self) -> None:
        for recording in self._recordings:
            recording.stop()


def rows(columns: dict[str, Any]) -> list[Symbol]:
    """Columns as rows (SYM-2); a column that is too short leaves its value out, which another check complains of."""
    names = columns["symbol"]
    return [
        Symbol(str(name), {column: each for column in columns if (each := _cell(columns, column, n)) is not None})
        for n, name in enumerate(names)
    ]


def _cell(columns: dict[str, Any], column: str, n: int) -> Any:
    value = columns[column]
    if not isinstance(value, list):
        return value
    return value[n] if n < len(value) else None


def bars_of(exchange: Exchange) -> list[Bar]:
    """Raises Failed when the answer is a refusal or cannot be read; whatever says that there are no bars is none."""
    says = exchange.says
    if exchange.status == 200 and says.get("s") == "no_data":
        return []
    if not exchange.is_ok:
        raise Failed(f"/history is refused: {says.get('errmsg') or f'status {exchange.status}'}", exchange)
    return [Bar(*row) for row in zip(*(says.get(column, []) for column in COLUMNS), strict=False)]
