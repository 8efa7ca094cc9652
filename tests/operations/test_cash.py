"""Cash under four eyes: what is asked for, decided and refused; in the service, in SQL, in races."""

from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction

from accounts.choices import AccountState, LedgerKind, Profile
from accounts.models import Account, Balance, Posting, Transfer, User
from accounts.roles import Role
from backoffice.operations import cash
from backoffice.operations.cash import CashRefused, Wish
from backoffice.operations.choices import CashKind, RequestState
from backoffice.operations.models import CashLimit, CashRequest
from tests import factories
from tests.concurrency.test_races import together
from tests.trading import desk
from trading import books

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture(autouse=True)
def books_agree() -> Any:
    yield
    assert books.verify() == []


def officer(name: str, role: Role = Role.OPERATIONS) -> User:
    user = factories.user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def maker() -> User:
    return officer("maker")


@pytest.fixture
def checker() -> User:
    return officer("checker")


def wish(account: Account, kind: CashKind, amount: str, **others: Any) -> Wish:
    values = {"currency": "USD", "reason": "Bank reference 4711", "key": uuid4().hex, **others}
    return Wish(kind=kind, account_id=account.pk, amount=D(amount), **values)


def total(account: Account, currency: str = "USD") -> Decimal:
    return Balance.objects.get(account=account, currency=currency).total


def house(kind: LedgerKind) -> Decimal:
    return sum(Posting.objects.filter(ledger_account__kind=kind).values_list("amount", flat=True), D(0))


# --- the way it goes --------------------------------------------------------------------------------------------------


def test_a_deposit_is_booked_once_it_is_approved(maker: User, checker: User) -> None:
    account = factories.account()
    asked = cash.ask(wish(account, CashKind.DEPOSIT, "250"), by=maker)
    assert total(account) == D(100_000)
    cash.approve(asked.pk, by=checker)
    asked.refresh_from_db()
    assert (asked.state, asked.checker, total(account)) == (RequestState.APPROVED, checker, D(100_250))
    assert asked.transfer is not None
    assert asked.transfer.by == checker


def test_a_withdrawal_is_set_aside_when_asked_for_and_leaves_when_approved(maker: User, checker: User) -> None:
    account = factories.account()
    asked = cash.ask(wish(account, CashKind.WITHDRAWAL, "400"), by=maker)
    assert (total(account), house(LedgerKind.HOUSE_PENDING)) == (D(99_600), D(-400))
    cash.approve(asked.pk, by=checker)
    assert (total(account), house(LedgerKind.HOUSE_PENDING)) == (D(99_600), D(0))
    assert house(LedgerKind.HOUSE_CASH) == D(100_000 - 400)


@pytest.mark.parametrize("end", ["reject", "cancel"])
def test_what_was_set_aside_comes_back(maker: User, checker: User, end: str) -> None:
    account = factories.account()
    asked = cash.ask(wish(account, CashKind.WITHDRAWAL, "400"), by=maker)
    if end == "reject":
        cash.reject(asked.pk, by=checker, note="No signature")
    else:
        cash.cancel(asked.pk, by=maker)
    assert (total(account), house(LedgerKind.HOUSE_PENDING)) == (D(100_000), D(0))


def test_a_transfer_takes_from_one_and_gives_to_the_other(maker: User, checker: User) -> None:
    source, target = factories.account(), factories.account(deposits={})
    asked = cash.ask(wish(source, CashKind.TRANSFER, "30.50", to_account_id=target.pk), by=maker)
    cash.approve(asked.pk, by=checker)
    assert (total(source), total(target)) == (D("99969.50"), D("30.50"))


@pytest.mark.parametrize(
    ("kind", "amount", "after"), [("credit", "5", 5), ("adjustment", "7", 7), ("adjustment", "-9", -9)]
)
def test_credits_and_adjustments_are_the_houses_cost(
    maker: User, checker: User, kind: str, amount: str, after: int
) -> None:
    account = factories.account()
    asked = cash.ask(wish(account, CashKind(kind), amount), by=maker)
    cash.approve(asked.pk, by=checker)
    assert total(account) == D(100_000) + after
    assert house(LedgerKind.HOUSE_ADJUSTMENT) == after


def test_a_form_sent_twice_asks_once(maker: User) -> None:
    account = factories.account()
    once = wish(account, CashKind.WITHDRAWAL, "100")
    assert cash.ask(once, by=maker) == cash.ask(once, by=maker)
    assert total(account) == D(99_900)


