"""Brackets of orders, where the flags offer them: OSO, OCO, and that none is left hanging."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tvapi.conformance.desk import OPPOSITE, SETTLE_SECONDS, Desk, Market, Trade, plain
from tvapi.conformance.framework import Half, check
from tvapi.conformance.trading import Trading

FLAG = "supportOrderBrackets"
FAR = Decimal("0.05")
PIPS = 50
CANCEL_SECONDS = SETTLE_SECONDS


def prices(market: Market) -> dict[str, Decimal]:
    """A stop loss far below every price at which the parent may be, a take profit far above."""
    return {
        "stopLoss": market.rounded(market.bid * Decimal("0.8")),
        "takeProfit": market.rounded(market.ask * Decimal("1.2"), up=True),
    }


class Parent:
    """A resting order with both brackets, and what a look at its brackets says."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.market, self.id, self.placed = desk.rest("limit", prices)
        self.wanted = prices(self.market)
        self.brackets = desk.brackets(self.id)

    def of_type(self, type_: str) -> dict[str, Any] | None:
        return next((each for each in self.brackets if each["type"] == type_), None)

    def modify(self, **form: object) -> Any:
        order = self.desk.orders()[self.id]
        whole = {"qty": plain(Decimal(order["qty"])), "limitPrice": plain(Decimal(order["limitPrice"])), **form}
        whole |= {"currentAsk": plain(self.market.ask), "currentBid": plain(self.market.bid)}
        return self.desk.send("PUT", f"orders/{self.id}", whole)

    def becomes(self, order_id: str, status: str) -> bool:
        return self.desk.until(lambda orders: orders.get(order_id, {}).get("status") == status, CANCEL_SECONDS)


def _parent(trading: Trading, desk: Desk) -> Parent:
    """Raises Failed where the brackets are not there, without which nothing more can be said of them."""
    parent = Parent(desk)
    trading.require(
        len(parent.brackets) == 2,
        f"{len(parent.brackets)} brackets of the order {parent.id} in the answer after it was placed (BRK-5).",
        desk.get("orders"),
    )
    return parent


@check("bracketsPlaced", "BRK-1 BRK-2 BRK-5 ORD-12", Half.TRADING)
def placed(trading: Trading) -> None:
    """A resting order with stop loss and take profit has two inactive brackets in the next answer of `/orders`."""

    def judge(desk: Desk) -> None:
        parent = _parent(trading, desk)
        exchange = desk.get("orders")
        order = desk.orders()[parent.id]
        for bracket in parent.brackets:
            shown = (bracket["side"], Decimal(bracket["qty"]), bracket["status"], bracket.get("parentType"))
            expected = (OPPOSITE[order["side"]], Decimal(order["qty"]), "inactive", "order")
            trading.expect(shown == expected, f"{desk.id}: a bracket is {shown} instead of {expected}.", exchange)
        stop, limit = parent.of_type("stop") or {}, parent.of_type("limit") or {}
        found = {"stopLoss": stop.get("stopPrice"), "takeProfit": limit.get("limitPrice")}
        same = {name: Decimal(price or 0) for name, price in found.items()} == parent.wanted
        trading.expect(same, f"{desk.id}: sent {parent.wanted}, shown {found}.", exchange)

    trading.on_each(judge, FLAG)


@check("bracketsModified", "BRK-6 BRK-11", Half.TRADING)
def modified(trading: Trading) -> None:
    """Changing the parent changes its brackets: their prices as sent, their quantity with its own."""

    def judge(desk: Desk) -> None:
        parent = _parent(trading, desk)
        qty = parent.market.qty * (2 if desk.has("supportEditAmount") else 1)
        stop_loss = parent.market.rounded(parent.wanted["stopLoss"] * Decimal("0.99"))
        exchange = parent.modify(
            qty=plain(qty), stopLoss=plain(stop_loss), takeProfit=plain(parent.wanted["takeProfit"])
        )
        trading.require(exchange.is_ok, f"Modifying is refused: {exchange.says.get('errmsg')}", exchange)

        def is_changed(_orders: object) -> bool:
            brackets = [each for each in desk.brackets(parent.id) if each["status"] == "inactive"]
            stops = [Decimal(each["stopPrice"]) for each in brackets if each["type"] == "stop"]
            return stops == [stop_loss] and {Decimal(each["qty"]) for each in brackets} == {qty}

        trading.expect(
            desk.until(is_changed),
            f"{desk.id}: stop loss {stop_loss} and quantity {qty} are not seen.",
            desk.get("orders"),
        )

    trading.on_each(judge, FLAG, "supportModifyBrackets")


