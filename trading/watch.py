"""Which orders a price would move: heaps in memory, per symbol and direction. Postgres stays the truth."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from marketdata.quotes import Quote
from trading import venue
from trading.choices import OrderType, Side
from trading.models import Order
from trading.states import OrderStatus

Entry = tuple[Decimal, int, int]  # price (negated where the highest comes first), order, revision


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a watched order. `since_ms` is when it was last looked at: earlier prices do not move it."""

    symbol: str
    revision: int
    since_ms: int


@dataclass(slots=True)
class _Symbol:
    # The ask falls to a limit to buy and rises to a stop to buy; the bid rises to a limit to sell, falls to a stop.
    limit_buys: list[Entry] = field(default_factory=list)
    stop_buys: list[Entry] = field(default_factory=list)
    limit_sells: list[Entry] = field(default_factory=list)
    stop_sells: list[Entry] = field(default_factory=list)
    eager: set[int] = field(default_factory=set)  # market orders and reached stops, waiting for more depth


class Watch:
    """The working orders of all symbols. An entry whose order ended or changed stays in its heap until it comes up."""

    def __init__(self) -> None:
        self._orders: dict[int, Watched] = {}
        self._symbols: dict[str, _Symbol] = defaultdict(_Symbol)

    def __len__(self) -> int:
        return len(self._orders)

    def replace(self, orders: Iterable[Order]) -> None:
        """Watch just these orders (see `put`)."""
        self._orders.clear()
        self._symbols.clear()
        for order in orders:
            self.put(order)

    def put(self, order: Order) -> None:
        """Watch the order as it is now, or no longer when it is not working, is queued or elsewhere. Needs its
        instrument.
        """
        self.drop(order.pk)
        if order.status != OrderStatus.WORKING or order.queued or order.venue != venue.INTERNAL:
            return
        symbol = order.instrument.symbol
        self._orders[order.pk] = Watched(symbol, order.revision, int(order.updated_at.timestamp() * 1000))
        book = self._symbols[symbol]
        price = order.limit_price if order.type == OrderType.LIMIT else order.stop_price
        if price is None or order.triggered_at:
            book.eager.add(order.pk)
            return
        is_buy, is_limit = order.side == Side.BUY, order.type == OrderType.LIMIT
        heap = (
            (book.limit_buys if is_limit else book.stop_buys)
            if is_buy
            else (book.limit_sells if is_limit else book.stop_sells)
        )
        falling = is_buy == is_limit  # reached by a falling price: the highest comes first
        heapq.heappush(heap, (-price if falling else price, order.pk, order.revision))

    def drop(self, order_id: int) -> None:
        """Watch this order no longer."""
        if watched := self._orders.pop(order_id, None):
            self._symbols[watched.symbol].eager.discard(order_id)

    def state(self) -> dict[int, int]:
        """The watched orders and their revisions."""
        return {order_id: watched.revision for order_id, watched in self._orders.items()}

    def symbols(self) -> list[str]:
        """Symbols with watched orders."""
        return list({watched.symbol for watched in self._orders.values()})

    def take(self, quote: Quote, at_ms: int) -> list[int]:
        """The orders that this quote reaches, which are then watched no longer (put them back if nothing came of it).

        `at_ms` is when the price entered the log; orders looked at since are not moved by it.
        """
        book = self._symbols.get(quote.symbol)
        if book is None:
            return []
        reached = [order_id for order_id in book.eager if self._orders[order_id].since_ms <= at_ms]
        for heap, threshold in (
            (book.limit_buys, -quote.ask),
            (book.stop_buys, quote.ask),
            (book.limit_sells, quote.bid),
            (book.stop_sells, -quote.bid),
        ):
            reached += self._pop(heap, threshold, at_ms)
        for order_id in reached:
            self.drop(order_id)
        return reached

    def _pop(self, heap: list[Entry], threshold: Decimal, at_ms: int) -> list[int]:
        reached: list[int] = []
        later: list[Entry] = []
        while heap and heap[0][0] <= threshold:
            entry = heapq.heappop(heap)
            watched = self._orders.get(entry[1])
            if watched is None or watched.revision != entry[2]:
                continue
            if watched.since_ms <= at_ms:
                reached.append(entry[1])
            else:
                later.append(entry)
        for entry in later:
            heapq.heappush(heap, entry)
        return reached
