import itertools

import pytest
from django.db import Error, IntegrityError, connection, transaction

from tests import factories
from tests.trading import desk
from trading import states
from trading.models import Order
from trading.states import TRANSITIONS, IllegalTransition, OrderStatus

PAIRS = list(itertools.product(OrderStatus, OrderStatus))


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_status_changes_only_as_the_table_says(before: OrderStatus, after: OrderStatus) -> None:
    if after in TRANSITIONS[before]:
        states.check(1, before, after)
    else:
        with pytest.raises(IllegalTransition):
            states.check(1, before, after)


def test_final_is_final() -> None:
    assert {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED} == states.FINAL
    assert all(not TRANSITIONS[status] for status in states.FINAL)


@pytest.mark.parametrize("after", [OrderStatus.WORKING, OrderStatus.CANCELLED, OrderStatus.PLACING])
def test_the_database_refuses_to_reopen_a_final_order(db: None, after: OrderStatus) -> None:
    factories.quote("EURUSD", "1.1", "1.2")
    order = desk.fill(factories.account(), "buy", "1000")
    with pytest.raises(Error, match="Invalid transition"), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(status=after)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trading_execution SET price = 1",
        "DELETE FROM trading_execution",
        "UPDATE trading_orderevent SET kind = 'x'",
        "DELETE FROM trading_positionfill",
        "DELETE FROM trading_order",
        "UPDATE accounts_posting SET amount = 1",
        "DELETE FROM accounts_posting",
        "DELETE FROM accounts_transfer",
    ],
)
def test_the_database_refuses_to_rewrite_the_record(db: None, statement: str) -> None:
    factories.quote("EURUSD", "1.1", "1.2")
    desk.fill(factories.account(), "buy", "1000")
    with pytest.raises(Error, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_database_refuses_to_truncate_the_record(transactional_db: None) -> None:
    factories.account()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL backoffice.allow_truncate = 'off'")
        with pytest.raises(Error, match="Cannot truncate"), transaction.atomic():
            cursor.execute("TRUNCATE accounts_posting")


def test_the_database_refuses_a_second_order_of_a_request(db: None) -> None:
    factories.quote("EURUSD", "1.1", "1.2")
    account = factories.account()
    first, second = desk.place(account, "buy", "1000"), desk.place(account, "buy", "1000")
    with pytest.raises(IntegrityError, match="one_order_a_request"), transaction.atomic():
        Order.objects.filter(pk=second.pk).update(request_id=first.request_id)


def test_the_database_refuses_a_second_execution_of_a_venue_id(db: None) -> None:
    factories.quote("EURUSD", "1.1", "1.2")
    account = factories.account()
    execution = desk.fill(account, "buy", "1000").executions.get()
    execution.pk = None
    with pytest.raises(IntegrityError, match="one_execution_a_venue_id"), transaction.atomic():
        execution.save(force_insert=True)
