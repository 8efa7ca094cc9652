"""What servers do wrong with their data. Each fault names the one test that must see it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.conformance.proxy import Fault, Passing, State

MINUTE, DAY = 60, 86400
COLUMNS = "tohlcv"


def says(end: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Passing, State], None]:
    """Change what a GET of this address says when it succeeds."""

    def after(passing: Passing, _state: State) -> None:
        if passing.is_get(end) and (said := passing.said).get("s", "ok") == "ok":
            change(said)
            passing.said = said

    return after


def _bars(change: Callable[[dict[str, list[Any]], dict[str, str], State], object]) -> Callable[[Passing, State], None]:
    """Change the columns of `/history`, knowing what was asked."""

    def after(passing: Passing, state: State) -> None:
        if passing.is_get("/history") and (said := passing.said).get("s") == "ok":
            change(said, passing.query, state)
            passing.said = said

    return after


def let_in(end: str) -> Callable[[Passing, State], None]:
    """Whoever asks without a token gets an answer, as if nobody looked."""

    def after(passing: Passing, _state: State) -> None:
        if passing.status == 401 and passing.address.endswith(end):
            passing.status = 200

    return after


def _text(line: bytes, change: Callable[[dict[str, Any]], Any]) -> list[bytes]:
    """A line of the stream, changed; heartbeats stay as they are. False leaves the line out."""
    said = json.loads(line)
    if "heartbeat" not in said and change(said) is False:
        return []
    return [json.dumps(said).encode() + b"\n"]


def _column(name: str, change: Callable[[list[Any]], Any]) -> Callable[[Passing, State], None]:
    def spoil(said: dict[str, Any]) -> None:
        column = said[name]
        count = len(said["symbol"])
        values = list(column) if isinstance(column, list) else [column] * count
        changed = change(values)
        said[name] = values if changed is None else changed

    return says("/symbol_info", spoil)


def _set(values: list[Any], value: Any, n: int = 0) -> None:
    values[n] = value


# --- the data half ----------------------------------------------------------------------------------------------------


def _expired(passing: Passing, _state: State) -> None:
    if passing.address.endswith("/authorize"):
        said = passing.said
        said["d"]["expiration"] = int(time.time()) - 10
        passing.said = said


def _same_token(passing: Passing, state: State) -> None:
    if passing.address.endswith("/authorize"):
        passing.answer = state.setdefault("first", passing.answer)


def plain_text(end: str) -> Callable[[Passing, State], None]:
    def after(passing: Passing, _state: State) -> None:
        if passing.is_get(end):
            passing.answer_headers["content-type"] = "text/html"

    return after


def _forbidden(end: str) -> Callable[[Passing, State], None]:
    def after(passing: Passing, _state: State) -> None:
        if passing.status == 401 and passing.address.endswith(end):
            passing.status = 403

    return after


def _in_two_groups(passing: Passing, state: State) -> None:
    if passing.is_get("/symbol_info") and "group" in passing.query:
        passing.answer = state.setdefault("first", passing.answer)


def _change(said: dict[str, list[Any]], column: str, n: int, change: Callable[[Any], Any]) -> None:
    if said["t"]:
        said[column][n] = change(said[column][n])


def _swap(said: dict[str, list[Any]], *_rest: Any) -> None:
    for column in COLUMNS:
        said[column][:2] = said[column][1::-1]


def _every_second(said: dict[str, list[Any]], _query: dict[str, str], state: State) -> None:
    state["count"] = state.get("count", 0) + 1
    if state["count"] % 2:
        _change(said, "c", 0, lambda close: close * 2)


def _drop(said: dict[str, list[Any]], n: int) -> None:
    for column in COLUMNS:
        del said[column][n : n + 1 or None]


def _add(said: dict[str, list[Any]], at: int) -> None:
    """Another bar, of the same prices as the last."""
    if said["t"]:
        for column in COLUMNS:
            said[column].append(said[column][-1])
        said["t"][-1] = at


def _one_more(said: dict[str, list[Any]], query: dict[str, str], _state: State) -> None:
    if "countback" in query:
        _add(said, said["t"][-1] + MINUTE)


def _loses_its_end(said: dict[str, list[Any]], _query: dict[str, str], _state: State) -> None:
    """Of two bars about a hole only the first is given."""
    if len(said["t"]) == 2:
        _drop(said, 1)


def _no_data(passing: Passing, _state: State) -> None:
    if passing.is_get("/history") and passing.said.get("t") == []:
        passing.said = {"s": "no_data"}


def _bar_of_a_hole(said: dict[str, list[Any]], query: dict[str, str], _state: State) -> None:
    if not said["t"] and int(query["to"]) - int(query["from"]) < MINUTE:
        for column, value in zip(COLUMNS, (int(query["from"]), 1, 1, 1, 1, 1), strict=True):
            said[column].append(value)


def _short_lose_one(said: dict[str, list[Any]], query: dict[str, str], _state: State) -> None:
    if int(query["to"]) - int(query["from"]) < 20 * MINUTE:
        _drop(said, 0)


def _shifted(said: dict[str, list[Any]], *_rest: Any) -> None:
    said["t"][:] = [at + MINUTE for at in said["t"]]


def _second_forgets(said: dict[str, list[Any]], query: dict[str, str], state: State) -> None:
    key = f"{query['symbol']} {query['from']}"
    if key in state:
        _drop(said, 0)
    state[key] = True


def _second_differs(said: dict[str, list[Any]], query: dict[str, str], state: State) -> None:
    """Only from the third time on: while the test collects, all is well."""
    key = f"{query['symbol']} {query['from']}"
    state[key] = state.get(key, 0) + 1
    if state[key] > 2:
        _change(said, "h", 0, lambda high: high * 2)


def _not_found(passing: Passing, _state: State) -> None:
    if "NOSUCHSYMBOL" in passing.path:
        passing.status = 404


def _days(change: Callable[[dict[str, list[Any]]], object]) -> Callable[[Passing, State], None]:
    def of_days(said: dict[str, list[Any]], query: dict[str, str], _state: State) -> None:
        if "D" in query["resolution"] and said["t"]:
            change(said)

    return _bars(of_days)


def _late_line(line: bytes, _state: State) -> list[bytes]:
    return _text(line, lambda said: said.update(t=said["t"] - 10))


def _back_line(line: bytes, state: State) -> list[bytes]:
    state["count"] = state.get("count", 0) + 1
    return _text(line, lambda said: said.update(t=said["t"] - 0.9) if state["count"] % 7 == 0 else None)


def _without(name: str) -> Callable[[bytes, State], list[bytes]]:
    return lambda line, _state: _text(line, lambda said: said.pop(name, None) and None)


def _cut_line(line: bytes, state: State) -> list[bytes]:
    state["count"] = state.get("count", 0) + 1
    return [line[:-5] + b"\n"] if state["count"] == 5 else [line]


def _close(_line: bytes, state: State) -> list[bytes] | None:
    state["count"] = state.get("count", 0) + 1
    return None if state["count"] > 10 else [_line]


def _only_one(line: bytes, state: State) -> list[bytes]:
    state["count"] = state.get("count", 0) + 1
    return [] if state["connection"] and state["count"] == 30 else [line]


DATA = (
    Fault("expiration-past", "authBasicFieldsFormat", after=_expired),
    Fault("same-token", "authBasicNewTokenPerRequest", after=_same_token),
    Fault(
        "group-prefix",
        "groupsResponseFieldsCorrectness",
        after=says("/groups", lambda said: said["d"]["groups"][-1].update(id="other_things")),
    ),
    Fault("content-type", "groupsResponseFieldsCorrectness", after=plain_text("/groups")),
    Fault("groups-open", "groupsUnauthorizedRequest", after=let_in("/groups")),
    Fault("two-groups", "groupsDivideSymbols", after=_in_two_groups),
    Fault("symbols-403", "symbolsUnauthorizedRequest", after=_forbidden("/symbol_info")),
    Fault(
        "small-letters",
        "symbolsResponseFieldsCorrectness",
        after=_column("exchange-listed", lambda values: _set(values, "demo")),
    ),
    Fault(
        "null-currency",
        "symbolsResponseFieldsCorrectness",
        after=_column("currency", lambda values: _set(values, None)),
    ),
    Fault("short-column", "symbolsResponseFieldsCorrectness", after=_column("description", lambda values: values[1:])),
    Fault(
        "overlapping-session",
        "symbolsSessions",
        after=_column("session-regular", lambda values: _set(values, "0900-1700:23|1600-1800:3")),
    ),
    Fault("odd-pricescale", "symbolsPriceFormat", after=_column("pricescale", lambda values: _set(values, 12345))),
    Fault("no-base", "symbolsRequiredByKind", after=_column("base-currency", lambda values: _set(values, None))),
    Fault(
        "volume-0",
        "historyNoEmptyBars",
        after=_bars(lambda said, *_rest: _change(said, "v", 0, lambda _volume: 0)),
    ),
    Fault("column-lengths", "historyResponseFieldsCorrectness", after=_bars(lambda said, *_rest: said["h"].append(9))),
    Fault("unsorted", "historyTimeCorrectness", after=_bars(_swap)),
    Fault("every-second-differs", "historyRepeatability", after=_bars(_every_second)),
    Fault("no-data", "historyBeyondLeftBoundary", after=_no_data),
    Fault(
        "beyond-to",
        "historyInclusiveBounds",
        after=_bars(lambda said, *_: _add(said, said["t"][-1] + MINUTE if said["t"] else 0)),
    ),
    Fault("to-excluded", "historyFromEqTo", after=_bars(lambda said, *_rest: _drop(said, -1))),
    Fault(
        "countback-more",
        "historyCountbackMinutes",
        after=_bars(_one_more),
    ),
    Fault(
        "future-bar",
        "historyFutureMinutes",
        after=_bars(lambda said, *_rest: _add(said, int(time.time()) + 2 * MINUTE)),
    ),
    Fault("history-open", "historyUnauthorizedRequest", after=let_in("/history")),
    Fault("unknown-symbol-404", "historyUnknownSymbol", after=_not_found),
    Fault("short-queries", "historySeveralShortQueriesEqualsLargeQuery", after=_bars(_short_lose_one)),
    Fault("bar-shifted", "historyOutsideBarsInclusion", after=_bars(_shifted)),
    Fault("forgets", "historyNoDataChanges", after=_bars(_second_forgets)),
    Fault("changes-later", "historyNoChangesInData", after=_bars(_second_differs)),
    Fault("stream-closed", "streamingPermanentConnection", line=_close),
    Fault("tick-late", "streamingNoDelays", line=_late_line),
    Fault("time-back", "streamingTimeGrow", line=_back_line, stream_seconds=4),
    Fault(
        "unknown-id", "streamingSymbolsCheck", line=lambda line, _state: _text(line, lambda said: said.update(id="XX"))
    ),
    Fault("no-bid", "streamingFieldsFormat", line=_without("bp")),
    Fault("cut-line", "streamingFieldsFormat", line=_cut_line),
    Fault(
        "no-trades",
        "streamingAskBidQuoteTradeExistence",
        line=lambda line, _state: _text(line, lambda said: said["f"] != "t"),
    ),
    Fault(
        "no-heartbeat",
        "streamingHeartbeat",
        line=lambda line, _state: [] if b"heartbeat" in line else [line],
        stream_seconds=11,
    ),
    Fault("not-chunked", "streamingTransferEncodingHeader", is_chunked=False),
    Fault("one-loses-a-line", "streamingSameMessages", line=_only_one, stream_seconds=5),
)

# The demo has no days of its own and few holes.
DATA_OF_BROKER = (
    Fault(
        "day-differs",
        "historyPriceMatch",
        after=_days(lambda said: said["c"].__setitem__(slice(None), [close + 1 for close in said["c"]])),
    ),
    Fault(
        "day-not-midnight",
        "historyDailyHistoryAvailability",
        after=_days(lambda said: said["t"].__setitem__(slice(None), [at + 3600 for at in said["t"]])),
    ),
    Fault("future-day", "historyFutureDaily", after=_days(lambda said: _add(said, said["t"][-1] + 3 * DAY))),
    Fault("bar-in-a-hole", "historyNoDataWithNb", after=_bars(_bar_of_a_hole)),
    Fault(
        "hole-without-end",
        "historyGapsTest",
        after=_bars(_loses_its_end),
    ),
)


def by_name(*tables: tuple[Fault, ...]) -> dict[str, Fault]:
    return {fault.name: fault for table in tables for fault in table}
