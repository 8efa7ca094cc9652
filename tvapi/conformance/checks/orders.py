"""Orders: what a ticket leads to, and what `/orders` must show at every moment."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from tvapi.conformance.client import Exchange
from tvapi.conformance.desk import Desk, away, placed_id, plain
from tvapi.conformance.framework import Half, check
from tvapi.conformance.trading import Trading
from tvapi.conformance.watch import FINAL, Story

TYPES = {
    "supportMarketOrders": "market",
    "supportLimitOrders": "limit",
    "supportStopOrders": "stop",
    "supportStopLimitOrders": "stoplimit",
}
ALIVE = ("placing", "working")
WITH_LIMIT, WITH_STOP = ("limit", "stoplimit"), ("stop", "stoplimit")


@check("ordersPlacedAreShown", "ORD-15 ORD-22 GEN-12", Half.TRADING)
def placed_are_shown(trading: Trading) -> None:
    """A new order is in the very next answer of `/orders`, as it was sent."""

    def judge(desk: Desk) -> None:
        market, order_id, placed = desk.rest()
        exchange = desk.get("orders")
        trading.expect_contract(placed)
        order = _find(exchange, order_id)
        if order is None:
            trading.problem(f"{desk.id}: the order {order_id} is not in the answer after it was placed.", exchange)
            return
        sent = (market.symbol, "buy", "limit", market.qty)
        shown = (order["instrument"], order["side"], order["type"], Decimal(order["qty"]))
        trading.expect(shown == sent, f"{desk.id}: sent {sent}, shown {shown}.", exchange)
        trading.expect(order["status"] in ALIVE, f"{desk.id}: it is {order['status']}.", exchange)
        wanted = desk.durations_for("limit")
        if wanted and "duration" not in order:
            trading.warn(f"{desk.id}: the order shows no duration.", exchange)

    trading.on_each(judge, "supportLimitOrders")


def _find(exchange: Exchange, order_id: str) -> dict[str, Any] | None:
    return next((dict(each) for each in exchange.says.get("d", []) if str(each.get("id")) == order_id), None)


@check("ordersTypesOffered", "ACC-8 ORD-10 ORD-23", Half.TRADING)
def types_offered(trading: Trading) -> None:
    """Each type of order that the flags offer is taken, and shown with its prices only."""

    def judge(desk: Desk) -> None:
        for flag, type_ in TYPES.items():
            if not desk.has(flag) or type_ == "market":
                continue
            market, order_id, _placed = desk.rest(type_)
            exchange = desk.get("orders")
            order = _find(exchange, order_id) or {}
            trading.expect(order.get("type") == type_, f"{desk.id}: {type_} is shown as {order.get('type')}.", exchange)
            for name, types in (("limitPrice", WITH_LIMIT), ("stopPrice", WITH_STOP)):
                if type_ in types:
                    trading.expect(name in order, f"{desk.id}: {type_} without {name}.", exchange)
            trading.expect(
                market.symbol == order.get("instrument"), f"{desk.id}: it is shown for another instrument.", exchange
            )
            desk.send("DELETE", f"orders/{order_id}")

    trading.on_each(judge)


@check("ordersDurations", "ORD-22 CFG-9", Half.TRADING)
def durations(trading: Trading) -> None:
    """Each duration offered for limit orders is taken, and shown."""

    def judge(desk: Desk) -> None:
        for duration in desk.durations_for("limit"):
            fields = desk.duration_fields(duration)
            _market, order_id, _placed = desk.rest("limit", fields)
            exchange = desk.get("orders")
            shown = (_find(exchange, order_id) or {}).get("duration", {})
            trading.expect(
                shown.get("type") == duration["id"], f"{desk.id}: {duration['id']} is shown as {shown}.", exchange
            )
            if "durationDateTime" in fields:
                trading.expect("datetime" in shown, f"{desk.id}: {duration['id']} shows no datetime.", exchange)
            desk.send("DELETE", f"orders/{order_id}")

    trading.on_each(judge, "supportLimitOrders")


@check("ordersRequestIdIsOneOrder", "ORD-16", Half.TRADING)
def request_id(trading: Trading) -> None:
    """The same `requestId` again gives the same order again, never a second."""

    def judge(desk: Desk) -> None:
        market, _order, _placed = desk.rest()
        form = desk.ticket(market, "buy", "limit", away(market, "limit", "buy", Decimal("0.1")))
        before = set(desk.orders())
        name = f"once-{time.time_ns()}"
        answers = [desk.place(form, request_id=name) for _time in range(2)]
        first, second = map(placed_id, answers)
        trading.require(bool(first), "The order is refused.", answers[0])
        trading.expect(first == second, f"{desk.id}: two orders, {first} and {second or 'a refusal'}.", answers[1])
        made = len(set(desk.orders()) - before)
        trading.expect(made == 1, f"{desk.id}: {made} orders were made.", answers[1])

    trading.on_each(judge, "supportLimitOrders")


@check("ordersModify", "ORD-19 ORD-20 ORD-14", Half.TRADING)
def modify(trading: Trading) -> None:
    """A changed price and quantity are taken, and seen in `/orders`."""

    def judge(desk: Desk) -> None:
        market, order_id, _placed = desk.rest()
        before = desk.orders()[order_id]
        price = market.rounded(Decimal(before["limitPrice"]) * Decimal("0.99"))
        qty = market.qty * 2 if desk.has("supportEditAmount") else market.qty
        form = {
            "qty": plain(qty),
            "limitPrice": plain(price),
            "currentAsk": plain(market.ask),
            "currentBid": plain(market.bid),
        }
        desk.until(lambda orders: orders[order_id]["status"] == "working")
        exchange = desk.send("PUT", f"orders/{order_id}", form)
        trading.expect_contract(exchange)
        trading.require(exchange.is_ok, f"Modifying is refused: {exchange.says.get('errmsg')}", exchange)
        changed = desk.until(
            lambda orders: (Decimal(orders[order_id]["limitPrice"]), Decimal(orders[order_id]["qty"])) == (price, qty)
        )
        trading.expect(changed, f"{desk.id}: price {price} and quantity {qty} are not seen.", desk.get("orders"))
        after = desk.orders()[order_id]
        trading.expect(after["status"] in ALIVE, f"{desk.id}: the changed order is {after['status']}.", exchange)

    trading.on_each(judge, "supportLimitOrders", "supportModifyOrderPrice")


@check("ordersCancel", "ORD-3 ORD-20 ORD-21", Half.TRADING)
def cancel(trading: Trading) -> None:
    """Cancelling is accepted and seen; cancelling again is a failure with a reason."""

    def judge(desk: Desk) -> None:
        _market, order_id, _placed = desk.rest()
        exchange = desk.send("DELETE", f"orders/{order_id}")
        trading.expect_contract(exchange)
        trading.require(exchange.is_ok, f"Cancelling is refused: {exchange.says.get('errmsg')}", exchange)
        cancelled = desk.until(lambda orders: order_id in orders and orders[order_id]["status"] == "cancelled")
        trading.expect(cancelled, f"{desk.id}: the order is not shown as cancelled.", desk.get("orders"))
        again = desk.send("DELETE", f"orders/{order_id}")
        trading.expect(again.is_refusal, f"{desk.id}: cancelling a cancelled order is no failure.", again)

    trading.on_each(judge, "supportLimitOrders")


@check("ordersMarketFill", "ORD-11 ORD-15 POS-8", Half.TRADING)
def market_fill(trading: Trading) -> None:
    """A market order is filled, with its quantity and an average price that its executions make."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            order, exchange = trade.order, desk.get("orders")
            whole = Decimal(order.get("filledQty", 0)) == Decimal(order["qty"])
            trading.expect(whole, f"{desk.id}: filled, but filledQty is {order.get('filledQty')}.", exchange)
            trading.expect(bool(order.get("avgPrice")), f"{desk.id}: filled without an avgPrice.", exchange)
            if desk.has("supportExecutions"):
                _judge_executions(trading, desk, order)

    trading.on_each(judge, "supportMarketOrders")


