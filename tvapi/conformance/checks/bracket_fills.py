"""Brackets when the market comes to them: one ends the other, each position has its own, a trailing stop follows.

No client can move a market, so brackets are put a few ticks away from it and waited for. What the market does not bring
about in that time is noted, not judged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tvapi.conformance.checks.brackets import new_brackets, prices, working_brackets
from tvapi.conformance.checks.positions import position_of
from tvapi.conformance.desk import POLL_SECONDS, Desk, Market, Unavailable, plain
from tvapi.conformance.framework import Half, check
from tvapi.conformance.trading import Trading
from tvapi.conformance.watch import FINAL

NEAR_TICKS = 2
LAG_SECONDS = 2.0  # after which a trailing stop must have followed

Orders = dict[str, dict[str, Any]]


def _near(market: Market) -> dict[str, Decimal]:
    """A stop loss far away, and a take profit that the market reaches soon."""
    tick = Decimal(market.instrument["minTick"])
    return {**prices(market), "takeProfit": market.rounded(market.ask) + NEAR_TICKS * tick}


@check("bracketsOneExecutedEndsTheOther", "BRK-3 BRK-4 BRK-16", Half.TRADING)
def one_ends_the_other(trading: Trading) -> None:
    """The take profit executed cancels the stop loss, and the position is gone; executed in part, it reduces both."""

    def judge(desk: Desk) -> None:
        known = set(desk.orders())
        with desk.traded(_near, times=2) as trade:
            desk.until(lambda orders: len(new_brackets(orders, trade, known)) == 2)
            pair = {each["type"]: str(each["id"]) for each in new_brackets(desk.orders(), trade, known)}
            trading.require(set(pair) == {"limit", "stop"}, f"The brackets are {sorted(pair)}.", desk.get("orders"))
            try:
                _expect_oco(trading, desk, pair["limit"], pair["stop"])
                flat = desk.until(lambda _orders: desk.held(trade.market.symbol) <= trade.held_before)
                trading.expect(flat, f"{desk.id}: the position outlives its take profit (BRK-16).", desk.get("orders"))
            finally:
                _cancel(desk, pair.values())

    trading.on_each(judge, "supportOrderBrackets", "supportMarketBrackets", "supportMarketOrders")


def _expect_oco(trading: Trading, desk: Desk, take_profit: str, stop_loss: str) -> None:
    """Raises Unavailable where the market does not reach the take profit."""
    for orders in _looks(desk, trading.options.reach_seconds):
        one, other = orders[take_profit], orders[stop_loss]
        left = Decimal(one["qty"]) - Decimal(one["filledQty"])
        if one["status"] in FINAL:
            trading.expect(one["status"] == "filled", f"{desk.id}: the take profit is {one['status']}.")
            ended = desk.until(lambda now: now[stop_loss]["status"] == "cancelled")
            trading.expect(ended, f"{desk.id}: the stop loss outlives the take profit (BRK-3).", desk.get("orders"))
            return
        if one["filledQty"] and Decimal(other["qty"]) != left:
            trading.problem(
                f"{desk.id}: {left} of the take profit is left, and the stop loss is over {other['qty']} (BRK-4).",
                desk.get("orders"),
            )
    raise Unavailable(f"the market did not reach the take profit within {trading.options.reach_seconds:.0f} s")


def _looks(desk: Desk, seconds: float) -> Iterator[Orders]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield desk.orders()
        time.sleep(POLL_SECONDS)


def _cancel(desk: Desk, order_ids: Any) -> None:
    orders = desk.orders()
    for order_id in order_ids:
        if orders.get(order_id, {}).get("status", "cancelled") not in FINAL:
            desk.send("DELETE", f"orders/{order_id}")


@check("positionsHaveTheirOwnBrackets", "BRK-19 POS-2", Half.TRADING)
def own_brackets(trading: Trading) -> None:
    """With multiposition each trade is a position with brackets of its own; closing it leaves the other's alone."""

    def judge(desk: Desk) -> None:
        known = set(desk.orders())
        with desk.traded(prices) as first:
            of_first = {str(each["id"]) for each in working_brackets(trading, desk, first, known)}
            with desk.traded(prices) as second:
                known |= of_first | {str(first.order["id"])}
                of_second = {str(each["id"]) for each in working_brackets(trading, desk, second, known)}
                positions = [str(position_of(trading, desk, each)["id"]) for each in (first, second)]
                exchange = desk.get("orders")
                trading.expect(positions[0] != positions[1], f"{desk.id}: both trades made one position.", exchange)
                if desk.has("supportPositionBrackets"):
                    _expect_apart(trading, desk, positions, [of_first, of_second])
            _cancel(desk, of_first | of_second)

    trading.on_each(
        judge, "supportMultiposition", "supportOrderBrackets", "supportMarketBrackets", "supportMarketOrders"
    )


