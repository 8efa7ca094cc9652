"""What reports do to the books, one after the other: any of them twice, late, or where it does not belong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from accounts.choices import Profile
from accounts.models import Account
from marketdata.choices import Shortability
from tests import factories
from tests.trading import desk
from tests.trading.venues import conftest as desk_of_venues
from trading import orders, positions
from trading.choices import DurationType
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.states import OrderStatus
from trading.venue import Fill
from trading.venues import reports
from trading.venues.choices import Direction, RequestState
from trading.venues.models import FixMessage, FixSession, VenueOrder, VenueRequest, VenueRoute
from trading.venues.reports import Report, ReportKind, Unbookable

D = Decimal


@pytest.fixture
def session(db: None) -> FixSession:
    return desk_of_venues.session()


def send(session: FixSession) -> None:
    """What the session's process does: take what waits, and count it."""
    for request in VenueRequest.objects.sendable().order_by("pk"):
        seq = FixMessage.objects.count() + 1
        request.message = FixMessage.objects.create(
            session=session, epoch=1, direction=Direction.OUT, seq=seq, type="D", raw=""
        )
        request.state, request.sent_at = RequestState.SENT, request.created_at
        request.save()


@pytest.fixture
def order(account: Account, session: FixSession) -> Order:
    """An order to buy 10,000 at 1.09, sent and not answered."""
    return sent(account, session, limit="1.09")


def sent(account: Account, session: FixSession, side: str = "buy", qty: str = "10000", **prices: str) -> Order:
    made = desk.place(account, side, qty, **prices)
    desk.drain(account)
    send(session)
    return made


def take(order: Order, kind: ReportKind, number: int = 1, **fields: Any) -> Order:
    report = Report(kind, f"{order.pk}-{number}", **fields)
    reports.take(order.requests.get(cl_ord_id=report.cl_ord_id).session, report)
    order.refresh_from_db()
    return order


def fill(order: Order, qty: str, price: str = "1.09", exec_id: str = "e", **fields: Any) -> Order:
    return take(order, ReportKind.EXECUTED, fill=Fill(D(qty), D(price), exec_id), **fields)


def test_each_report_twice_makes_one_event(order: Order) -> None:
    for _ in range(2):
        take(order, ReportKind.ACKNOWLEDGED, venue_order_id="V1")
    for _ in range(2):
        fill(order, "4000", exec_id="a")
    for _ in range(2):
        take(order, ReportKind.CANCELLED, cum_qty=D(4000))
    assert (order.status, order.filled_qty) == (OrderStatus.CANCELLED, 4000)
    kinds = list(order.events.values_list("kind", flat=True))
    assert kinds == ["placed", "acknowledged", "executed", "cancelled"]


def test_an_execution_before_the_acknowledgement_is_both(order: Order) -> None:
    fill(order, "4000")
    assert order.status == OrderStatus.WORKING
    take(order, ReportKind.ACKNOWLEDGED)
    assert list(order.events.values_list("kind", flat=True)) == ["placed", "acknowledged", "executed"]


def test_more_than_ordered_is_not_booked(order: Order) -> None:
    fill(order, "9000", exec_id="a")
    with pytest.raises(Unbookable, match="only 1000 is left"):
        fill(order, "2000", exec_id="b")
    order.refresh_from_db()
    assert order.filled_qty == 9000


def test_a_fill_of_an_order_that_has_ended_is_not_booked(order: Order) -> None:
    take(order, ReportKind.CANCELLED, cum_qty=D(0))
    with pytest.raises(Unbookable, match="the order is cancelled"):
        fill(order, "1000")
    assert order.executions.count() == 0


def test_what_was_executed_is_booked_though_the_account_cannot_bear_it(session: FixSession) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(deposits={"USD": D(300)})
    order = sent(account, session)  # holds 220.02
    fill(order, "10000", "1.60")  # whose margin is 320
    assert (order.status, account.positions.get().margin) == (OrderStatus.FILLED, 320)


