"""Orders that are worked off in the transaction that accepts them, and those that are left to a drain."""

from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from accounts.models import Account
from marketdata import ticklog
from tests import factories
from tests.trading import desk
from trading import dispatch, executions, orders, positions, tasks
from trading.choices import EventKind
from trading.models import Order
from trading.states import OrderStatus
from trading.venues.models import FixSession, VenueRoute

pytestmark = pytest.mark.django_db

D = Decimal
_requests = count(1)


@pytest.fixture
def nudges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shards whose drain was sent for."""
    sent: list[int] = []
    monkeypatch.setattr(tasks.drain, "delay", sent.append)
    return sent


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


def place(account: Account, side: str, qty: str, **fields: Any) -> Order:
    ticket = desk.ticket(side, qty, **fields)
    order = orders.place(account.pk, ticket, request_id=f"at-once-{next(_requests)}", at_once=True)
    order.refresh_from_db()
    return order


def news() -> list[int]:
    """The orders of which the engine was told."""
    found = ticklog.read_streams({dispatch.CHANGES: "0-0"}, count=100, block_ms=None)
    return [int(fields[b"id"]) for _id, fields in found.get(dispatch.CHANGES, [])]


def test_a_market_order_is_filled_when_it_is_answered(
    account: Account, nudges: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        order = place(account, "buy", "10000")
    assert (order.status, order.filled_qty, order.queued) == (OrderStatus.FILLED, D(10000), False)
    assert [event.kind for event in order.events.all()] == [
        EventKind.PLACED,
        EventKind.ACKNOWLEDGED,
        EventKind.EXECUTED,
    ]
    assert (account.positions.get().qty, nudges, news()) == (D(10000), [], [])


def test_a_limit_order_works_when_it_is_answered_and_the_engine_is_told(
    account: Account, nudges: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        order = place(account, "buy", "10000", limit="1.09")
    assert (order.status, order.queued) == (OrderStatus.WORKING, False)
    assert (nudges, news()) == ([], [order.pk])


def test_brackets_are_at_work_when_their_order_is_answered(
    account: Account, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        order = place(account, "buy", "10000", sl="1.09", tp="1.12")
    pair = account.orders.exclude(pk=order.pk)
    assert {(bracket.status, bracket.closes) for bracket in pair} == {(OrderStatus.WORKING, account.positions.get())}
    assert set(news()) == {order.pk, *(bracket.pk for bracket in pair)}


def test_what_protects_a_position_ends_with_the_close_of_it(account: Account) -> None:
    place(account, "buy", "10000", sl="1.09", tp="1.12")
    positions.close(account.pk, account.positions.get().pk, request_id="close", at_once=True)
    assert not account.positions.open().exists()
    assert not account.orders.live().exists()


def test_a_position_is_turned_by_its_reverse(account: Account) -> None:
    place(account, "buy", "10000")
    side = desk.ticket("sell", "1").side
    positions.reverse(account.pk, account.positions.get().pk, side, request_id="turn", at_once=True)
    turned = account.positions.open().get()
    assert (turned.side, turned.qty) == ("sell", D(10000))


def test_a_last_look_is_left_to_a_drain(nudges: list[int], django_capture_on_commit_callbacks: Any) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(of_group=factories.group(symbols=["EURUSD"], last_look_pips=D(2)))
    with django_capture_on_commit_callbacks(execute=True):
        order = place(account, "buy", "10000")
    assert (order.status, order.queued) == (OrderStatus.PLACING, True)
    assert nudges == [dispatch.shard_of(account.pk)]


def test_an_order_for_another_venue_is_left_to_a_drain(
    account: Account, nudges: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    VenueRoute.objects.create(
        priority=1, session=FixSession.objects.create(name="lp", host="h", port=1, is_enabled=True)
    )
    with django_capture_on_commit_callbacks(execute=True):
        order = place(account, "buy", "10000")
    assert (order.status, order.queued, order.venue) == (OrderStatus.PLACING, True, "fix:lp")
    assert nudges == [dispatch.shard_of(account.pk)]


@pytest.mark.django_db(transaction=True)
def test_a_fault_while_it_is_worked_off_leaves_nothing_and_the_request_may_come_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a fault of ours")

    ticket = desk.ticket("buy", "10000")
    with monkeypatch.context() as broken:
        broken.setattr(executions, "record", fails)
        with pytest.raises(RuntimeError):
            orders.place(account.pk, ticket, request_id="again", at_once=True)
    assert not account.orders.exists()
    order = orders.place(account.pk, ticket, request_id="again", at_once=True)
    assert order.status == OrderStatus.FILLED