def _expect_apart(trading: Trading, desk: Desk, positions: list[str], brackets: list[set[str]]) -> None:
    for position, wanted in zip(positions, brackets, strict=True):
        found = {str(each["id"]) for each in desk.brackets(position)}
        trading.expect(found == wanted, f"{desk.id}: position {position} has the brackets {found}.", desk.get("orders"))
    desk.send("DELETE", f"positions/{positions[0]}", {})
    ended = desk.until(lambda orders: all(orders[each]["status"] == "cancelled" for each in brackets[0]))
    trading.expect(ended, f"{desk.id}: a bracket outlives its position (BRK-18).", desk.get("orders"))
    left = {desk.orders()[each]["status"] for each in brackets[1]}
    trading.expect(left == {"working"}, f"{desk.id}: the other position's brackets are {left}.", desk.get("orders"))


@check("bracketsTrailingStopFollows", "BRK-22 BRK-23", Half.TRADING)
def trailing_stop_follows(trading: Trading) -> None:
    """The trailing stop of a long position rises with the market, never falls, and executes when it is reached."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            market = desk.market(trade.market.instrument) or trade.market
            pip = Decimal(market.instrument["pipSize"])
            pips = int((market.ask - market.bid) / pip) + 2
            path = f"positions/{position_of(trading, desk, trade)['id']}"
            form = {"stopLoss": market.rounded(market.bid - pips * pip), "currentAsk": market.ask}
            form |= {"currentBid": market.bid}
            sent = {name: plain(value) for name, value in form.items()}
            exchange = desk.send("PUT", path, {**sent, "trailingStopPips": str(pips)})
            trading.require(exchange.is_ok, f"A trailing stop is refused: {exchange.says.get('errmsg')}", exchange)
            desk.until(lambda _orders: bool(_trailing(desk, path)))
            stops = _trailing(desk, path)
            trading.require(bool(stops), "The position has no trailing stop.", desk.get("orders"))
            try:
                _expect_follows(trading, desk, market, stops[0], pips * pip)
            finally:
                _cancel(desk, stops[:1])

    trading.on_each(judge, "supportPositions", "supportPositionBrackets", "supportTrailingStop", "supportMarketOrders")


def _trailing(desk: Desk, position_path: str) -> list[str]:
    brackets = desk.brackets(position_path.rpartition("/")[2])
    return [str(each["id"]) for each in brackets if each.get("isTrailingStop") and each["status"] == "working"]


def _expect_follows(trading: Trading, desk: Desk, market: Market, order_id: str, distance: Decimal) -> None:
    """Watch the stop until it is executed, or patience ends. Raises Unavailable where the market did not move."""
    bids: list[tuple[float, Decimal]] = []
    stops: list[Decimal] = []
    for orders in _looks(desk, trading.options.reach_seconds):
        order = orders[order_id]
        if order["status"] in FINAL:
            trading.expect(order["status"] == "filled", f"{desk.id}: the trailing stop is {order['status']}.")
            return
        stops.append(Decimal(order["stopPrice"]))
        if stops[-1] < max(stops):
            trading.problem(f"{desk.id}: the stop fell from {max(stops)} to {stops[-1]} (BRK-23).", desk.get("orders"))
            return
        least = max((bid for at, bid in bids if time.monotonic() - at > LAG_SECONDS), default=stops[0]) - distance
        if stops[-1] < market.rounded(least):
            trading.problem(f"{desk.id}: the stop is {stops[-1]}, {least} is due (BRK-22).", desk.get("orders"))
            return
        if now := desk.market(market.instrument):
            bids.append((time.monotonic(), now.bid))
    if len(set(stops)) < 2:
        raise Unavailable(f"the market did not rise within {trading.options.reach_seconds:.0f} s")