def test_orders_cannot_use_what_a_withdrawal_set_aside(maker: User) -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account(deposits={"USD": D(3000)})
    cash.ask(wish(account, CashKind.WITHDRAWAL, "1000"), by=maker)
    from trading.errors import OrderRejected

    with pytest.raises(OrderRejected, match="2000 USD free"):
        desk.place(account, "buy", "100000")  # needs 2,200


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(call: Any, words: str) -> None:
    before = (Transfer.objects.count(), list(CashRequest.objects.values()))
    with pytest.raises(CashRefused, match=words):
        call()
    assert (Transfer.objects.count(), list(CashRequest.objects.values())) == before


def test_nobody_approves_or_rejects_what_he_asked_for(maker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    refused(partial(cash.approve, asked.pk, by=maker), "somebody else has to approve")
    refused(partial(cash.reject, asked.pk, by=maker, note="x"), "cancel it instead")


def test_only_who_asked_cancels(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    refused(partial(cash.cancel, asked.pk, by=checker), "Only who asked for it")


def test_a_decided_request_stays_decided(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    cash.approve(asked.pk, by=checker)
    refused(partial(cash.approve, asked.pk, by=officer("third")), "decided already: approved")
    refused(partial(cash.reject, asked.pk, by=checker, note="x"), "decided already: approved")
    refused(partial(cash.cancel, asked.pk, by=maker), "decided already: approved")


def test_a_rejection_says_why(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    refused(partial(cash.reject, asked.pk, by=checker, note="  "), "Write down why")


@pytest.mark.parametrize("role", [Role.DEALING, Role.SUPPORT, Role.COMPLIANCE])
def test_other_roles_neither_ask_nor_decide(maker: User, role: Role) -> None:
    account, stranger = factories.account(), officer("stranger", role)
    refused(lambda: cash.ask(wish(account, CashKind.DEPOSIT, "1"), by=stranger), "Your role does not allow")
    asked = cash.ask(wish(account, CashKind.DEPOSIT, "250"), by=maker)
    refused(partial(cash.approve, asked.pk, by=stranger), "Your role does not allow")


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [
        ("deposit", "0", "must be positive"),
        ("deposit", "-1", "must be positive"),
        ("withdrawal", "0.001", "at most 2 decimals"),
        ("adjustment", "0", "must be positive"),
    ],
)
def test_an_amount_that_cannot_be_money_is_refused(maker: User, kind: str, amount: str, words: str) -> None:
    account = factories.account()
    refused(lambda: cash.ask(wish(account, CashKind(kind), amount), by=maker), words)


def test_a_request_says_why(maker: User) -> None:
    account = factories.account()
    refused(lambda: cash.ask(wish(account, CashKind.DEPOSIT, "1", reason=" "), by=maker), "Write down the reason")


def test_a_transfer_needs_two_accounts(maker: User) -> None:
    account = factories.account()
    for other in (None, account.pk):
        asked = wish(account, CashKind.TRANSFER, "1", to_account_id=other)
        refused(partial(cash.ask, asked, by=maker), "needs a second account")


def test_a_withdrawal_never_exceeds_free_money(maker: User) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(deposits={"USD": D(3000)})
    desk.fill(account, "buy", "100000")  # holds 2,200.20 of margin and is 10 below its price
    refused(lambda: cash.ask(wish(account, CashKind.WITHDRAWAL, "789.81"), by=maker), "Only 789.8 USD")
    cash.ask(wish(account, CashKind.WITHDRAWAL, "789.80"), by=maker)
    assert cash.free(account, "USD") == 0


def test_profit_that_is_not_realized_cannot_be_withdrawn(maker: User) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(deposits={"USD": D(3000)})
    desk.fill(account, "buy", "100000")
    factories.quote("EURUSD", "1.20000", "1.20010")
    refused(lambda: cash.ask(wish(account, CashKind.WITHDRAWAL, "3000.01"), by=maker), "Only 3000 USD")


def test_coins_in_reserve_cannot_be_withdrawn(maker: User) -> None:
    factories.quote("BTCUSDT", "60000", "60010")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"BTC": D(1)})
    desk.place(account, "sell", "0.7", "BTCUSDT", limit="70000")
    refused(lambda: cash.ask(wish(account, CashKind.WITHDRAWAL, "0.4", currency="BTC"), by=maker), "Only 0.3 BTC")


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        (AccountState.CLOSED, CashKind.DEPOSIT, "is closed"),
        (AccountState.BLOCKED, CashKind.WITHDRAWAL, "is blocked"),
    ],
)
def test_states_of_accounts_are_respected(maker: User, state: str, kind: CashKind, words: str) -> None:
    account = factories.account(state=state)
    refused(lambda: cash.ask(wish(account, kind, "1"), by=maker), words)


