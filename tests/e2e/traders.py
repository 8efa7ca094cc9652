"""Clients who trade at random over the broker API, and one who watches what they are shown.

For the proofs that run against a whole demo: `chaos` and `session`. They know the API only. Whatever contradicts it
becomes a finding, a sentence; a refusal is none.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import requests

from tests.e2e.acceptance import Broker, Refused

D = Decimal
FINAL = frozenset({"filled", "cancelled", "rejected"})
FAULT = "Something went wrong on our side. Please try again."
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 0.3
SHOWN_SECONDS = 60.0  # a final order stays at least so long (ORD-5)


@dataclass(frozen=True)
class Market:
    """What is traded on an account of the demo: in lots of `lot` units, at prices a few `step`s from the market."""

    account: str
    symbol: str
    lot: Decimal
    step: Decimal
    has_positions: bool = True


MARKETS = (
    Market("FX-NET", "EURUSD", D(1000), D("0.00005")),
    Market("FX-HEDGE", "EURUSD", D(1000), D("0.00005")),
    Market("SPOT", "BTCUSDT", D("0.001"), D(5), has_positions=False),
    Market("PERP", "BTCUSDT.P", D("0.01"), D(5)),
    Market("STOCK", "AAPL", D(1), D("0.05")),
)


class Unanswered(Exception):
    """Nobody knows whether it was done: the connection broke, or the server had a fault."""


class Client(Broker):
    """The API to a client who expects trouble."""

    def ask(
        self, method: str, path: str, *, query: dict[str, str] | None = None, form: dict[str, str] | None = None
    ) -> Any:
        """The answer's `d`. Raises Refused with the server's sentence, or Unanswered."""
        params = {"locale": "en", **(query or {})}
        try:
            response = self.http.request(method, self.base + path, params=params, data=form, timeout=ANSWER_SECONDS)
        except requests.RequestException as error:
            raise Unanswered(str(error)) from error
        try:
            return self._d(response)
        except Refused as refusal:
            if str(refusal) == FAULT:
                raise Unanswered(FAULT) from refusal
            raise


@dataclass
class Request:
    """One order that was asked for, and what came of it: an order, or a refusal; neither while nobody knows."""

    account: str
    path: str
    form: dict[str, str]
    method: str = "POST"
    id: str = field(default_factory=lambda: uuid4().hex[:10])
    order: str | None = None
    refusal: str | None = None

    @property
    def is_answered(self) -> bool:
        return self.order is not None or self.refusal is not None


@dataclass
class Expected:
    """A change that was accepted: the polls that begin after `since` should soon show it."""

    order: str
    what: str
    is_shown: Callable[[dict[str, Any]], bool]
    since: float


Tell = Callable[[Expected], None]


def _nobody(_expected: Expected) -> None:
    pass


class Trader:
    """Somebody who does something random on his account, again and again, and remembers what he was answered.

    `tell` hears of each change that was accepted.
    """

    def __init__(self, url: str, market: Market, seed: int, tell: Tell = _nobody) -> None:
        self.client = Client(url, "trader", "trader-demo")
        self.market = market
        self.path = f"/accounts/{market.account}"
        self.chance = random.Random(seed)
        self.tell = tell
        self.requests: list[Request] = []
        self.done: Counter[str] = Counter()
        self.findings: list[str] = []

    def trade(self, stopping: threading.Event, pause_seconds: float) -> None:
        """Act until told to stop, with pauses of that length on average."""
        acts = [self._buy_or_sell, self._rest, self._rest, self._modify, self._cancel]
        if self.market.has_positions:
            acts += [self._close, self._protect]
        while not stopping.is_set():
            act = self.chance.choice(acts)
            try:
                act(stopping)
                self.done[act.__name__.strip("_")] += 1
            except Refused:
                self.done["refused"] += 1
            except Unanswered:
                self.done["unanswered"] += 1
                stopping.wait(RETRY_SECONDS)
            except Exception as error:
                self.findings.append(f"{self.market.account}: {act.__name__}: {error!r}")
            stopping.wait(self.chance.uniform(0, 2 * pause_seconds))

    def settle(self) -> None:
        """Ask again, by its id, for whatever nobody knows the end of."""
        for request in self.requests:
            if not request.is_answered:
                self._send(request, threading.Event())

    def wind_up(self) -> bool:
        """Cancel and close all that is open; true once no order was. Raises Unanswered."""
        live = self.live()
        ids = {order["id"] for order in live}
        for order in live:
            if order.get("parentId") not in ids:  # a bracket of spot outlives its order (BRK-13)
                self._try("DELETE", f"/orders/{order['id']}")
        for position in self.positions() if self.market.has_positions else ():
            self._try("DELETE", f"/positions/{position['id']}")
        return not live

    def live(self) -> list[dict[str, Any]]:
        """The account's orders that have not ended."""
        found = self.client.ask("GET", f"{self.path}/orders")
        return [order for order in found if order["status"] not in FINAL]

    def positions(self) -> list[dict[str, Any]]:
        return [each for each in self.client.ask("GET", f"{self.path}/positions") if D(each["qty"])]

    # --- what he does -------------------------------------------------------------------------------------------------

    def _buy_or_sell(self, stopping: threading.Event) -> None:
        bid, ask = self._quote()
        side = self.chance.choice(["buy", "sell"])
        form = self._form(side, bid, ask) | {"type": "market"} | self._brackets(side, bid)
        if order := self._order(form, stopping):
            self._expect(order, "at its end", lambda shown: shown["status"] in FINAL)

    def _rest(self, stopping: threading.Event) -> None:
        bid, ask = self._quote()
        side, kind = self.chance.choice(["buy", "sell"]), self.chance.choice(["limit", "limit", "stop"])
        price = self._price(side, kind, bid)
        form = self._form(side, bid, ask) | {"type": kind, f"{kind}Price": str(price), "durationType": "gtc"}
        if order := self._order(form | self._brackets(side, price), stopping):
            self._expect(order, "there", lambda shown: True)

    def _modify(self, _stopping: threading.Event) -> None:
        if not (order := self._any([each for each in self.live() if "parentId" not in each])):
            return
        kind = order["type"]
        if kind not in ("limit", "stop"):
            return
        bid, ask = self._quote()
        price = self._price(order["side"], kind, bid)
        qty = D(order["filledQty"]) + self.chance.randint(1, 5) * self.market.lot
        form = self._form(order["side"], bid, ask) | {f"{kind}Price": str(price), "qty": str(qty)}
        form |= self._brackets(order["side"], price)
        self.client.ask("PUT", f"{self.path}/orders/{order['id']}", form=form)
        self._expect(
            order["id"],
            f"at {price}",
            lambda shown: shown["status"] in FINAL or (D(shown[f"{kind}Price"]), D(shown["qty"])) == (price, qty),
        )

    def _cancel(self, _stopping: threading.Event) -> None:
        if order := self._any(self.live()):
            self.client.ask("DELETE", f"{self.path}/orders/{order['id']}")
            self._expect(order["id"], "cancelled", lambda shown: shown["status"] in FINAL)

    def _close(self, stopping: threading.Event) -> None:
        if position := self._any(self.positions()):
            request = Request(self.market.account, f"{self.path}/positions/{position['id']}", {}, method="DELETE")
            self.requests.append(request)
            self._send(request, stopping)

    def _protect(self, _stopping: threading.Event) -> None:
        if position := self._any(self.positions()):
            bid, _ask = self._quote()
            brackets = self._brackets(position["side"], bid)
            self.client.ask("PUT", f"{self.path}/positions/{position['id']}", form=brackets)

    # --- how he does it -----------------------------------------------------------------------------------------------

    def _order(self, form: dict[str, str], stopping: threading.Event) -> str | None:
        request = Request(self.market.account, f"{self.path}/orders", form)
        self.requests.append(request)
        self._send(request, stopping)
        return request.order

    def _send(self, request: Request, stopping: threading.Event) -> None:
        """Until it is answered; now and then once more after that, as an impatient client does."""
        while not request.is_answered:
            try:
                answer = self._ask_for(request)
            except Refused as refusal:
                request.refusal = str(refusal)
            except Unanswered:
                self.done["asked again"] += 1
                if stopping.wait(RETRY_SECONDS):
                    return
            else:
                request.order = str(answer.get("orderId", ""))
        if request.order and self.chance.random() < 0.2:
            again = self._ask_for(request)
            if str(again["orderId"]) != request.order:
                self.findings.append(f"request {request.id} made orders {request.order} and {again['orderId']}")

    def _ask_for(self, request: Request) -> Any:
        query = {"requestId": request.id}
        return self.client.ask(request.method, request.path, query=query, form=request.form)

    def _expect(self, order: str, what: str, is_shown: Callable[[dict[str, Any]], bool]) -> None:
        self.tell(Expected(order, what, is_shown, time.monotonic()))

    def _try(self, method: str, path: str) -> None:
        try:
            self.client.ask(method, self.path + path, query={"requestId": uuid4().hex[:10]} if "pos" in path else None)
        except Refused:
            self.done["refused"] += 1

    def _quote(self) -> tuple[Decimal, Decimal]:
        query = {"accountId": self.market.account, "symbols": self.market.symbol}
        (element,) = self.client.ask("GET", "/quotes", query=query)
        if element["s"] != "ok":
            raise Refused("no quote")
        return D(element["v"]["bid"]), D(element["v"]["ask"])

    def _form(self, side: str, bid: Decimal, ask: Decimal) -> dict[str, str]:
        qty = self.chance.randint(1, 5) * self.market.lot
        form = {"instrument": self.market.symbol, "side": side, "qty": str(qty)}
        return form | {"currentBid": str(bid), "currentAsk": str(ask)}

    def _price(self, side: str, kind: str, bid: Decimal) -> Decimal:
        """A limit on the cheap side of the market, mostly near it; a stop on the dear one."""
        away = self.chance.choice([1, 2, 5, 20, 100]) * self.market.step
        return bid - away if (side == "buy") == (kind == "limit") else bid + away

    def _brackets(self, side: str, base: Decimal) -> dict[str, str]:
        """One or both, or none; far enough to lie beyond the spread."""
        sign = 1 if side == "buy" else -1
        away = self.chance.choice([10, 20, 100]) * self.market.step
        legs = {"stopLoss": str(base - sign * away), "takeProfit": str(base + sign * away)}
        return {name: price for name, price in legs.items() if self.chance.random() < 0.5}

    def _any(self, found: list[dict[str, Any]]) -> dict[str, Any] | None:
        return self.chance.choice(found) if found else None


