"""Races on real Postgres, in threads. Each was seen to fail with its guard taken out."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection

from accounts.choices import Profile
from accounts.models import Account, Balance
from tests import factories
from tests.trading import desk
from trading import books, orders, positions, triggers
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.models import Execution, Order
from trading.states import OrderStatus
from trading.tickets import Ticket
from trading.triggers import Touch

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture(autouse=True)
def books_agree():
    yield
    assert books.verify() == []


def together(*calls: Callable[[], object]) -> list[object]:
    """Run the calls at the same moment, each on a connection of its own; their results, or what they raised."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        try:
            start.wait()
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def buy(account: Account, request_id: str, qty: str = "1000", symbol: str = "EURUSD") -> Callable[[], Order]:
    ticket = Ticket(symbol, Side.BUY, OrderType.MARKET, D(qty))
    return lambda: orders.place(account.pk, ticket, request_id=request_id)


def test_eight_requests_with_one_id_make_one_order() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    placed = together(*[buy(account, "same")] * 8)
    assert len({order.pk for order in placed if isinstance(order, Order)}) == 1
    assert len(placed) == 8
    assert account.orders.count() == 1


def test_two_orders_cannot_both_take_the_last_margin() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account(deposits={"USD": D(30_000)})  # one million needs 22,002
    results = together(buy(account, "a", "1000000"), buy(account, "b", "1000000"))
    assert sorted(type(result).__name__ for result in results) == ["Order", "OrderRejected"]
    assert account.orders.count() == 1


def test_two_orders_cannot_both_reserve_the_last_coins() -> None:
    factories.quote("BTCUSDT", "60000", "60010")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"BTC": D(1)})
    ticket = Ticket("BTCUSDT", Side.SELL, OrderType.LIMIT, D("0.7"), limit_price=D(70_000))
    results = together(*[partial(orders.place, account.pk, ticket, request_id=request_id) for request_id in ("a", "b")])
    assert sorted(type(result).__name__ for result in results) == ["Order", "OrderRejected"]
    assert Balance.objects.get(account=account, currency="BTC").reserved == D("0.7")


def test_two_workers_on_one_order_book_it_once() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    order = desk.place(account, "buy", "10000")
    results = together(*[partial(orders.work, account.pk, order.pk)] * 4)
    assert results == [None] * 4
    assert Execution.objects.get().qty == D(10000)


def test_a_cancel_and_a_fill_at_once_leave_one_end() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    for _ in range(5):
        order = desk.place(account, "buy", "1000")
        cancelled, _ = together(
            partial(orders.cancel, account.pk, order.pk),
            partial(orders.work, account.pk, order.pk),
        )
        order.refresh_from_db()
        if isinstance(cancelled, OrderRejected):
            assert (cancelled.reason, order.status) == (Reason.ORDER_FINAL_FILLED, OrderStatus.FILLED)
        else:
            assert (order.status, order.filled_qty) == (OrderStatus.CANCELLED, D(0))


def test_a_position_is_closed_once_by_two_clicks() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    desk.fill(account, "buy", "10000")
    position = account.positions.get()
    results = together(
        *[partial(positions.close, account.pk, position.pk, request_id=request_id) for request_id in ("a", "b")]
    )
    assert sorted(type(result).__name__ for result in results) == ["Order", "OrderRejected"]
    desk.drain(account)
    position.refresh_from_db()
    assert position.qty == 0


def test_fills_of_one_net_position_add_up() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    placed = [desk.place(account, side, "1000") for side in ("buy", "buy", "buy", "sell", "buy", "sell")]
    together(*[partial(orders.work, account.pk, order.pk) for order in placed])
    position = account.positions.open().get()
    assert (position.side, position.qty) == ("buy", D(2000))


def test_trigger_and_work_and_cancel_do_not_deadlock() -> None:
    from trading.prices import Prices

    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    resting = [desk.fill(account, "buy", "1000", limit="1.09") for _ in range(10)]
    factories.quote("EURUSD", "1.0889", "1.0890")
    quote = Prices().quote("EURUSD")
    assert quote is not None
    results = together(
        lambda: triggers.trigger({order.pk: Touch(quote) for order in reversed(resting)}),
        lambda: [orders.modify(account.pk, order.pk, qty=D(2000)) for order in reversed(resting[:5])],
        lambda: [orders.cancel(account.pk, order.pk) for order in resting[5:]],
    )
    assert not [result for result in results if isinstance(result, Exception)]
    desk.drain(account)
    assert account.orders.live().count() == 0


def test_the_version_rises_with_every_change() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    before = Account.objects.get(pk=account.pk).version
    together(*[buy(account, str(number)) for number in range(6)])
    assert Account.objects.get(pk=account.pk).version == before + 6
