"""Statements, the trial balance and the end of the day agree with the postings."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from accounts import cash
from accounts.choices import LedgerKind, Profile
from accounts.models import Account, Transfer
from accounts.roles import Role
from backoffice.operations import day_end, statements
from backoffice.operations.models import DayEnd
from backoffice.operations.tasks import run_day_end
from tests import factories
from tests.backoffice.test_admin import browser
from tests.trading import desk

pytestmark = pytest.mark.django_db
D = Decimal
TODAY = datetime.now(UTC).date()


@pytest.fixture
def account() -> Account:
    """Opened with 1,000 the day before yesterday, 250.50 came yesterday and 3 today."""
    account = factories.account(number="STM-1", deposits={})
    for days, amount in ((2, "1000"), (1, "250.50"), (0, "3")):
        _deposit(account, amount, TODAY - timedelta(days=days))
    return account


def _deposit(account: Account, amount: str, day: date) -> None:
    transfer = cash.deposit(account.pk, D(amount), "USD", reference=f"{amount}-{day}")
    with connection.cursor() as cursor:  # the past cannot be written otherwise
        cursor.execute("SET session_replication_role = replica")
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        cursor.execute("UPDATE accounts_transfer SET created_at = %s WHERE id = %s", [noon, transfer.pk])
        cursor.execute("SET session_replication_role = origin")


def test_a_statement_runs_from_the_opening_to_the_closing_balance(account: Account) -> None:
    yesterday = TODAY - timedelta(days=1)
    (section,) = statements.statement(account, yesterday, yesterday).sections
    assert (section.opening, section.closing) == (D(1000), D("1250.5"))
    assert [(line.kind, line.amount, line.balance) for line in section.lines] == [("Deposit", D("250.5"), D("1250.5"))]
    assert section.totals() == {"Deposit": D("250.5")}


def test_a_period_without_postings_keeps_the_balance(account: Account) -> None:
    later = TODAY + timedelta(days=9)
    (section,) = statements.statement(account, later, later).sections
    assert (section.opening, section.lines, section.closing) == (D("1253.5"), [], D("1253.5"))


def test_every_currency_has_its_section() -> None:
    factories.quote("BTCUSDT", "60000", "60010")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(50_000)})
    desk.fill(account, "buy", "0.5", "BTCUSDT")
    sections = {each.currency: each.closing for each in statements.statement(account, TODAY, TODAY).sections}
    assert sections == {"BTC": D("0.5"), "USDT": D(50_000) - D("0.5") * 60_010}


def test_the_page_the_csv_and_the_pdf_say_the_same(account: Account) -> None:
    visitor, address = browser(Role.OPERATIONS), reverse("page:account_statement", args=[account.pk])
    period = {"first": f"{TODAY - timedelta(days=2)}", "last": f"{TODAY}"}
    page = visitor.get(address, period).content.decode()
    for amount in ("1,000", "1,250.5", "1,253.5"):
        assert amount in page
    rows = list(csv.reader(io.StringIO(visitor.get(address, {**period, "format": "csv"}).content.decode())))
    assert [row[-1] for row in rows[1:]] == ["0", "1000", "1250.5", "1253.5", "1253.5"]
    pdf = visitor.get(address, {**period, "format": "pdf"})
    assert (pdf.content[:5], pdf["Content-Type"]) == (b"%PDF-", "application/pdf")


@pytest.mark.parametrize(
    "period",
    [
        {"first": "2026-02-30", "last": "2026-03-01"},
        {"first": "2026-03-02", "last": "2026-03-01"},
        {"first": "2020-01-01", "last": "2026-03-01"},
        {"first": "x", "last": ""},
        {"first": "9999-12-31", "last": "9999-12-31"},
    ],
)
def test_an_impossible_period_is_a_sentence(account: Account, period: dict[str, str]) -> None:
    answer = browser(Role.OPERATIONS).get(reverse("page:account_statement", args=[account.pk]), period)
    assert answer.status_code == 200
    assert answer.context["form"].errors


def test_the_trial_balance_sums_to_zero(account: Account) -> None:
    lines = statements.trial_balance()
    assert {(line.kind, line.total) for line in lines} == {
        (LedgerKind.CLIENT, D("-1253.5")),
        (LedgerKind.HOUSE_CASH, D("1253.5")),
    }
    assert dict(statements.sums(lines)) == {"USD": D(0)}
    assert "debits equal credits" in browser(Role.COMPLIANCE).get(reverse("page:trial_balance")).content.decode()


def test_the_end_of_a_day_is_reported_once_and_kept(account: Account) -> None:
    with connection.cursor() as cursor:  # what the commit does
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    report = day_end.run(day_end.yesterday())
    assert report.is_well
    assert report.totals == [
        {"kind": "client", "currency": "USD", "total": "-1250.5"},
        {"kind": "house_cash", "currency": "USD", "total": "1250.5"},
    ]
    assert (report.figures["transfers"], report.figures["accounts"]) == (1, 1)
    assert run_day_end() == f"{day_end.yesterday()}"
    assert DayEnd.objects.get() == report
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        DayEnd.objects.update(faults=[])


def test_faults_of_the_books_are_in_the_report(account: Account) -> None:
    account.balances.update(total=D(1))
    report = day_end.run(day_end.yesterday())
    assert not report.is_well
    assert report.faults == ["balance STM-1 USD: stored 1, postings make 1253.5"]


def test_a_trail_that_was_cut_off_since_the_last_report_is_found(account: Account) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        first = day_end.run(day_end.yesterday())
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM audit_entry")
        cursor.execute("DELETE FROM audit_head")
        cursor.execute("SET session_replication_role = origin")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1), tick=True):
        second = day_end.run(day_end.yesterday())
    assert second.audit_faults == [
        f"the entry {first.audit_head} is not part of the chain: it was cut off or written anew"
    ]
    assert Transfer.objects.count() == 3
