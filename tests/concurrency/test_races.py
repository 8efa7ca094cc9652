"""Races on real Postgres, in threads. Each was seen to fail with its guard taken out."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.choices import Profile
from accounts.models import Account, Balance, Transfer
from tests import factories
from tests.processes import PATIENCE_SECONDS, eventually
from tests.trading import desk
from trading import (
    books,
    charges,
    confirmations,
    expiry,
    leverage,
    liquidation,
    orders,
    positions,
    tasks,
    triggers,
    valuation,
)
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.models import ChargeSchedule, Execution, Order
from trading.states import OrderStatus
from trading.tickets import Brackets, Ticket
from trading.triggers import Move, Touch

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


def each_in_turn(calls: Iterable[Callable[[], object]]) -> None:
    for call in calls:
        call()


def buy(
    account: Account, request_id: str, qty: str = "1000", symbol: str = "EURUSD", *, at_once: bool = False
) -> Callable[[], Order]:
    ticket = Ticket(symbol, Side.BUY, OrderType.MARKET, D(qty))
    return lambda: orders.place(account.pk, ticket, request_id=request_id, at_once=at_once)


@pytest.mark.parametrize("at_once", [False, True])
def test_eight_requests_with_one_id_make_one_order(at_once: bool) -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    placed = together(*[buy(account, "same", at_once=at_once)] * 8)
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
    assert results == [True] * 4
    assert Execution.objects.get().qty == D(10000)


def test_orders_worked_off_at_once_and_by_workers_add_up() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    waiting = [desk.place(account, "buy", "1000") for _ in range(4)]
    together(
        *[partial(orders.work, account.pk, order.pk) for order in waiting],
        *[buy(account, f"at-once-{number}", at_once=True) for number in range(4)],
    )
    assert account.positions.get().qty == D(8000)
    assert Execution.objects.count() == 8


def test_a_drain_leaves_an_account_to_the_one_that_is_at_it(settings) -> None:
    settings.ORDER_SHARDS = 1
    factories.quote("EURUSD", "1.1", "1.1001")
    busy = factories.account()
    other = factories.account(of_group=busy.group)
    placed = [desk.place(account, "buy", "1000") for account in (busy, busy, other)]

    def still_queued() -> list[bool]:
        return [Order.objects.get(pk=order.pk).queued for order in placed]

    def is_at_it() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted")
            return cursor.rowcount == 1

    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            Account.objects.changing(busy.pk)
            at_it = pool.submit(together, partial(tasks.drain, 0))
            eventually(is_at_it, "a drain waits for the account")
            assert pool.submit(together, partial(tasks.drain, 0)).result(PATIENCE_SECONDS) == [1]
            assert still_queued() == [True, True, False]
        at_it.result()
    assert still_queued() == [False, False, False]


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


def bracketed(account: Account, qty: str = "10000", **fields: str) -> Order:
    order = desk.fill(account, "buy", qty, **fields)
    account.refresh_from_db()
    return order


def test_eight_requests_with_one_id_make_one_order_and_one_pair_of_brackets() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    ticket = desk.ticket("buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    placed = together(*[partial(orders.place, account.pk, ticket, request_id="same")] * 8)
    assert len({order.pk for order in placed if isinstance(order, Order)}) == 1
    assert account.orders.count() == 3


def test_eight_requests_with_one_confirmation_make_one_order() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    ticket = desk.ticket("buy", "10000", limit="1.09")
    confirm_id = confirmations.issue(account, ticket)
    results = together(
        *[
            partial(orders.place, account.pk, ticket, request_id=f"r{number}", confirm_id=confirm_id)
            for number in range(8)
        ]
    )
    refused = [result.reason for result in results if isinstance(result, OrderRejected)]
    assert refused == [Reason.CONFIRM_USED] * 7
    assert account.orders.count() == 1


def test_a_fill_of_the_parent_and_its_cancel_leave_the_brackets_with_one_of_the_two() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    for _round in range(5):
        order = desk.place(account, "buy", "10000", sl="1.08", tp="1.12")
        together(partial(orders.work, account.pk, order.pk), partial(orders.cancel, account.pk, order.pk))
        order.refresh_from_db()
        brackets = {each.status for each in order.brackets.all()}
        assert (order.status, brackets) in [
            (OrderStatus.FILLED, {OrderStatus.WORKING}),
            (OrderStatus.CANCELLED, {OrderStatus.CANCELLED}),
        ]
        for position in account.positions.open():
            positions.close(account.pk, position.pk, request_id=f"close-{position.pk}")
        desk.drain(account)


def test_both_of_a_pair_reached_at_once_execute_one() -> None:
    factories.quote("BTCUSDT", "60000", "60010", size="100")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(50_000)})
    order = bracketed(account, "0.5", symbol="BTCUSDT", sl="55000", tp="65000")
    stop_loss, take_profit = order.brackets.order_by("role")
    books = {price: desk.quote_at("BTCUSDT", price) for price in ("54000", "66000")}
    triggers.trigger({stop_loss.pk: Touch(books["54000"]), take_profit.pk: Touch(books["66000"])})
    together(partial(orders.work, account.pk, stop_loss.pk), partial(orders.work, account.pk, take_profit.pk))
    statuses = sorted(order.brackets.values_list("status", flat=True))
    assert statuses == [OrderStatus.CANCELLED, OrderStatus.FILLED]
    assert Balance.objects.get(account=account, currency="BTC").total == 0


def test_a_close_and_a_stop_loss_at_once_never_turn_the_position() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    for number in range(5):
        factories.quote("EURUSD", "1.1", "1.1001")
        order = bracketed(account, sl="1.08", tp="1.12")
        position = account.positions.open().get()
        closing = positions.close(account.pk, position.pk, request_id=f"close-{number}")
        stop_loss = order.brackets.get(role="sl")
        triggers.trigger({stop_loss.pk: Touch(desk.quote_at("EURUSD", "1.0790"))})
        together(
            partial(orders.work, account.pk, closing.pk),
            partial(orders.work, account.pk, stop_loss.pk),
            partial(orders.cancel, account.pk, order.brackets.get(role="tp").pk),
        )
        desk.drain(account)
        assert not account.positions.open().exists()
        assert not account.orders.live().exists()
    assert set(account.positions.values_list("side", flat=True)) == {"buy"}


def test_engine_worker_and_client_on_one_pair_do_not_deadlock() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account(Profile.FX_HEDGING)
    pairs = [bracketed(account, "1000", sl="1.08", tp="1.12", trail="50") for _ in range(5)]
    legs = [leg for order in pairs for leg in order.brackets.order_by("-pk")]
    book = desk.quote_at("EURUSD", "1.1300")
    held, wanted = [position.pk for position in account.positions.open()], Brackets(take_profit=D("1.2"))
    results = together(
        lambda: triggers.trigger({leg.pk: Touch(book) for leg in legs}),
        lambda: triggers.ratchet({leg.pk: Move(D("1.11"), 10**13) for leg in legs}),
        partial(each_in_turn, [partial(orders.work, account.pk, leg.pk) for leg in reversed(legs)]),
        partial(each_in_turn, [partial(positions.protect, account.pk, pk, wanted) for pk in held]),
    )
    assert not [result for result in results if isinstance(result, Exception) and not isinstance(result, OrderRejected)]
    desk.drain(account)


def test_expiry_and_a_fill_at_once_end_the_order_once() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    until = timezone.now() + timedelta(hours=1)
    order = desk.place(account, "buy", "10000", duration="gtd", until=until, sl="1.08")
    Order.objects.filter(pk=order.pk).update(expires_at=timezone.now())
    results = together(
        partial(expiry.expire, account.pk, {order.pk}),
        partial(orders.work, account.pk, order.pk),
        partial(expiry.expire, account.pk, {order.pk}),
    )
    assert not [result for result in results if isinstance(result, Exception)]
    order.refresh_from_db()
    assert (order.status, order.events.filter(kind="cancelled").count()) == (OrderStatus.CANCELLED, 1)


def short_of_margin() -> Account:
    """Two positions whose losses took the account below its stop-out."""
    factories.quote("EURUSD", "1.1", "1.1")
    factories.quote("GBPUSD", "1.3", "1.3")
    account = factories.account(symbols=["EURUSD", "GBPUSD"], deposits={"USD": D(5000)})
    desk.fill(account, "buy", "200000")
    desk.fill(account, "buy", "10000", "GBPUSD")
    factories.quote("EURUSD", "1.085", "1.085")
    return account


def test_four_watches_close_the_worst_position_once() -> None:
    account = short_of_margin()
    results = together(*[partial(liquidation.review, account.pk)] * 4)
    assert not [result for result in results if isinstance(result, Exception)]
    assert [decision.kind for decision in account.margin_decisions.all()] == ["close"]
    assert account.orders.exclude(closes=None).count() == 1


def test_a_stop_out_and_the_clients_own_close_close_the_position_once() -> None:
    for number in range(4):
        account = short_of_margin()
        worst = account.positions.get(instrument__symbol="EURUSD")
        results = together(
            partial(liquidation.review, account.pk),
            partial(positions.close, account.pk, worst.pk, request_id=f"mine-{number}"),
        )
        assert not [each for each in results if isinstance(each, Exception) and not isinstance(each, OrderRejected)]
        desk.drain(account)
        worst.refresh_from_db()
        assert (worst.qty, worst.fills.filter(is_close=True).count()) == (D(0), 1)
        assert account.positions.open().count() == 1


def test_a_stop_out_and_a_new_order_leave_no_order_behind() -> None:
    account = short_of_margin()
    ticket = Ticket("GBPUSD", Side.SELL, OrderType.LIMIT, D(5000), limit_price=D("1.4"))
    together(
        partial(liquidation.review, account.pk),
        partial(orders.place, account.pk, ticket, request_id="resting"),
        partial(liquidation.review, account.pk),
    )
    for _ in range(3):
        liquidation.review(account.pk)
        desk.drain(account)
    assert [decision.kind for decision in account.margin_decisions.order_by("pk")][-1] == "restored"
    assert account.margin_decisions.filter(kind="close").count() == 1


def test_a_charge_is_booked_once_by_two_workers() -> None:
    factories.quote("EURUSD", "1.1", "1.1")
    account = factories.account()
    desk.fill(account, "buy", "100000")
    factories.set_terms(account.group, swap_long=D(-5), swap_short=D(1), triple_day=4)
    due = charges.next_rollover(timezone.now())
    ChargeSchedule.objects.create(kind="swap", due_at=due)
    booked = together(*[partial(charges.charge_swaps, due)] * 3)
    assert sum(each for each in booked if isinstance(each, int)) == 1
    assert Transfer.objects.filter(kind="swap").count() == 1


def test_leverage_and_an_order_cannot_both_take_the_last_margin() -> None:
    factories.quote("BTCUSDT.P", "60000", "60000", size="100")
    group = factories.group(Profile.PERPETUAL, symbols=["BTCUSDT.P"], margin_rate=D("0.1"))
    account = factories.account(of_group=group, base="USDT", deposits={"USDT": D(10_000)})
    desk.fill(account, "buy", "0.5", "BTCUSDT.P")  # holds 3,000; at 4:1 7,500
    together(
        partial(leverage.choose, account.pk, "BTCUSDT.P", D(4)),
        buy(account, "more", "0.9", "BTCUSDT.P"),  # 5,400, at 4:1 13,500
    )
    assert valuation.value(Account.objects.get(pk=account.pk)).free >= 0
