"""What a dealing desk does in tests: tickets, and the drain without its worker."""

from decimal import Decimal
from itertools import count

from accounts.models import Account
from trading import orders
from trading.choices import OrderType, Side
from trading.models import Order
from trading.orders import Ticket

_requests = count(1)


def place(account: Account, side: str, qty: str, symbol: str = "EURUSD", **prices: str) -> Order:
    """Place an order: market, or limit or stop when `limit` or `stop` gives its price."""
    kind = OrderType.LIMIT if "limit" in prices else OrderType.STOP if "stop" in prices else OrderType.MARKET
    ticket = Ticket(
        symbol,
        Side(side),
        kind,
        Decimal(qty),
        limit_price=Decimal(prices["limit"]) if "limit" in prices else None,
        stop_price=Decimal(prices["stop"]) if "stop" in prices else None,
    )
    return orders.place(account.pk, ticket, request_id=f"r-{next(_requests)}")


def drain(account: Account) -> None:
    """Work off what is queued in the account, as the worker's task does."""
    for order_id in account.orders.queued().order_by("pk").values_list("pk", flat=True):
        orders.work(account.pk, order_id)


def fill(account: Account, side: str, qty: str, symbol: str = "EURUSD", **prices: str) -> Order:
    """Place an order and work it off."""
    order = place(account, side, qty, symbol, **prices)
    drain(account)
    order.refresh_from_db()
    return order