def _judge_executions(trading: Trading, desk: Desk, order: dict[str, Any]) -> None:
    exchange = desk.get("executions", instrument=order["instrument"])
    trading.expect_contract(exchange)
    fills = [each for each in trading.read(exchange)["d"] if str(each["orderId"]) == str(order["id"])]
    qty = sum((Decimal(each["qty"]) for each in fills), Decimal(0))
    trading.expect(qty == Decimal(order["qty"]), f"{desk.id}: executions of {qty} for {order['qty']}.", exchange)
    sides = {each["side"] for each in fills}
    trading.expect(sides <= {order["side"]}, f"{desk.id}: executions on the other side.", exchange)
    if qty and order.get("avgPrice"):
        average = sum((Decimal(each["qty"]) * Decimal(each["price"]) for each in fills), Decimal(0)) / qty
        close = abs(average / Decimal(order["avgPrice"]) - 1) < Decimal("1E-9")
        trading.expect(close, f"{desk.id}: avgPrice {order['avgPrice']}, executions make {average}.", exchange)


@check("ordersRefusalsLeaveNothing", "ORD-15 GEN-3", Half.TRADING)
def refusals_leave_nothing(trading: Trading) -> None:
    """A refused ticket leaves no order, or one that is rejected with a reason."""

    def judge(desk: Desk) -> None:
        market = next(desk.markets())
        before = set(desk.orders())
        huge = Decimal(market.instrument.get("maxQty") or 10**12) * 10
        for name, qty in (
            ("a quantity of zero", Decimal(0)),
            ("a quantity below zero", -market.qty),
            ("too much", huge),
        ):
            form = {**desk.ticket(market, "buy", "market"), "qty": plain(qty)}
            exchange = desk.place(form)
            if placed_id(exchange):
                order = desk.await_final(placed_id(exchange))
                told = order["status"] == "rejected" and bool(order.get("message"))
                trading.expect(told, f"{desk.id}: {name} makes an order that is {order['status']}.", exchange)
            else:
                trading.expect(exchange.is_refusal, f"{desk.id}: {name} is no failure with a sentence.", exchange)
                made = set(desk.orders()) - before
                trading.expect(not made, f"{desk.id}: {name} is refused and leaves an order.", exchange)
            before = set(desk.orders())

    trading.on_each(judge, "supportMarketOrders")


