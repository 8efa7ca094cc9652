"""Money in and out of accounts."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import ledger
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Currency

if TYPE_CHECKING:
    from accounts.models import Transfer, User


class InvalidAmount(ValueError):
    """The amount cannot be booked; the text says why."""


@transaction.atomic
def deposit(account_id: int, amount: Decimal, currency: str, *, reference: str, by: User | None = None) -> Transfer:
    """Credit the client with money the house received. `reference` names the payment: given twice, it is booked once.

    Raises InvalidAmount for an amount that is not positive, or finer than the currency's step.
    """
    unit = Currency.objects.get(pk=currency)
    if amount <= 0 or unit.round(amount) != amount:
        raise InvalidAmount(
            _("%(amount)s %(currency)s cannot be deposited: it must be positive, with at most %(decimals)s decimals.")
            % {"amount": amount, "currency": currency, "decimals": unit.decimals}
        )
    account = Account.objects.changing(account_id)
    return ledger.credit(
        TransferKind.DEPOSIT, f"deposit:{reference}", account, {currency: amount}, LedgerKind.HOUSE_CASH, by=by
    )
