"""What a dealing desk does in tests: tickets, and the drain without its worker."""

import time
from decimal import Decimal
from itertools import count
from typing import Any

from django.utils import timezone

from accounts.models import Account
from marketdata.quotes import Quote
from tests import factories
from trading import orders
from trading.choices import DurationType, OrderType, Side
from trading.engine import Engine
from trading.models import Order
from trading.tickets import Brackets, Ticket

_requests = count(1)


def place(account: Account, side: str, qty: str, symbol: str = "EURUSD", **fields: Any) -> Order:
    """Place an order; its type follows from `limit` and `stop`. For the other fields see `ticket`."""
    return orders.place(account.pk, ticket(side, qty, symbol, **fields), request_id=f"r-{next(_requests)}")


def ticket(side: str, qty: str, symbol: str = "EURUSD", **fields: Any) -> Ticket:
    """`limit`, `stop`, brackets as `sl`, `tp`, `trail` (pips), and `duration` with `until`."""
    kind = {
        (False, False): OrderType.MARKET,
        (True, False): OrderType.LIMIT,
        (False, True): OrderType.STOP,
        (True, True): OrderType.STOP_LIMIT,
    }["limit" in fields, "stop" in fields]
    numbers = {name: Decimal(fields[name]) for name in ("limit", "stop", "sl", "tp", "trail") if name in fields}
    return Ticket(
        symbol,
        Side(side),
        kind,
        Decimal(qty),
        limit_price=numbers.get("limit"),
        stop_price=numbers.get("stop"),
        duration=DurationType(fields.get("duration", "gtc")),
        good_till=fields.get("until"),
        brackets=Brackets(numbers.get("sl"), numbers.get("tp"), numbers.get("trail")),
    )


def drain(account: Account) -> None:
    """Work off what is queued in the account, as the worker's task does: what that puts to work as well."""
    done: set[int] = set()
    while waiting := account.orders.queued().exclude(pk__in=done).order_by("pk").values_list("pk", flat=True)[:1]:
        done.add(waiting[0])
        orders.work(account.pk, waiting[0])


def fill(account: Account, side: str, qty: str, symbol: str = "EURUSD", **fields: Any) -> Order:
    """Place an order and work it off."""
    order = place(account, side, qty, symbol, **fields)
    drain(account)
    order.refresh_from_db()
    return order


def market(account: Account, bid: str, ask: str, symbol: str = "EURUSD", **depth: Any) -> None:
    """Let the market be here: the engine queues what it reaches, and the drain works that off."""
    engine = Engine()
    engine.start()
    time.sleep(0.002)  # the log counts in milliseconds, and older prices move no order
    factories.quote(symbol, bid, ask, **depth)
    engine.run_once(block_ms=1)
    engine._save()
    drain(account)


def quote_at(symbol: str, price: str) -> Quote:
    """A book of this moment that has plenty at one price."""
    level = ((Decimal(price), Decimal(10_000_000)),)
    now = timezone.now()
    return Quote(symbol, Decimal(price), Decimal(price), level, level, now, f"{now.timestamp():.6f}-{price}")
