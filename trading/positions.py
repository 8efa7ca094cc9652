"""Closing, reversing and protecting positions. Executions alone open and close them; a close is an order (POS-3)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts.models import Account
from trading import brackets, checks, dispatch, orders
from trading import standing as standings
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Order, Position
from trading.prices import Prices
from trading.tickets import Brackets, Ticket

if TYPE_CHECKING:
    from accounts.models import User


@transaction.atomic
def close(
    account_id: int,
    position_id: int,
    *,
    amount: Decimal | None = None,
    request_id: str,
    by: User | None = None,
    as_desk: bool = False,
    at_once: bool = False,
) -> Order:
    """Close a position at the market, wholly or by `amount` units (POS-4), or raise OrderRejected and change nothing.

    What other orders are closing already cannot be closed again. `as_desk`: the broker closes it, whatever the account
    itself may do. `at_once` as for `orders.place`.
    """
    account = Account.objects.changing(account_id)
    standing = standings.of(account, request_id)
    if standing.earlier:
        return standing.earlier
    position = _locked(account, position_id, as_desk=as_desk)
    closing = position.closing_orders.live().filter(role="")
    being_closed = closing.aggregate(qty=Sum(F("qty") - F("filled_qty")))["qty"] or Decimal(0)
    left = position.qty - being_closed
    if left <= 0:
        raise OrderRejected(Reason.CLOSING_EXISTS)
    qty = left if amount is None else amount
    if qty > left:
        raise OrderRejected(Reason.QTY_ABOVE_POSITION, qty=left)
    whole = as_desk or qty == left
    return orders.place_closing(
        position,
        qty,
        account=account,
        standing=standing,
        request_id=request_id,
        by=by,
        whole=whole,
        at_once=at_once,
    )


def protect(account_id: int, position_id: int, wanted: Brackets, *, by: User | None = None) -> None:
    """Give a position the brackets asked for, and remove those that are not (BRK-17), or raise OrderRejected."""
    with transaction.atomic():
        account = Account.objects.changing(account_id)
        # Orders are locked before positions: those that the position's brackets may concern.
        list(account.orders.live().brackets().locked().filter(closes=position_id))
        position = _locked(account, position_id)
        now = timezone.now()
        booking = Booking(account, account.conditions_at(now), Prices([position.instrument.symbol]), now)
        touched = brackets.set_on_position(booking, position, wanted, by=by)
        dispatch.after_commit(
            account_id=account.pk,
            order_ids=[each.pk for each in touched],
            drain=any(each.queued for each in touched),
        )


def reverse(
    account_id: int,
    position_id: int,
    side: Side,
    *,
    request_id: str,
    by: User | None = None,
    at_once: bool = False,
) -> Order:
    """Turn a net position into one of its size on this side, by one market order (POS-5), or raise OrderRejected.

    Asked twice, the second finds the position on that side, or the order on its way there. `at_once` as for
    `orders.place`.
    """
    with transaction.atomic():
        account = Account.objects.changing(account_id)
        if earlier := account.orders.filter(request_id=request_id).first():
            return earlier
        position = _locked(account, position_id)
        if account.profile.is_hedging:
            raise OrderRejected(Reason.REVERSE_NET_ONLY)
        if position.side == side:
            raise OrderRejected(Reason.REVERSE_SAME_SIDE)
        at_market = Q(type=OrderType.MARKET) | Q(closes=position, queued=True, book__isnull=False)
        if account.orders.live().filter(at_market, instrument=position.instrument, side=side).exists():
            raise OrderRejected(Reason.CLOSING_EXISTS)
        ticket = Ticket(position.instrument.symbol, side, OrderType.MARKET, 2 * position.qty)
        return orders.place(account_id, ticket, request_id=request_id, by=by, reverses=position, at_once=at_once)


def _locked(account: Account, position_id: int, *, as_desk: bool = False) -> Position:
    """The account's open position, locked. Raises OrderRejected: it is unknown, or the account may not trade."""
    if not as_desk:
        checks.may_trade(account)
    position = account.positions.open().locked().select_related("instrument").filter(pk=position_id).first()
    if position is None:
        raise OrderRejected(Reason.UNKNOWN_POSITION)
    return position
