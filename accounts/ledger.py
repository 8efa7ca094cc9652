"""The books. Nothing else writes postings or the totals of balances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Q
from django.db.models.expressions import Combinable

from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Balance, LedgerAccount, Posting, Transfer

if TYPE_CHECKING:
    from accounts.models import User


class UnbalancedTransfer(ValueError):
    """The legs of a currency do not sum to zero."""


@dataclass(frozen=True, slots=True)
class Leg:
    """Where a posting goes: a kind of ledger account, in one currency, of a client's account or of the house (None)."""

    kind: LedgerKind
    currency: str
    account_id: int | None = None


def client(account: Account, currency: str) -> Leg:
    return Leg(LedgerKind.CLIENT, currency, account.pk)


def house(kind: LedgerKind, currency: str) -> Leg:
    return Leg(kind, currency)


def post(kind: TransferKind, reference: str, legs: Mapping[Leg, Decimal], *, by: User | None = None) -> Transfer:
    """Record one balanced transfer; nothing else writes postings.

    An amount is signed, in its leg's currency: debit > 0, credit < 0 (a client's money is a credit). `reference` names
    the cause ("exec-81:commission"): posted twice, it is stored once. The caller has locked the clients' accounts.
    Raises UnbalancedTransfer unless the legs of every currency sum to zero.
    """
    moves = {leg: amount for leg, amount in legs.items() if amount}
    _check_balanced(moves)
    with transaction.atomic(savepoint=False):  # whoever goes on after the database refused it has a savepoint himself
        transfer = Transfer.objects.once(kind, reference, by)
        if transfer is None:
            return Transfer.objects.get(reference=reference)
        rows = _ledger_accounts(moves)
        Posting.objects.bulk_create(
            Posting(transfer=transfer, ledger_account=rows[leg], amount=amount) for leg, amount in moves.items()
        )
        for leg, amount in moves.items():
            # House totals are sums on demand: a row of their own would make every account wait for every other.
            if leg.account_id is not None:
                _change(leg.account_id, leg.currency, total=F("total") - amount)
        return transfer


def credit(
    kind: TransferKind,
    reference: str,
    account: Account,
    amounts: Mapping[str, Decimal],
    against: LedgerKind,
    *,
    by: User | None = None,
) -> Transfer:
    """Give the client these amounts by currency (negative: take), against the house's ledger account of a kind."""
    legs: dict[Leg, Decimal] = {}
    for currency, amount in amounts.items():
        legs[client(account, currency)] = -amount
        legs[house(against, currency)] = amount
    return post(kind, reference, legs, by=by)


def reserve(account: Account, currency: str, amount: Decimal) -> None:
    """Set aside what an order may cost (negative: release). The database refuses more than there is of a spot asset."""
    if amount:
        _change(account.pk, currency, reserved=F("reserved") + amount)


def _change(account_id: int, currency: str, **changes: Combinable) -> None:
    """Change the one row of the account's balance, which is made with nothing in it when there is none yet."""
    row = Balance.objects.filter(account_id=account_id, currency_id=currency)
    if not row.update(**changes):
        account = Account.objects.select_related("group").get(pk=account_id)
        Balance.objects.create(account=account, currency_id=currency, may_be_negative=account.profile.has_positions)
        row.update(**changes)


def _check_balanced(legs: Mapping[Leg, Decimal]) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for leg, amount in legs.items():
        sums[leg.currency] += amount
    if off := {currency: total for currency, total in sums.items() if total}:
        raise UnbalancedTransfer(f"the legs do not sum to zero: {off}")


def _ledger_accounts(legs: Iterable[Leg]) -> dict[Leg, LedgerAccount]:
    """The rows of these legs, made when they are used for the first time."""
    wanted = Q()
    for leg in legs:
        wanted |= Q(kind=leg.kind, account=leg.account_id, currency=leg.currency)
    rows = LedgerAccount.objects.filter(wanted) if wanted else ()
    known = {Leg(LedgerKind(row.kind), row.currency_id, row.account_id): row for row in rows}
    return {leg: known.get(leg) or _make(leg) for leg in legs}


def _make(leg: Leg) -> LedgerAccount:
    """The leg's row; somebody else may have made it meanwhile."""
    return LedgerAccount.objects.get_or_create(
        kind=leg.kind,
        account_id=leg.account_id,  # type: ignore[misc]  # None is the house
        currency_id=leg.currency,
    )[0]
