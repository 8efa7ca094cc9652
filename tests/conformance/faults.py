"""What servers do wrong. Each fault names the one test that must see it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.conformance.proxy import Fault, Passing, State

FINAL = ("filled", "cancelled", "rejected")
ALLOW_ORIGIN = "access-control-allow-origin"
MINUTE, DAY = 60, 86400
COLUMNS = "tohlcv"


def _said(end: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Passing, State], None]:
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


def _orders(change: Callable[[dict[str, Any], State], Any]) -> Callable[[Passing, State], None]:
    """Change each order of `/orders`; one for which the change says False is left out."""

    def after(passing: Passing, state: State) -> None:
        if passing.is_get("/orders") and (said := passing.said).get("s") == "ok":
            said["d"] = [order for order in said["d"] if change(order, state) is not False]
            passing.said = said

    return after


def _let_in(end: str) -> Callable[[Passing, State], None]:
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

    return _said("/symbol_info", spoil)


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


def _plain(end: str) -> Callable[[Passing, State], None]:
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
        after=_said("/groups", lambda said: said["d"]["groups"][-1].update(id="other_things")),
    ),
    Fault("content-type", "groupsResponseFieldsCorrectness", after=_plain("/groups")),
    Fault("groups-open", "groupsUnauthorizedRequest", after=_let_in("/groups")),
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
    Fault("history-open", "historyUnauthorizedRequest", after=_let_in("/history")),
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


# --- the trading half -------------------------------------------------------------------------------------------------


def _without_origin(*statuses: int) -> Callable[[Passing, State], None]:
    def after(passing: Passing, _state: State) -> None:
        is_refusal = passing.status == 200 and b'"error"' in passing.answer[:20]
        if passing.status in statuses or (200 in statuses and is_refusal):
            passing.answer_headers.pop(ALLOW_ORIGIN, None)

    return after


def _any_origin(passing: Passing, _state: State) -> None:
    if origin := passing.headers.get("Origin"):
        passing.answer_headers[ALLOW_ORIGIN] = origin


def _star(passing: Passing, _state: State) -> None:
    if passing.status == 200:
        passing.answer_headers[ALLOW_ORIGIN] = "*"


def _no_put(passing: Passing, _state: State) -> None:
    if passing.method == "OPTIONS":
        passing.answer_headers["access-control-allow-methods"] = "GET, POST"


def _errors_as_400(passing: Passing, _state: State) -> None:
    if passing.status == 200 and passing.method != "GET" and passing.said.get("s") == "error":
        passing.status = 400


def _any_account(passing: Passing, _state: State) -> None:
    """Whoever asks for an account that there is not gets one that there is."""
    passing.path = passing.path.replace("no-such-account", "FX-NET")


def _other_words(passing: Passing, _state: State) -> None:
    if passing.is_get("/config") and passing.query.get("locale") != "en":
        said = passing.said
        said["d"]["durations"][0]["title"] = "Bis auf Widerruf"
        passing.said = said


def _no_json(passing: Passing, _state: State) -> None:
    if passing.is_get("/state"):
        passing.answer = b"<html>"


def _new_request_id(passing: Passing, state: State) -> None:
    if passing.method == "POST" and passing.address.endswith("/orders"):
        state["count"] = state.get("count", 0) + 1
        passing.path = passing.path.replace("requestId=", f"requestId={state['count']}x")


def _not_done(method: str) -> Callable[[Passing, State], None]:
    """Answered with success, and nothing happens."""

    def before(passing: Passing, _state: State) -> None:
        if passing.method == method:
            passing.status, passing.answer = 200, b'{"s": "ok"}'
            passing.answer_headers = {"content-type": "application/json"}

    return before


def _logout_not_done(passing: Passing, state: State) -> None:
    if passing.address.endswith("/logout"):
        _not_done("POST")(passing, state)


def _refused_login_401(passing: Passing, _state: State) -> None:
    if passing.address.endswith("/authorize") and b'"error"' in passing.answer:
        passing.status = 401


def _goes_back(order: dict[str, Any], state: State) -> None:
    """A final order comes back to life in its third answer."""
    if order["status"] in FINAL:
        state[order["id"]] = state.get(order["id"], 0) + 1
        if state[order["id"]] == 3:
            order["status"] = "working"


def _vanishes(order: dict[str, Any], state: State) -> bool:
    if order["status"] not in FINAL:
        state[order["id"]] = 0
        return True
    if order["id"] in state:
        state[order["id"]] += 1
    return state.get(order["id"], 0) <= 2


def _comes_late(order: dict[str, Any], state: State) -> bool:
    """Not in the first answer after it was placed. What was there before the first answer of all stays."""
    known = state.setdefault("known", {})
    if not state.get("begun"):
        known[order["id"]] = 9
    known[order["id"]] = known.get(order["id"], 0) + 1
    return bool(known[order["id"]] > 1)


def _begin(passing: Passing, state: State) -> None:
    if passing.method == "POST" and passing.address.endswith("/orders"):
        state["begun"] = True


def _alive_in_history(said: dict[str, Any]) -> None:
    for order in said["d"][:1]:
        order["status"] = "working"


def _spoil_market(order: dict[str, Any], _state: State) -> None:
    if order["type"] == "market":
        order.pop("avgPrice", None)


def _limit_lost(order: dict[str, Any], _state: State) -> None:
    order.pop("limitPrice", None)


def _flag(said: dict[str, Any]) -> None:
    said["d"][0]["config"]["supportBrackets"] = True


def _reversed_depth(said: dict[str, Any]) -> None:
    said["d"]["bids"].reverse()


TRADING = (
    Fault("accounts-open", "tradingUnauthorizedRequests", after=_let_in("/accounts")),
    Fault("no-cors-on-401", "corsOnUnauthorized", after=_without_origin(401)),
    Fault("no-cors-on-errors", "corsOnErrors", after=_without_origin(200, 404)),
    Fault("cors-star", "corsOnSuccess", after=_star),
    Fault("cors-any", "corsForeignOrigins", after=_any_origin),
    Fault("no-put", "corsPreflight", after=_no_put),
    Fault("errors-400", "errorsAreOrdinary", after=_errors_as_400),
    Fault("any-account", "unknownAccountRefused", before=_any_account),
    Fault("other-language", "localeUnknownIsEnglish", after=_other_words),
    Fault("wrong-login-401", "authorizeWrongPassword", after=_refused_login_401),
    Fault("logout-ignored", "logoutRevokesToken", before=_logout_not_done),
    Fault(
        "null-in-config", "configResponseSchema", after=_said("/config", lambda said: said["d"].update(durations=None))
    ),
    Fault("state-html", "stateResponseSchema", after=_no_json),
    Fault("positions-text", "positionsResponseSchema", after=_plain("/positions")),
    Fault(
        "slow-polls",
        "pullingIntervals",
        after=_said("/config", lambda said: said["d"]["pullingInterval"].update(orders=5000)),
    ),
    Fault("deprecated-flag", "flagsFitTogether", after=_said("/accounts", _flag)),
    Fault(
        "two-broker-symbols",
        "mappingResponseSchema",
        after=_said("/mapping", lambda said: said["symbols"][0]["f"].append("ANOTHER")),
    ),
    Fault("unmapped", "mappingCoversInstruments", after=_said("/mapping", lambda said: said.update(symbols=[]))),
    Fault("depth-reversed", "depthResponseSchema", after=_said("/depth", _reversed_depth), account="SPOT"),
    Fault("no-ask", "quotesResponseSchema", after=_said("/quotes", lambda said: said["d"][0]["v"].pop("ask"))),
    Fault(
        "pl-not-sum",
        "stateUnrealizedPlIsSum",
        after=_said("/state", lambda said: said["d"].update(unrealizedPl=777)),
        account="FX-NET",
    ),
    Fault("second-order", "ordersRequestIdIsOneOrder", before=_new_request_id, account="FX-HEDGE"),
    Fault("order-vanishes", "ordersNeverVanish", after=_orders(_vanishes), account="SPOT"),
    Fault("goes-back", "ordersNeverReturnFromFinal", after=_orders(_goes_back), account="PERP"),
    Fault("comes-late", "ordersPlacedAreShown", before=_begin, after=_orders(_comes_late), account="STOCK"),
    Fault("cancel-ignored", "ordersCancel", before=_not_done("DELETE"), account="STOCK"),
    Fault("modify-ignored", "ordersModify", before=_not_done("PUT"), account="STOCK"),
    Fault("history-alive", "ordersHistoryIsFinal", after=_said("/ordersHistory", _alive_in_history), account="FX-NET"),
    Fault("no-average", "ordersMarketFill", after=_orders(_spoil_market), account="PERP"),
)

CELLS = Fault(
    "cell-lost",
    "accountManagerMatchesState",
    after=_said("/state", lambda said: said["d"]["amData"][0][0].pop()),
)


# --- what the demo does not offer -------------------------------------------------------------------------------------


def _hangs(said: dict[str, Any]) -> None:
    """Brackets of a cancelled parent stay as they were."""
    cancelled = {order["id"] for order in said["d"] if order["status"] == "cancelled"}
    for order in said["d"]:
        if order.get("parentId") in cancelled:
            order["status"] = "inactive"


def _bracket(change: Callable[[dict[str, Any]], Any]) -> Callable[[Passing, State], None]:
    return _orders(lambda order, _state: change(order) if order.get("parentId") else None)


def _amount_lost(passing: Passing, _state: State) -> None:
    if passing.method == "DELETE":
        passing.body = b""


def _one_transaction(passing: Passing, _state: State) -> None:
    if passing.method != "GET" and b"transactionId" in passing.answer:
        said = passing.said
        said["d"]["transactionId"] = "T1"
        passing.said = said


def _other_leverage(passing: Passing, _state: State) -> None:
    if passing.address.endswith("/setLeverage"):
        passing.said = {"s": "ok", "d": {"leverage": 49}}


def _preview_places(passing: Passing, _state: State) -> None:
    if passing.address.endswith("/previewOrder"):
        passing.path = passing.path.replace("previewOrder", "orders")


def _empty_snapshot(line: bytes, _state: State) -> list[bytes]:
    return [b"[]\n"] if line.startswith(b"[") else [line]


BRACKETS = (
    Fault("bracket-hangs", "bracketsFollowCancelledParent", after=_said("/orders", _hangs)),
    Fault("bracket-side", "bracketsPlaced", after=_bracket(lambda order: order.update(side="buy"))),
    Fault(
        "removed-vanishes",
        "bracketsRemovedAreShownCancelled",
        after=_bracket(lambda order: order["status"] != "cancelled"),
    ),
    Fault(
        "brackets-sleep", "bracketsFollowFilledParent", after=_bracket(lambda order: order.update(status="inactive"))
    ),
    Fault("bracket-qty", "bracketsModified", after=_bracket(lambda order: order.update(qty=1))),
    Fault("cancels-both", "bracketsCancelledAlone", after=_bracket(lambda order: order.update(status="cancelled"))),
    Fault(
        "trailing-lost",
        "bracketsTrailingStop",
        after=_bracket(lambda order: order.pop("isTrailingStop", None) and None),
    ),
    Fault(
        "position-brackets-sleep", "positionsBrackets", after=_bracket(lambda order: order.update(status="inactive"))
    ),
    Fault("closes-all", "positionsPartialClose", before=_amount_lost),
    Fault("close-ignored", "positionsClose", before=_not_done("DELETE")),
    Fault("reverse-ignored", "positionsReverse", before=_not_done("PUT")),
    Fault("limit-price-lost", "ordersFieldsFit", after=_orders(_limit_lost)),
    Fault("one-transaction", "latencyTransactionIds", after=_one_transaction),
    Fault("other-leverage", "leverageIsSet", after=_other_leverage),
    Fault("preview-places", "previewStoresNothing", before=_preview_places),
    Fault("empty-snapshot", "streamOfOrders", line=_empty_snapshot),
)


def by_name(*tables: tuple[Fault, ...]) -> dict[str, Fault]:
    return {fault.name: fault for table in tables for fault in table}
