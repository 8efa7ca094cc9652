"""What a process knows of the terms is never older than the account's version of them, nor what nobody committed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import cash, statements
from accounts.choices import AccountState, TransferKind
from accounts.models import Account, AccountGroup
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from tests.trading.test_busts import dealer, wish
from trading import busts
from trading.errors import OrderRejected, Reason
from tvapi import snapshots

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="FX")


def statements_of_placing(account: Account) -> int:
    with CaptureQueriesContext(connection) as asked:
        desk.place(account, "buy", "1000")
    return len(asked)


def test_the_second_order_asks_for_no_terms(account: Account) -> None:
    first, second = statements_of_placing(account), statements_of_placing(account)
    assert (first, second) == (11, 6)


def test_a_change_of_terms_counts_from_its_commit_on(account: Account) -> None:
    desk.place(account, "buy", "1000")
    instrument = Instrument.objects.get(symbol="EURUSD")
    instrument.state = InstrumentState.HALTED
    instrument.save()
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "buy", "1000")
    assert refusal.value.reason == Reason.INSTRUMENT_HALTED


def test_who_changes_terms_sees_them_at_once_and_nobody_does_once_they_are_taken_back(account: Account) -> None:
    desk.place(account, "buy", "1000")
    with transaction.atomic():
        group = AccountGroup.objects.get(pk=account.group_id)
        group.state = AccountState.NO_TRADING
        group.save()
        with pytest.raises(OrderRejected), transaction.atomic():
            desk.place(account, "buy", "1000")
        transaction.set_rollback(True)
    Instrument.objects.get(symbol="EURUSD").save()  # the next version of the terms has the number taken back
    desk.place(account, "buy", "1000")


def test_the_version_of_conditions_follows_the_clock(account: Account) -> None:
    with transaction.atomic():
        locked = Account.objects.changing(account.pk)
        assert locked.conditions_at() == account.group.conditions_at()
        with pytest.raises(type(locked.conditions_at()).DoesNotExist):
            locked.conditions_at(factories.BEGINNING - timedelta(days=1))


def test_sums_of_a_statement_go_on_where_they_were_and_keep_nothing_that_was_taken_back(account: Account) -> None:
    before = statements.totals(account)
    with transaction.atomic():
        cash.deposit(account.pk, D(7), "USD", reference="never")
        assert statements.totals(account)[TransferKind.DEPOSIT] == before[TransferKind.DEPOSIT] + 7
        transaction.set_rollback(True)
    assert statements.totals(account) == before
    cash.deposit(account.pk, D(5), "USD", reference="d-2")
    cash.deposit(account.pk, D(2), "USD", reference="d-3")
    assert statements.totals(account) == {TransferKind.DEPOSIT: before[TransferKind.DEPOSIT] + 7}


def test_an_order_that_has_ended_is_rendered_once_and_anew_when_it_is_busted(account: Account) -> None:
    order = desk.fill(account, "buy", "1000")
    (shown,) = snapshots.take(account.pk).orders
    with CaptureQueriesContext(connection) as asked:
        assert snapshots.take(account.pk).orders == [shown]
    assert not [each for each in asked if 'FROM "trading_execution"' in each["sql"]]
    busts.approve(busts.ask(wish(order), by=dealer("maker")).pk, by=dealer("checker"))
    (busted,) = snapshots.take(account.pk).orders
    assert (b'"message"' in bytes(shown), b'"message"' in bytes(busted)) == (False, True)