@check("bracketsRemovedAreShownCancelled", "BRK-7 ORD-19", Half.TRADING)
def removed(trading: Trading) -> None:
    """A bracket that a change of the parent leaves out is shown cancelled; the other stays."""

    def judge(desk: Desk) -> None:
        parent = _parent(trading, desk)
        stop, limit = parent.of_type("stop"), parent.of_type("limit")
        assert stop
        assert limit
        exchange = parent.modify(stopLoss=plain(parent.wanted["stopLoss"]))
        trading.require(exchange.is_ok, f"Modifying is refused: {exchange.says.get('errmsg')}", exchange)
        gone = parent.becomes(limit["id"], "cancelled")
        trading.expect(gone, f"{desk.id}: the take profit left out is not shown cancelled.", desk.get("orders"))
        kept = any(each["type"] == "stop" and each["status"] == "inactive" for each in desk.brackets(parent.id))
        trading.expect(kept, f"{desk.id}: the stop loss is gone too.", desk.get("orders"))

    trading.on_each(judge, FLAG, "supportModifyBrackets")


@check("bracketsCancelledAlone", "BRK-8", Half.TRADING)
def cancelled_alone(trading: Trading) -> None:
    """Cancelling one bracket leaves the other and the parent as they are."""

    def judge(desk: Desk) -> None:
        parent = _parent(trading, desk)
        stop, limit = parent.of_type("stop"), parent.of_type("limit")
        assert stop
        assert limit
        exchange = desk.send("DELETE", f"orders/{stop['id']}")
        trading.require(exchange.is_ok, f"Cancelling it is refused: {exchange.says.get('errmsg')}", exchange)
        gone = parent.becomes(stop["id"], "cancelled")
        trading.expect(gone, f"{desk.id}: it is not shown cancelled.", desk.get("orders"))
        orders = desk.orders()
        states = (orders[limit["id"]]["status"], orders[parent.id]["status"])
        trading.expect(states == ("inactive", "working"), f"{desk.id}: other bracket and parent: {states}.", exchange)

    trading.on_each(judge, FLAG)


@check("bracketsFollowCancelledParent", "BRK-10 BRK-7", Half.TRADING)
def follow_cancelled_parent(trading: Trading) -> None:
    """The parent cancelled, its brackets are shown cancelled: none is left hanging, none vanishes."""

    def judge(desk: Desk) -> None:
        parent = _parent(trading, desk)
        exchange = desk.send("DELETE", f"orders/{parent.id}")
        trading.require(exchange.is_ok, f"Cancelling is refused: {exchange.says.get('errmsg')}", exchange)
        for bracket in parent.brackets:
            gone = parent.becomes(bracket["id"], "cancelled")
            now = desk.orders().get(bracket["id"], {}).get("status", "not shown")
            trading.expect(gone, f"{desk.id}: the bracket {bracket['id']} is {now}.", desk.get("orders"))

    trading.on_each(judge, FLAG)


@check("bracketsFollowFilledParent", "BRK-9 BRK-13 BRK-15 BRK-18", Half.TRADING)
def follow_filled_parent(trading: Trading) -> None:
    """The parent filled, its brackets work; with brackets of positions they belong to the position, and end with it."""

    def judge(desk: Desk) -> None:
        known = set(desk.orders())
        with desk.traded(prices) as trade:
            brackets = working_brackets(trading, desk, trade, known)
            if desk.has("supportPositionBrackets"):
                _expect_position_parent(trading, desk, trade.market.symbol, brackets)
            else:
                free = all("parentId" not in each for each in brackets)
                trading.expect(free, f"{desk.id}: brackets still name a parent (BRK-13).", desk.get("orders"))
            _end_brackets(trading, desk, trade.market.symbol, brackets)

    trading.on_each(judge, FLAG, "supportMarketBrackets", "supportMarketOrders")