@check("ordersUnknownFieldsTolerated", "GEN-6", Half.TRADING)
def unknown_fields(trading: Trading) -> None:
    """A field that the server does not know is no reason to refuse an order."""

    def judge(desk: Desk) -> None:
        _market, _order, placed = desk.rest("limit", {"fieldOfTomorrow": "1"})
        trading.expect_contract(placed)

    trading.on_each(judge, "supportLimitOrders")


@check("ordersFieldsFit", "ORD-7 ORD-10 ORD-11 ORD-12 BRK-21", Half.TRADING, is_late=True)
def fields_fit(trading: Trading) -> None:
    """Ids are unique; an order has the prices of its type only, an average once something is filled."""

    def judge(desk: Desk) -> None:
        if not desk.orders():
            desk.rest()
        exchange = desk.get("orders")
        orders = trading.read(exchange)["d"]
        ids = [order["id"] for order in orders]
        trading.expect(len(set(ids)) == len(ids), f"{desk.id}: an id is there twice.", exchange)
        for order in orders:
            for fault in _faults(order):
                trading.problem(f"{desk.id}, order {order['id']}: {fault}", exchange)

    trading.on_each(judge)


def _faults(order: dict[str, Any]) -> list[str]:
    faults = []
    for name, types in (("limitPrice", WITH_LIMIT), ("stopPrice", WITH_STOP)):
        if (name in order) != (order["type"] in types):
            faults.append(f"{order['type']} {'with' if name in order else 'without'} {name}.")
    if order.get("filledQty") and not order.get("avgPrice"):
        faults.append("something is filled, and there is no avgPrice.")
    if Decimal(order.get("filledQty", 0)) > Decimal(order["qty"]):
        faults.append("more is filled than was ordered.")
    if order["status"] == "filled" and "filledQty" in order and order["filledQty"] != order["qty"]:
        faults.append(f"filled, with a filledQty of {order['filledQty']} of {order['qty']}.")
    if "trailingStopPips" in order and not order.get("isTrailingStop"):
        faults.append("trailingStopPips, but it is no trailing stop.")
    if order["status"] == "inactive" and "parentId" not in order:
        faults.append("inactive without a parent.")
    return faults


