"""What only some brokers offer: preview, leverage, latency, streams of orders."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from tvapi.conformance.client import Exchange
from tvapi.conformance.desk import DISTANCES, Desk, Market, away, placed_id, plain
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.trading import Trading

STREAM_SECONDS = 10.0


@check("previewStoresNothing", "PRV-1 PRV-2 PRV-4", Half.TRADING)
def preview(trading: Trading) -> None:
    """A preview fits its schema, changes nothing, and its `confirmId` is good for one order of the same contents."""

    def judge(desk: Desk) -> None:
        market, order_id, _placed = desk.rest()
        desk.send("DELETE", f"orders/{order_id}")
        form = desk.ticket(market, "buy", "limit", away(market, "limit", "buy", DISTANCES[0]))
        before = set(desk.orders())
        exchange = desk.send("POST", "previewOrder", form)
        trading.expect_contract(exchange)
        said = trading.read(exchange)["d"]
        trading.expect(set(desk.orders()) == before, f"{desk.id}: the preview left an order.", exchange)
        if confirm_id := said.get("confirmId"):
            placed = desk.place(form, confirmId=confirm_id)
            trading.expect(bool(placed_id(placed)), f"{desk.id}: the confirmed order is refused.", placed)
            again = desk.place(form, confirmId=confirm_id)
            if placed_id(again):
                trading.warn(f"{desk.id}: a confirmId is good for two orders.", again)

    trading.on_each(judge, "supportPlaceOrderPreview", "supportLimitOrders")


@check("previewOfModification", "PRV-1", Half.TRADING)
def preview_of_modification(trading: Trading) -> None:
    """The preview of a change, with the order's `id`, leaves the order as it is."""

    def judge(desk: Desk) -> None:
        market, order_id, _placed = desk.rest()
        before = desk.orders()[order_id]
        price = market.rounded(Decimal(before["limitPrice"]) * Decimal("0.99"))
        form = {**desk.ticket(market, "buy", "limit", {"limitPrice": price}), "id": order_id}
        exchange = desk.send("POST", "previewOrder", form)
        trading.expect_contract(exchange)
        trading.read(exchange)
        after = desk.orders()[order_id]
        same = (after["limitPrice"], after["qty"]) == (before["limitPrice"], before["qty"])
        trading.expect(same, f"{desk.id}: the preview changed the order.", exchange)

    trading.on_each(judge, "supportModifyOrderPreview", "supportLimitOrders")


@check("leverageIsSet", "LEV-1 LEV-2 LEV-3", Half.TRADING)
def leverage(trading: Trading) -> None:
    """Leverage lies in its bounds; a preview changes nothing; what is set is what is got."""

    def judge(desk: Desk) -> None:
        market = next(desk.markets())
        form = {"instrument": market.symbol, "side": "buy", "orderType": "limit"}
        before = _leverage(trading, desk, form)
        fits = before["min"] <= before["leverage"] <= before["max"]
        trading.expect(fits, f"{desk.id}: {before['leverage']} is not from {before['min']} to {before['max']}.")
        other = before["min"] if before["leverage"] != before["min"] else before["max"]
        preview = desk.send("POST", "previewLeverage", {**form, "leverage": other})
        trading.expect_contract(preview)
        unchanged = _leverage(trading, desk, form)["leverage"] == before["leverage"]
        trading.expect(unchanged, f"{desk.id}: the preview set the leverage.", preview)
        exchange = desk.send("POST", "setLeverage", {**form, "leverage": other})
        trading.expect_contract(exchange)
        now = trading.read(exchange)["d"]["leverage"]
        got = _leverage(trading, desk, form)["leverage"]
        trading.expect(got == now, f"{desk.id}: {now} was set and {got} is got.", exchange)
        desk.send("POST", "setLeverage", {**form, "leverage": before["leverage"]})

    trading.on_each(judge, "supportLeverage")


