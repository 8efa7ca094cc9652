"""Orders over FIX, against a real counterparty on a socket that does as it pleases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.choices import Profile
from accounts.models import Account
from tests import factories
from tests.processes import eventually
from tests.trading import desk
from tests.trading.venues import conftest as desk_of_venues
from tests.trading.venues.acceptor import Acceptor, BookOrder
from trading import books, orders
from trading.errors import Reason
from trading.models import Execution, Order
from trading.states import OrderStatus
from trading.venues import sweeper
from trading.venues.choices import LinkState, RequestState
from trading.venues.fix import session as rules
from trading.venues.models import FixMessage, FixSession, VenueOrder

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture(autouse=True)
def books_agree() -> Iterator[None]:
    yield
    assert books.verify() == []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading.venues.fix.runner.BACK_OFF_SECONDS", (0.05,))


@pytest.fixture
def session(acceptor: Acceptor) -> FixSession:
    return desk_of_venues.session(acceptor.port)


def placed(account: Account, side: str = "buy", qty: str = "10000", **prices: str) -> Order:
    """An order that was handed to its venue."""
    order = desk.place(account, side, qty, **(prices or {"limit": "1.09"}))
    desk.drain(account)
    order.refresh_from_db()
    return order


def there(acceptor: Acceptor, order: Order) -> BookOrder:
    return eventually(
        lambda: next((each for each in acceptor.orders if f"{order.pk}-1" in each.names), None), "it is there"
    )


def becomes(order: Order, status: OrderStatus, filled: str | None = None) -> Order:
    def is_so() -> bool:
        order.refresh_from_db()
        return order.status == status and (filled is None or order.filled_qty == D(filled))

    eventually(is_so, f"{order} becomes {status}")
    return order


def test_an_order_is_acknowledged_filled_in_parts_and_booked(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    with desk_of_venues.running(session):
        order = placed(account)
        assert (order.venue, order.status) == ("fix:lp", OrderStatus.PLACING)
        becomes(order, OrderStatus.WORKING)
        book_order = there(acceptor, order)
        assert (book_order.symbol, book_order.side, book_order.qty, book_order.limit) == ("EURUSD", "1", 10000, "1.09")
        acceptor.fill(book_order, "4000", "1.0899")
        becomes(order, OrderStatus.WORKING, "4000")
        acceptor.fill(book_order, "6000", "1.09")
        becomes(order, OrderStatus.FILLED, "10000")
    assert order.avg_price == D("1.08996")
    assert account.positions.get().qty == 10000
    assert list(order.events.values_list("kind", flat=True)) == [
        "placed",
        "acknowledged",
        "executed",
        "executed",
    ]


def test_a_rejected_order_ends_with_the_venues_words(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    acceptor.manners.rejects_orders = True
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.REJECTED)
    assert (order.reason, order.reason_details, order.held) == (Reason.VENUE_REJECTED, {"text": "Not today"}, 0)


def test_a_cancel_is_pending_until_the_venue_agrees(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    acceptor.manners.answers_cancels = False
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        for _ in range(2):  # the second click asks nothing new
            assert orders.cancel(account.pk, order.pk).status == OrderStatus.WORKING
        eventually(lambda: acceptor.of_type("F"), "the cancel is there")
        acceptor.fill(there(acceptor, order), "3000", "1.09")
        becomes(order, OrderStatus.WORKING, "3000")
        acceptor.cancel(there(acceptor, order), name=f"{order.pk}-2", old=f"{order.pk}-1")
        becomes(order, OrderStatus.CANCELLED, "3000")
    assert len(acceptor.of_type("F")) == 1
    assert (order.held, order.reason) == (0, "")


def test_a_fill_that_crosses_our_cancel_is_booked_though_it_comes_after(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    acceptor.manners.answers_cancels = False
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        orders.cancel(account.pk, order.pk)
        eventually(lambda: acceptor.of_type("F"), "the cancel is there")
        book_order = there(acceptor, order)
        book_order.filled = D(3000)
        acceptor.cancel(book_order, name=f"{order.pk}-2", old=f"{order.pk}-1")
        eventually(lambda: not VenueOrder.objects.get(order=order).is_open, "the venue's end is known")
        becomes(order, OrderStatus.WORKING, "0")  # not final: a fill is still to come
        acceptor.report(book_order, "F", [(32, "3000"), (31, "1.09")], exec_id="late")
        becomes(order, OrderStatus.CANCELLED, "3000")
    assert account.positions.get().qty == 3000


def test_a_change_takes_effect_when_the_venue_says_so(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        held = order.held
        assert orders.modify(account.pk, order.pk, qty=D(20000), limit_price=D("1.08")).qty == 10000
        eventually(lambda: Order.objects.get(pk=order.pk).qty == 20000, "changed")
        order.refresh_from_db()
        assert (order.limit_price, order.revision, order.held) == (D("1.08"), 1, D("432"))
        assert held == D("218")
        acceptor.fill(there(acceptor, order), "20000", "1.08")
        becomes(order, OrderStatus.FILLED, "20000")


def test_a_refused_change_leaves_the_order_as_it_was(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    acceptor.manners.refuses_changes = True
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        orders.modify(account.pk, order.pk, qty=D(20000), limit_price=D("1.08"))
        eventually(lambda: order.events.filter(kind="refused").exists(), "refused")
        order.refresh_from_db()
        assert (order.qty, order.limit_price, order.held) == (10000, D("1.09"), D("218"))
        orders.cancel(account.pk, order.pk)
        eventually(lambda: order.events.filter(kind="refused").count() == 2, "refused again")
        assert becomes(order, OrderStatus.WORKING).held == D("218")


def test_an_unsolicited_cancel_ends_the_order(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        acceptor.cancel(there(acceptor, order), "Market closed early")
        becomes(order, OrderStatus.CANCELLED)
    assert (order.reason, order.reason_details) == (Reason.VENUE_CANCELLED, {"text": "Market closed early"})


def test_reports_that_come_twice_change_nothing(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    acceptor.manners.says_twice = True
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        acceptor.fill(there(acceptor, order), "4000", "1.09", exec_id="A")
        acceptor.fill(there(acceptor, order), "6000", "1.09", exec_id="B")
        becomes(order, OrderStatus.FILLED, "10000")
    assert Execution.objects.filter(order=order).count() == 2
    assert not FixMessage.objects.exclude(error="").exists()


def test_missing_messages_are_asked_for_and_booked_in_order(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        book_order = there(acceptor, order)
        acceptor.manners.is_mute = True
        acceptor.fill(book_order, "1000", "1.09")
        acceptor.fill(book_order, "2000", "1.09")
        acceptor.manners.is_mute = False
        acceptor.fill(book_order, "3000", "1.09")
        becomes(order, OrderStatus.WORKING, "6000")
        assert [message.text(7) for message in acceptor.of_type("2")] == ["3"]
    assert list(order.executions.order_by("pk").values_list("qty", flat=True)) == [1000, 2000, 3000]


def test_a_garbled_message_is_asked_for_again(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        book_order = there(acceptor, order)
        book_order.filled = D(1000)
        fill = [(11, f"{order.pk}-1"), (37, "O"), (17, "G1"), (150, "F"), (39, "1"), (32, "1000"), (31, "1.09")]
        acceptor.garble("8", [*fill, (14, "1000")])
        acceptor.say("0", [])
        becomes(order, OrderStatus.WORKING, "1000")


def test_after_a_lost_connection_the_numbers_go_on(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        acceptor.drop()
        acceptor.fill(there(acceptor, order), "10000", "1.09")  # nobody is there to hear it
        becomes(order, OrderStatus.FILLED, "10000")
    assert acceptor.connections == 2
    assert [message.text(141) for message in acceptor.of_type("A")] == ["", ""]


def test_an_answer_lost_with_the_connection_is_recovered(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    acceptor.manners.drops_at_order = True
    with desk_of_venues.running(session):
        order = placed(account)
        there(acceptor, order)
        becomes(order, OrderStatus.WORKING)  # the order's status was asked
    assert len(acceptor.of_type("D")) == 1
    assert acceptor.of_type("H")[0].text(11) == f"{order.pk}-1"


def test_an_order_lost_with_the_connection_is_sent_again_and_once(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    acceptor.manners.loses_orders = True
    with desk_of_venues.running(session):
        order = placed(account)
        eventually(lambda: acceptor.lost, "sent and lost")
        acceptor.manners.loses_orders = False
        becomes(order, OrderStatus.WORKING)
    (message,) = acceptor.of_type("D")
    assert message.flag(43)
    assert len(acceptor.orders) == 1


def test_an_old_order_is_not_sent_again_but_rejected(
    account: Account, session: FixSession, acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "FRESH", timedelta(0))
    acceptor.manners.loses_orders = True
    with desk_of_venues.running(session):
        order = placed(account)
        eventually(lambda: acceptor.lost, "sent and lost")
        acceptor.manners.loses_orders = False
        becomes(order, OrderStatus.REJECTED)
    assert (order.reason, acceptor.orders) == (Reason.VENUE_UNKNOWN, [])


def test_what_was_not_sent_is_cancelled_and_changed_here(account: Account, session: FixSession) -> None:
    order = placed(account)
    assert orders.modify(account.pk, order.pk, qty=D(5000), limit_price=D("1.08")).qty == 5000
    desk.drain(account)
    request = order.requests.get()
    assert (request.qty, request.limit_price, request.state) == (5000, D("1.08"), RequestState.WAITING)
    assert orders.cancel(account.pk, order.pk).status == OrderStatus.CANCELLED
    assert order.requests.get().state == RequestState.WITHDRAWN


def test_an_order_that_finds_no_session_is_given_up(account: Account, session: FixSession) -> None:
    order = placed(account)
    assert sweeper.sweep() == 0
    order.requests.update(created_at=timezone.now() - timedelta(seconds=11))
    assert sweeper.sweep() == 1
    order.refresh_from_db()
    assert (order.status, order.reason, order.held) == (OrderStatus.REJECTED, Reason.VENUE_AWAY, 0)


def test_numbers_begin_anew_when_staff_wants_it(account: Account, session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
    FixSession.objects.update(reset_wanted=True)
    with desk_of_venues.running(session):
        eventually(lambda: acceptor.of_type("H"), "its orders are asked about")
        session.refresh_from_db()
        assert (session.epoch, session.reset_wanted) == (2, False)
        acceptor.fill(there(acceptor, order), "10000", "1.09")
        becomes(order, OrderStatus.FILLED)


def test_a_silent_counterparty_is_tested_and_left(session: FixSession, acceptor: Acceptor) -> None:
    FixSession.objects.update(heartbeat_seconds=1)
    acceptor.manners.answers_tests = False
    with desk_of_venues.running(session):
        eventually(lambda: acceptor.connections == 2, "connected again")
        assert len(acceptor.of_type("1")) >= 1
        assert len(acceptor.of_type("0")) >= 1


def test_a_number_that_goes_back_ends_the_session_and_is_told(session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        acceptor.next_out = 1
        acceptor.say("0", [])
        eventually(lambda: "too low" in FixSession.objects.get().trouble, "told")
    assert "too low" in acceptor.of_type("5")[0].text(58)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n=", b"8=FIX.4.4\x01x=1\x01"])
def test_what_is_no_fix_ends_the_connection(session: FixSession, acceptor: Acceptor, noise: bytes) -> None:
    with desk_of_venues.running(session):
        acceptor.write_raw(noise)
        eventually(lambda: acceptor.connections == 2, "connected again")


def test_a_report_of_nothing_of_ours_does_not_stop_those_behind_it(
    account: Account, session: FixSession, acceptor: Acceptor
) -> None:
    with desk_of_venues.running(session):
        order = becomes(placed(account), OrderStatus.WORKING)
        acceptor.say("8", [(11, "who"), (37, "O"), (17, "Z"), (150, "F"), (39, "2"), (32, "1"), (31, "1"), (14, "1")])
        acceptor.fill(there(acceptor, order), "10000", "1.09")
        becomes(order, OrderStatus.FILLED)
    assert FixMessage.objects.exclude(error="").get().error == "no order of ours has the ClOrdID who"


def test_a_disabled_session_logs_out(session: FixSession, acceptor: Acceptor) -> None:
    with desk_of_venues.running(session):
        FixSession.objects.update(is_enabled=False)
        eventually(lambda: FixSession.objects.get().state == LinkState.DISCONNECTED, "disconnected")
    assert len(acceptor.of_type("5")) == 1


def test_a_spot_market_buy_goes_with_the_price_that_its_reserve_pays(session: FixSession, acceptor: Acceptor) -> None:
    factories.quote("BTCUSDT", "59990", "60000")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(100_000)})
    with desk_of_venues.running(session):
        order = desk.place(account, "buy", "1", "BTCUSDT")
        desk.drain(account)
        there(acceptor, order)
        (message,) = acceptor.of_type("D")
        limit = D(message.text(44))
        assert (message.text(40), message.text(59)) == ("2", "3")
        assert order.held - D("0.01") < limit <= order.held
        acceptor.fill(there(acceptor, order), "1", f"{limit}")
        becomes(order, OrderStatus.FILLED)
    assert account.balances.get(currency="BTC").total == 1
    assert account.balances.get(currency="USDT").reserved == 0
