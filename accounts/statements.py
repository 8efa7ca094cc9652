"""An account's statement: its movements in a period, with the running balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet, Sum

from accounts import bounded
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, LedgerAccount, Posting, Transfer

ACCOUNTS_KEPT = 20_000

_sums: dict[int, tuple[int, dict[TransferKind, Decimal]]] = {}  # by account: up to which posting, and what it came to


@dataclass(frozen=True, slots=True)
class Movement:
    """One posting as the client sees it: what he received is above zero. `balance` is that after it."""

    at: datetime
    kind: TransferKind
    reference: str
    amount: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """The movements from `since` on and before `until`, in one currency, oldest first."""

    opening: Decimal
    movements: list[Movement]

    @property
    def closing(self) -> Decimal:
        return self.movements[-1].balance if self.movements else self.opening

    def total(self, *kinds: TransferKind) -> Decimal:
        """What movements of these kinds came to."""
        return sum((each.amount for each in self.movements if each.kind in kinds), Decimal(0))


def of(account: Account, since: datetime, until: datetime, currency: str | None = None) -> Statement:
    """The account's statement, in its own currency unless another is named (spot)."""
    postings = _postings(account, currency or account.currency_id)
    opening = -(postings.filter(transfer__created_at__lt=since).aggregate(total=Sum("amount"))["total"] or Decimal(0))
    within = postings.filter(transfer__created_at__gte=since, transfer__created_at__lt=until)
    return Statement(opening, list(_running(opening, within)))


_NEW = f"""
SELECT transfer.kind, sum(posting.amount), max(posting.id)
  FROM {Posting._meta.db_table} AS posting
  JOIN {LedgerAccount._meta.db_table} AS ledger ON ledger.id = posting.ledger_account_id
  JOIN {Transfer._meta.db_table} AS transfer ON transfer.id = posting.transfer_id
 WHERE ledger.kind = '{LedgerKind.CLIENT}' AND ledger.account_id = %s AND ledger.currency_id = %s AND posting.id > %s
 GROUP BY transfer.kind
"""  # noqa: S608


def totals(account: Account) -> dict[TransferKind, Decimal]:
    """All that movements of each kind ever came to, in the account's currency.

    A process adds what came since its last look. No posting is ever changed, and those of one account are committed in
    the order of their numbers, since whoever writes them has its lock. What is not committed yet is not kept.
    """
    is_kept = not connection.in_atomic_block
    last, sums = _sums.get(account.pk, (0, {})) if is_kept else (0, {})
    with connection.cursor() as cursor:
        for kind, total, newest in cursor.execute(_NEW, [account.pk, account.currency_id, last]).fetchall():
            sums = {**sums, TransferKind(kind): sums.get(TransferKind(kind), Decimal(0)) - total}
            last = max(last, newest)
    if is_kept:
        bounded.keep(_sums, account.pk, (last, sums), most=ACCOUNTS_KEPT)
    return sums


def _postings(account: Account, currency: str) -> QuerySet[Posting]:
    return Posting.objects.filter(
        ledger_account__kind=LedgerKind.CLIENT, ledger_account__account=account, ledger_account__currency=currency
    )


def _running(balance: Decimal, postings: QuerySet[Posting]) -> Iterator[Movement]:
    for posting in postings.select_related("transfer").order_by("transfer__created_at", "pk"):
        transfer, amount = posting.transfer, -posting.amount
        balance += amount
        yield Movement(transfer.created_at, TransferKind(transfer.kind), transfer.reference, amount, balance)