def test_a_spot_asset_is_not_overdrawn_whatever_was_executed(session: FixSession) -> None:
    factories.quote("BTCUSDT", "59990", "60000")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(100)})
    order = desk.place(account, "buy", "0.001", "BTCUSDT", limit="60000")
    desk.drain(account)
    send(session)
    with pytest.raises(Unbookable, match="set aside"):
        fill(order, "0.001", "160000")
    assert order.executions.count() == 0


def test_a_rejection_of_what_is_partly_filled_is_not_booked(order: Order) -> None:
    fill(order, "1000")
    with pytest.raises(Unbookable, match="1000 of it is filled"):
        take(order, ReportKind.REJECTED)


def test_an_unknown_name_is_not_booked(order: Order, session: FixSession) -> None:
    with pytest.raises(Unbookable, match="no order of ours has the ClOrdID 77-1"):
        reports.take(session, Report(ReportKind.ACKNOWLEDGED, "77-1"))


def test_the_order_of_another_session_is_unknown(order: Order) -> None:
    other = FixSession.objects.create(name="other", host="h", port=1, sender_comp_id="a", target_comp_id="b")
    with pytest.raises(Unbookable, match="no order of ours"):
        reports.take(other, Report(ReportKind.ACKNOWLEDGED, f"{order.pk}-1"))


def test_a_cancel_waits_for_a_change_on_its_way_and_ends_what_came_of_it(
    order: Order, account: Account, session: FixSession
) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    orders.modify(account.pk, order.pk, qty=D(12000))
    send(session)
    orders.cancel(account.pk, order.pk)
    send(session)
    assert order.requests.get(cl_ord_id=f"{order.pk}-3").state == RequestState.WAITING
    take(order, ReportKind.REPLACED, 2, orig_cl_ord_id=f"{order.pk}-1")
    send(session)
    take(order, ReportKind.CANCELLED, 3, orig_cl_ord_id=f"{order.pk}-2")
    assert (order.status, order.qty, order.reason) == (OrderStatus.CANCELLED, 12000, "")


def test_a_second_change_is_refused_while_one_is_on_its_way(order: Order, account: Account) -> None:
    orders.modify(account.pk, order.pk, qty=D(12000))
    held = Order.objects.get(pk=order.pk).held
    with pytest.raises(OrderRejected) as refused:
        orders.modify(account.pk, order.pk, qty=D(50000))
    assert refused.value.reason == Reason.CHANGE_PENDING
    assert Order.objects.get(pk=order.pk).held == held


@pytest.mark.parametrize("duration", [DurationType.IOC, DurationType.FOK])
@pytest.mark.parametrize("qty", ["10000", "20000"])
def test_what_rests_there_does_not_become_immediate(
    order: Order, account: Account, duration: DurationType, qty: str
) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    with pytest.raises(OrderRejected) as refused:
        orders.modify(account.pk, order.pk, qty=D(qty), duration=duration)
    assert refused.value.reason == Reason.VENUE_DURATION
    order.refresh_from_db()
    assert (order.duration, order.requests.count()) == (DurationType.GTC, 1)
    orders.modify(account.pk, order.pk, qty=D(10000), duration=DurationType.DAY)  # due dates are ours
    assert order.requests.count() == 1


def test_what_was_not_sent_becomes_immediate(account: Account, session: FixSession) -> None:
    order = desk.place(account, "buy", "10000", limit="1.09")
    desk.drain(account)
    for duration, there in ((DurationType.FOK, "4"), (DurationType.IOC, "3"), (DurationType.GTC, "1")):
        orders.modify(account.pk, order.pk, qty=D(20000), duration=duration)
        assert (order.requests.get().time_in_force, order.requests.get().qty) == (there, 20000)


@pytest.mark.parametrize("sent_before", [True, False])
@pytest.mark.parametrize(
    ("side", "there", "near", "reason"),
    [("buy", "1.12", "1.08", Reason.STOP_SIDE_BUY), ("sell", "1.08", "1.12", Reason.STOP_SIDE_SELL)],
)
def test_a_stop_does_not_go_to_this_side_of_the_market_there(
    session: FixSession, side: str, there: str, near: str, reason: Reason, sent_before: bool
) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(of_group=factories.group(symbols=["EURUSD"], stops_both_ways=True))
    order = desk.place(account, side, "10000", stop=there)
    if sent_before:
        desk.drain(account)
        send(session)
        take(order, ReportKind.ACKNOWLEDGED)
    with pytest.raises(OrderRejected) as refused:
        orders.modify(account.pk, order.pk, qty=D(10000), stop_price=D(near))
    assert refused.value.reason == reason
    order.refresh_from_db()
    assert (order.stop_price, order.if_touched) == (D(there), False)


