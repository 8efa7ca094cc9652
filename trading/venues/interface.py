"""The one interface of venues. Their reports come back by `reports.take`, or, of the broker itself, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trading import venue
from trading.venues import outbox
from trading.venues.choices import Handling

if TYPE_CHECKING:
    from decimal import Decimal

    from accounts.models import Account, User
    from trading.models import Order
    from trading.tickets import Ticket


class Venue(Protocol):
    """Whoever executes. Account and order are locked, and what is to be sent is stored with what the caller decides.

    Nothing is sent inside the transaction.
    """

    def submit(self, order: Order) -> Handling:
        """Hand an order over."""

    def cancel(self, order: Order, *, by: User | None) -> Handling:
        """End an order. Asking again while the venue has not answered asks nothing new."""

    def check_replace(self, order: Order, ticket: Ticket) -> None:
        """Raise OrderRejected (CHANGE_PENDING, VENUE_DURATION) when the order cannot be made what the ticket says."""

    def replace(
        self, account: Account, order: Order, ticket: Ticket, held_before: Decimal, *, by: User | None
    ) -> Handling:
        """Give an order the ticket's quantity and prices. `held_before` is what it held before it held for the ticket.

        Raises OrderRejected as `check_replace` does.
        """

    def ask(self, order: Order) -> Handling:
        """Have the venue say how the order stands there."""


class Internal:
    """The broker itself: fills come from its own quotes and their depth (see `trading.venue`), all within our books."""

    def submit(self, order: Order) -> Handling:
        return Handling.HERE

    def cancel(self, order: Order, *, by: User | None) -> Handling:
        return Handling.HERE

    def check_replace(self, order: Order, ticket: Ticket) -> None:
        pass

    def replace(
        self, account: Account, order: Order, ticket: Ticket, held_before: Decimal, *, by: User | None
    ) -> Handling:
        return Handling.HERE

    def ask(self, order: Order) -> Handling:
        return Handling.HERE


def of(order: Order) -> Venue:
    """The venue that the order is with."""
    return Internal() if order.venue == venue.INTERNAL else outbox.Fix()
