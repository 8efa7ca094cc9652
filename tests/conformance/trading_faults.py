"""What servers do wrong when somebody trades. Each fault names the one test that must see it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.conformance.faults import let_in, plain_text, says
from tests.conformance.proxy import Fault, Passing, State

FINAL = ("filled", "cancelled", "rejected")
ALLOW_ORIGIN = "access-control-allow-origin"


def each_order(change: Callable[[dict[str, Any], State], Any]) -> Callable[[Passing, State], None]:
    """Change each order of `/orders`; one for which the change says False is left out."""

    def after(passing: Passing, state: State) -> None:
        if passing.is_get("/orders") and (said := passing.said).get("s") == "ok":
            said["d"] = [order for order in said["d"] if change(order, state) is not False]
            passing.said = said

    return after


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


def _one_parent(order: dict[str, Any], state: State) -> None:
    """All brackets of positions are those of one position."""
    if order.get("parentType") == "position":
        order["parentId"] = state.setdefault("parent", order["parentId"])


TRADING = (
    Fault("accounts-open", "tradingUnauthorizedRequests", after=let_in("/accounts")),
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
        "null-in-config", "configResponseSchema", after=says("/config", lambda said: said["d"].update(durations=None))
    ),
    Fault("state-html", "stateResponseSchema", after=_no_json),
    Fault("positions-text", "positionsResponseSchema", after=plain_text("/positions")),
    Fault(
        "slow-polls",
        "pullingIntervals",
        after=says("/config", lambda said: said["d"]["pullingInterval"].update(orders=5000)),
    ),
    Fault("deprecated-flag", "flagsFitTogether", after=says("/accounts", _flag)),
    Fault(
        "two-broker-symbols",
        "mappingResponseSchema",
        after=says("/mapping", lambda said: said["symbols"][0]["f"].append("ANOTHER")),
    ),
    Fault("unmapped", "mappingCoversInstruments", after=says("/mapping", lambda said: said.update(symbols=[]))),
    Fault("depth-reversed", "depthResponseSchema", after=says("/depth", _reversed_depth), account="SPOT"),
    Fault("no-ask", "quotesResponseSchema", after=says("/quotes", lambda said: said["d"][0]["v"].pop("ask"))),
    Fault(
        "pl-not-sum",
        "stateUnrealizedPlIsSum",
        after=says("/state", lambda said: said["d"].update(unrealizedPl=777)),
        account="FX-NET",
    ),
    Fault("second-order", "ordersRequestIdIsOneOrder", before=_new_request_id, account="FX-HEDGE"),
    Fault("order-vanishes", "ordersNeverVanish", after=each_order(_vanishes), account="SPOT"),
    Fault("goes-back", "ordersNeverReturnFromFinal", after=each_order(_goes_back), account="PERP"),
    Fault("comes-late", "ordersPlacedAreShown", before=_begin, after=each_order(_comes_late), account="STOCK"),
    Fault("cancel-ignored", "ordersCancel", before=_not_done("DELETE"), account="STOCK"),
    Fault("modify-ignored", "ordersModify", before=_not_done("PUT"), account="STOCK"),
    Fault("history-alive", "ordersHistoryIsFinal", after=says("/ordersHistory", _alive_in_history), account="FX-NET"),
    Fault("no-average", "ordersMarketFill", after=each_order(_spoil_market), account="PERP"),
    Fault("one-parent", "positionsHaveTheirOwnBrackets", after=each_order(_one_parent), account="FX-HEDGE"),
)

CELLS = Fault(
    "cell-lost",
    "accountManagerMatchesState",
    after=says("/state", lambda said: said["d"]["amData"][0][0].pop()),
)


# --- what the demo does not offer -------------------------------------------------------------------------------------


def _hangs(passing: Passing, state: State) -> None:
    """Brackets of a cancelled parent stay as they were; those that were shown final before it keep their end."""
    if not passing.is_get("/orders") or (said := passing.said).get("s") != "ok":
        return
    ended = state.setdefault("ended", set())
    cancelled = {order["id"] for order in said["d"] if order["status"] == "cancelled"}
    for order in said["d"]:
        if order["id"] not in ended and order.get("parentId") in cancelled:
            order["status"] = "inactive"
        elif order["status"] in ("filled", "cancelled", "rejected"):
            ended.add(order["id"])
    passing.said = said


def _bracket(change: Callable[[dict[str, Any]], Any]) -> Callable[[Passing, State], None]:
    return each_order(lambda order, _state: change(order) if order.get("parentId") else None)


def _outlives(said: dict[str, Any]) -> None:
    """The stop loss of a take profit that was executed goes on."""
    if any(order["status"] == "filled" and order["type"] == "limit" for order in said["d"]):
        for order in said["d"]:
            if order["type"] == "stop" and order["status"] == "cancelled":
                order["status"] = "working"


def _falls(order: dict[str, Any], state: State) -> None:
    """A trailing stop is shown lower each time, by more than the market rises meanwhile."""
    if order.get("isTrailingStop") and order["status"] == "working":
        state["looks"] = state.get("looks", 0) + 1
        order["stopPrice"] -= state["looks"] * Decimal("0.001")


def _lost(said: dict[str, Any]) -> None:
    """The history knows an order of today that `/orders` does not."""
    said["d"] += [{**order, "id": "lost"} for order in said["d"][:1]]


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
    Fault("bracket-hangs", "bracketsFollowCancelledParent", after=_hangs),
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
    Fault("stop-outlives", "bracketsOneExecutedEndsTheOther", after=says("/orders", _outlives)),
    Fault("stop-falls", "bracketsTrailingStopFollows", after=each_order(_falls)),
    Fault("order-lost", "ordersOfTheSession", after=says("/ordersHistory", _lost)),
    Fault("closes-all", "positionsPartialClose", before=_amount_lost),
    Fault("close-ignored", "positionsClose", before=_not_done("DELETE")),
    Fault("reverse-ignored", "positionsReverse", before=_not_done("PUT")),
    Fault("limit-price-lost", "ordersFieldsFit", after=each_order(_limit_lost)),
    Fault("one-transaction", "latencyTransactionIds", after=_one_transaction),
    Fault("other-leverage", "leverageIsSet", after=_other_leverage),
    Fault("preview-places", "previewStoresNothing", before=_preview_places),
    Fault("empty-snapshot", "streamOfOrders", line=_empty_snapshot),
)