def test_a_change_down_to_what_is_filled_cancels_the_rest(order: Order, account: Account, session: FixSession) -> None:
    fill(order, "4000")
    orders.modify(account.pk, order.pk, qty=D(4000))
    send(session)
    assert order.requests.get(cl_ord_id=f"{order.pk}-2").kind == "cancel"
    take(order, ReportKind.CANCELLED, 2, cum_qty=D(4000))
    assert (order.status, order.filled_qty, order.held) == (OrderStatus.CANCELLED, 4000, 0)


def test_a_pending_change_holds_for_either_outcome_also_while_it_fills(
    order: Order, account: Account, session: FixSession
) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    assert order.held == D("218")
    orders.modify(account.pk, order.pk, qty=D(20000))
    send(session)
    assert Order.objects.get(pk=order.pk).held == D("436")
    fill(order, "5000")
    take(order, ReportKind.REFUSED, 2)
    assert (order.qty, order.held) == (10000, D("109"))


def test_a_spot_change_that_is_refused_gives_back_what_it_reserved(session: FixSession) -> None:
    factories.quote("BTCUSDT", "59990", "60000")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(10_000)})
    order = desk.place(account, "buy", "0.01", "BTCUSDT", limit="50000")
    desk.drain(account)
    send(session)
    take(order, ReportKind.ACKNOWLEDGED)
    orders.modify(account.pk, order.pk, qty=D("0.02"))
    assert account.balances.get().reserved == 1000
    send(session)
    take(order, ReportKind.REFUSED, 2)
    assert (account.balances.get(currency="USDT").reserved, order.held) == (500, 500)


def test_the_status_of_a_change_that_is_in_force_is_its_acceptance(
    order: Order, account: Account, session: FixSession
) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    orders.modify(account.pk, order.pk, qty=D(20000))
    send(session)
    for _ in range(2):
        take(order, ReportKind.STATUS, 2, cum_qty=D(0))
    assert (order.qty, order.revision) == (20000, 1)


def test_a_change_that_never_arrived_is_refused(order: Order, account: Account, session: FixSession) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    orders.modify(account.pk, order.pk, qty=D(20000))
    send(session)
    take(order, ReportKind.UNKNOWN, 2)
    assert (order.status, order.qty, order.held) == (OrderStatus.WORKING, 10000, D("218"))


def test_a_closing_order_that_fills_after_its_position_is_gone_opens_one(account: Account, session: FixSession) -> None:
    fill(sent(account, session), "10000", exec_id="a")
    position = account.positions.get()
    closing = positions.close(account.pk, position.pk, request_id="close")
    desk.drain(account)
    other = sent(account, session, "sell")
    fill(other, "10000", exec_id="b")
    fill(closing, "10000", exec_id="c")
    position.refresh_from_db()
    assert position.qty == 0
    assert (account.positions.open().get().side, account.positions.open().get().qty) == ("sell", 10000)


def test_the_end_of_an_order_answers_what_was_still_asked(order: Order, account: Account, session: FixSession) -> None:
    take(order, ReportKind.ACKNOWLEDGED)
    orders.cancel(account.pk, order.pk)
    send(session)
    fill(order, "10000")
    assert [request.state for request in order.requests.order_by("pk")] == ["accepted", "refused"]
    take(order, ReportKind.REFUSED, 2)  # the venue's own answer comes after
    assert order.status == OrderStatus.FILLED
    assert not VenueOrder.objects.get(order=order).is_open


def test_our_prices_do_not_move_an_order_that_is_elsewhere(account: Account, session: FixSession) -> None:
    from trading.engine import Engine

    order = sent(account, session, limit="1.09")
    take(order, ReportKind.ACKNOWLEDGED)
    engine = Engine()
    engine.start()
    factories.quote("EURUSD", "1.0889", "1.0890")
    assert engine.run_once(block_ms=1) == 0
    order.refresh_from_db()
    assert (order.queued, order.filled_qty) == (False, 0)


