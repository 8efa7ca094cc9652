"""States of accounts and identity checks: each change has its reason, its event and its refusals."""

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts.choices import AccountEventKind, AccountState, KycState
from accounts.models import Account
from accounts.roles import Role
from backoffice.audit.models import Entry
from backoffice.operations import account_life, cash
from backoffice.operations.account_life import ChangeRefused
from backoffice.operations.cash import Wish
from backoffice.operations.choices import CashKind
from tests import factories
from tests.backoffice.test_admin import browser
from tests.operations.test_cash import officer
from tests.trading import desk

pytestmark = pytest.mark.django_db


def test_a_change_of_state_is_an_event_with_its_reason() -> None:
    account, by = factories.account(), officer("ops")
    account_life.set_state(account.pk, AccountState.CLOSE_ONLY, reason="Margin talks", by=by)
    event = account.events.get()
    assert (event.kind, event.before, event.after) == (AccountEventKind.STATE, "active", "close_only")
    assert (event.reason, event.by) == ("Margin talks", by)
    assert Entry.objects.of(account)[0].reason == "Margin talks"
    assert Account.objects.get(pk=account.pk).version == account.version + 1


def refused(account: Account, state: AccountState, words: str, reason: str = "A reason") -> None:
    before = Account.objects.get(pk=account.pk).state
    with pytest.raises(ChangeRefused, match=words):
        account_life.set_state(account.pk, state, reason=reason, by=officer(f"ops-{words[:9]}"))
    assert Account.objects.get(pk=account.pk).state == before
    assert not account.events.exists()


def test_what_is_refused() -> None:
    account = factories.account()
    refused(account, AccountState.BLOCKED, "Write down the reason", reason=" ")
    refused(account, AccountState.ACTIVE, "in this state already")
    refused(account, AccountState.CLOSED, "still holds money")
    factories.quote("EURUSD", "1.1", "1.1001")
    desk.fill(account, "buy", "1000")
    refused(account, AccountState.CLOSED, "open positions")
    desk.place(account, "buy", "1000", limit="1.05")
    refused(account, AccountState.CLOSED, "live orders")


def test_an_account_with_a_waiting_request_is_not_closed() -> None:
    account = factories.account(deposits={})
    wish = Wish(CashKind.DEPOSIT, account.pk, "USD", Decimal(1), "x", "k")
    cash.ask(wish, by=officer("maker"))
    refused(account, AccountState.CLOSED, "cash request")


def test_closing_is_for_good() -> None:
    account, by = factories.account(deposits={}), officer("ops")
    account_life.set_state(account.pk, AccountState.CLOSED, reason="Asked by the client", by=by)
    with pytest.raises(ChangeRefused, match="stays closed"):
        account_life.set_state(account.pk, AccountState.ACTIVE, reason="x", by=by)


def test_a_verified_identity_is_what_the_api_says_and_leaves_a_note() -> None:
    client = factories.account().client
    account_life.set_kyc(client.pk, KycState.VERIFIED, reason="Passport seen", by=officer("ops"))
    client.refresh_from_db()
    assert (client.is_verified, client.kyc_state) == (True, KycState.VERIFIED)
    assert client.notes.get().text == "Identity check: Verified. Passport seen"
    account_life.set_kyc(client.pk, KycState.EXPIRED, reason="Since May", by=officer("ops2"))
    client.refresh_from_db()
    assert client.is_verified is False


def test_the_pages_do_it() -> None:
    account = factories.account()
    client = account.client
    visitor = browser(Role.OPERATIONS)
    post = partial(_post, visitor)
    assert post("account_state", account.pk, {"state": "blocked", "reason": "Fraud alarm"}) == 302
    assert post("client_kyc", client.pk, {"state": "verified", "reason": "Passport seen"}) == 302
    assert post("client_note", client.pk, {"text": "Calls on Mondays"}) == 302
    paper = SimpleUploadedFile("passport.pdf", b"%PDF", content_type="application/pdf")
    assert post("client_document", client.pk, {"kind": "identity", "file": paper}) == 302
    account.refresh_from_db()
    assert (account.state, client.notes.count(), client.documents.count()) == ("blocked", 2, 1)
    assert post("account_state", account.pk, {"state": "nonsense", "reason": "x"}) == 200


def _post(visitor: Any, name: str, pk: int, form: dict[str, Any]) -> int:
    return visitor.post(reverse(f"page:{name}", args=[pk]), form).status_code
