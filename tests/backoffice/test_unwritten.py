"""Writes that wait for each other: nobody can tell that they wait, and they go out in one statement."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from accounts import rows
from accounts.models import Account
from backoffice.audit import tracking
from backoffice.postgres.unwritten import MOST_ROWS
from tests import factories
from trading.choices import EventKind, OrderType, Side
from trading.models import Execution, Order, OrderEvent, Position, PositionFill
from trading.states import OrderStatus

pytestmark = pytest.mark.django_db
D = Decimal
FAR = 1_000_000  # an id that no sequence has reached


@pytest.fixture
def account() -> Account:
    return factories.account(number="FX")


def an_order(account: Account, pk: int = FAR, **fields: Any) -> Order:
    given = {"side": Side.BUY, "type": OrderType.MARKET, "qty": D(1000), "request_id": f"r{pk}", "held": D("1.50")}
    given |= {"instrument": factories.instrument(), "held_currency_id": "USD", "venue": "internal"}
    return Order(pk=pk, account=account, **{**given, **fields})


def an_execution(order: Order, number: int) -> Execution:
    given = {"order": order, "account": order.account, "instrument": order.instrument, "side": order.side}
    given |= {"qty": D(10), "price": D(1), "commission": D(0), "commission_currency_id": "USD", "venue": "internal"}
    return Execution(pk=FAR + number, venue_exec_id=f"e{number}", **given)


def changes(asked: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in asked if "SAVEPOINT" not in query["sql"]]


def test_one_statement_writes_all_and_the_next_one_finds_it(account: Account) -> None:
    order = an_order(account)
    with CaptureQueriesContext(connection) as asked:
        rows.insert_later(order)
        order.record(EventKind.PLACED, note="it's 100 %")
        order.advance(OrderStatus.WORKING, at=account.opened_at)
        order.record(EventKind.ACKNOWLEDGED)
        rows.insert_later(an_execution(order, 1))
        rows.update_later(order)
        assert changes(asked) == []
        found = Order.objects.get(pk=FAR)
    assert len(changes(asked)) == 2
    assert (found.status, found.qty, found.held, found.limit_price) == (OrderStatus.WORKING, D(1000), D("1.5"), None)
    assert (found.if_touched, found.reason_details, found.book) == (False, {}, None)
    events = list(order.events.order_by("pk").values_list("kind", "status", "details"))
    assert events == [
        (EventKind.PLACED, OrderStatus.PLACING, {"note": "it's 100 %"}),
        (EventKind.ACKNOWLEDGED, OrderStatus.WORKING, {}),
    ]
    assert [each.venue_exec_id for each in order.executions.all()] == ["e1"]


def test_what_is_changed_twice_is_written_once(account: Account) -> None:
    order = rows.insert_later(an_order(account))
    assert Order.objects.get(pk=FAR).filled_qty == 0
    with CaptureQueriesContext(connection) as asked:
        order.filled_qty = D(10)
        rows.update_later(order, ["filled_qty"])
        order.filled_qty, order.avg_price = D(20), D("1.25")
        rows.update_later(order, ["filled_qty", "avg_price"])
        order.qty = D(1)  # of which nobody says that it is to be stored
        assert list(Order.objects.values_list("qty", "filled_qty", "avg_price")) == [(D(1000), D(20), D("1.25"))]
    assert len(changes(asked)) == 2


def test_what_is_too_much_for_one_statement_goes_out_in_several(account: Account) -> None:
    order = rows.insert_later(an_order(account))
    with CaptureQueriesContext(connection) as asked:
        for number in range(2 * MOST_ROWS):
            order.record(EventKind.TRIGGERED, number=number)
    assert len(changes(asked)) == 2
    told = order.events.order_by("pk").values_list("details__number", flat=True)
    assert list(told) == [str(number) for number in range(2 * MOST_ROWS)]


def test_what_was_to_follow_follows_in_its_order(account: Account) -> None:
    done: list[Any] = []
    order = rows.insert_later(an_order(account))
    rows.afterwards(lambda: done.append(Order.objects.filter(pk=FAR).exists()))
    rows.afterwards(lambda: order.record(EventKind.PLACED))
    assert done == []
    assert OrderEvent.objects.filter(order=FAR).count() == 1
    assert done == [True]


@transaction.atomic
def put_off(*orders: Order, calls: list[int] | None = None) -> None:
    for order in orders:
        rows.insert_later(order)
    if calls is not None:
        rows.afterwards(lambda: calls.append(1))
        raise ZeroDivisionError


def test_a_savepoint_that_is_taken_back_takes_back_what_was_put_off_in_it_alone(account: Account) -> None:
    calls: list[int] = []
    rows.insert_later(an_order(account))
    with pytest.raises(ZeroDivisionError):
        put_off(an_order(account, FAR + 1), calls=calls)
    put_off(an_order(account, FAR + 2))
    assert set(Order.objects.values_list("pk", flat=True)) == {FAR, FAR + 2}
    assert calls == []


def test_a_fault_is_met_by_whoever_asks_next(account: Account) -> None:
    @transaction.atomic
    def ask_next() -> None:
        rows.insert_later(an_order(account, held=D(-1)))
        Order.objects.count()

    with pytest.raises(IntegrityError):
        ask_next()


@pytest.mark.django_db(transaction=True)
def test_a_commit_writes_first_and_does_not_happen_where_that_fails(account: Account) -> None:
    put_off(an_order(account))
    assert Order.objects.count() == 1
    with pytest.raises(IntegrityError):
        put_off(an_order(account, FAR + 1), an_order(account, FAR + 2, held=D(-1)))
    with pytest.raises(ZeroDivisionError):
        put_off(an_order(account, FAR + 3), calls=[])
    assert [each.pk for each in Order.objects.all()] == [FAR]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_nothing_waits(account: Account) -> None:
    for put_off in (rows.insert_later, rows.update_later):
        with pytest.raises(TransactionManagementError):
            put_off(an_order(account))


def test_what_is_written_together_is_not_in_the_audit_trail() -> None:
    """Which is told who acts before each statement that changes a tracked table, by the table that it begins with."""
    written_together = {model._meta.db_table for model in (Order, OrderEvent, Execution, Position, PositionFill)}
    assert not written_together & set(tracking.tables())
