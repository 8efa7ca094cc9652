"""Races around venues, in threads and processes. Each was seen to fail with its guard taken out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone

from accounts.models import Account
from tests import factories
from tests.concurrency.test_races import together
from tests.processes import eventually, running
from tests.trading import desk
from tests.trading.venues import conftest as desk_of_venues
from tests.trading.venues.acceptor import Acceptor
from trading import books, orders, reconciliation
from trading.alarms import Alarm
from trading.models import Execution, Order
from trading.states import OrderStatus
from trading.venue import Fill
from trading.venues import reports, sweeper
from trading.venues.choices import Direction, LinkState, RequestState
from trading.venues.fix.codec import encode
from trading.venues.fix.store import LeaseLost, Store
from trading.venues.models import FixMessage, FixSession, VenueRequest
from trading.venues.reports import Report, ReportKind, Unbookable

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture(autouse=True)
def books_agree() -> Iterator[None]:
    yield
    assert books.verify() == []


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


@pytest.fixture
def acceptor() -> Iterator[Acceptor]:
    with Acceptor() as started:
        yield started


def waiting(account: Account, qty: str = "10000") -> Order:
    order = desk.place(account, "buy", qty, limit="1.09")
    desk.drain(account)
    return order


def sent(account: Account, session: FixSession) -> Order:
    order = waiting(account)
    seq = FixMessage.objects.count() + 1
    message = FixMessage.objects.create(session=session, epoch=1, direction=Direction.OUT, seq=seq, type="D", raw="")
    order.requests.update(state=RequestState.SENT, sent_at=timezone.now(), message=message)
    return order


def test_a_report_twice_at_once_is_booked_once(account: Account) -> None:
    session = desk_of_venues.session()
    order = sent(account, session)
    report = Report(ReportKind.EXECUTED, f"{order.pk}-1", fill=Fill(D(4000), D("1.09"), "e"), cum_qty=D(4000))
    assert together(*[partial(reports.take, session, report)] * 4) == [None] * 4
    order.refresh_from_db()
    assert (order.filled_qty, Execution.objects.count()) == (4000, 1)


def test_a_fill_and_the_end_of_our_cancel_at_once_leave_both_in_the_books(account: Account) -> None:
    session = desk_of_venues.session()
    for number in range(5):
        order = sent(account, session)
        orders.cancel(account.pk, order.pk)
        name = f"{order.pk}-1"
        fill = Report(ReportKind.EXECUTED, name, fill=Fill(D(4000), D("1.09"), f"e{number}"), cum_qty=D(4000))
        ended = Report(ReportKind.CANCELLED, name, cum_qty=D(4000))
        assert together(partial(reports.take, session, ended), partial(reports.take, session, fill)) == [None, None]
        order.refresh_from_db()
        assert (order.status, order.filled_qty) == (OrderStatus.CANCELLED, 4000)


def test_a_cancel_and_a_whole_fill_at_once_end_as_filled(account: Account) -> None:
    session = desk_of_venues.session()
    for number in range(5):
        order = sent(account, session)
        fill = Report(ReportKind.EXECUTED, f"{order.pk}-1", fill=Fill(D(10000), D("1.09"), f"e{number}"))
        together(partial(orders.cancel, account.pk, order.pk), partial(reports.take, session, fill))
        order.refresh_from_db()
        assert order.status == OrderStatus.FILLED
        assert not order.requests.pending().exists()


def test_an_order_is_cancelled_here_or_sent_but_never_both(account: Account) -> None:
    session = desk_of_venues.session()
    store = Store(session.pk, "me")
    assert store.lease()
    for _ in range(8):
        order = waiting(account)
        send = partial(store.take_request, lambda seq, type_, body: encode(type_, seq, "A", "B", body))
        cancelled, raw = together(partial(orders.cancel, account.pk, order.pk), send)
        assert isinstance(cancelled, Order)
        if raw is None:
            assert cancelled.status == OrderStatus.CANCELLED
            assert order.requests.get().state == RequestState.WITHDRAWN
        else:
            assert cancelled.status == OrderStatus.PLACING
            assert [request.kind for request in order.requests.order_by("pk")] == ["new", "cancel"]
        VenueRequest.objects.filter(state=RequestState.WAITING).update(state=RequestState.WITHDRAWN)


def test_an_order_is_given_up_or_sent_but_never_both(account: Account) -> None:
    session = desk_of_venues.session()
    store = Store(session.pk, "me")
    assert store.lease()
    for _ in range(8):
        order = waiting(account, "1000")
        order.requests.update(created_at=timezone.now() - timedelta(seconds=11))
        send = partial(store.take_request, lambda seq, type_, body: encode(type_, seq, "A", "B", body))
        swept, raw = together(sweeper.sweep, send)
        assert isinstance(swept, int)
        order.refresh_from_db()
        assert order.status == (OrderStatus.REJECTED if raw is None else OrderStatus.PLACING)


def test_one_of_two_processes_has_the_session_and_the_other_writes_nothing() -> None:
    session = desk_of_venues.session()
    first, second = Store(session.pk, "first"), Store(session.pk, "second")
    taken = together(first.lease, second.lease)
    assert [bool(row) for row in taken].count(True) == 1
    loser = second if taken[0] else first
    with pytest.raises(LeaseLost):
        loser.number()
    with pytest.raises(LeaseLost):
        loser.expect(1, 2)
    session.refresh_from_db()
    assert (session.next_out, session.next_in) == (1, 1)


def test_two_comparisons_at_once_raise_one_alarm(account: Account) -> None:
    order = desk.place(account, "buy", "1000")
    Order.objects.update(updated_at=timezone.now() - timedelta(seconds=16))
    assert together(reconciliation.run, reconciliation.run) == [1, 1]
    assert Alarm.objects.get().subject == f"order {order.pk}"
    orders.cancel(account.pk, order.pk)


@pytest.mark.proof
def test_a_killed_process_is_followed_by_another_and_nothing_is_lost(account: Account, acceptor: Acceptor) -> None:
    session = desk_of_venues.session(acceptor.port)
    with running("manage.py", "run_fix") as first:
        eventually(lambda: FixSession.objects.get().state == LinkState.LOGGED_ON, "logged on")
        placed = [waiting(account, "1000") for _ in range(5)]
        eventually(lambda: len(acceptor.orders) == 5, "all there")
        with running("manage.py", "run_fix"):  # waits for the lease of the first
            first.send_signal(signal.SIGKILL)
            first.wait()
            for book_order in acceptor.orders:
                acceptor.fill(book_order, "1000", "1.09")  # nobody hears it
            placed.append(waiting(account, "1000"))
            eventually(lambda: len(acceptor.orders) == 6, "the sixth is there")
            acceptor.fill(acceptor.orders[-1], "1000", "1.09")
            eventually(lambda: Order.objects.filter(status=OrderStatus.FILLED).count() == 6, "all filled")
    assert acceptor.connections == 2
    assert Execution.objects.count() == 6
    assert account.positions.get().qty == 6000
    assert [message.text(11) for message in acceptor.of_type("D")] == [f"{order.pk}-1" for order in placed]
    assert session.requests.pending().count() == 0


def test_reports_of_several_orders_at_once_do_not_deadlock(account: Account) -> None:
    session = desk_of_venues.session()
    made = [sent(account, session) for _ in range(4)]
    fills = [
        partial(
            reports.take,
            session,
            Report(ReportKind.EXECUTED, f"{order.pk}-1", fill=Fill(D(1000), D("1.09"), f"{order.pk}-{part}")),
        )
        for part in range(2)
        for order in made
    ]
    results = together(*fills)
    assert [result for result in results if isinstance(result, Unbookable)] == []
    assert results == [None] * 8
    assert account.positions.get().qty == 8000
