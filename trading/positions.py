"""Closing positions. They are opened and closed by executions only; a close is an order like others (POS-3)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Sum

from accounts.choices import AccountState
from accounts.models import Account
from trading import orders
from trading.errors import OrderRejected, Reason
from trading.models import Order

if TYPE_CHECKING:
    from accounts.models import User


@transaction.atomic
def close(
    account_id: int, position_id: int, *, amount: Decimal | None = None, request_id: str, by: User | None = None
) -> Order:
    """Close a position at the market, wholly or by `amount` units (POS-4), or raise OrderRejected and change nothing.

    What other orders are closing already cannot be closed again.
    """
    account = Account.objects.changing(account_id)
    if earlier := account.orders.filter(request_id=request_id).first():
        return earlier
    if account.state not in (AccountState.ACTIVE, AccountState.CLOSE_ONLY):
        raise OrderRejected(Reason.ACCOUNT_NO_TRADING)
    position = account.positions.open().locked().select_related("instrument").filter(pk=position_id).first()
    if position is None:
        raise OrderRejected(Reason.UNKNOWN_POSITION)
    being_closed = position.closing_orders.live().aggregate(qty=Sum(F("qty") - F("filled_qty")))["qty"] or Decimal(0)
    left = position.qty - being_closed
    if left <= 0:
        raise OrderRejected(Reason.CLOSING_EXISTS)
    qty = left if amount is None else amount
    if qty > left:
        raise OrderRejected(Reason.QTY_ABOVE_POSITION, qty=left)
    return orders.place_closing(position, qty, account=account, request_id=request_id, by=by)
