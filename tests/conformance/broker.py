"""A broker that does everything right, in memory, for tests of the tests.

It offers what TradingView's flags can promise: brackets of orders and positions, trailing stops, native reversing,
preview, leverage, latency, a stream of orders, daily bars. Prices rise slowly: a take profit beside the market is
reached, orders away from it never.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.conformance.market import SYMBOLS, Refused, history, quote

D = Decimal
TOKEN = "the-token"
OPPOSITE = {"buy": "sell", "sell": "buy"}
FINAL = ("filled", "cancelled", "rejected")
ORIGINS = re.compile(r"https://([a-z0-9-]+\.)+(tradingview\.com|xstaging\.tv)")
FLAGS = dict.fromkeys(
    [
        "supportOrderBrackets",
        "supportPositionBrackets",
        "supportClosePosition",
        "supportPartialClosePosition",
        "supportNativeReversePosition",
        "supportStopLimitOrders",
        "supportTrailingStop",
        "supportPlaceOrderPreview",
        "supportModifyOrderPreview",
        "supportOrdersHistory",
        "supportExecutions",
        "supportLeverage",
        "supportLevel2Data",
        "supportTrackLatency",
        "supportLogout",
        "supportModifyDuration",
    ],
    True,
)
INSTRUMENT: dict[str, Any] = {
    "name": "EURUSD",
    "description": "Euro / US dollar",
    "type": "forex",
    "minQty": 1,
    "maxQty": 1000,
    "qtyStep": 1,
    "minTick": D("0.00001"),
    "pipSize": D("0.0001"),
    "pipValue": D("0.0001"),
}


class Broker:
    """The state of one account, and what its requests do."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.tokens = {TOKEN}
        self.orders: dict[str, dict[str, Any]] = {}
        self.positions: dict[str, dict[str, Any]] = {}
        self.executions: list[dict[str, Any]] = []
        self.requests: dict[str, str] = {}
        self.previews: set[str] = set()
        self.leverage = 10

    def new_id(self) -> str:
        return str(next(self.numbers))

    # --- orders -------------------------------------------------------------------------------------------------------

    def place(self, form: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        if earlier := self.requests.get(query.get("requestId", "")):
            return {"orderId": earlier}
        if (confirm := query.get("confirmId")) is not None:
            if confirm not in self.previews:
                raise Refused("The preview has been used.")
            self.previews.discard(confirm)
        qty = self._qty(form)
        if form.get("instrument") != "EURUSD" or form.get("side") not in OPPOSITE:
            raise Refused("There is no such instrument or side.")
        order: dict[str, Any] = {
            "id": self.new_id(),
            "instrument": "EURUSD",
            "side": form["side"],
            "type": form["type"],
            "qty": qty,
            "filledQty": D(0),
            "status": "working",
            "lastModified": int(time.time()),
            **_prices(form),
        }
        if form["type"] != "market":
            order["duration"] = _duration(form)
        self.orders[order["id"]] = order
        if request_id := query.get("requestId"):
            self.requests[request_id] = order["id"]
        self.set_brackets(form, order["side"], qty, order["id"], "order")
        if form["type"] == "market":
            self.fill(order)
        return {"orderId": order["id"]}

    def _qty(self, form: Mapping[str, str]) -> Decimal:
        try:
            qty = D(form["qty"])
        except (KeyError, ArithmeticError) as error:
            raise Refused("The quantity must be a number.") from error
        if not 0 < qty <= INSTRUMENT["maxQty"]:
            raise Refused("The quantity is out of bounds.")
        return qty

    def brackets(self, parent: str) -> list[dict[str, Any]]:
        return [each for each in self.orders.values() if each.get("parentId") == parent and each["status"] not in FINAL]

    def set_brackets(self, form: Mapping[str, str], side: str, qty: Decimal, parent: str, kind: str) -> None:
        """Brackets as the form names them; those that it does not are cancelled (BRK-7)."""
        living = {each["type"]: each for each in self.brackets(parent)}
        for field, type_, price in (("stopLoss", "stop", "stopPrice"), ("takeProfit", "limit", "limitPrice")):
            bracket = living.get(type_)
            if field not in form:
                if bracket:
                    bracket["status"] = "cancelled"
                continue
            if bracket is None:
                bracket = {
                    "id": self.new_id(),
                    "instrument": "EURUSD",
                    "side": OPPOSITE[side],
                    "type": type_,
                    "filledQty": D(0),
                    "status": "inactive" if kind == "order" else "working",
                    "parentId": parent,
                    "parentType": kind,
                }
                self.orders[bracket["id"]] = bracket
            bracket |= {"qty": qty, price: D(form[field]), "lastModified": int(time.time())}
            if field == "stopLoss" and "trailingStopPips" in form:
                bracket |= {"isTrailingStop": True, "trailingStopPips": int(form["trailingStopPips"])}

    def modify(self, order_id: str, form: Mapping[str, str]) -> None:
        order = self._living(order_id)
        order |= {"qty": self._qty(form), **_prices(form)}
        self.set_brackets(form, order["side"], order["qty"], order_id, "order")

    def cancel(self, order_id: str) -> None:
        for each in (self._living(order_id), *self.brackets(order_id)):
            each["status"] = "cancelled"

    def _living(self, order_id: str) -> dict[str, Any]:
        order = self.orders.get(order_id)
        if order is None:
            raise Refused("There is no such order.")
        if order["status"] in FINAL:
            raise Refused(f"The order is already {order['status']}.")
        return order

    def match(self) -> None:
        """Move the trailing stops of long positions with the market, and execute the brackets that it has reached."""
        bid, _ask = quote()
        for order in list(self.orders.values()):
            if order.get("parentType") != "position" or order["status"] != "working" or order["side"] != "sell":
                continue
            if order.get("isTrailingStop"):
                distance = order["trailingStopPips"] * INSTRUMENT["pipSize"]
                order["stopPrice"] = max(order["stopPrice"], bid - distance)
            if bid >= order["limitPrice"] if order["type"] == "limit" else bid <= order["stopPrice"]:
                order |= {"status": "filled", "filledQty": order["qty"], "avgPrice": bid}
                self._apply(order, bid)

    def fill(self, order: dict[str, Any]) -> None:
        price = _price_of(order["side"])
        order |= {"status": "filled", "filledQty": order["qty"], "avgPrice": price}
        position = self._apply(order, price)
        for bracket in self.brackets(order["id"]):
            bracket |= {"status": "working", "parentId": position["id"], "parentType": "position"}

    def _apply(self, order: Mapping[str, Any], price: Decimal) -> dict[str, Any]:
        """The net position after the fill, which it may have closed."""
        position = next((each for each in self.positions.values() if each["qty"]), None)
        is_close = position is not None and position["side"] != order["side"]
        if position is None:
            position = {"id": f"P{self.new_id()}", "instrument": "EURUSD", "qty": D(0), "side": order["side"]}
            self.positions[position["id"]] = position
            position["avgPrice"] = price
        change = order["qty"] if position["side"] == order["side"] else -order["qty"]
        position["qty"] += change
        if position["qty"] < 0:
            position |= {"qty": -position["qty"], "side": order["side"], "avgPrice": price}
        if not position["qty"]:
            for bracket in self.brackets(position["id"]):
                bracket["status"] = "cancelled"
        for bracket in self.brackets(position["id"]):
            bracket["qty"] = position["qty"]
        fill = {"id": f"E{self.new_id()}", "instrument": "EURUSD", "price": price, "time": int(time.time())}
        fill |= {"qty": order["qty"], "side": order["side"], "orderId": order["id"], "isClose": is_close}
        self.executions.insert(0, {**fill, "positionId": position["id"]})
        return position

    # --- positions ----------------------------------------------------------------------------------------------------

    def position(self, position_id: str) -> dict[str, Any]:
        position = self.positions.get(position_id)
        if not position or not position["qty"]:
            raise Refused("There is no such position.")
        return position

    def change_position(self, position_id: str, form: Mapping[str, str]) -> None:
        position = self.position(position_id)
        if "side" in form:
            self._trade(form["side"], 2 * position["qty"])
        else:
            self.set_brackets(form, position["side"], position["qty"], position_id, "position")

    def close(self, position_id: str, form: Mapping[str, str]) -> None:
        position = self.position(position_id)
        self._trade(OPPOSITE[position["side"]], D(form.get("amount", position["qty"])))

    def _trade(self, side: str, qty: Decimal) -> None:
        self.place({"instrument": "EURUSD", "side": side, "type": "market", "qty": str(qty)}, {})

    def shown_positions(self) -> list[dict[str, Any]]:
        return [{**each, "unrealizedPl": _profit(each)} for each in self.positions.values()]


def _price_of(side: str) -> Decimal:
    return quote()[side == "buy"]


def _profit(position: Mapping[str, Any]) -> Decimal:
    gained = _price_of(OPPOSITE[position["side"]]) - position["avgPrice"]
    return (gained if position["side"] == "buy" else -gained) * position["qty"]


def _prices(form: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: D(form[name]) for name in ("limitPrice", "stopPrice") if name in form}


def _duration(form: Mapping[str, str]) -> dict[str, Any]:
    duration: dict[str, Any] = {"type": form.get("durationType", "gtc")}
    if "durationDateTime" in form:
        duration["datetime"] = int(form["durationDateTime"])
    return duration


# --- the wire ---------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    broker: Broker

    def log_message(self, *_args: object) -> None:
        pass

    def do_OPTIONS(self) -> None:
        headers = {
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Max-Age": "86400",
        }
        self._send(200, b"", headers)

    def _answer(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        length = int(self.headers.get("Content-Length") or 0)
        form = dict(parse_qsl(self.rfile.read(length).decode()))
        path = unquote(address.path)
        if path.endswith("/stream/orders"):
            self._stream_orders()
            return
        with self.broker.lock:
            self.broker.match()
            status, body = self._say(self.command, path, query, form)
        self._send(status, json.dumps(body, default=float).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (http.server's names)

    def _say(self, method: str, path: str, query: dict[str, str], form: dict[str, str]) -> tuple[int, Any]:
        if path == "/mapping":
            return 200, {"symbols": [{"f": ["EURUSD"], "s": "FX:EURUSD"}], "fields": ["brokerSymbol"]}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path != "/authorize" and token not in self.broker.tokens:
            return 401, {"s": "error", "errmsg": "Please log in again."}
        try:
            said = route(self.broker, method, path, query, form, token)
        except Refused as refusal:
            return 200, {"s": "error", "errmsg": str(refusal)}
        return 200, said if isinstance(said, dict) and "s" in said else {"s": "ok", "d": said}

    def _stream_orders(self) -> None:
        self.send_response(200)
        self._cors()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        told: dict[str, str] = {}
        first = True
        try:
            while True:
                with self.broker.lock:
                    shown = list(map(dict, self.broker.orders.values()))
                if first:
                    self._chunk(json.dumps(shown, default=float))
                for order in shown:
                    if told.get(order["id"]) != order["status"] and not first:
                        self._chunk(json.dumps(order, default=float))
                    told[order["id"]] = order["status"]
                first = False
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def _chunk(self, line: str) -> None:
        data = line.encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        self._cors()
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _cors(self) -> None:
        origin = self.headers.get("Origin", "")
        self.send_header("Vary", "Origin")
        if ORIGINS.fullmatch(origin):
            self.send_header("Access-Control-Allow-Origin", origin)


def route(
    broker: Broker, method: str, path: str, query: dict[str, str], form: dict[str, str], token: str
) -> dict[str, Any] | list[Any]:
    if path == "/authorize":
        if form.get("login") != "trader":
            raise Refused("Wrong login or password.")
        new = f"token-{broker.new_id()}"
        broker.tokens.add(new)
        return {"access_token": new, "expiration": int(time.time()) + 1800}
    if path == "/logout":
        broker.tokens.discard(token)
        return {"s": "ok"}
    if path == "/symbol_info":
        return {"s": "ok", **SYMBOLS}
    if path == "/history":
        return history(query)
    simple = SIMPLE.get(path)
    if simple is not None:
        return simple(query)
    match = re.fullmatch(r"/accounts/([^/]+)/(\w+)(?:/(.+))?", path)
    if not match:
        raise Refused("There is no such address.")
    if match[1] != "A1":
        raise Refused("There is no such account.")
    return of_account(broker, method, match[2], match[3], query, form)


def _quotes(query: Mapping[str, str]) -> list[Any]:
    if query.get("accountId") != "A1":
        raise Refused("There is no such account.")
    values = {"EURUSD": ("ok", dict(zip(("bid", "ask"), quote(), strict=True)))}
    elements = [(name, *values.get(name, ("error", {"bid": 0, "ask": 0}))) for name in query["symbols"].split(",")]
    return [{"s": s, "n": name, "v": value} for name, s, value in elements]


def _depth(bid: Decimal, ask: Decimal) -> dict[str, Any]:
    return {"bids": [[bid - 1, 5], [bid, 5]], "asks": [[ask, 5], [ask + 1, 5]]}


SIMPLE: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "/config": lambda _query: {
        "durations": [{"id": "gtc", "title": "Good till cancelled", "default": True}],
        "pullingInterval": {"quotes": 500, "orders": 500, "positions": 1000, "accountManager": 500, "balances": 1000},
    },
    "/accounts": lambda _query: [
        {"id": "A1", "name": "One", "type": "demo", "currency": "USD", "config": FLAGS, "isVerified": True}
    ],
    "/permissions": lambda _query: {"groups": ["demo_forex"]},
    "/groups": lambda _query: {"groups": [{"id": "demo_forex"}]},
    "/quotes": _quotes,
    "/depth": lambda _query: _depth(*quote()),
}


def of_account(  # noqa: C901 (a table of addresses)
    broker: Broker, method: str, what: str, which: str | None, query: dict[str, str], form: dict[str, str]
) -> dict[str, Any] | list[Any]:
    tracked = {"transactionId": f"T{broker.new_id()}"}
    match method, what:
        case "GET", "instruments":
            return [INSTRUMENT]
        case "GET", "state":
            profit = sum((_profit(each) for each in broker.positions.values()), D(0))
            return {"balance": 1000, "unrealizedPl": profit, "amData": [[["1000", "0"]]]}
        case "GET", "orders":
            return list(broker.orders.values())
        case "GET", "ordersHistory":
            final = [each for each in broker.orders.values() if each["status"] in FINAL]
            return final[: int(query.get("maxCount", len(final)))]
        case "GET", "positions":
            return broker.shown_positions()
        case "GET", "executions":
            return broker.executions[: int(query.get("maxCount", len(broker.executions)))]
        case "POST", "orders":
            return {**broker.place(form, query), **tracked}
        case "PUT", "orders":
            broker.modify(str(which), form)
        case "DELETE", "orders":
            broker.cancel(str(which))
        case "PUT", "positions":
            broker.change_position(str(which), form)
        case "DELETE", "positions":
            broker.close(str(which), form)
        case "POST", "previewOrder":
            if form.get("instrument") != "EURUSD":
                raise Refused("There is no such instrument.")
            broker.previews.add(confirm := f"C{broker.new_id()}")
            return {"confirmId": confirm, "sections": [{"rows": [{"title": "Margin", "value": "1.00 USD"}]}]}
        case "POST", "getLeverage":
            return {"title": "Leverage", "leverage": broker.leverage, "min": 1, "max": 50, "step": 1}
        case "POST", "setLeverage":
            broker.leverage = int(form["leverage"])
            return {"leverage": broker.leverage}
        case "POST", "previewLeverage":
            return {}
        case "POST", "trackLatency":
            return {"s": "ok"}
        case _:
            raise Refused("There is no such address.")
    return tracked


class Server:
    """The broker at an address of its own, until it is closed."""

    def __init__(self) -> None:
        handler = type("BrokerHandler", (Handler,), {"broker": Broker()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
