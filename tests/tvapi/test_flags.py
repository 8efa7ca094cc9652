"""Every flag that an account's configuration sets is kept: what ACC-9 says it promises is called, in every profile."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from accounts.choices import Profile
from tests import factories
from tests.tvapi.contract import DOCUMENT, TradingView, refused

SYMBOLS = {
    Profile.FX_NETTING: "EURUSD",
    Profile.FX_HEDGING: "EURUSD",
    Profile.SPOT: "BTCUSDT",
    Profile.PERPETUAL: "BTCUSDT.P",
    Profile.EXCHANGE: "TEST",
}
PRICES = {"EURUSD": ("1.10000", "1.10010"), "BTCUSDT": ("60000", "60010"), "BTCUSDT.P": ("60000", "60010")}
DEFAULTS = {
    name: described.get("default")
    for name, described in DOCUMENT["components"]["schemas"]["AccountFlags"]["properties"].items()
}


class Ticket:
    """An account with its client, its prices, and a quantity that fits."""

    def __init__(self, profile: Profile, trader: Any, tv: TradingView, **conditions: Any) -> None:
        self.tv, self.symbol = tv, SYMBOLS[profile]
        bid, ask = (Decimal(price) for price in PRICES.get(self.symbol, ("100.00", "100.10")))
        self.bid, self.ask, self.tick = bid, ask, factories.instrument(self.symbol).tick_size
        self.qty = (
            Decimal(10_000) if self.symbol == "EURUSD" else Decimal(1) if self.symbol == "TEST" else Decimal("0.1")
        )
        group = factories.group(profile, symbols=[self.symbol], **conditions)
        base = "USDT" if "USDT" in self.symbol else "USD"
        self.account = factories.account(of_group=group, owner=trader, number="A", base=base)
        factories.quote(self.symbol, bid, ask)

    def price(self, part: str) -> str:
        """A price at this part of the market's, on the grid."""
        return str(factories.instrument(self.symbol).round_price(self.bid * Decimal(part)))

    def form(self, **fields: Any) -> dict[str, Any]:
        form = {"instrument": self.symbol, "side": "buy", "type": "market", "qty": self.qty}
        return {**form, "currentBid": self.bid, "currentAsk": self.ask, **fields}

    def resting(self, **fields: Any) -> dict[str, Any]:
        return self.form(type="limit", limitPrice=self.price("0.9"), **fields)

    def place(self, **fields: Any) -> str:
        return str(self.ok(self.tv.post("/accounts/A/orders", self.form(**fields)))["orderId"])

    def rest(self, **fields: Any) -> str:
        return self.place(**self.resting(**fields))

    def position(self) -> str:
        self.place()
        return str(next(each["id"] for each in self.tv.d("/accounts/A/positions") if each["qty"]))

    def get(self, what: str, **query: Any) -> Any:
        return self.tv.d(f"/accounts/A/{what}", **query)

    def order(self, order_id: str) -> dict[str, Any]:
        return next(each for each in self.get("orders") if each["id"] == order_id)

    def statuses(self) -> set[str]:
        return {each["status"] for each in self.get("orders")}

    def ok(self, answer: dict[str, Any]) -> Any:
        assert answer["s"] == "ok", answer
        return answer.get("d")


def brackets_of_order(at: Ticket) -> None:
    at.rest(stopLoss=at.price("0.8"), takeProfit=at.price("1.1"))
    assert [each["status"] for each in at.get("orders")].count("inactive") == 2


def brackets_of_market_order(at: Ticket) -> None:
    at.place(stopLoss=at.price("0.8"), takeProfit=at.price("1.1"))
    assert [each["status"] for each in at.get("orders")].count("working") == 2


def brackets_of_position(at: Ticket) -> None:
    path = f"/accounts/A/positions/{at.position()}"
    at.ok(at.tv.put(path, {"stopLoss": at.price("0.8"), "takeProfit": at.price("1.1")}))
    assert [each.get("parentType") for each in at.get("orders")].count("position") == 2


def modify_brackets(at: Ticket) -> None:
    order_id = at.rest(stopLoss=at.price("0.8"))
    at.ok(at.tv.put(f"/accounts/A/orders/{order_id}", {"qty": at.qty, "takeProfit": at.price("1.1")}))
    assert at.statuses() == {"working", "inactive", "cancelled"}