def working_brackets(trading: Trading, desk: Desk, trade: Trade, known: set[str]) -> list[dict[str, Any]]:
    """The two brackets that the filled order leaves at work; `known` are the orders before it."""
    works = desk.until(
        lambda orders: [each["status"] for each in new_brackets(orders, trade, known)] == ["working"] * 2
    )
    exchange, brackets = desk.get("orders"), new_brackets(desk.orders(), trade, known)
    found = [each["status"] for each in brackets]
    trading.expect(works, f"{desk.id}: the brackets are {found or 'not shown'} after the fill.", exchange)
    return brackets


def new_brackets(orders: dict[str, dict[str, Any]], trade: Trade, known: set[str]) -> list[dict[str, Any]]:
    """What the trade's order has brought beside itself, whichever parent it names now (BRK-13, BRK-15)."""
    before = known | {str(trade.order["id"])}
    return [
        each for order_id, each in orders.items() if order_id not in before and each["side"] == OPPOSITE[trade.side]
    ]


def _expect_position_parent(trading: Trading, desk: Desk, symbol: str, brackets: list[dict[str, Any]]) -> None:
    ids = {str(position["id"]) for position in desk.positions(symbol)}
    for bracket in brackets:
        fits = bracket.get("parentType") == "position" and str(bracket.get("parentId")) in ids
        trading.expect(fits, f"{desk.id}: a bracket is not the position's (BRK-15).", desk.get("orders"))


def _end_brackets(trading: Trading, desk: Desk, symbol: str, brackets: list[dict[str, Any]]) -> None:
    """Close the position: brackets of positions end with it (BRK-18); others usually do (BRK-14), or by hand."""
    ids = [str(bracket["id"]) for bracket in brackets]
    positions = {str(bracket.get("parentId")) for bracket in brackets} & {str(p["id"]) for p in desk.positions(symbol)}
    if desk.has("supportPositionBrackets") and desk.has("supportClosePosition"):
        for position in positions:
            desk.send("DELETE", f"positions/{position}", {})
        ended = desk.until(lambda orders: all(orders.get(each, {}).get("status") == "cancelled" for each in ids))
        trading.expect(ended, f"{desk.id}: a bracket outlives its position (BRK-18).", desk.get("orders"))
    for order_id in ids:
        if desk.orders().get(order_id, {}).get("status") == "working":
            desk.send("DELETE", f"orders/{order_id}")


def _resting_price(desk: Desk) -> tuple[Market, Decimal]:
    """A market, and the limit of an order that rests in it."""
    market, order_id, _placed = desk.rest()
    limit = Decimal(desk.orders()[order_id]["limitPrice"])
    desk.send("DELETE", f"orders/{order_id}")
    return market, limit


@check("bracketsTrailingStop", "BRK-20 BRK-21 BRK-22", Half.TRADING)
def trailing_stop(trading: Trading) -> None:
    """A trailing stop loss is shown as one, so far from the price of its order; no other order has that field."""

    def judge(desk: Desk) -> None:
        market, limit = _resting_price(desk)
        distance = PIPS * Decimal(market.instrument["pipSize"])
        fields = {"limitPrice": limit, "stopLoss": limit - distance, "trailingStopPips": str(PIPS)}
        _market, order_id, _placed = desk.rest("limit", fields)
        exchange = desk.get("orders")
        apart = [limit - Decimal(each["stopPrice"]) for each in desk.brackets(order_id) if each.get("isTrailingStop")]
        trading.expect(
            apart in ([], [distance]), f"{desk.id}: {apart} from its order instead of {distance} (BRK-22).", exchange
        )
        shown = [
            (each.get("isTrailingStop"), each.get("trailingStopPips"))
            for each in desk.brackets(order_id)
            if each["type"] == "stop"
        ]
        trading.expect(shown == [(True, PIPS)], f"{desk.id}: sent {PIPS} pips, shown {shown}.", exchange)
        others = [
            each["id"]
            for each in desk.orders().values()
            if "trailingStopPips" in each and not each.get("isTrailingStop")
        ]
        trading.expect(not others, f"{desk.id}: trailingStopPips in {', '.join(others)}.", exchange)

    trading.on_each(judge, FLAG, "supportTrailingStop")
