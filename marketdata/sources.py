"""Reading price sources: one thread for each connection, and the choice of whose prices count.

A connection that ends, fails or falls silent is made anew, later each time. An instrument takes the prices of its first
source that is not stale, and goes back to a better one as soon as that has prices again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import redis
import requests
from django.utils import timezone
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from marketdata import ticklog
from marketdata.adapters import ADAPTERS, Adapter, Price
from marketdata.adapters.base import Unreadable
from marketdata.choices import FeedState
from marketdata.chunks import PriceRange
from marketdata.models import FeedRoute, FeedSource
from marketdata.ticklog import Tick

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 1.0
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
POLL_SECONDS = 0.25  # how long a reader takes to notice that it is to stop

logger = logging.getLogger(__name__)


@dataclass
class Route:
    """A row of `FeedRoute`, and when it had its last price (monotonic seconds)."""

    pk: int
    source: int
    symbol: str
    priority: int
    stale_after: float
    prices: PriceRange
    ticked_at: float = float("-inf")

    def is_fresh(self, now: float) -> bool:
        return now - self.ticked_at < self.stale_after


@dataclass
class Router:
    """Whose prices count. For several threads."""

    may_write: Callable[[], bool]  # whether this process is the one that writes prices
    _routes: dict[tuple[int, str], Route] = field(default_factory=dict)  # by source and its symbol
    _of_symbol: dict[str, list[Route]] = field(default_factory=dict)  # by our symbol, the first priority first
    _active: dict[str, int] = field(default_factory=dict)  # route by our symbol
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, rows: Iterable[FeedRoute]) -> None:
        """Take these routes, keeping what is known of those that were there before."""
        with self._lock:
            known = {route.pk: route.ticked_at for route in self._routes.values()}
            self._routes, self._of_symbol = {}, {}
            for row in sorted(rows, key=lambda row: row.priority):
                route = Route(
                    pk=row.pk,
                    source=row.source_id,
                    symbol=row.instrument.symbol,
                    priority=row.priority,
                    stale_after=row.source.stale_after_seconds,
                    prices=PriceRange.of(row.instrument),
                    ticked_at=known.get(row.pk, float("-inf")),
                )
                self._routes[row.source_id, row.source_symbol] = route
                self._of_symbol.setdefault(route.symbol, []).append(route)

    def take(self, source: int, prices: Iterable[Price]) -> int:
        """Append the prices that count to the tick log, and return their number. Raises `redis.RedisError`."""
        now = time.monotonic()
        with self._lock:
            ticks = [tick for price in prices if (tick := self._tick(source, price, now))]
        return len(ticklog.append(ticks)) if ticks and self.may_write() else 0

    def _tick(self, source: int, price: Price, now: float) -> Tick | None:
        route = self._routes.get((source, price.symbol))
        if route is None or not (route.prices.holds(price.bid) and route.prices.holds(price.ask)):
            return None
        if price.last is not None and not route.prices.holds(price.last):
            return None
        route.ticked_at = now
        best = next(each for each in self._of_symbol[route.symbol] if each.is_fresh(now))
        if self._active.get(route.symbol) != best.pk:
            logger.info("%s takes its prices from source %s (priority %s)", route.symbol, best.source, best.priority)
            self._active[route.symbol] = best.pk
        if best is not route:
            return None
        return Tick(
            symbol=route.symbol, time_ms=price.time_ms, bid=price.bid, ask=price.ask, bid_size=price.bid_size,
            ask_size=price.ask_size, last=price.last, last_size=price.last_size,
        )  # fmt: skip

    def store(self) -> None:
        """Say in the rows which routes are in use, and when they had their last price. Raises `django.db.Error`."""
        with self._lock:
            now, routes, active = time.monotonic(), list(self._routes.values()), set(self._active.values())
        for route in routes:
            ticked = route.ticked_at > float("-inf")
            at = datetime.fromtimestamp(time.time() - (now - route.ticked_at), UTC) if ticked else None
            FeedRoute.objects.filter(pk=route.pk).update(
                is_active=route.pk in active and route.is_fresh(now), last_tick_at=at
            )


class Reader(threading.Thread):
    """One source's connection, made anew until told to stop."""

    def __init__(self, source: FeedSource, symbols: list[str], router: Router) -> None:
        super().__init__(name=f"source {source.name}", daemon=True)
        self.source = source
        self.symbols = symbols
        self.state = FeedState.CONNECTING
        self.connects = 0
        self.last_error = ""
        self.last_tick_at: datetime | None = None
        self._router = router
        self._end = threading.Event()

    def stop(self) -> None:
        self._end.set()

    def run(self) -> None:
        failures = 0
        while not self._end.is_set():
            had_prices = self._read_one_connection()
            if self._end.is_set():
                break
            failures = 0 if had_prices else failures + 1
            pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
            logger.warning("%s: %s; the next connection in about %s s", self.name, self.last_error, pause)
            self._end.wait(pause * random.uniform(0.75, 1.25))  # several feeds do not come back all at once
        self.state = FeedState.OFF

    def _read_one_connection(self) -> bool:
        """Read until it ends, is silent for too long, or we are told to stop. Whether it had prices."""
        adapter = ADAPTERS[self.source.kind](self.symbols)
        before = self.last_tick_at
        try:
            address = adapter.address(self.source.url or adapter.public_url)
            if adapter.poll_seconds is not None:
                self._poll(address, adapter, adapter.poll_seconds)
                return self.last_tick_at != before
            with connect(address, open_timeout=OPEN_SECONDS, close_timeout=CLOSE_SECONDS) as connection:
                self.connects += 1
                for greeting in adapter.greetings():
                    connection.send(greeting)
                self._follow(connection, adapter)
        except (OSError, WebSocketException, TimeoutError) as error:
            self.state = FeedState.FAILED if self.state != FeedState.STALE else self.state
            self.last_error = f"{type(error).__name__}: {error}"[:300]
        return self.last_tick_at != before

    def _poll(self, address: str, adapter: Adapter, every_seconds: float) -> None:
        """Ask until told to stop. Raises `OSError` for an error of the server, `TimeoutError` after a silence."""
        with requests.Session() as session:
            self.connects += 1
            heard_at = time.monotonic()
            while not self._end.is_set():
                answer = session.get(address, timeout=OPEN_SECONDS)
                answer.raise_for_status()
                if self._take(adapter, answer.content):
                    heard_at = time.monotonic()
                self._check_silence(heard_at)
                self._end.wait(every_seconds)

    def _check_silence(self, heard_at: float) -> None:
        """Raises `TimeoutError` when the last message was too long ago."""
        if time.monotonic() - heard_at > self.source.stale_after_seconds:
            self.state = FeedState.STALE
            raise TimeoutError(f"nothing came for {self.source.stale_after_seconds} s")

    def _follow(self, connection: Connection, adapter: Adapter) -> None:
        """Raises `TimeoutError` after a silence, `WebSocketException` when the other side ends it."""
        heard_at = time.monotonic()
        while not self._end.is_set():
            try:
                message = connection.recv(timeout=POLL_SECONDS)
            except TimeoutError:
                self._check_silence(heard_at)
                continue
            heard_at = time.monotonic()
            self._take(adapter, message)

    def _take(self, adapter: Adapter, message: str | bytes) -> bool:
        """Whether there were prices in it that could be kept."""
        try:
            prices = list(adapter.prices(message))
            if prices:
                self.state, self.last_tick_at = FeedState.LIVE, timezone.now()
                self._router.take(self.source.pk, prices)
        except Unreadable as error:
            self.last_error = f"Unreadable: {error}"[:300]
        except redis.RedisError as error:
            self.last_error = f"The tick log cannot be written: {error}"[:300]  # a price of then is none of now
        else:
            return bool(prices)
        return False


