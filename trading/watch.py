"""Which orders a price would move: heaps in memory, per symbol and direction. Postgres stays the truth."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from marketdata.quotes import Quote
from trading import venue
from trading.choices import Side
from trading.models import Order
from trading.states import OrderStatus
from trading.triggers import Mark, Touch

Pair = tuple[str, int | None]
Entry = tuple[Decimal, int, int]  # price (negated where the highest comes first), order, revision


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a watched order. `since_ms` is when it was last looked at: earlier prices do not move it.

    `pair` names what a bracket protects: while one of a pair is being executed, the other is not watched (BRK-3).
    """

    symbol: str
    revision: int
    since_ms: int
    pair: Pair | None
    mark: Mark


@dataclass(slots=True)
class Trailing:
    """A trailing stop, which moves with the market and only one way (BRK-23). `moved_ms` is when it last did."""

    side: Side
    pips: Decimal
    distance: Decimal
    stop: Decimal
    moved_ms: int

    def follow(self, quote: Quote, at_ms: int) -> bool:
        """Keep the distance if the market has gone the right way; says whether the stop moved."""
        nearer = venue.price_for(self.side, quote) + self.side.sign * self.distance
        if nearer >= self.stop if self.side is Side.BUY else nearer <= self.stop:
            return False
        self.stop, self.moved_ms = nearer, at_ms
        return True

    def is_reached(self, quote: Quote) -> bool:
        price = venue.price_for(self.side, quote)
        return price >= self.stop if self.side is Side.BUY else price <= self.stop


@dataclass(slots=True)
class _Symbol:
    # What waits for the ask to fall or to rise (buys), and for the bid (sells).
    ask_falls: list[Entry] = field(default_factory=list)
    ask_rises: list[Entry] = field(default_factory=list)
    bid_falls: list[Entry] = field(default_factory=list)
    bid_rises: list[Entry] = field(default_factory=list)
    eager: set[int] = field(default_factory=set)  # market orders and reached stops, waiting for more depth
    trailing: dict[int, Trailing] = field(default_factory=dict)  # looked at one by one: each has a price of its own


class Watch:
    """The working orders of all symbols. An entry whose order ended or changed stays in its heap until it comes up.

    `moved` has the trailing stops that moved since it was last emptied, where they are now.
    """

    def __init__(self) -> None:
        self.moved: dict[int, Trailing] = {}
        self._orders: dict[int, Watched] = {}
        self._symbols: dict[str, _Symbol] = defaultdict(_Symbol)
        self._pairs: dict[Pair, set[int]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._orders)

    def replace(self, orders: Iterable[Order]) -> None:
        """Watch just these orders (see `put`)."""
        self.moved.clear()
        self._orders.clear()
        self._symbols.clear()
        self._pairs.clear()
        for order in orders:
            self.put(order)

    def put(self, order: Order) -> None:
        """Watch the order as it is now, or no longer when it is not working, is queued or elsewhere. Needs its
        instrument.
        """
        self.drop(order.pk)
        if order.status != OrderStatus.WORKING or order.queued or order.venue != venue.INTERNAL:
            return
        symbol, since_ms = order.instrument.symbol, int(order.updated_at.timestamp() * 1000)
        pair = _pair(order)
        self._orders[order.pk] = Watched(symbol, order.revision, since_ms, pair, Mark.of(order))
        if pair:
            self._pairs[pair].add(order.pk)
        book = self._symbols[symbol]
        price = order.stop_price if order.awaits_stop else order.limit_price
        if price is None:
            book.eager.add(order.pk)
        elif order.trailing_pips is not None:
            pips = order.trailing_pips
            book.trailing[order.pk] = Trailing(
                Side(order.side), pips, pips * order.instrument.pip_size, price, since_ms
            )
        else:
            _push(book, order, price)

    def drop(self, order_id: int) -> None:
        """Watch this order no longer."""
        watched = self._orders.pop(order_id, None)
        if watched is None:
            return
        book = self._symbols[watched.symbol]
        book.eager.discard(order_id)
        book.trailing.pop(order_id, None)
        if watched.pair:
            self._pairs[watched.pair].discard(order_id)

    def state(self) -> dict[int, int]:
        """The watched orders and their revisions."""
        return {order_id: watched.revision for order_id, watched in self._orders.items()}

    def symbols(self) -> list[str]:
        """Symbols with watched orders."""
        return list({watched.symbol for watched in self._orders.values()})

    def take(self, quote: Quote, at_ms: int) -> dict[int, Touch]:
        """The orders that this quote reaches, which are then watched no longer (put them back if nothing came of it).

        `at_ms` is when the price entered the log; orders looked at since are not moved by it. The partner of a bracket
        that is reached is watched no longer either.
        """
        book = self._symbols.get(quote.symbol)
        if book is None:
            return {}
        reached: dict[int, Decimal | None] = {
            order_id: None for order_id in book.eager if self._orders[order_id].since_ms <= at_ms
        }
        reached |= self._trail(book, quote, at_ms)
        for heap, threshold in (
            (book.ask_falls, -quote.ask),
            (book.ask_rises, quote.ask),
            (book.bid_falls, -quote.bid),
            (book.bid_rises, quote.bid),
        ):
            reached |= dict.fromkeys(self._pop(heap, threshold, at_ms))
        touched = {pk: Touch(quote, stop, self._orders[pk].mark) for pk, stop in reached.items()}
        for order_id in reached:
            watched = self._orders.get(order_id)
            if watched and watched.pair:
                for partner in self._pairs[watched.pair] - {order_id}:
                    self.drop(partner)
            self.drop(order_id)
        return touched

    def _trail(self, book: _Symbol, quote: Quote, at_ms: int) -> dict[int, Decimal | None]:
        reached: dict[int, Decimal | None] = {}
        for order_id, trailing in book.trailing.items():
            if self._orders[order_id].since_ms > at_ms:
                continue
            if trailing.is_reached(quote):
                reached[order_id] = trailing.stop
            elif trailing.follow(quote, at_ms):
                self.moved[order_id] = trailing
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


def _push(book: _Symbol, order: Order, price: Decimal) -> None:
    is_buy = order.side == Side.BUY
    # A limit waits for a better price, a stop for a worse one, and an if-touched stop for a better one again.
    waits_for_better = not order.awaits_stop or order.if_touched
    falling = is_buy == waits_for_better  # reached by a falling price: the highest comes first
    falls, rises = (book.ask_falls, book.ask_rises) if is_buy else (book.bid_falls, book.bid_rises)
    heap = falls if falling else rises
    heapq.heappush(heap, (-price if falling else price, order.pk, order.revision))


def _pair(order: Order) -> Pair | None:
    if not order.role:
        return None
    return ("position", order.closes_id) if order.closes_id else ("order", order.parent_id)
