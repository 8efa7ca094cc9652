"""A counterparty: a real TCP server that speaks FIX 4.4, keeps a book of orders, and misbehaves when told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Self

from trading.venues.fix import codec
from trading.venues.fix.codec import Message

NAME, CLIENT = "VENUE", "BROKER"
Body = list[tuple[int, str]]


@dataclass
class BookOrder:
    """An order as the counterparty has it. `names` are all the ClOrdIDs it has had."""

    order_id: str
    names: list[str]
    symbol: str
    side: str
    qty: Decimal
    filled: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    status: str = "0"
    limit: str = ""

    @property
    def is_open(self) -> bool:
        return self.status in ("0", "1")


@dataclass
class Manners:
    """How it behaves. All of them may be changed while it runs."""

    acknowledges: bool = True
    rejects_orders: bool = False
    refuses_changes: bool = False
    answers_logon: bool = True
    answers_tests: bool = True
    answers_cancels: bool = True
    drops_at_order: bool = False  # the connection ends when an order has come, before it is answered
    loses_orders: bool = False  # the connection ends and the order was never taken
    is_mute: bool = False  # what it says is lost on the way
    says_twice: bool = False  # each report once more, under a new number


@dataclass
class Acceptor:
    """Start it with `with`. `received` is every message it took, in the order of their numbers, `lost` what it lost."""

    manners: Manners = field(default_factory=Manners)
    received: list[Message] = field(default_factory=list)
    lost: list[Message] = field(default_factory=list)
    orders: list[BookOrder] = field(default_factory=list)
    next_in: int = 1
    next_out: int = 1
    connections: int = 0

    def __post_init__(self) -> None:
        self._sent: dict[int, tuple[str, Body, str]] = {}
        self._lock = threading.RLock()
        self._link: socket.socket | None = None
        self._ids = count(1)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop()

    # --- what tests have it do ----------------------------------------------------------------------------------------

    def drop(self) -> None:
        """End the connection without a word."""
        with self._lock:
            if self._link:
                with contextlib.suppress(OSError):
                    self._link.shutdown(socket.SHUT_RDWR)
                self._link = None

    def of_type(self, type_: str) -> list[Message]:
        return [message for message in self.received if message.type == type_]

    def order(self, name: str) -> BookOrder:
        return next(order for order in self.orders if name in order.names)

    def fill(self, order: BookOrder, qty: str, price: str, *, exec_id: str = "") -> None:
        """Execute a part of the order."""
        order.filled += Decimal(qty)
        order.status = "2" if order.filled == order.qty else "1"
        exec_id = exec_id or f"E{next(self._ids)}"
        self.report(order, "F", [(32, qty), (31, price)], exec_id=exec_id)

    def cancel(self, order: BookOrder, text: str = "", *, name: str = "", old: str = "") -> None:
        order.status = "4"
        self.report(order, "4", [(58, text)] if text else [], name=name, old=old)

    def report(
        self, order: BookOrder, exec_type: str, more: Body, *, exec_id: str = "", name: str = "", old: str = ""
    ) -> None:
        body = [(37, order.order_id), (17, exec_id or f"X{next(self._ids)}"), (150, exec_type), (39, order.status)]
        body += [(11, name or order.names[-1]), *([(41, old)] if old else []), (55, order.symbol), (54, order.side)]
        body += [(38, f"{order.qty}"), (14, f"{order.filled}"), (151, f"{order.qty - order.filled}"), (6, "0")]
        body += [(60, codec.stamp()), *more]
        for _ in range(2 if self.manners.says_twice else 1):
            self.say("8", body)

    def say(self, type_: str, body: Body) -> None:
        """Send a message and keep it."""
        with self._lock:
            seq, self.next_out = self.next_out, self.next_out + 1
            self._sent[seq] = (type_, body, codec.stamp())
            self._write(codec.encode(type_, seq, NAME, CLIENT, body))

    def garble(self, type_: str, body: Body) -> None:
        """Send a message with a wrong checksum."""
        with self._lock:
            seq, self.next_out = self.next_out, self.next_out + 1
            self._sent[seq] = (type_, body, codec.stamp())
            raw = codec.encode(type_, seq, NAME, CLIENT, body)
            self._write(raw[:-4] + (b"000\x01" if raw[-4:-1] != b"000" else b"001\x01"))

    def write_raw(self, raw: bytes) -> None:
        with self._lock:
            self._write(raw)

    # --- the session --------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._link = link
                self.connections += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        reader = codec.Reader()
        with contextlib.suppress(OSError, ValueError):
            while data := link.recv(65536):
                for message in reader.feed(data):
                    with self._lock:
                        if self._link is not link:
                            return
                        self._take(message)
        link.close()

    def _write(self, raw: bytes) -> None:
        if self._link and not self.manners.is_mute:
            with contextlib.suppress(OSError):
                self._link.sendall(raw)

    def _take(self, message: Message) -> None:
        seq = message.number(34)
        if message.type == "A" and message.flag(141):
            self.next_in = self.next_out = 1
            self._sent.clear()
        if message.type == "A":
            if not self.manners.answers_logon:
                return
            self.say("A", [(98, "0"), (108, message.text(108)), *([(141, "Y")] if message.flag(141) else [])])
        if message.type == "D" and self.manners.loses_orders:
            self.lost.append(message)
            self.drop()
            return
        if message.type == "2" and seq > self.next_in:
            self._resend(message)
        if seq > self.next_in:
            self.say("2", [(7, str(self.next_in)), (16, "0")])
            return
        if seq < self.next_in:
            return
        self.next_in = message.number(36) if message.type == "4" else seq + 1
        self.received.append(message)
        handlers: dict[str, Callable[[Message], None]] = {
            "1": self._test,
            "2": self._resend,
            "5": self._log_out,
            "D": self._new,
            "F": self._cancel,
            "G": self._replace,
            "H": self._status,
        }
        if handler := handlers.get(message.type):
            handler(message)

    def _test(self, message: Message) -> None:
        if self.manners.answers_tests:
            self.say("0", [(112, message.text(112))])

    def _log_out(self, message: Message) -> None:
        self.say("5", [])
        self.drop()

    def _resend(self, message: Message) -> None:
        first, last = message.number(7), message.number(16) or self.next_out - 1
        for seq in range(first, last + 1):
            type_, body, stamp = self._sent[seq]
            again = [(43, "Y"), (122, stamp)]
            if type_ in "012345A":
                self._write(codec.encode("4", seq, NAME, CLIENT, [(123, "Y"), (36, str(seq + 1))], again))
            else:
                self._write(codec.encode(type_, seq, NAME, CLIENT, body, again))

    # --- the book -----------------------------------------------------------------------------------------------------

    def _new(self, message: Message) -> None:
        order = BookOrder(
            f"O{next(self._ids)}", [message.text(11)], message.text(55), message.text(54), Decimal(message.text(38))
        )
        order.limit = message.text(44)
        if self.manners.rejects_orders:
            order.status = "8"
            self.report(order, "8", [(58, "Not today"), (103, "0")])
            return
        self.orders.append(order)
        if self.manners.drops_at_order:
            self.drop()
        elif self.manners.acknowledges:
            self.report(order, "0", [])

    def _cancel(self, message: Message) -> None:
        if not self.manners.answers_cancels:
            return
        name, old = message.text(11), message.text(41)
        order = next((each for each in self.orders if old == each.names[-1]), None)
        if order is None or not order.is_open or self.manners.refuses_changes:
            self._refuse(order, name, old, "1")
            return
        order.names.append(name)
        self.cancel(order, name=name, old=old)

    def _replace(self, message: Message) -> None:
        if not self.manners.answers_cancels:
            return
        name, old = message.text(11), message.text(41)
        order = next((each for each in self.orders if old == each.names[-1]), None)
        if order is None or not order.is_open or self.manners.refuses_changes:
            self._refuse(order, name, old, "2")
            return
        order.names.append(name)
        order.qty, order.limit = Decimal(message.text(38)), message.text(44)
        self.report(order, "5", [], name=name, old=old)

    def _refuse(self, order: BookOrder | None, name: str, old: str, response_to: str) -> None:
        status = order.status if order else "8"
        body = [(37, order.order_id if order else "NONE"), (11, name), (41, old), (39, status), (434, response_to)]
        self.say("9", [*body, (102, "0" if order else "1"), (58, "Too late")])

    def _status(self, message: Message) -> None:
        name = message.text(11)
        order = next((each for each in self.orders if name in each.names), None)
        if order is None:
            order = BookOrder("NONE", [name], message.text(55), message.text(54), Decimal(0), status="8")
            self.report(order, "I", [(103, "5"), (790, message.text(790)), (58, "Unknown order")])
        else:
            self.report(order, "I", [(790, message.text(790))])
