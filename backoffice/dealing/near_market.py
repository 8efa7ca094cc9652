"""Working orders that lie nearest to the market: those that the next moves of the price will fill."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from marketdata import quotes
from marketdata.models import Instrument
from trading.models import Order
from trading.states import OrderStatus

# A stop waits for its stop price, then for its limit; buys look at the ask, sells at the bid. All in one statement, so
# that a hundred thousand working orders are sorted where they are.
_NEAREST = """
    SELECT id, abs(price - market) / market * 100 FROM (
        SELECT o.id, CASE o.side WHEN 'buy' THEN m.ask ELSE m.bid END AS market,
               CASE WHEN o.triggered_at IS NULL THEN coalesce(o.stop_price, o.limit_price)
                    ELSE o.limit_price END AS price
          FROM trading_order o
          JOIN unnest(%s::bigint[], %s::numeric[], %s::numeric[]) AS m(instrument_id, bid, ask) USING (instrument_id)
         WHERE o.status = 'working'
    ) waiting
     WHERE price IS NOT NULL
     ORDER BY 2, 1 LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A working order, how far its price is from the market in percent of it, and the market."""

    order: Order
    distance: Decimal
    bid: Decimal
    ask: Decimal


def nearest(count: int) -> list[Waiting]:
    """So many working orders, the nearest first; left out are those that wait for no price, or have no market."""
    working = Order.objects.filter(status=OrderStatus.WORKING).order_by()
    symbols = dict(Instrument.objects.filter(pk__in=working.values("instrument")).values_list("pk", "symbol"))
    latest = quotes.latest(symbols.values())
    market = {pk: latest[symbol] for pk, symbol in symbols.items() if symbol in latest}
    with connection.cursor() as cursor:
        sides = ([quote.bid for quote in market.values()], [quote.ask for quote in market.values()])
        cursor.execute(_NEAREST, [list(market), *sides, count])
        distances = dict(cursor.fetchall())
    found = Order.objects.select_related("account", "instrument").in_bulk(distances)
    return [
        Waiting(found[pk], distance, market[found[pk].instrument_id].bid, market[found[pk].instrument_id].ask)
        for pk, distance in distances.items()
    ]
