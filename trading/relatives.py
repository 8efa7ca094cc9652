"""Which orders belong together: an order and its brackets, the two of a pair, a position and what protects it."""

from __future__ import annotations

from collections.abc import Iterable

from accounts.models import Account
from trading import instruments_of
from trading.choices import ParentType
from trading.models import Order, Position


def lock(account: Account, order_ids: Iterable[int]) -> list[Order]:
    """These orders of the account, and whatever orders their change may concern, locked in the usual order.

    That is the live brackets of their instruments, and the orders that they themselves are brackets of.
    """
    chosen = Order.objects.filter(account=account, pk__in=order_ids)
    live = Order.objects.live().brackets().filter(account=account, instrument__in=chosen.values("instrument"))
    # A union, so that each part is found by an index of its own, however many orders the account has had.
    concerned = chosen.values("pk").union(chosen.exclude(parent=None).values("parent"), live.values("pk"))
    return instruments_of.attach_to_orders(account, Order.objects.locked().filter(pk__in=concerned))


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
