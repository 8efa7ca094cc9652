"""The books. Nothing else writes postings or the totals of balances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import connections, router, transaction

from accounts import rows
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Balance, LedgerAccount, Posting, Transfer

if TYPE_CHECKING:
    from accounts.models import User


# The transfer, unless there is one of its reference, with its postings and what they change of the clients' balances.
# House totals are sums on demand: a row of their own would make every account wait for every other. It says which legs
# it could not post, their ledger account not being there yet, and for which there was no balance to change.
_POST = f"""
WITH transfer AS (
    INSERT INTO {Transfer._meta.db_table} (kind, reference, by_id) VALUES (%s, %s, %s)
        ON CONFLICT (reference) DO NOTHING RETURNING {rows.columns_of(Transfer)}
), leg AS (
    SELECT given.*, coalesce(client.id, house.id) AS ledger_account_id
      FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::numeric[]) WITH ORDINALITY
           AS given (kind, account_id, currency_id, amount, number)
      LEFT JOIN {LedgerAccount._meta.db_table} AS client ON client.kind = given.kind
           AND client.account_id = given.account_id AND client.currency_id = given.currency_id
      LEFT JOIN {LedgerAccount._meta.db_table} AS house ON house.kind = given.kind
           AND house.account_id IS NULL AND given.account_id IS NULL AND house.currency_id = given.currency_id
), posting AS (
    INSERT INTO {Posting._meta.db_table} (transfer_id, ledger_account_id, amount)
        SELECT transfer.id, ledger_account_id, amount FROM transfer, leg
         WHERE ledger_account_id IS NOT NULL ORDER BY number
), changed AS (
    UPDATE {Balance._meta.db_table} AS balance SET total = total - amount FROM transfer, leg
     WHERE balance.account_id = leg.account_id AND balance.currency_id = leg.currency_id RETURNING number
)
SELECT {rows.columns_of(Transfer)},
       ARRAY(SELECT number FROM leg WHERE ledger_account_id IS NULL),
       ARRAY(SELECT number FROM leg WHERE account_id IS NOT NULL EXCEPT SELECT number FROM changed)
  FROM transfer
"""  # noqa: S608

_CHANGE = f"""
UPDATE {Balance._meta.db_table} SET total = total + %s, reserved = reserved + %s
 WHERE account_id = %s AND currency_id = %s
"""  # noqa: S608


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
        given = [(leg.kind, leg.account_id, leg.currency, amount) for leg, amount in moves.items()]
        params = [kind, reference, by and by.pk, *([row[column] for row in given] for column in range(4))]
        extras = ("without_ledger_account", "without_balance")
        posted = rows.read(Transfer, _POST, params, using=router.db_for_write(Transfer), extras=extras)
        for transfer in posted:
            _make_up(transfer, moves)
            return transfer
        return Transfer.objects.get(reference=reference)


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
        _change(account.pk, currency, reserved=amount)


def _change(account_id: int, currency: str, *, total: Decimal = Decimal(0), reserved: Decimal = Decimal(0)) -> None:
    """Add to the one row of the account's balance, which is made with nothing in it when there is none yet."""
    with connections[router.db_for_write(Balance)].cursor() as cursor:
        if not cursor.execute(_CHANGE, [total, reserved, account_id, currency]).rowcount:
            account = Account.objects.select_related("group").get(pk=account_id)
            may_be_negative = account.profile.has_positions
            Balance.objects.create(account=account, currency_id=currency, may_be_negative=may_be_negative)
            cursor.execute(_CHANGE, [total, reserved, account_id, currency])


def _check_balanced(legs: Mapping[Leg, Decimal]) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for leg, amount in legs.items():
        sums[leg.currency] += amount
    if off := {currency: total for currency, total in sums.items() if total}:
        raise UnbalancedTransfer(f"the legs do not sum to zero: {off}")


def _make_up(transfer: Any, moves: Mapping[Leg, Decimal]) -> None:
    """Post the legs whose ledger account or balance is used for the first time."""
    for number, (leg, amount) in enumerate(moves.items(), 1):
        if number in transfer.without_ledger_account:
            Posting.objects.create(transfer=transfer, ledger_account=_make(leg), amount=amount)
        if leg.account_id is not None and number in transfer.without_balance:
            _change(leg.account_id, leg.currency, total=-amount)


def _make(leg: Leg) -> LedgerAccount:
    """The leg's row; somebody else may have made it meanwhile."""
    return LedgerAccount.objects.get_or_create(
        kind=leg.kind,
        account_id=leg.account_id,  # type: ignore[misc]  # None is the house
        currency_id=leg.currency,
    )[0]
