"""One account, traded as TradingView's page does it: in the smallest quantities, and tidied up afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from functools import cached_property
from typing import Any
from urllib.parse import quote as percent_encoded
from uuid import uuid4

from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.framework import Failed, Options
from tvapi.conformance.watch import FINAL

POLL_SECONDS = 0.1
SETTLE_SECONDS = 5.0  # for what is accepted to be seen
DISTANCES = (Decimal("0.1"), Decimal("0.03"), Decimal("0.01"))  # of a resting order from the market
SIZES = (1, 10, 100, 1000, 10_000)  # times the smallest quantity, where that is too little for a broker
KINDS = {"crypto": 0, "forex": 1, "index": 2}  # which instruments are tried first: those whose markets are open longest
MOST_TRIED = 4
NONE: Mapping[str, object] = {}
OPPOSITE = {"buy": "sell", "sell": "buy"}


class Unavailable(Exception):
    """The account cannot show it at the moment; the message says why."""


@dataclass(frozen=True)
class Market:
    """An instrument with the prices of the moment, and the quantity it is traded in."""

    instrument: dict[str, Any]
    bid: Decimal
    ask: Decimal
    qty: Decimal

    @property
    def symbol(self) -> str:
        return str(self.instrument["name"])

    def times(self, count: int) -> Market:
        """The same in a multiple of the quantity."""
        return replace(self, qty=self.qty * count)

    def rounded(self, price: Decimal, *, up: bool = False) -> Decimal:
        tick = Decimal(self.instrument["minTick"])
        steps = (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
        return (steps * tick).quantize(tick) if tick < 1 else steps * tick

    def below(self, share: Decimal) -> Decimal:
        return self.rounded(self.bid * (1 - share))

    def above(self, share: Decimal) -> Decimal:
        return self.rounded(self.ask * (1 + share), up=True)


Fields = Mapping[str, object] | Callable[[Market], Mapping[str, object]]  # of a ticket; prices fit the market taken


@dataclass(frozen=True)
class Trade:
    """A market order that was filled, and what was held of the instrument before it."""

    market: Market
    side: str
    order: dict[str, Any]
    held_before: Decimal


class Desk:
    """An account as `/accounts` describes it, and what was left open on it."""

    def __init__(
        self,
        client: Client,
        account: Mapping[str, Any],
        defaults: Mapping[str, bool],
        config: Mapping[str, Any],
        options: Options,
    ) -> None:
        self.account = dict(account)
        self.id = str(account["id"])
        self.path = f"/accounts/{percent_encoded(self.id, safe='')}"
        self._client = client
        self._flags = {**defaults, **account.get("config", {})}
        self._config = config
        self._options = options
        self._placed: list[str] = []
        self._resting: tuple[str, Decimal, Decimal] | None = None  # symbol, quantity and distance that work
        self._filling: tuple[str, Decimal] | None = None

    def has(self, flag: str) -> bool:
        return bool(self._flags.get(flag))

    def effective(self, name: str) -> Any:
        """A part of the configuration: the account's own, or the broker's (CFG-1)."""
        of_account = self.account.get("durations") if name == "durations" else self.account.get("ui", {}).get(name)
        return of_account if of_account is not None else self._config.get(name)

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, what: str, **query: object) -> Exchange:
        return self._client.get(f"{self.path}/{what}", {"locale": "en", **query})

    def ask(self, path: str, **query: object) -> Exchange:
        return self._client.get(path, {"locale": "en", "accountId": self.id, **query})

    def d(self, what: str, **query: object) -> Any:
        return said(self.get(what, **query))

    @cached_property
    def instruments(self) -> list[dict[str, Any]]:
        return list(self.d("instruments"))

    def orders(self) -> dict[str, dict[str, Any]]:
        return {str(order["id"]): order for order in self.d("orders")}

    def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool], seconds: float = SETTLE_SECONDS) -> bool:
        """Poll the orders until it holds of them; whether it came to that."""
        deadline = time.monotonic() + seconds
        while not holds(self.orders()):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def brackets(self, parent: str) -> list[dict[str, Any]]:
        return [order for order in self.orders().values() if str(order.get("parentId")) == parent]

    def positions(self, symbol: str = "") -> list[dict[str, Any]]:
        """The open ones (POS-6: a closed one may be shown with quantity 0)."""
        return [each for each in self.d("positions") if each["qty"] and symbol in ("", each["instrument"])]

    def held(self, symbol: str) -> Decimal:
        """Quantity, of a short position below zero; on spot accounts the total of the base asset."""
        if self.has("supportPositions"):
            return sum((signed(position) for position in self.positions(symbol)), Decimal(0))
        base = next((each.get("baseCurrency") for each in self.instruments if each["name"] == symbol), None)
        return sum((Decimal(each["total"]) for each in self.d("balances") if each["symbol"] == base), Decimal(0))

    # --- tickets ------------------------------------------------------------------------------------------------------

    def markets(self) -> Iterator[Market]:
        """Instruments with a price, those first whose market is open longest."""
        found = 0
        for instrument in sorted(self.instruments, key=lambda each: KINDS.get(each.get("type", ""), 3)):
            if instrument.get("hasQuotes") is False:
                continue
            if (market := self.market(instrument)) is not None:
                yield market
                found += 1
            if found == MOST_TRIED:
                return
        if not found:
            raise Unavailable("no instrument has a price")

    def market(self, instrument: Mapping[str, Any], qty: Decimal | None = None) -> Market | None:
        """None where there is no price, or trading is halted."""
        elements = said(self.ask("/quotes", symbols=instrument["name"]))
        element = elements[0] if elements else {}
        value = element.get("v") or {}
        if element.get("s") != "ok" or value.get("halted") or not value.get("bid") or not value.get("ask"):
            return None
        least = Decimal(instrument.get("minQty") or instrument.get("qtyStep") or 1)
        return Market(dict(instrument), Decimal(value["bid"]), Decimal(value["ask"]), qty or least)

    def ticket(self, market: Market, side: str, type_: str, prices: Mapping[str, object] = NONE) -> dict[str, Any]:
        """The form of an order, with what the page adds: the default duration, our own fields, the prices seen."""
        form = {"instrument": market.symbol, "side": side, "type": type_, "qty": plain(market.qty)}
        form |= {name: plain(value) if isinstance(value, Decimal) else str(value) for name, value in prices.items()}
        if "durationType" not in prices:
            form |= self._duration(type_)
        form |= self._own_fields(market.instrument)
        return {**form, "currentAsk": plain(market.ask), "currentBid": plain(market.bid)}

    def durations_for(self, type_: str) -> list[dict[str, Any]]:
        """CFG-9: what is offered for an order of this type."""
        offered = self.effective("durations") or []
        return [each for each in offered if type_ in each.get("supportedOrderTypes", ["limit", "stop", "stoplimit"])]

    def duration_fields(self, duration: Mapping[str, Any]) -> dict[str, str]:
        fields = {"durationType": str(duration["id"])}
        if duration.get("hasDatePicker") or duration.get("hasTimePicker"):
            fields["durationDateTime"] = str(int(time.time()) + 86400)
        return fields

    def _duration(self, type_: str) -> dict[str, str]:
        offered = self.durations_for(type_)
        if not offered:
            return {}
        return self.duration_fields(next((each for each in offered if each.get("default")), offered[0]))

    def _own_fields(self, instrument: Mapping[str, Any]) -> dict[str, str]:
        """CFG-11: one form field per control, with its first value."""
        controls = instrument.get("ui", {}).get("orderDialogCustomFields") or self.account.get("ui", {}).get(
            "orderDialogCustomFields", {}
        )
        boxes = {str(box["id"]): str(box["items"][0]["value"]) for box in controls.get("comboBox", [])}
        checks = {str(box["id"]): str(box.get("checked", False)).lower() for box in controls.get("checkbox", [])}
        return {**boxes, **checks}

    # --- acting -------------------------------------------------------------------------------------------------------

    def send(self, method: str, what: str, form: Mapping[str, object] | None = None, **query: object) -> Exchange:
        return self._client.send(method, f"{self.path}/{what}", query={"locale": "en", **query}, form=form)

    def place(self, form: Mapping[str, object], request_id: str = "", **query: object) -> Exchange:
        exchange = self.send("POST", "orders", form, requestId=request_id or uuid4().hex[:10], **query)
        if (order_id := placed_id(exchange)) and order_id not in self._placed:
            self._placed.append(order_id)
        return exchange

    def rest(self, type_: str = "limit", more: Fields = NONE, side: str = "buy") -> tuple[Market, str, Exchange]:
        """Place an order that the market does not reach. Raises Unavailable when no instrument takes one."""
        refusal = "no instrument to trade"
        for market, distance in self._resting_markets():
            form = {**away(market, type_, side, distance), **_fitting(more, market)}
            exchange = self.place(self.ticket(market, side, type_, form))
            if order_id := placed_id(exchange):
                self._resting = (market.symbol, market.qty, distance)
                return market, order_id, exchange
            if not exchange.is_refusal:
                raise Failed("Placing an order is answered neither with its id nor with a refusal.", exchange)
            refusal = str(exchange.says["errmsg"])
        raise Unavailable(refusal)

    def _resting_markets(self) -> Iterator[tuple[Market, Decimal]]:
        if self._resting:
            symbol, qty, distance = self._resting
            instrument = next(each for each in self.instruments if each["name"] == symbol)
            if market := self.market(instrument, qty):
                yield market, distance
            return
        for market in self.markets():
            for distance in DISTANCES:
                for size in SIZES[:4]:
                    yield market.times(size), distance

    @contextmanager
    def traded(self, more: Fields = NONE, *, side: str = "buy", times: int = 1) -> Iterator[Trade]:
        """A market order, filled; what it made is undone afterwards. Raises Unavailable when none can be filled."""
        trade = self._fill(side, times, more)
        try:
            yield trade
        finally:
            self.return_to(trade.market, trade.held_before)

    def _fill(self, side: str, times: int, more: Fields) -> Trade:
        refusal = "no instrument to trade"
        for market in self._filling_markets():
            held = self.held(market.symbol)
            exchange = self.place(self.ticket(market.times(times), side, "market", _fitting(more, market)))
            order_id = placed_id(exchange)
            if not order_id:
                refusal = str(exchange.says.get("errmsg", "the order is not accepted"))
                continue
            order = self.await_final(order_id)
            if order["status"] == "filled":
                self._filling = (market.symbol, market.qty)
                return Trade(market, side, order, held)
            refusal = str((order.get("message") or {}).get("text", f"the order is {order['status']}"))
        raise Unavailable(refusal)

    def _filling_markets(self) -> Iterator[Market]:
        if self._filling:
            symbol, qty = self._filling
            instrument = next(each for each in self.instruments if each["name"] == symbol)
            if market := self.market(instrument, qty):
                yield market
            return
        for market in self.markets():
            for size in SIZES:
                yield market.times(size)

    def await_final(self, order_id: str) -> dict[str, Any]:
        """The order once it is final, or as it is when patience ends. Raises Failed where it is not shown at all."""
        deadline = time.monotonic() + self._options.fill_seconds
        while True:
            exchange = self.get("orders")
            order = next((each for each in said(exchange) if str(each["id"]) == order_id), None)
            if order is None:
                raise Failed(f"The order {order_id} is not among /orders (ORD-15).", exchange)
            if order["status"] in FINAL or time.monotonic() > deadline:
                return dict(order)
            time.sleep(POLL_SECONDS)

    def return_to(self, market: Market, held: Decimal) -> None:
        """Bring what is held of the instrument back to what it was: by closing, or by trading the other way.

        Less than a step of quantity is not tradable: so much a commission in the asset itself may leave.
        """
        surplus = self._surplus(market, held)
        if not surplus:
            return
        if self.has("supportMultiposition"):
            newest = [each for each in reversed(self.positions(market.symbol)) if signed(each) == surplus]
            for position in newest[:1]:
                self.send("DELETE", f"positions/{position['id']}", {})
        else:
            now = self.market(market.instrument) or market
            exchange = self.place(
                self.ticket(replace(now, qty=abs(surplus)), "sell" if surplus > 0 else "buy", "market")
            )
            if order_id := placed_id(exchange):
                self.await_final(order_id)
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._surplus(market, held) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _surplus(self, market: Market, held: Decimal) -> Decimal:
        """What is held beyond `held`, in whole steps of quantity."""
        surplus = self.held(market.symbol) - held
        step = Decimal(market.instrument.get("qtyStep") or market.instrument.get("minQty") or 1)
        return (surplus / step).to_integral_value(ROUND_DOWN) * step

    def clean_up(self) -> list[str]:
        """Cancel what we placed and left. Returns what could not be cancelled."""
        if not self._placed:
            return []
        troubles = []
        mine, self._placed = set(self._placed), []
        for order_id, order in self.orders().items():
            if order["status"] in FINAL or not mine & {order_id, str(order.get("parentId"))}:
                continue
            exchange = self.send("DELETE", f"orders/{order_id}", None)
            if not exchange.is_ok and order_id in mine:
                troubles.append(f"order {order_id} is left behind: {exchange.says.get('errmsg', exchange.status)}")
        return troubles


def said(exchange: Exchange) -> Any:
    """The `d` of a success. Raises Failed for everything else."""
    if not exchange.is_ok or "d" not in exchange.says:
        why = exchange.says.get("errmsg") or f"status {exchange.status}"
        raise Failed(f"{exchange.method} {exchange.path} gives no data: {why}", exchange)
    return exchange.says["d"]


def placed_id(exchange: Exchange) -> str:
    """The id of the order that was placed; empty when it was refused. ORD-15: some brokers give the whole order."""
    d = exchange.says.get("d") if exchange.is_ok else None
    return str(d.get("orderId") or d.get("id") or "") if isinstance(d, dict) else ""


def away(market: Market, type_: str, side: str, share: Decimal) -> dict[str, Decimal]:
    """Prices of an order that the market does not reach: a limit on the better side, a stop beyond (ORD-23)."""
    better, beyond = (
        (market.below(share), market.above(share)) if side == "buy" else (market.above(share), market.below(share))
    )
    return {
        "market": {},
        "limit": {"limitPrice": better},
        "stop": {"stopPrice": beyond},
        "stoplimit": {"stopPrice": beyond, "limitPrice": beyond},
    }[type_]


def _fitting(more: Fields, market: Market) -> Mapping[str, object]:
    return more(market) if callable(more) else more


def plain(number: Decimal) -> str:
    """As a form has it: no exponent."""
    return format(number.normalize() if number == number.to_integral_value() else number, "f")


def sign(side: str) -> int:
    return 1 if side == "buy" else -1


def signed(position: Mapping[str, Any]) -> Decimal:
    return sign(str(position["side"])) * Decimal(position["qty"])
