"""Which orders belong together: an order and its brackets, the two of a pair, a position and what protects it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router

from accounts import rows
from accounts.models import Account
from trading import instruments_of, states
from trading.choices import ParentType
from trading.models import Order, Position

# A union, so that each part is found by an index of its own, however many orders the account has had.
_LOCK = f"""
WITH chosen AS (
    SELECT id, account_id, instrument_id, parent_id FROM {Order._meta.db_table} WHERE account_id = %s AND id = ANY(%s)
)
SELECT {rows.columns_of(Order)} FROM {Order._meta.db_table} WHERE id IN (
    SELECT id FROM chosen
    UNION SELECT parent_id FROM chosen
    UNION SELECT live.id FROM {Order._meta.db_table} AS live JOIN chosen USING (account_id, instrument_id)
           WHERE live.role <> '' AND live.status IN ({", ".join(f"'{status}'" for status in sorted(states.LIVE))})
) ORDER BY id FOR UPDATE
"""  # noqa: S608


def lock(account: Account, order_ids: Iterable[int]) -> list[Order]:
    """These orders of the account, and whatever orders their change may concern, locked in the usual order.

    That is the live brackets of their instruments, and the orders that they themselves are brackets of.
    """
    locked = rows.read(Order, _LOCK, [account.pk, [*order_ids]], using=router.db_for_write(Order))
    return instruments_of.attach_to_orders(account, locked)


def position_opened_by(account: Account, order: Order) -> Position | None:
    """The open position that the order's fills opened or enlarged."""
    if not account.profile.has_position_brackets:
        return None
    opened_by = order if account.profile.is_hedging else None
    positions = account.positions.open().select_related("instrument")
    return positions.filter(instrument=order.instrument, side=order.side, opened_by=opened_by).first()


def partner_of(bracket: Order) -> Order | None:
    """The other one of the pair, while it is live. The orders are locked."""
    candidates = Order.objects.live().brackets().filter(account=bracket.account_id, instrument=bracket.instrument_id)
    found = candidates.select_related("instrument", "held_currency")
    return next((each for each in found if is_partner(each, bracket)), None)


def is_partner(other: Order, bracket: Order) -> bool:
    """Do the two protect the same, so that one executed cancels the other (BRK-3)?"""
    if other.pk == bracket.pk or not bracket.role:
        return False
    if bracket.closes_id:
        return other.closes_id == bracket.closes_id
    return other.closes_id is None and other.parent_id == bracket.parent_id


def tied_to(order: Order) -> list[Order]:
    """The live brackets that are the order's own."""
    tied = order.brackets.live().filter(parent_type=ParentType.ORDER)
    return list(tied.select_related("instrument", "held_currency").order_by("pk"))


def protecting(position: Position) -> list[Order]:
    """The live brackets of a position."""
    protecting = position.closing_orders.live().brackets()
    return list(protecting.select_related("instrument", "held_currency").order_by("pk"))
