"""The `confirmId` of a preview: signed contents, so that nothing is stored until it is used, once (PRV-4)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import uuid4

from django.core import signing
from django.utils import timezone

from accounts.models import Account
from backoffice.fields import plain
from trading.errors import OrderRejected, Reason
from trading.models import UsedConfirmation
from trading.tickets import Ticket

SALT = "trading.confirmations"
GOOD_FOR = timedelta(minutes=10)


def issue(account: Account, ticket: Ticket, *, order_id: int | None = None) -> str:
    """A confirmation of just this: the ticket, placed in the account, or what becomes of the order."""
    contents = {"n": uuid4().hex, "d": _digest(account, ticket, order_id)}
    return signing.dumps(contents, salt=SALT)


def use(confirm_id: str, account: Account, ticket: Ticket, *, order_id: int | None = None) -> None:
    """Accept a confirmation, in the transaction of what it confirms.

    Raises OrderRejected when it is none of ours, too old, of another account, for other contents, or used before. The
    primary key stands behind that: the account is locked, so of two at once the second finds the first one's row.
    """
    try:
        contents = signing.loads(confirm_id, salt=SALT, max_age=GOOD_FOR)
    except signing.BadSignature as error:
        raise OrderRejected(Reason.CONFIRM_UNKNOWN) from error
    if contents["d"] != _digest(account, ticket, order_id):
        raise OrderRejected(Reason.CONFIRM_OTHER)
    _row, is_new = UsedConfirmation.objects.get_or_create(nonce=contents["n"])
    if not is_new:
        raise OrderRejected(Reason.CONFIRM_USED)


def forget_old() -> int:
    """Delete the rows of confirmations that are too old to be used again anyway. Says how many."""
    return UsedConfirmation.objects.filter(used_at__lt=timezone.now() - 2 * GOOD_FOR).delete()[0]


def _digest(account: Account, ticket: Ticket, order_id: int | None) -> str:
    asked = ticket.brackets
    numbers = (ticket.qty, ticket.limit_price, ticket.stop_price, asked.stop_loss, asked.take_profit)
    contents = [
        account.pk,
        order_id,
        ticket.symbol,
        ticket.side.value,
        ticket.type.value,
        ticket.duration.value,
        ticket.good_till and int(ticket.good_till.timestamp()),
        *(None if number is None else plain(number) for number in (*numbers, asked.trailing_pips)),
    ]
    return hashlib.sha256("|".join(map(str, contents)).encode()).hexdigest()
