"""A client of TradingView's broker API, from login to books, that knows nothing of the server but its address.

    python -m tests.e2e.acceptance http://127.0.0.1:8000

trades on each of the demo's five accounts, checks money, positions and executions against its own arithmetic, and
builds a minute bar from the stream. It prints what it saw, and ends with an AssertionError where the server contradicts
itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import uuid4

import requests

D = Decimal
PATIENCE_SECONDS = 30
STREAM_SECONDS = 30
CENT = D("0.01")


class Broker:
    """The API as one login sees it. Numbers come back as Decimals; a refusal raises `Refused`."""

    def __init__(self, base: str, login: str, password: str) -> None:
        self.base = f"{base}/tv"
        self.http = requests.Session()
        answer = self.post("/authorize", login=login, password=password, locale="en")
        assert answer["expiration"] > time.time()
        self.http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def get(self, path: str, **params: Any) -> Any:
        return self._d(self.http.get(self.base + path, params={"locale": "en", **params}, timeout=30))

    def post(self, path: str, *, query: dict[str, str] | None = None, **form: Any) -> Any:
        return self._d(
            self.http.post(self.base + path, params={"locale": "en", **(query or {})}, data=form, timeout=30)
        )

    def delete(self, path: str) -> Any:
        return self._d(self.http.delete(self.base + path, params={"locale": "en"}, timeout=30))

    def columns(self, path: str, **params: Any) -> dict[str, Any]:
        """An answer whose columns stand beside `s` (GEN-5)."""
        return self._body(self.http.get(self.base + path, params=params, timeout=30))

    def lines(self) -> Iterator[dict[str, Any]]:
        """The stream of prices, line by line, for ever."""
        with self.http.get(f"{self.base}/streaming", stream=True, timeout=30) as response:
            assert response.status_code == 200
            for line in response.iter_lines(chunk_size=1):
                if line:
                    yield json.loads(line, parse_float=D)

    def _d(self, response: requests.Response) -> Any:
        return self._body(response).get("d")

    def _body(self, response: requests.Response) -> dict[str, Any]:
        assert response.status_code == 200, f"{response.status_code}: {response.text[:500]}"
        body: dict[str, Any] = json.loads(response.text, parse_float=D)
        if body["s"] != "ok":
            raise Refused(body["errmsg"])
        return body


class Refused(Exception):
    """The server's refusal, in its own words."""


class Desk:
    """One account of the login."""

    def __init__(self, broker: Broker, account: str) -> None:
        self.broker = broker
        self.account = account
        self.path = f"/accounts/{account}"

    def get(self, what: str, **params: Any) -> Any:
        return self.broker.get(f"{self.path}/{what}", **params)

    def quote(self, symbol: str) -> dict[str, Decimal]:
        (element,) = self.broker.get("/quotes", accountId=self.account, symbols=symbol)
        assert element["s"] == "ok"
        return {side: D(element["v"][side]) for side in ("bid", "ask")}

    def place(self, symbol: str, side: str, qty: str, **fields: Any) -> str:
        quote = self.quote(symbol)
        form = {"type": "market", **fields, "instrument": symbol, "side": side, "qty": qty}
        form |= {"currentBid": str(quote["bid"]), "currentAsk": str(quote["ask"])}
        answer = self.broker.post(f"{self.path}/orders", query={"requestId": uuid4().hex[:10]}, **form)
        return str(answer["orderId"])

    def order(self, order_id: str) -> dict[str, Any]:
        """The order, which the very next answer of `/orders` holds (ORD-15)."""
        (order,) = [each for each in self.get("orders") if each["id"] == order_id]
        return order

    def await_end(self, order_id: str) -> tuple[dict[str, Any], float]:
        """Poll until the order is final; it and the seconds that took. Its status never goes back (ORD-2)."""
        started = time.monotonic()
        seen = []
        while time.monotonic() - started < PATIENCE_SECONDS:
            order = self.order(order_id)
            seen.append(order["status"])
            if order["status"] not in ("placing", "working"):
                assert sorted(seen, key=["placing", "working", order["status"]].index) == seen
                return order, time.monotonic() - started
            time.sleep(0.02)
        raise AssertionError(f"order {order_id} is still {seen[-1]}")

    def trade(self, symbol: str, side: str, qty: str) -> list[dict[str, Any]]:
        """A market order to its end: its executions, which agree with it."""
        order_id = self.place(symbol, side, qty)
        order, seconds = self.await_end(order_id)
        assert order["status"] == "filled", order
        fills = [each for each in self.get("executions", instrument=symbol) if each["orderId"] == order_id]
        assert sum(D(fill["qty"]) for fill in fills) == D(order["filledQty"]) == D(qty)
        average = sum(D(fill["qty"]) * D(fill["price"]) for fill in fills) / D(qty)
        assert abs(average - D(order["avgPrice"])) < D("1E-9")
        say(f"{self.account}: {side} {qty} {symbol} filled at {order['avgPrice']} in {seconds:.2f} s")
        return fills


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def costs(fills: list[dict[str, Any]]) -> Decimal:
    return sum((D(fill["commission"]) for fill in fills), D(0))