def trailing_stop(at: Ticket) -> None:
    at.rest(trailingStopPips=50)
    assert any(each.get("trailingStopPips") == 50 for each in at.get("orders"))


def duration_changed(at: Ticket) -> None:
    order_id = at.rest()
    at.ok(at.tv.put(f"/accounts/A/orders/{order_id}", {"qty": at.qty, "durationType": "day"}))
    assert at.order(order_id)["duration"] == {"type": "day"}


def amount_changed(at: Ticket) -> None:
    order_id = at.rest()
    at.ok(at.tv.put(f"/accounts/A/orders/{order_id}", {"qty": 2 * at.qty, "limitPrice": at.price("0.8")}))
    order = at.order(order_id)
    assert (order["qty"], order["limitPrice"]) == (2 * at.qty, Decimal(at.price("0.8")))


def stop_order(at: Ticket) -> None:
    assert at.order(at.place(type="stop", stopPrice=at.price("1.1")))["type"] == "stop"


def stop_limit_order(at: Ticket) -> None:
    order_id = at.place(type="stoplimit", stopPrice=at.price("1.1"), limitPrice=at.price("1.1"))
    assert at.order(order_id)["type"] == "stoplimit"


def stop_on_this_side(at: Ticket) -> None:
    at.place(type="stop", stopPrice=at.price("0.9"))
    assert at.statuses() == {"working"}


def stop_limit_on_this_side(at: Ticket) -> None:
    at.place(type="stoplimit", stopPrice=at.price("0.9"), limitPrice=at.price("0.9"))
    assert at.statuses() == {"working"}


def close_position(at: Ticket) -> None:
    at.ok(at.tv.delete(f"/accounts/A/positions/{at.position()}"))
    assert [each["qty"] for each in at.get("positions")] == [0]


def close_part(at: Ticket) -> None:
    position, part = at.position(), at.qty if at.symbol == "TEST" else at.qty / 2
    at.ok(at.tv.delete(f"/accounts/A/positions/{position}", {"amount": part}))
    assert [each["qty"] for each in at.get("positions")] == [at.qty - part]


def reverse(at: Ticket) -> None:
    at.ok(at.tv.put(f"/accounts/A/positions/{at.position()}", {"side": "sell"}))
    assert [each["side"] for each in at.get("positions") if each["qty"]] == ["sell"]


def two_positions(at: Ticket) -> None:
    at.position()
    at.place(side="sell")
    assert {each["side"] for each in at.get("positions")} == {"buy", "sell"}


def preview(at: Ticket) -> None:
    form = at.resting()
    confirm_id = at.ok(at.tv.post("/accounts/A/previewOrder", form))["confirmId"]
    at.ok(at.tv.post("/accounts/A/orders", form, confirmId=confirm_id))


def preview_of_change(at: Ticket) -> None:
    order_id = at.rest()
    form = at.resting(id=order_id) | {"qty": 2 * at.qty}
    confirm_id = at.ok(at.tv.post("/accounts/A/previewOrder", form))["confirmId"]
    change = {"qty": 2 * at.qty, "limitPrice": at.price("0.9")}
    at.ok(at.tv.put(f"/accounts/A/orders/{order_id}", change, confirmId=confirm_id))


def latency(at: Ticket) -> None:
    transaction_id = at.ok(at.tv.post("/accounts/A/orders", at.form()))["transactionId"]
    form = {"transactionId": transaction_id, "transactionType": "place_order", "instrument": at.symbol, "side": "buy"}
    form |= {"ask": "1", "bid": "1", "timestamp": "1548406235000", "roundTripDuration": "10"}
    assert at.tv.post("/accounts/A/trackLatency", form) == {"s": "ok"}


def partial_execution(at: Ticket) -> None:
    factories.quote(at.symbol, at.bid, at.ask, asks=[(str(at.ask), str(at.qty))])
    order_id = at.place(qty=2 * at.qty)
    assert (at.order(order_id)["filledQty"], at.order(order_id)["status"]) == (at.qty, "working")


def summary_row(at: Ticket) -> None:
    assert all(isinstance(cell, str) for cell in at.get("state")["accountSummaryRowData"])


