"""The engine's heaps against a statement of SQL for each tick."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from django.db import connection

from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading.choices import OrderType, Side
from trading.models import Order
from trading.states import OrderStatus
from trading.watch import Watch

ORDERS = 100_000
SYMBOLS = 500
HEAP_TICKS = 100_000
SQL_TICKS = 2_000
MIDDLE = 100.0


def compare(rounds: int) -> tuple[float, float]:
    """Ticks a second: the heaps', and SQL's on an index made for it."""
    watch = _watch()
    heaps, statements = [], []
    _make_table()
    for number in range(rounds):
        heaps.append(_by_heaps(watch, number))
        statements.append(_by_sql(number))
    return statistics.median(heaps), statistics.median(statements)


def _orders(count: int = ORDERS) -> list[tuple[int, int, Side, Decimal]]:
    """Number, symbol, side and limit: most far from the market, as working orders are."""
    random = Random(1)
    made = []
    for number in range(count):
        side = random.choice((Side.BUY, Side.SELL))
        distance = Decimal(round(random.uniform(0.2, 20), 2))
        made.append((number, number % SYMBOLS, side, Decimal(MIDDLE) - side.sign * distance))
    return made


def _quotes(seed: int, ticks: int) -> list[Quote]:
    random, at = Random(seed), datetime.now(UTC)
    quotes = []
    for _tick in range(ticks):
        bid = Decimal(round(random.gauss(MIDDLE, 0.08), 2))
        symbol = f"S{random.randrange(SYMBOLS)}"
        quotes.append(Quote(symbol, bid, bid + Decimal("0.01"), (), (), at, ""))
    return quotes


def tick_rate(orders: int, seed: int) -> float:
    """Ticks a second of heaps that hold so many orders."""
    return _by_heaps(_watch(orders), seed)


def _watch(orders: int = ORDERS) -> Watch:
    watch, now = Watch(), datetime(2020, 1, 1, tzinfo=UTC)
    instruments = [Instrument(symbol=f"S{number}") for number in range(SYMBOLS)]
    watch.replace(
        Order(
            pk=number,
            instrument=instruments[symbol],
            side=side,
            type=OrderType.LIMIT,
            limit_price=price,
            status=OrderStatus.WORKING,
            queued=False,
            updated_at=now,
        )
        for number, symbol, side, price in _orders(orders)
    )
    return watch


def _by_heaps(watch: Watch, seed: int) -> float:
    quotes = _quotes(seed, HEAP_TICKS)
    now_ms = time.time_ns() // 1_000_000
    started = time.perf_counter()
    for quote in quotes:
        watch.take(quote, now_ms)
    return HEAP_TICKS / (time.perf_counter() - started)


def _make_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_watched (id int, symbol text, side text, price numeric)")
        cursor.executemany(
            "INSERT INTO bench_watched VALUES (%s, %s, %s, %s)",
            [(number, f"S{symbol}", side, price) for number, symbol, side, price in _orders()],
        )
        cursor.execute("CREATE INDEX ON bench_watched (symbol, side, price)")
        cursor.execute("ANALYZE bench_watched")


def _by_sql(seed: int) -> float:
    quotes = _quotes(seed, SQL_TICKS)
    started = time.perf_counter()
    with connection.cursor() as cursor:
        for quote in quotes:
            cursor.execute(
                "SELECT id FROM bench_watched WHERE symbol = %s"
                " AND ((side = 'buy' AND price >= %s) OR (side = 'sell' AND price <= %s))",
                [quote.symbol, quote.ask, quote.bid],
            )
            cursor.fetchall()
    return SQL_TICKS / (time.perf_counter() - started)