@check("ordersHistoryIsFinal", "ORD-8 ORD-9", Half.TRADING, is_late=True)
def history_is_final(trading: Trading) -> None:
    """The history has final orders only, as many as asked for, and those that just became final."""

    def judge(desk: Desk) -> None:
        if not desk.d("ordersHistory"):
            _market, order_id, _placed = desk.rest()
            desk.send("DELETE", f"orders/{order_id}")
            desk.until(lambda orders: orders[order_id]["status"] in FINAL)
        exchange = desk.get("ordersHistory")
        history = trading.read(exchange)["d"]
        alive = [order["id"] for order in history if order["status"] not in FINAL]
        trading.expect(not alive, f"{desk.id}: not final: {', '.join(map(str, alive[:5]))}.", exchange)
        two = desk.get("ordersHistory", maxCount=2)
        trading.expect(len(trading.read(two)["d"]) <= 2, f"{desk.id}: maxCount 2 is exceeded.", two)
        ended = {each["id"] for each in desk.orders().values() if each["status"] in FINAL}
        missing = ended - {order["id"] for order in desk.d("ordersHistory")}
        if missing:
            trading.warn(f"{desk.id}: final in /orders and not in the history: {len(missing)}.", exchange)

    trading.on_each(judge, "supportOrdersHistory")


SESSION_SECONDS = 86400
MARGIN_SECONDS = 300  # clocks differ, and the session moves on while we ask
DAY_LONG = ("forex", "crypto")


@check("ordersOfTheSession", "ORD-4 ORD-5 ORD-6", Half.TRADING, is_late=True)
def of_the_session(trading: Trading) -> None:
    """Every order of the last 24 hours is in `/orders`, for forex and crypto; of those before, only live ones."""

    def judge(desk: Desk) -> None:
        kinds = {each["name"]: each.get("type") for each in desk.instruments}
        _market, order_id, _placed = desk.rest()
        desk.send("DELETE", f"orders/{order_id}")
        desk.until(lambda orders: orders[order_id]["status"] in FINAL)
        exchange, begin = desk.get("orders"), time.time() - SESSION_SECONDS
        history = [each for each in desk.d("ordersHistory") if kinds.get(each["instrument"]) in DAY_LONG]
        shown = {str(each["id"]): each for each in trading.read(exchange)["d"]}
        due = {str(each["id"]) for each in history if each["lastModified"] > begin + MARGIN_SECONDS}
        missing = sorted(due - shown.keys())
        trading.expect(
            not missing, f"{desk.id}: of the last 24 hours, and not shown: {', '.join(missing[:5])}.", exchange
        )
        old = [
            order_id
            for order_id, each in shown.items()
            if kinds.get(each["instrument"]) in DAY_LONG
            and each["status"] in FINAL
            and each["lastModified"] < begin - MARGIN_SECONDS
        ]
        if old:
            trading.warn(f"{desk.id}: final before the session, and still shown: {', '.join(old[:5])}.", exchange)

    trading.on_each(judge, "supportOrdersHistory")


# --- over time --------------------------------------------------------------------------------------------------------


def _ended_stories(trading: Trading) -> list[Story]:
    """What the watch saw until an order of each account had been final for the time set."""
    watch, seconds = trading.watch, trading.options.keep_seconds

    def judge(desk: Desk) -> None:
        if not any(story.path == desk.path and story.is_whole for story in list(watch.stories.values())):
            _market, order_id, _placed = desk.rest()
            desk.until(lambda _orders: (desk.path, order_id) in watch.stories)
            desk.send("DELETE", f"orders/{order_id}")
        deadline = time.monotonic() + seconds + 10
        while not watch.aged(desk.path, seconds) and time.monotonic() < deadline:
            time.sleep(0.2)

    trading.on_each(judge)
    return list(watch.stories.values())


@check("ordersNeverVanish", "ORD-5 GEN-12 BRK-7", Half.TRADING, is_late=True)
def never_vanish(trading: Trading) -> None:
    """No order vanishes from `/orders` before it was shown final for a minute."""
    for story in _ended_stories(trading):
        if story.vanished_after is not None and story.vanished_after < trading.options.keep_seconds:
            trading.problem(
                f"{story.path}, order {story.order_id} ({' → '.join(story.statuses)}) vanished "
                f"{story.vanished_after:.1f} s after it was final.",
                story.evidence,
            )


@check("ordersNeverReturnFromFinal", "ORD-2 GEN-12", Half.TRADING, is_late=True)
def never_return(trading: Trading) -> None:
    """No order returns from a final status."""
    for story in _ended_stories(trading):
        if story.went_back:
            trading.problem(f"{story.path}, order {story.order_id}: {story.went_back}.", story.evidence)