class Sources:
    """The readers of all enabled sources, kept in line with the rows that staff edits."""

    def __init__(self, may_write: Callable[[], bool]) -> None:
        self._router = Router(may_write)
        self._readers: dict[int, Reader] = {}

    def step(self) -> None:
        """Start and stop readers as the rows say, and write their states. Raises `django.db.Error`."""
        rows = list(FeedRoute.objects.filter(source__is_enabled=True).select_related("instrument", "source"))
        self._router.load(rows)
        wanted: dict[FeedSource, list[str]] = {}
        for row in rows:
            wanted.setdefault(row.source, []).append(row.source_symbol)
        keys = {source.pk: _key(source, symbols) for source, symbols in wanted.items()}
        for pk, reader in list(self._readers.items()):
            if keys.get(pk) != _key(reader.source, reader.symbols):
                self._end(self._readers.pop(pk))
        for source, symbols in wanted.items():
            if source.pk not in self._readers:
                self._readers[source.pk] = Reader(source, symbols, self._router)
                self._readers[source.pk].start()
        for reader in self._readers.values():
            self._store(reader)
        self._router.store()

    def stop(self) -> None:
        while self._readers:
            self._end(self._readers.popitem()[1])

    def _end(self, reader: Reader) -> None:
        reader.stop()
        reader.join(OPEN_SECONDS)
        self._store(reader)
        FeedRoute.objects.filter(source=reader.source).update(is_active=False)

    def _store(self, reader: Reader) -> None:
        FeedSource.objects.filter(pk=reader.source.pk).update(
            state=reader.state,
            connects=reader.connects,
            last_error=reader.last_error,
            last_tick_at=reader.last_tick_at,
        )


def _key(source: FeedSource, symbols: list[str]) -> tuple[object, ...]:
    """What a connection depends on."""
    return source.kind, source.url, source.stale_after_seconds, sorted(symbols)