def depth(at: Ticket) -> None:
    assert at.tv.d("/depth", accountId="A", symbol=at.symbol).keys() == {"bids", "asks"}


def market_order(at: Ticket) -> None:
    at.place()
    assert at.statuses() == {"filled"}


def logout(at: Ticket) -> None:
    at.ok(at.tv.post("/logout"))
    assert at.tv.send("GET", "/accounts")[0] == 401


def leverage(at: Ticket) -> None:
    form = {"instrument": at.symbol, "side": "buy", "orderType": "limit"}
    shown = at.ok(at.tv.post("/accounts/A/getLeverage", form))
    form["leverage"] = shown["max"]
    for what in ("previewLeverage", "setLeverage"):
        at.ok(at.tv.post(f"/accounts/A/{what}", form))


def nothing_to_call(at: Ticket) -> None:
    """Only the page's own look depends on it."""


PROMISES: dict[str, Callable[[Ticket], object]] = {
    "supportOrderBrackets": brackets_of_order,
    "supportMarketBrackets": brackets_of_market_order,
    "supportPositionBrackets": brackets_of_position,
    "supportModifyBrackets": modify_brackets,
    "supportTrailingStop": trailing_stop,
    "supportModifyDuration": duration_changed,
    "supportModifyOrderPrice": amount_changed,
    "supportEditAmount": amount_changed,
    "supportMarketOrders": market_order,
    "supportLimitOrders": lambda at: at.rest(),
    "supportStopOrders": stop_order,
    "supportStopLimitOrders": stop_limit_order,
    "supportStopOrdersInBothDirections": stop_on_this_side,
    "supportStopLimitOrdersInBothDirections": stop_limit_on_this_side,
    "supportPositions": lambda at: at.position(),
    "supportBalances": lambda at: at.get("balances"),
    "supportMultiposition": two_positions,
    "supportClosePosition": close_position,
    "supportPartialClosePosition": close_part,
    "supportReversePosition": reverse,
    "supportNativeReversePosition": reverse,
    "supportPlaceOrderPreview": preview,
    "supportModifyOrderPreview": preview_of_change,
    "supportTrackLatency": latency,
    "supportPartialOrderExecution": partial_execution,
    "supportOrdersHistory": lambda at: at.get("ordersHistory"),
    "supportOrderCustomFields": lambda at: at.tv.d("/config")["orderCustomFields"],
    "supportOrderHistoryCustomFields": lambda at: at.tv.d("/config")["orderHistoryCustomFields"],
    "supportExecutions": lambda at: at.get("executions", instrument=at.symbol),
    "supportDOM": depth,
    "supportLevel2Data": depth,
    "supportPLUpdate": nothing_to_call,
    "supportCustomAccountSummaryRow": summary_row,
    "supportLogout": logout,
    "supportLeverage": leverage,
    "supportLeverageButton": nothing_to_call,  # without supportLeverage there is none (ACC-10)
    "supportDisplayBrokerNameInSymbolSearch": nothing_to_call,
}


def flags(tv: TradingView) -> dict[str, bool]:
    """What the page takes for set: those sent, and the defaults of the others (ACC-8)."""
    [account] = tv.d("/accounts")
    return {**DEFAULTS, **account["config"]}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("flag", PROMISES)
def test_what_a_flag_promises_is_kept(tv, trader, profile: Profile, flag: str) -> None:
    """ACC-9."""
    at = Ticket(profile, trader, tv, stops_both_ways="Both" in flag, stop_limits_both_ways="Both" in flag)
    if flags(tv)[flag]:
        PROMISES[flag](at)


@pytest.mark.parametrize("profile", Profile)
def test_every_flag_that_is_set_is_tried(tv, trader, profile: Profile) -> None:
    Ticket(profile, trader, tv, stops_both_ways=True, stop_limits_both_ways=True)
    assert {name for name, is_set in flags(tv).items() if is_set} <= PROMISES.keys()


def test_a_flag_that_is_not_set_promises_nothing(tv, trader) -> None:
    at = Ticket(Profile.FX_HEDGING, trader, tv)
    answer = tv.put(f"/accounts/A/positions/{at.position()}", {"side": "sell"})
    assert refused(answer) == "This account holds each trade by itself: close it and trade anew."
