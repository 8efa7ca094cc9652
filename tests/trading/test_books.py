"""`verify_books` finds what was changed behind its back, and names it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.choices import CommissionKind, Profile
from accounts.models import Account, Balance, Posting
from tests import factories
from tests.trading import desk
from trading import books
from trading.models import Execution, Order, Position

D = Decimal


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    group = factories.group(symbols=["EURUSD"], commission_kind=CommissionKind.PER_MILLION, commission_rate=D(30))
    account = factories.account(of_group=group, number="FX-1")
    desk.fill(account, "buy", "10000")
    desk.fill(account, "sell", "4000")
    desk.fill(account, "buy", "1000", limit="1.05", tp="1.2")
    return account


@pytest.fixture
def spot(db: None) -> Account:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    account = factories.account(
        Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(50_000)}, number="S-1"
    )
    desk.fill(account, "buy", "0.1", "BTCUSDT")
    desk.fill(account, "buy", "0.1", "BTCUSDT", limit="50000")
    return account


@pytest.fixture(autouse=True)
def books_agree(db: None) -> Iterator[None]:
    """Here the books are spoilt on purpose; each test undoes it by rolling back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_books_that_agree_say_how_much_they_hold(account: Account) -> None:
    out = StringIO()
    call_command("verify_books", stdout=out)
    assert out.getvalue() == "The books agree: 1 accounts, 4 orders, 2 executions, 1 positions, 8 postings.\n"


@contextmanager
def without_triggers() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        yield
        cursor.execute("SET session_replication_role = origin")


def spoil_cash() -> None:
    Balance.objects.update(total=F("total") + 1)


def spoil_posting() -> None:
    with without_triggers():
        Posting.objects.filter(transfer__kind="deposit", amount__gt=0).update(amount=1)


def spoil_commission() -> None:
    with without_triggers():
        Execution.objects.filter(side="sell").update(commission=5)


def spoil_order() -> None:
    Order.objects.filter(side="sell").update(avg_price=2)


def spoil_fill() -> None:
    with without_triggers():
        Execution.objects.filter(side="sell").update(qty=3000)


def spoil_position() -> None:
    Position.objects.update(qty=7000)


def spoil_margin() -> None:
    Position.objects.update(margin=F("margin") + 1)


def spoil_bracket_qty() -> None:
    Order.objects.brackets().update(qty=2000)


def spoil_bracket_side() -> None:
    Order.objects.brackets().update(side="buy")


def spoil_parent() -> None:
    parent = Order.objects.filter(brackets__isnull=False)
    parent.update(status="cancelled", final_at=timezone.now(), held=0, queued=False)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_cash, "balance FX-1 USD: stored 100000.12, postings make 99999.12"),
        (spoil_posting, "its postings in USD sum to -99999, not to zero"),
        (spoil_commission, ":commission: -5 is due, -0.14 is posted"),
        (spoil_order, "average price 2, executions make 1.1"),
        (spoil_fill, "4000 of 4000 filled, executions make 3000"),
        (spoil_position, "quantity 7000, its fills make 6000"),
        (spoil_margin, "its fills make 132.01"),
        (spoil_bracket_qty, "2000 left, but it protects 1000"),
        (spoil_bracket_side, "lies on the side of what it protects"),
        (spoil_parent, "protects what has ended"),
    ],
)
def test_what_was_changed_behind_the_books_is_named(account, spoil: Callable[[], None], found: str, capsys) -> None:
    spoil()
    faults = books.verify()
    assert any(found in fault for fault in faults), faults
    with pytest.raises(CommandError, match="The books do not agree in"):
        call_command("verify_books", stderr=StringIO())


def test_a_reserve_that_no_order_holds_is_named(spot: Account) -> None:
    assert books.verify() == []
    Balance.objects.filter(currency="USDT").update(reserved=1)
    assert books.verify() == ["balance S-1 USDT: 1 reserved, orders hold 5000"]