class Watcher:
    """Polls the orders of an account as a browser does, and compares each answer with the one before (GEN-12)."""

    def __init__(self, url: str, account: str) -> None:
        self.client = Client(url, "trader", "trader-demo")
        self.account = account
        self.seen: dict[str, dict[str, Any]] = {}
        self.findings: list[str] = []
        self.delays: list[tuple[str, float]] = []  # what was expected, and the seconds until it was seen
        self.polls = 0
        self._final_since: dict[str, float] = {}
        self._expected: dict[str, Expected] = {}
        self._lock = threading.Lock()

    def expect(self, change: Expected) -> None:
        """Of an order the last change counts."""
        with self._lock:
            self._expected[change.order] = change

    def watch(self, stopping: threading.Event, every_seconds: float) -> None:
        while not stopping.is_set():
            begun = time.monotonic()
            try:
                self.look()
            except Unanswered:
                pass
            except Exception as error:
                self.findings.append(f"{self.account}: {error!r}")
            stopping.wait(max(0.0, begun + every_seconds - time.monotonic()))

    def look(self) -> None:
        """One poll. Raises Unanswered."""
        begun = time.monotonic()
        shown = {order["id"]: order for order in self.client.ask("GET", f"/accounts/{self.account}/orders")}
        now = time.monotonic()
        self.polls += 1
        self.findings += self._compare(shown, now)
        self._check_expected(shown, begun, now)
        for order in shown.values():
            if order["status"] in FINAL:
                self._final_since.setdefault(order["id"], now)
        self.seen.update(shown)

    @property
    def legs(self) -> list[str]:
        """Every bracket that was ever shown."""
        return [order["id"] for order in self.seen.values() if "parentId" in order]

    def unended(self) -> list[str]:
        """Whatever was shown and never shown final."""
        return [order for order in self.seen if order not in self._final_since]

    def unseen(self) -> list[Expected]:
        """Changes that were accepted and never shown."""
        return list(self._expected.values())

    def _compare(self, shown: dict[str, dict[str, Any]], now: float) -> Iterable[str]:
        for order_id, before in self.seen.items():
            after = shown.get(order_id)
            ended = self._final_since.get(order_id)
            if after is None:
                if ended is None or now - ended < SHOWN_SECONDS:
                    yield f"{self.account}: order {order_id} vanished, last seen {before['status']}"
            elif ended is not None and (after["status"], after["filledQty"]) != (before["status"], before["filledQty"]):
                yield f"{self.account}: order {order_id} was {before['status']}, and is {after['status']}"
            elif after["filledQty"] < before["filledQty"]:
                yield f"{self.account}: order {order_id}: filled quantity fell from {before['filledQty']}"

    def _check_expected(self, shown: dict[str, dict[str, Any]], begun: float, now: float) -> None:
        with self._lock:
            waiting = [change for change in self._expected.values() if change.since <= begun]
            for change in waiting:
                order = shown.get(change.order)
                if order is not None and change.is_shown(order):
                    self.delays.append((f"order {change.order}: {change.what}", now - change.since))
                    if self._expected[change.order] is change:
                        del self._expected[change.order]
