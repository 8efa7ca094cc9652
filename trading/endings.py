"""How an order ends without being filled."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from accounts import ledger
from accounts.models import Account
from trading.errors import OrderRejected
from trading.models import Order
from trading.states import OrderStatus


def end(
    account: Account,
    order: Order,
    status: OrderStatus,
    *,
    at: datetime,
    because: OrderRejected | None = None,
    heir: Order | None = None,
) -> None:
    """Make a live order final and release what it holds. The caller saves it and stores the event.

    `heir` is the other bracket of a spot pair, which goes on holding what the two share.
    """
    if heir is not None:
        heir.held += order.held
        heir.save(update_fields=["held"])
    elif not account.profile.has_positions:
        ledger.reserve(account, order.held_currency_id, -order.held)
    order.held = Decimal(0)
    order.updated_at = at
    if because:
        order.advance(status, at=at, reason=because.reason, **because.details)
    else:
        order.advance(status, at=at)