def _leverage(trading: Trading, desk: Desk, form: dict[str, str]) -> dict[str, Any]:
    exchange = desk.send("POST", "getLeverage", form)
    trading.expect_contract(exchange)
    return dict(trading.read(exchange)["d"])


@check("latencyTransactionIds", "LAT-1 LAT-2 LAT-3", Half.TRADING)
def latency(trading: Trading) -> None:
    """Placing, modifying and cancelling answer with a transaction of their own, which `/trackLatency` takes."""

    def judge(desk: Desk) -> None:
        market, order_id, placed = desk.rest()
        price = market.rounded(Decimal(desk.orders()[order_id]["limitPrice"]) * Decimal("0.99"))
        change = {"qty": plain(market.qty), "limitPrice": plain(price)}
        desk.until(lambda orders: orders[order_id]["status"] == "working")
        answers = {
            "place_order": placed,
            "modify_order": desk.send("PUT", f"orders/{order_id}", change),
            "cancel_order": desk.send("DELETE", f"orders/{order_id}"),
        }
        ids = {kind: (exchange.says.get("d") or {}).get("transactionId") for kind, exchange in answers.items()}
        for kind, found in ids.items():
            trading.expect(bool(found), f"{desk.id}: {kind} has no transactionId.", answers[kind])
        trading.expect(len(set(ids.values())) == len(ids), f"{desk.id}: a transactionId comes twice.", placed)
        tracked = desk.send("POST", "trackLatency", _measured(market, str(ids["place_order"])))
        trading.expect_contract(tracked)
        trading.expect(tracked.is_ok, f"{desk.id}: trackLatency is refused.", tracked)

    trading.on_each(judge, "supportTrackLatency", "supportLimitOrders")


def _measured(market: Market, transaction: str) -> dict[str, str]:
    return {
        "transactionId": transaction,
        "transactionType": "place_order",
        "instrument": market.symbol,
        "side": "buy",
        "ask": plain(market.ask),
        "bid": plain(market.bid),
        "timestamp": str(int(time.time() * 1000)),
        "roundTripDuration": "120",
        "qty": plain(market.qty),
    }


@check("streamOfOrders", "TSTR-2 TSTR-3 TSTR-4 TSTR-5 TSTR-7", Half.TRADING)
def stream_of_orders(trading: Trading) -> None:
    """The stream of orders begins with what `/orders` shows, and then tells of a new order."""

    def judge(desk: Desk) -> None:
        desk.rest()
        head, response = trading.client.open(f"{desk.path}/stream/orders?locale=en")
        with response:
            if head.status == 404 or not response.headers.get("transfer-encoding"):
                raise Skipped("There is no stream of orders.")
            trading.require(head.status == 200, f"Status {head.status} instead of 200.", head)
            lines = response.iter_lines(chunk_size=None)
            snapshot = json.loads(next(lines), parse_float=Decimal)
            trading.require(isinstance(snapshot, list), "The first line is no array.", head)
            for order in snapshot:
                for difference in trading.contract.against("Order", order):
                    trading.problem(f"{desk.id}: {difference}", head)
            missing = set(desk.orders()) ^ {str(order["id"]) for order in snapshot}
            trading.expect(not missing, f"{desk.id}: the snapshot and /orders differ in {len(missing)} orders.", head)
            _market, order_id, _placed = desk.rest()
            _expect_update(trading, head, lines, order_id, desk.id)

    trading.on_each(judge)


def _expect_update(trading: Trading, head: Exchange, lines: Any, order_id: str, name: str) -> None:
    """TSTR-6: how updates and pings look beside the entity itself is not established, so only the id is looked for."""
    deadline = time.monotonic() + STREAM_SECONDS
    for line in lines:
        if f'"{order_id}"'.encode() in line:
            return
        if time.monotonic() > deadline:
            break
    trading.problem(f"{name}: the stream did not tell of the order {order_id}.", head)
