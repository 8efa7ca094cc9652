"""Positions: what fills make of them, closing, reversing, and their brackets."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from tvapi.conformance.checks.brackets import prices
from tvapi.conformance.desk import OPPOSITE, Desk, Trade, plain
from tvapi.conformance.framework import Half, check
from tvapi.conformance.trading import Trading


def position_of(trading: Trading, desk: Desk, trade: Trade) -> dict[str, Any]:
    """The one that the trade made or changed: by its execution, or the only one. Raises Failed where there is none."""
    found = desk.positions(trade.market.symbol)
    if desk.has("supportExecutions"):
        fills = desk.d("executions", instrument=trade.market.symbol)
        named = {str(fill.get("positionId")) for fill in fills if str(fill["orderId"]) == str(trade.order["id"])}
        found = [each for each in found if str(each["id"]) in named] or found
    trading.require(bool(found), f"No position in {trade.market.symbol} after the fill.", desk.get("positions"))
    return dict(found[-1])


@check("positionsFollowFills", "POS-1 POS-2", Half.TRADING)
def follow_fills(trading: Trading) -> None:
    """A fill changes the position by its quantity; without multiposition there is one per instrument."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            exchange = desk.get("positions")
            position = position_of(trading, desk, trade)
            trading.expect(position["qty"] > 0, f"{desk.id}: a quantity of {position['qty']}.", exchange)
            if desk.has("supportMultiposition"):
                whole = Decimal(position["qty"]) == Decimal(trade.order["filledQty"])
                trading.expect(
                    whole and position["side"] == "buy", f"{desk.id}: the trade is not its own position.", exchange
                )
                return
            counts = Counter(each["instrument"] for each in desk.positions())
            several = [symbol for symbol, count in counts.items() if count > 1]
            trading.expect(not several, f"{desk.id}: several positions in {', '.join(several)}.", exchange)

    trading.on_each(judge, "supportPositions", "supportMarketOrders")


@check("positionsClose", "POS-3 POS-8", Half.TRADING)
def close(trading: Trading) -> None:
    """Closing is accepted, brings the position to nothing, and is seen as a fill that closes."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            position = position_of(trading, desk, trade)
            exchange = desk.send("DELETE", f"positions/{position['id']}", {})
            trading.expect_contract(exchange)
            trading.require(exchange.is_ok, f"Closing is refused: {exchange.says.get('errmsg')}", exchange)
            closed = desk.until(lambda _orders: not _open(desk, position["id"]), desk_patience(trading))
            trading.expect(closed, f"{desk.id}: the position is still open.", desk.get("positions"))
            if closed and desk.has("supportExecutions"):
                fills = desk.get("executions", instrument=trade.market.symbol)
                closing = [
                    each for each in trading.read(fills)["d"] if str(each.get("positionId")) == str(position["id"])
                ]
                trading.expect(any(each["isClose"] for each in closing), f"{desk.id}: no fill says isClose.", fills)

    trading.on_each(judge, "supportPositions", "supportClosePosition", "supportMarketOrders")


def desk_patience(trading: Trading) -> float:
    return trading.options.fill_seconds


def _open(desk: Desk, position_id: object) -> list[dict[str, Any]]:
    return [each for each in desk.positions() if each["id"] == position_id]


@check("positionsPartialClose", "POS-4", Half.TRADING)
def partial_close(trading: Trading) -> None:
    """Closing an amount leaves the rest."""

    def judge(desk: Desk) -> None:
        with desk.traded(times=2) as trade:
            position = position_of(trading, desk, trade)
            half = Decimal(trade.order["filledQty"]) / 2
            left = Decimal(position["qty"]) - half
            exchange = desk.send("DELETE", f"positions/{position['id']}", {"amount": plain(half)})
            trading.expect_contract(exchange)
            trading.require(exchange.is_ok, f"Closing a part is refused: {exchange.says.get('errmsg')}", exchange)
            done = desk.until(
                lambda _orders: [Decimal(each["qty"]) for each in _open(desk, position["id"])] == [left],
                desk_patience(trading),
            )
            trading.expect(done, f"{desk.id}: not {left} is left.", desk.get("positions"))
            if desk.has("supportMultiposition"):
                desk.send("DELETE", f"positions/{position['id']}", {})

    trading.on_each(judge, "supportPositions", "supportPartialClosePosition", "supportMarketOrders")


@check("positionsReverse", "POS-5", Half.TRADING)
def reverse(trading: Trading) -> None:
    """Reversing natively gives a position of equal size on the other side."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            position = position_of(trading, desk, trade)
            other = OPPOSITE[position["side"]]
            form = {"side": other, "currentAsk": plain(trade.market.ask), "currentBid": plain(trade.market.bid)}
            exchange = desk.send("PUT", f"positions/{position['id']}", form)
            trading.expect_contract(exchange)
            trading.require(exchange.is_ok, f"Reversing is refused: {exchange.says.get('errmsg')}", exchange)
            expected = (other, Decimal(position["qty"]))
            turned = desk.until(
                lambda _orders: (
                    expected in [(each["side"], Decimal(each["qty"])) for each in desk.positions(trade.market.symbol)]
                ),
                desk_patience(trading),
            )
            trading.expect(turned, f"{desk.id}: no position {expected}.", desk.get("positions"))

    trading.on_each(judge, "supportPositions", "supportNativeReversePosition", "supportMarketOrders")


@check("positionsBrackets", "BRK-17 BRK-18", Half.TRADING)
def brackets(trading: Trading) -> None:
    """A position gets brackets that work, loses the one left out, and takes them along when it is closed."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            position = position_of(trading, desk, trade)
            wanted = prices(trade.market)
            seen = {"currentAsk": plain(trade.market.ask), "currentBid": plain(trade.market.bid)}
            path = f"positions/{position['id']}"
            exchange = desk.send("PUT", path, {**{name: plain(price) for name, price in wanted.items()}, **seen})
            trading.expect_contract(exchange)
            trading.require(exchange.is_ok, f"Setting brackets is refused: {exchange.says.get('errmsg')}", exchange)
            shown = desk.until(lambda _orders: _states(desk, position) == ["working", "working"])
            trading.require(shown, f"The brackets are {_states(desk, position)}.", desk.get("orders"))
            _judge_brackets(trading, desk, position)
            desk.send("PUT", path, {"stopLoss": plain(wanted["stopLoss"]), **seen})
            one = desk.until(lambda _orders: sorted(_states(desk, position)) == ["cancelled", "working"])
            trading.expect(one, f"{desk.id}: the one left out is not cancelled (BRK-7).", desk.get("orders"))
            if desk.has("supportClosePosition"):
                desk.send("DELETE", path, {})
                none = desk.until(lambda _orders: set(_states(desk, position)) == {"cancelled"}, desk_patience(trading))
                trading.expect(none, f"{desk.id}: a bracket outlives its position (BRK-18).", desk.get("orders"))

    trading.on_each(judge, "supportPositions", "supportPositionBrackets", "supportMarketOrders")


def _states(desk: Desk, position: dict[str, Any]) -> list[str]:
    return [each["status"] for each in desk.brackets(str(position["id"]))]


def _judge_brackets(trading: Trading, desk: Desk, position: dict[str, Any]) -> None:
    exchange = desk.get("orders")
    for each in desk.brackets(str(position["id"])):
        found = (each["side"], Decimal(each["qty"]), each.get("parentType"))
        expected = (OPPOSITE[position["side"]], Decimal(position["qty"]), "position")
        trading.expect(found == expected, f"{desk.id}: a bracket is {found} instead of {expected}.", exchange)