def test_limits_of_the_role_hold_for_asking_and_deciding(maker: User, checker: User) -> None:
    account = factories.account()
    CashLimit.objects.create(role=Role.OPERATIONS, currency_id="USD", request_limit=D(1000), approve_limit=D(500))
    refused(lambda: cash.ask(wish(account, CashKind.DEPOSIT, "1000.01"), by=maker), "limit is 1000 USD")
    asked = cash.ask(wish(account, CashKind.DEPOSIT, "1000"), by=maker)
    refused(partial(cash.approve, asked.pk, by=checker), "limit is 500 USD")
    cash.approve(asked.pk, by=officer("head", Role.ADMINISTRATOR))
    assert total(account) == D(101_000)


# --- what the database refuses ----------------------------------------------------------------------------------------


def sql(statement: str, *params: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params)


def test_sql_cannot_make_the_maker_the_checker(maker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    transfer = Transfer.objects.latest("pk")
    with pytest.raises(DatabaseError, match="cash_four_eyes"):
        sql(
            "UPDATE operations_cashrequest SET state = 'approved', checker_id = maker_id, decided_at = now(),"
            " transfer_id = %s WHERE id = %s",
            transfer.pk,
            asked.pk,
        )


def test_sql_cannot_change_who_asked_or_what_for(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    for change in (f"maker_id = {checker.pk}", "amount = 2500", "reason = 'x'", "account_id = account_id + 1"):
        with pytest.raises(DatabaseError, match="Cannot update"):
            sql(f"UPDATE operations_cashrequest SET {change} WHERE id = %s", asked.pk)


def test_sql_cannot_approve_without_a_booking(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    with pytest.raises(DatabaseError, match="cash_state_is_complete"):
        sql(
            "UPDATE operations_cashrequest SET state = 'approved', checker_id = %s, decided_at = now() WHERE id = %s",
            checker.pk,
            asked.pk,
        )


def test_a_request_cannot_be_born_approved(maker: User, checker: User) -> None:
    account = factories.account()
    with pytest.raises(DatabaseError, match="Cannot insert"), transaction.atomic():
        CashRequest.objects.create(
            kind=CashKind.DEPOSIT, account=account, currency_id="USD", amount=D(1), reason="x", key="x", maker=maker,
            checker=checker, state="approved", decided_at=account.opened_at, transfer=Transfer.objects.latest("pk"),
        )  # fmt: skip


def test_a_decision_is_neither_changed_nor_deleted(maker: User, checker: User) -> None:
    asked = cash.ask(wish(factories.account(), CashKind.DEPOSIT, "250"), by=maker)
    cash.approve(asked.pk, by=checker)
    third = officer("third")
    for statement in (
        f"UPDATE operations_cashrequest SET checker_id = {third.pk}",
        "UPDATE operations_cashrequest SET state = 'requested', checker_id = NULL",
        "DELETE FROM operations_cashrequest",
    ):
        with pytest.raises(DatabaseError):
            sql(statement)


# --- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_checkers_at_once_book_once(maker: User, checker: User) -> None:
    account, second = factories.account(), officer("second")
    asked = cash.ask(wish(account, CashKind.DEPOSIT, "250"), by=maker)
    results = together(
        partial(cash.approve, asked.pk, by=checker),
        partial(cash.approve, asked.pk, by=second),
        partial(cash.reject, asked.pk, by=second, note="x"),
    )
    assert sorted(type(result).__name__ for result in results) == ["CashRefused", "CashRefused", "CashRequest"]
    state = CashRequest.objects.get().state
    assert total(account) == (D(100_250) if state == RequestState.APPROVED else D(100_000))


@pytest.mark.django_db(transaction=True)
def test_two_withdrawals_at_once_cannot_both_take_the_last_money(maker: User) -> None:
    account = factories.account(deposits={"USD": D(1000)})
    wishes = [wish(account, CashKind.WITHDRAWAL, "700") for _ in range(2)]
    results = together(*[partial(cash.ask, each, by=maker) for each in wishes])
    assert sorted(type(result).__name__ for result in results) == ["CashRefused", "CashRequest"]
    assert total(account) == D(300)


@pytest.mark.django_db(transaction=True)
def test_transfers_in_both_directions_do_not_deadlock(maker: User, checker: User) -> None:
    one, other = factories.account(), factories.account()
    there = [cash.ask(wish(one, CashKind.TRANSFER, "10", to_account_id=other.pk), by=maker) for _ in range(3)]
    back = [cash.ask(wish(other, CashKind.TRANSFER, "10", to_account_id=one.pk), by=maker) for _ in range(3)]
    results = together(*[partial(cash.approve, asked.pk, by=checker) for asked in (*there, *back)])
    assert {type(result) for result in results} == {CashRequest}
    assert (total(one), total(other)) == (D(100_000), D(100_000))
