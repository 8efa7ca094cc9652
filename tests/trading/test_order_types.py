"""Stop-limit orders, stops in both directions, price bands, durations and their end: ORD-22, ORD-23, CFG-9."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.choices import AccountState, Profile
from accounts.models import Account
from marketdata.choices import Shortability
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from trading import expiry, orders, tasks
from trading.choices import DurationType
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.states import OrderStatus

D = Decimal
ZERO = Decimal(0)


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


def refused(reason: Reason, account: Account, *args: str, **fields: Any) -> OrderRejected:
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, *args, **fields)
    assert refusal.value.reason == reason
    assert not Order.objects.exists()
    return refusal.value


def again(order: Order) -> Order:
    order.refresh_from_db()
    return order


# --- stop-limit orders and both directions ----------------------------------------------------------------------------


def test_a_stop_limit_order_becomes_a_limit_order_at_its_stop(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", stop="1.11", limit="1.1105")
    assert (order.status, order.triggered_at) == (OrderStatus.WORKING, None)
    desk.market(account, "1.11100", "1.11110")  # beyond the stop and the limit
    assert (again(order).status, order.filled_qty) == (OrderStatus.WORKING, ZERO)
    assert order.triggered_at is not None
    desk.market(account, "1.10900", "1.10910")  # below the stop again: it is a limit order now
    assert (again(order).status, order.avg_price) == (OrderStatus.FILLED, D("1.1091"))


def test_a_stop_limit_order_is_not_filled_within_its_limit_before_its_stop(account: Account) -> None:
    order = desk.fill(account, "sell", "10000", stop="1.09", limit="1.08")
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, ZERO)
    desk.market(account, "1.09000", "1.09010")
    assert (again(order).status, order.avg_price) == (OrderStatus.FILLED, D("1.09"))


def test_a_stop_that_was_reached_is_not_moved_any_more(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", stop="1.11", limit="1.1105")
    desk.market(account, "1.11100", "1.11110")
    with pytest.raises(OrderRejected) as refusal:
        orders.modify(account.pk, order.pk, qty=D(10000), stop_price=D("1.2"))
    assert refusal.value.reason == Reason.ALREADY_TRIGGERED
    orders.modify(account.pk, order.pk, qty=D(10000), limit_price=D("1.112"))
    desk.drain(account)
    assert again(order).status == OrderStatus.FILLED


@pytest.mark.parametrize("fields", [{"stop": "1.09"}, {"stop": "1.09", "limit": "1.091"}])
def test_stops_lie_beyond_the_market_unless_the_group_says_otherwise(account: Account, fields) -> None:
    refused(Reason.STOP_SIDE_BUY, account, "buy", "10000", **fields)
    factories.change_conditions(account.group, stops_both_ways=True, stop_limits_both_ways=True)
    assert desk.fill(account, "buy", "10000", **fields).status == OrderStatus.WORKING


@pytest.mark.parametrize(
    ("side", "stop", "short_of", "reaching", "price"),
    [
        ("buy", "1.09", ("1.08991", "1.09001"), ("1.08990", "1.09000"), "1.09"),
        ("sell", "1.11", ("1.10999", "1.11009"), ("1.11000", "1.11010"), "1.11"),
    ],
)
def test_a_stop_on_this_side_is_a_market_if_touched_order(account, side, stop, short_of, reaching, price) -> None:
    factories.change_conditions(account.group, stops_both_ways=True)
    order = desk.fill(account, side, "10000", stop=stop)
    desk.market(account, *short_of)
    assert (again(order).status, order.if_touched) == (OrderStatus.WORKING, True)
    desk.market(account, *reaching)
    assert (again(order).status, order.avg_price) == (OrderStatus.FILLED, D(price))


def test_a_stop_moved_to_the_other_side_is_reached_from_there(account: Account) -> None:
    factories.change_conditions(account.group, stops_both_ways=True)
    order = desk.fill(account, "buy", "10000", stop="1.09")
    orders.modify(account.pk, order.pk, qty=D(10000), stop_price=D("1.11"))
    desk.drain(account)
    desk.market(account, "1.08000", "1.08010")
    assert again(order).status == OrderStatus.WORKING
    desk.market(account, "1.11000", "1.11010")
    assert again(order).status == OrderStatus.FILLED


def test_prices_beyond_the_band_are_taken_for_mistyped(account: Account) -> None:
    factories.change_conditions(account.group, price_band=D("0.1"))
    refusal = refused(Reason.PRICE_BAND, account, "buy", "10000", limit="0.98")
    assert str(refusal) == "The price is too far from the market: from 0.99 to 1.21011 is accepted at the moment."
    assert desk.place(account, "buy", "10000", limit="0.99")


def test_what_cannot_be_borrowed_is_only_sold_from_what_is_held(account: Account) -> None:
    Instrument.objects.update(shortability=Shortability.NONE)
    refused(Reason.NOT_SHORTABLE, account, "sell", "10000")
    desk.fill(account, "buy", "10000")
    assert desk.fill(account, "sell", "10000").status == OrderStatus.FILLED


# --- durations --------------------------------------------------------------------------------------------------------


def test_immediate_or_cancel_fills_what_is_there_and_cancels_the_rest(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(account, "buy", "10000", limit="1.1001", duration="ioc")
    assert (order.status, order.filled_qty, order.reason) == (OrderStatus.CANCELLED, D(3000), Reason.IOC_REST)
    assert order.held == ZERO


def test_fill_or_kill_fills_as_a_whole_or_not_at_all(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000"), ("1.1002", "7000")])
    killed = desk.fill(account, "buy", "10000", limit="1.1001", duration="fok")
    assert (killed.status, killed.filled_qty, killed.reason) == (OrderStatus.CANCELLED, ZERO, Reason.FOK_UNFILLED)
    filled = desk.fill(account, "buy", "10000", limit="1.1002", duration="fok")
    assert (filled.status, filled.avg_price) == (OrderStatus.FILLED, D("1.10017"))


def test_what_never_rests_protects_what_it_filled(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(account, "buy", "10000", limit="1.1001", duration="ioc", sl="1.09")
    stop_loss = order.brackets.get()
    assert (stop_loss.status, stop_loss.qty, stop_loss.parent_type) == (OrderStatus.WORKING, D(3000), "position")


@pytest.mark.parametrize("fields", [{"stop": "1.2"}, {"stop": "1.2", "limit": "1.2"}])
def test_an_order_that_waits_for_its_stop_cannot_be_immediate(account: Account, fields) -> None:
    refused(Reason.DURATION_OF_TYPE, account, "buy", "10000", duration="fok", **fields)


def test_a_day_order_is_good_to_the_end_of_the_session(db: None, time_machine) -> None:
    time_machine.move_to(datetime(2026, 11, 24, 15, 0, tzinfo=UTC))  # 10:00 in New York, a Tuesday
    account = factories.account(Profile.EXCHANGE, symbols=["AAPL"])
    factories.quote("AAPL", "200.00", "200.02")
    order = desk.fill(account, "buy", "10", "AAPL", limit="190", duration="day")
    assert order.expires_at == datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
    time_machine.move_to(datetime(2026, 11, 24, 22, 0, tzinfo=UTC))
    evening = desk.place(account, "buy", "10", "AAPL", limit="190", duration="day")
    assert evening.expires_at == datetime(2026, 11, 25, 21, 0, tzinfo=UTC)


def test_an_order_that_is_due_is_cancelled_with_its_brackets(account: Account) -> None:
    until = timezone.now() + timedelta(hours=1)
    due = desk.fill(account, "buy", "10000", limit="1.09", duration="gtd", until=until, sl="1.08")
    later = desk.fill(account, "buy", "10000", limit="1.09", duration="gtd", until=until + timedelta(hours=1))
    assert tasks.expire() == 0
    Order.objects.filter(pk=due.pk).update(expires_at=timezone.now())
    assert tasks.expire() == 1
    assert (again(due).status, due.reason, due.held) == (OrderStatus.CANCELLED, Reason.EXPIRED, ZERO)
    assert due.brackets.get().status == OrderStatus.CANCELLED
    assert again(later).status == OrderStatus.WORKING
    assert tasks.expire() == 0


def test_expiry_works_through_more_than_one_batch(account: Account, monkeypatch) -> None:
    monkeypatch.setattr(tasks, "BATCH", 2)
    other = factories.account(of_group=account.group)
    until = timezone.now() + timedelta(hours=1)
    for each in (account, other, account, other, account):
        desk.place(each, "buy", "10000", limit="1.09", duration="gtd", until=until)
    Order.objects.update(expires_at=timezone.now())
    assert tasks.expire() == 5


def test_an_order_that_cannot_be_ended_does_not_keep_the_others(account: Account, caplog, monkeypatch) -> None:
    until = timezone.now() + timedelta(hours=1)
    broken = factories.account()
    stuck = desk.place(broken, "buy", "10000", limit="1.09", duration="gtd", until=until)
    fine = desk.place(account, "buy", "10000", limit="1.09", duration="gtd", until=until)
    expire = expiry.expire

    def expire_others(account_id: int, order_ids: set[int]) -> int:
        if account_id == broken.pk:
            raise ValueError
        return expire(account_id, order_ids)

    monkeypatch.setattr(expiry, "expire", expire_others)
    Order.objects.update(expires_at=timezone.now())
    assert tasks.expire() == 1
    assert (again(stuck).status, again(fine).status) == (OrderStatus.PLACING, OrderStatus.CANCELLED)
    assert f"orders [{stuck.pk}] could not be ended" in caplog.text


def test_an_account_that_may_not_trade_does_not_modify_but_cancels(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.09", sl="1.08")
    for state, reason in [
        (AccountState.NO_TRADING, Reason.ACCOUNT_NO_TRADING),
        (AccountState.CLOSE_ONLY, Reason.ACCOUNT_CLOSE_ONLY),
    ]:
        Account.objects.filter(pk=account.pk).update(state=state)
        with pytest.raises(OrderRejected) as refusal:
            orders.modify(account.pk, order.pk, qty=D(20000))
        assert refusal.value.reason == reason
    orders.cancel(account.pk, order.pk)


def test_an_order_that_is_due_is_not_filled_any_more(account: Account) -> None:
    order = desk.place(account, "buy", "10000", duration="gtd", until=timezone.now() + timedelta(hours=1))
    Order.objects.update(expires_at=timezone.now())
    desk.drain(account)
    assert (again(order).status, order.filled_qty) == (OrderStatus.CANCELLED, ZERO)


def test_an_order_that_was_prolonged_meanwhile_does_not_expire(account: Account) -> None:
    order = desk.place(account, "buy", "10000", limit="1.09", duration="gtd", until=timezone.now() + timedelta(hours=1))
    assert expiry.expire(account.pk, {order.pk}) == 0
    assert again(order).status == OrderStatus.PLACING


def test_modifying_changes_the_duration_and_keeps_one_not_sent(account: Account) -> None:
    until = (timezone.now() + timedelta(hours=1)).replace(microsecond=0)
    order = desk.fill(account, "buy", "10000", limit="1.09")
    orders.modify(account.pk, order.pk, qty=D(10000), duration=DurationType.GTD, good_till=until)
    assert (again(order).duration, order.expires_at) == (DurationType.GTD, until)
    orders.modify(account.pk, order.pk, qty=D(20000))
    assert (again(order).duration, order.expires_at) == (DurationType.GTD, until)
    orders.modify(account.pk, order.pk, qty=D(20000), duration=DurationType.GTC)
    assert (again(order).duration, order.expires_at) == (DurationType.GTC, None)
