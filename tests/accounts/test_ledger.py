from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from accounts import cash, ledger
from accounts.choices import LedgerKind, Profile, TransferKind
from accounts.models import Balance, LedgerAccount, Posting, Transfer
from tests import factories

D = Decimal


def total(account, currency="USD") -> Decimal:
    return Balance.objects.get(account=account, currency=currency).total


def test_a_deposit_is_owed_to_the_client_and_held_by_the_house(db: None) -> None:
    account = factories.account(deposits={})
    transfer = cash.deposit(account.pk, D("250.50"), "USD", reference="bank-1")
    legs = {posting.ledger_account.kind: posting.amount for posting in transfer.postings.all()}
    assert legs == {LedgerKind.CLIENT: D("-250.50"), LedgerKind.HOUSE_CASH: D("250.50")}
    assert total(account) == D("250.50")


def test_a_payment_reported_twice_is_booked_once(db: None) -> None:
    account = factories.account(deposits={})
    first = cash.deposit(account.pk, D(10), "USD", reference="bank-1")
    assert cash.deposit(account.pk, D(10), "USD", reference="bank-1") == first
    assert total(account) == D(10)


@pytest.mark.parametrize("amount", ["0", "-1", "0.001"])
def test_an_amount_that_cannot_be_money_is_refused(db: None, amount: str) -> None:
    account = factories.account(deposits={})
    with pytest.raises(cash.InvalidAmount, match="must be positive, with at most 2 decimals"):
        cash.deposit(account.pk, D(amount), "USD", reference="bank-1")
    assert not Transfer.objects.exists()


def test_legs_that_do_not_sum_to_zero_are_refused_and_not_stored(db: None) -> None:
    account = factories.account(deposits={})
    with pytest.raises(ledger.UnbalancedTransfer):
        ledger.post(
            TransferKind.DEPOSIT,
            "x",
            {ledger.client(account, "USD"): D(-1), ledger.house(LedgerKind.HOUSE_CASH, "USD"): D(2)},
        )
    assert not Transfer.objects.exists()
    assert not Posting.objects.exists()


def test_each_currency_balances_by_itself(db: None) -> None:
    account = factories.account(Profile.SPOT, symbols=[], base="USDT", deposits={})
    factories.currency("BTC")
    legs = {ledger.client(account, "USDT"): D(5), ledger.client(account, "BTC"): D(-5)}
    with pytest.raises(ledger.UnbalancedTransfer):
        ledger.post(TransferKind.EXCHANGE, "x", legs)


def test_the_database_refuses_at_commit_a_transfer_that_does_not_balance(transactional_db: None) -> None:
    account = factories.account(deposits={"USD": D(1)})
    one = LedgerAccount.objects.get(account=account)

    @transaction.atomic
    def post_by_hand() -> None:
        transfer = Transfer.objects.create(kind=TransferKind.DEPOSIT, reference="by hand")
        Posting.objects.create(transfer=transfer, ledger_account=one, amount=D(-100))

    with pytest.raises(IntegrityError, match="does not sum to zero in USD"):
        post_by_hand()
    assert not Transfer.objects.filter(reference="by hand").exists()


def test_the_database_refuses_a_leg_added_to_an_old_transfer(transactional_db: None) -> None:
    account = factories.account(deposits={"USD": D(1)})
    leg = Posting.objects.filter(ledger_account__account=account).get()
    with pytest.raises(IntegrityError, match="does not sum to zero"), transaction.atomic():
        Posting.objects.create(transfer=leg.transfer, ledger_account=leg.ledger_account, amount=D(-1))


def test_a_spot_asset_cannot_be_overdrawn(db: None) -> None:
    account = factories.account(Profile.SPOT, symbols=[], base="USDT", deposits={"USDT": D(100)})
    with pytest.raises(IntegrityError, match="spot_never_overdrawn"), transaction.atomic():
        ledger.credit(TransferKind.WITHDRAWAL, "w", account, {"USDT": D(-101)}, LedgerKind.HOUSE_CASH)
    assert total(account, "USDT") == D(100)


def test_a_spot_asset_in_reserve_cannot_be_spent(db: None) -> None:
    account = factories.account(Profile.SPOT, symbols=[], base="USDT", deposits={"USDT": D(100)})
    ledger.reserve(account, "USDT", D(60))
    with pytest.raises(IntegrityError, match="spot_never_overdrawn"), transaction.atomic():
        ledger.credit(TransferKind.WITHDRAWAL, "w", account, {"USDT": D(-41)}, LedgerKind.HOUSE_CASH)


def test_margin_cash_may_go_below_zero_by_a_loss(db: None) -> None:
    account = factories.account(deposits={"USD": D(1)})
    ledger.credit(TransferKind.REALIZED_PL, "pl", account, {"USD": D(-3)}, LedgerKind.HOUSE_TRADING)
    assert total(account) == D(-2)


def test_every_change_raises_the_version(db: None) -> None:
    account = factories.account(deposits={})
    before = account.version
    cash.deposit(account.pk, D(1), "USD", reference="a")
    cash.deposit(account.pk, D(1), "USD", reference="b")
    account.refresh_from_db()
    assert account.version == before + 2
    assert connection.in_atomic_block


def test_a_transfer_costs_one_statement(db: None, django_assert_num_queries) -> None:
    """It is posted under the account's lock, at every fill."""
    account = factories.account()
    with django_assert_num_queries(1):
        ledger.credit(TransferKind.COMMISSION, "one", account, {"USD": D(-1)}, LedgerKind.HOUSE_CASH)