def test_a_fill_that_only_a_status_tells_of_is_booked_at_the_price_that_is_left(order: Order) -> None:
    fill(order, "4000", "1.08", exec_id="a")
    for _ in range(2):
        take(order, ReportKind.STATUS, cum_qty=D(7000), avg_price=D("1.086"))
    assert list(order.executions.order_by("pk").values_list("qty", "price")) == [
        (4000, D("1.08")),
        (3000, D("1.094")),  # (7,000 × 1.086 − 4,000 × 1.08) / 3,000
    ]
    fill(order, "3000", "1.094", exec_id="late", cum_qty=D(7000))
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, 7000)
    fill(order, "3000", exec_id="b", cum_qty=D(10000))
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, 10000)


def test_a_status_that_the_order_is_filled_fills_it(order: Order) -> None:
    take(order, ReportKind.STATUS, cum_qty=D(10000), avg_price=D("1.09"))
    fill(order, "10000", exec_id="late", cum_qty=D(10000))
    assert (order.status, order.filled_qty, order.avg_price) == (OrderStatus.FILLED, 10000, D("1.09"))


def test_a_status_that_the_order_ended_partly_filled_books_that_and_ends_it(order: Order) -> None:
    take(order, ReportKind.CANCELLED, cum_qty=D(2000), avg_price=D("1.09"))
    assert (order.status, order.filled_qty) == (OrderStatus.CANCELLED, 2000)


def test_a_status_of_more_than_was_ordered_is_not_booked(order: Order) -> None:
    with pytest.raises(Unbookable):
        take(order, ReportKind.STATUS, cum_qty=D(10001), avg_price=D("1.09"))
    assert not order.executions.exists()


def test_a_fill_of_which_a_status_told_a_part_is_left_to_people(order: Order) -> None:
    take(order, ReportKind.STATUS, cum_qty=D(5000), avg_price=D("1.09"))
    with pytest.raises(Unbookable, match="4000 was executed, of which an answer of before told 2000"):
        fill(order, "4000", exec_id="b", cum_qty=D(7000))
    assert list(order.executions.values_list("qty", flat=True)) == [5000]
    fill(order, "2000", exec_id="c", cum_qty=D(7000))
    assert list(order.executions.order_by("pk").values_list("qty", flat=True)) == [5000, 2000]


def test_a_close_executed_after_the_position_was_opened_anew_is_booked(account: Account, session: FixSession) -> None:
    """Meanwhile something else closed the position that it was for: one net position is left all the same."""
    with internally(session):
        desk.fill(account, "buy", "10000")
    close = positions.close(account.pk, account.positions.get().pk, request_id="c")
    desk.drain(account)
    send(session)
    with internally(session):
        desk.fill(account, "sell", "10000")
        desk.fill(account, "buy", "20000")
    fill(close, "10000", "1.1")
    position = account.positions.open().get()
    assert (close.status, position.side, position.qty) == (OrderStatus.FILLED, "buy", 10000)


def test_a_sale_executed_of_what_is_gone_is_booked_though_it_cannot_be_borrowed(session: FixSession) -> None:
    instrument = factories.instrument("ACME")
    instrument.shortability = Shortability.NONE
    instrument.save()
    factories.quote("ACME", "100.00", "100.01")
    account = factories.account(Profile.EXCHANGE, symbols=["ACME"])
    with internally(session):
        desk.fill(account, "buy", "100", "ACME")
    order = desk.place(account, "sell", "100", "ACME", limit="101")
    desk.drain(account)
    send(session)
    with internally(session):
        positions.close(account.pk, account.positions.get().pk, request_id="c")
        desk.drain(account)
    fill(order, "100", "101")
    position = account.positions.open().get()
    assert (order.status, position.side, position.qty) == (OrderStatus.FILLED, "sell", 100)


@contextmanager
def internally(session: FixSession) -> Iterator[None]:
    """What is placed now is executed by us."""
    VenueRoute.objects.update(is_active=False)
    yield
    VenueRoute.objects.update(is_active=True)
