"""The one table by which an order's status changes. The database holds the same table (a trigger made from it)."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class OrderStatus(models.TextChoices):
    PLACING = "placing", _("Placing")  # sent, not yet acknowledged; FIX OrdStatus A
    INACTIVE = "inactive", _("Inactive")  # bracket whose parent is not filled
    WORKING = "working", _("Working")  # live, perhaps partly filled; FIX 0, 1
    FILLED = "filled", _("Filled")  # FIX 2
    CANCELLED = "cancelled", _("Cancelled")  # expiry too; FIX 4, C
    REJECTED = "rejected", _("Rejected")  # FIX 8


S = OrderStatus
TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.PLACING: frozenset({S.WORKING, S.FILLED, S.CANCELLED, S.REJECTED}),
    S.INACTIVE: frozenset({S.WORKING, S.CANCELLED, S.REJECTED}),
    S.WORKING: frozenset({S.FILLED, S.CANCELLED, S.REJECTED}),
    # Final is final (ORD-2): a fill that crosses a cancel is booked first, then the rest is cancelled.
    S.FILLED: frozenset(),
    S.CANCELLED: frozenset(),
    S.REJECTED: frozenset(),
}
FINAL = frozenset(status for status, onward in TRANSITIONS.items() if not onward)
LIVE = frozenset(TRANSITIONS) - FINAL


class IllegalTransition(Exception):
    """A status change that the table does not allow: a fault of ours, never the client's."""

    def __init__(self, order_id: int, before: str, after: str) -> None:
        super().__init__(f"order {order_id} cannot go from {before} to {after}")


def check(order_id: int, before: str, after: str) -> None:
    """Raise IllegalTransition unless the table allows the move."""
    if OrderStatus(after) not in TRANSITIONS[OrderStatus(before)]:
        raise IllegalTransition(order_id, before, after)
