"""An account's states beside trading, each change with its reason and who made it."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.choices import AccountEventKind, AccountState, KycState
from accounts.dossier_models import AccountEvent, ClientNote
from accounts.models import Account, Client, User
from backoffice.audit import context

# What each state means, said before it is chosen.
MEANING = {
    AccountState.ACTIVE: _("The account trades."),
    AccountState.CLOSE_ONLY: _("The client can only close positions."),
    AccountState.NO_TRADING: _("The client sees everything and trades nothing."),
    AccountState.BLOCKED: _("The client sees everything and trades nothing, and no money leaves the account."),
    AccountState.CLOSED: _("The account is gone from TradingView, for good. It must be empty."),
}


class ChangeRefused(Exception):
    """The change is refused, and nothing was stored. The text is a sentence for the user."""


@transaction.atomic
def set_state(account_id: int, state: AccountState, *, reason: str, by: User) -> Account:
    """Change the account's state and record it. Live orders stay: whoever wants them gone cancels them.

    Closing is for good, and only for an account with no money, position or live order. Raises ChangeRefused.
    """
    account = Account.objects.changing(account_id)
    before = account.state
    if not reason.strip():
        raise ChangeRefused(gettext("Write down the reason: it is kept with the change."))
    if state == before:
        raise ChangeRefused(gettext("The account is in this state already."))
    if before == AccountState.CLOSED:
        raise ChangeRefused(gettext("A closed account stays closed: open another one."))
    if state == AccountState.CLOSED:
        _check_empty(account)
    account.state = state
    with context.acting(reason=reason.strip()):
        account.save(update_fields=["state"])
    AccountEvent.objects.create(
        account=account, kind=AccountEventKind.STATE, before=before, after=state, reason=reason.strip()[:500], by=by
    )
    return account


def record_opening(account: Account, *, by: User | None) -> None:
    AccountEvent.objects.create(account=account, kind=AccountEventKind.OPENED, after=account.state, by=by)


@transaction.atomic
def set_kyc(client_id: int, state: KycState, *, reason: str, by: User) -> Client:
    """Decide how far the client's identity is known; `is_verified`, which the API asks, follows. Leaves a note."""
    client = Client.objects.select_for_update().get(pk=client_id)
    if not reason.strip():
        raise ChangeRefused(gettext("Write down the reason: it is kept with the change."))
    client.kyc_state, client.is_verified = state, state == KycState.VERIFIED
    with context.acting(reason=reason.strip()):
        client.save(update_fields=["kyc_state", "is_verified"])
    text = gettext("Identity check: %(state)s. %(reason)s") % {"state": state.label, "reason": reason.strip()}
    ClientNote.objects.create(client=client, by=by, text=text[:2000])
    return client


def _check_empty(account: Account) -> None:
    if account.orders.live().exists():
        raise ChangeRefused(gettext("The account has live orders: cancel them first."))
    if account.positions.open().exists():
        raise ChangeRefused(gettext("The account has open positions: close them first."))
    if account.balances.exclude(total=0).exists():
        raise ChangeRefused(gettext("The account still holds money: pay it out first."))
    if account.cash_requests.waiting().exists() or account.incoming_cash_requests.waiting().exists():
        raise ChangeRefused(gettext("A cash request of the account waits for a decision."))