def open_quantities(desk: Desk) -> dict[str, Decimal]:
    """Quantity by instrument, shorts below zero."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for position in desk.get("positions"):
        totals[position["instrument"]] += D(position["qty"]) * (1 if position["side"] == "buy" else -1)
    return totals


def check_state(desk: Desk) -> Decimal:
    """Equity is balance and P/L, to the cent. Returns the balance."""
    state = desk.get("state")
    assert cents(D(state["balance"]) + D(state["unrealizedPl"])) == cents(D(state.get("equity", state["balance"])))
    return D(state["balance"])


def trade_margin(desk: Desk, symbol: str, qty: str) -> None:
    """Buy: the position grows by it and the balance falls by the commission, to the cent."""
    balance, held = check_state(desk), open_quantities(desk)[symbol]
    fills = desk.trade(symbol, "buy", qty)
    assert open_quantities(desk)[symbol] == held + D(qty)
    assert cents(check_state(desk)) == cents(balance - costs(fills))


def close_and_settle(desk: Desk, symbol: str) -> None:
    """Close the position of a USD account: what it brought is in the balance, to the cent."""
    (position,) = [each for each in desk.get("positions") if each["instrument"] == symbol and D(each["qty"])]
    balance = check_state(desk)
    known = {each["id"] for each in desk.get("executions", instrument=symbol)}
    desk.broker.delete(f"{desk.path}/positions/{position['id']}")
    _wait(lambda: open_quantities(desk)[symbol] == 0)
    fills = [each for each in desk.get("executions", instrument=symbol) if each["id"] not in known]
    assert all(fill["isClose"] and fill["positionId"] == position["id"] for fill in fills)
    result = sum((cents((D(fill["price"]) - D(position["avgPrice"])) * D(fill["qty"])) for fill in fills), D(0))
    assert cents(check_state(desk)) == cents(balance + result - costs(fills))
    say(f"{desk.account}: {symbol} closed, result {result}")


def trade_spot(desk: Desk, symbol: str, base: str, quote: str, qty: str) -> None:
    """Buy a coin: one balance grows, the other pays price and fee."""
    before = {each["symbol"]: each for each in desk.get("balances")}
    fills = desk.trade(symbol, "buy", qty)
    after = {each["symbol"]: each for each in desk.get("balances")}
    spent = sum((D(fill["price"]) * D(fill["qty"]) for fill in fills), D(0)) + costs(fills)
    assert D(str(after[base]["total"])) == D(str(before[base]["total"])) + D(qty)
    assert cents(D(after[quote]["total"])) == cents(D(before[quote]["total"]) - spent)
    assert not D(after[quote].get("reserved", 0)), "what the order reserved and did not need is given back"


def trade_stock(desk: Desk, symbol: str) -> None:
    """Buy shares while their market is open; else be told that it is closed, and leave a resting order."""
    try:
        trade_margin(desk, symbol, "1")
        return
    except Refused as refusal:
        if "closed" not in str(refusal):
            raise
        say(f"{desk.account}: {refusal}")
    order_id = desk.place(symbol, "buy", "1", type="limit", limitPrice="1.00")
    _wait(lambda: desk.order(order_id)["status"] == "working")
    desk.broker.delete(f"{desk.path}/orders/{order_id}")
    assert desk.order(order_id)["status"] == "cancelled"
    say(f"{desk.account}: a limit order for {symbol} rested and was cancelled")


def stream_and_compare(data: Broker, symbols: list[str]) -> None:
    """Build the minute in progress from the stream, and find it in the history.

    The history may be some ticks ahead of or behind what was read; its bar is that of the ticks so far at one moment.
    """
    trades: dict[str, list[dict[str, Any]]] = defaultdict(list)
    started = time.time()
    minute = (int(started) // 60 + 1) * 60  # the first one that is read from its beginning
    bars: dict[str, list[Decimal]] = {}
    asked_at = 0.0
    for line in data.lines():
        if line.get("f") == "t" and line["id"] in symbols and minute <= line["t"] < minute + 60:
            trades[line["id"]].append(line)
        now = time.time()
        if not asked_at and now >= max(minute + 8, started + STREAM_SECONDS):
            for symbol in symbols:
                found = data.columns("/history", symbol=symbol, resolution="1", **{"from": minute, "to": minute})
                assert found["t"] == [minute]
                bars[symbol] = [D(found[column][0]) for column in "ohlcv"]
            asked_at = now
        if asked_at and now > asked_at + 3:
            break
    for symbol in symbols:
        assert bars[symbol] in list(_bars_so_far(trades[symbol])), (symbol, bars[symbol])
        say(f"{symbol}: the bar of the stream is the bar of the history: {', '.join(map(str, bars[symbol]))}")


def _bars_so_far(trades: list[dict[str, Any]]) -> Iterator[list[Decimal]]:
    """Open, high, low, close and volume after each trade. Trades without size count one each."""
    high = low = open_ = volume = D(0)
    for number, trade in enumerate(trades):
        price = D(trade["p"])
        high, low, open_ = (max(high, price), min(low, price), open_) if number else (price, price, price)
        volume += D(trade["s"]) if trade["s"] and "USDT" in trade["id"] else 1
        yield [open_, high, low, price, volume]


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def main(base: str) -> None:
    trader = Broker(base, "trader", "trader-demo")
    accounts = {each["id"] for each in trader.get("/accounts")}
    assert accounts == {"FX-NET", "FX-HEDGE", "SPOT", "PERP", "STOCK"}

    net = Desk(trader, "FX-NET")
    trade_margin(net, "EURUSD", "10000")
    close_and_settle(net, "EURUSD")
    trade_margin(Desk(trader, "FX-HEDGE"), "EURUSD", "10000")
    trade_spot(Desk(trader, "SPOT"), "BTCUSDT", "BTC", "USDT", "0.01")
    trade_margin(Desk(trader, "PERP"), "BTCUSDT.P", "0.1")
    trade_stock(Desk(trader, "STOCK"), "AAPL")

    stream_and_compare(Broker(base, "tvdata-staging", "tvdata-demo"), ["EURUSD", "BTCUSDT"])
    trader.post("/logout")
    assert trader.http.get(f"{base}/tv/accounts", timeout=30).status_code == 401
    say("All agrees.")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
