"""Each kind of difference raises one alarm, which is resolved when it is gone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from accounts.choices import Profile
from accounts.models import Account, Balance
from tests import factories
from tests.trading import desk
from tests.trading.venues import conftest as desk_of_venues
from trading import reconciliation
from trading.alarms import Alarm, AlarmKind, Reconciliation
from trading.models import Order, Position
from trading.venue import Fill
from trading.venues import reports
from trading.venues.choices import Direction, LinkState, RequestState
from trading.venues.models import FixMessage, FixSession, VenueOrder
from trading.venues.reports import Report, ReportKind

D = Decimal


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="REC-1")


def open_alarms() -> list[str]:
    reconciliation.run()
    return sorted(f"{alarm.kind} {alarm}" for alarm in Alarm.objects.open())


def test_books_that_agree_raise_nothing(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    desk.fill(account, "buy", "1000", limit="1.05")
    assert open_alarms() == []
    run = Reconciliation.objects.get()
    assert (run.accounts, run.findings) == (1, 0)


def test_a_filled_quantity_without_executions_is_found_and_resolved(account: Account) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.05")
    Order.objects.filter(pk=order.pk).update(filled_qty=400)
    assert open_alarms() == [f"fills_differ order {order.pk}: The order says 400 filled, its executions make 0."]
    first = Alarm.objects.get()
    assert len(open_alarms()) == 1  # the same alarm, seen again
    again = Alarm.objects.get()
    assert (again.first_seen_at, again.last_seen_at > first.last_seen_at) == (first.first_seen_at, True)
    Order.objects.filter(pk=order.pk).update(filled_qty=0)
    assert open_alarms() == []
    assert Alarm.objects.get().resolved_at is not None


def test_a_position_and_a_balance_that_differ_are_found(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    position = account.positions.get()
    Position.objects.update(qty=9000)
    Balance.objects.update(total=D(5))
    assert open_alarms() == [
        "balance_differs balance REC-1 USD: The balance says 5, its postings make 100000.",
        f"position_differs position {position.pk}: The position says 9000, its fills make 10000.",
    ]
    Position.objects.update(qty=10000)
    Balance.objects.update(total=D(100_000))


def test_a_reserve_that_no_order_holds_is_found(db: None) -> None:
    factories.quote("BTCUSDT", "59990", "60000")
    account = factories.account(
        Profile.SPOT, number="REC-2", symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(10_000)}
    )
    desk.fill(account, "buy", "0.01", "BTCUSDT", limit="50000")
    Balance.objects.update(reserved=D(700))
    assert open_alarms() == ["reserve_differs balance REC-2 USDT: The balance reserves 700, its orders hold 500."]
    Balance.objects.update(reserved=D(500))


def test_only_what_changed_since_is_looked_at_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "OVERLAP", 0)
    reconciliation.run()
    other = factories.account(of_group=account.group)
    reconciliation.run()
    reconciliation.run()
    assert list(Reconciliation.objects.order_by("pk").values_list("accounts", flat=True)) == [1, 1, 0]
    assert other.pk != account.pk


def test_an_order_that_nobody_works_is_found(account: Account) -> None:
    order = desk.place(account, "buy", "1000")
    Order.objects.update(updated_at=timezone.now() - timedelta(seconds=16))
    assert [alarm.split(":")[0] for alarm in open_alarms()] == [f"order_stuck order {order.pk}"]
    desk.drain(account)
    assert open_alarms() == []


@pytest.fixture
def session(db: None) -> FixSession:
    return desk_of_venues.session(
        state=LinkState.LOGGED_ON, leased_by="somebody", leased_until=timezone.now() + timedelta(hours=1)
    )


@pytest.fixture
def sent_order(account: Account, session: FixSession) -> Order:
    order = desk.place(account, "buy", "10000", limit="1.09")
    desk.drain(account)
    message = FixMessage.objects.create(session=session, epoch=1, direction=Direction.OUT, seq=1, type="D", raw="")
    order.requests.update(state=RequestState.SENT, sent_at=timezone.now(), message=message)
    return order


def test_a_request_that_is_not_answered_is_found(sent_order: Order) -> None:
    sent_order.requests.update(sent_at=timezone.now() - timedelta(seconds=16))
    (alarm,) = open_alarms()
    assert alarm.startswith(f"request_unanswered order {sent_order.pk}, {sent_order.pk}-1: The venue does not answer:")
    reports.take(FixSession.objects.get(), Report(ReportKind.ACKNOWLEDGED, f"{sent_order.pk}-1"))
    assert open_alarms() == []


def test_what_the_venue_has_filled_more_is_found_until_it_is_booked(sent_order: Order, session: FixSession) -> None:
    name = f"{sent_order.pk}-1"
    reports.take(session, Report(ReportKind.STATUS, name, cum_qty=D(3000)))
    assert open_alarms() == [f"venue_differs order {sent_order.pk}: The venue says 3000 filled, our books 0."]
    reports.take(session, Report(ReportKind.EXECUTED, name, fill=Fill(D(3000), D("1.09"), "e"), cum_qty=D(3000)))
    assert open_alarms() == []


def test_open_orders_are_asked_about(sent_order: Order) -> None:
    reconciliation.run()
    assert VenueOrder.objects.get().ask_wanted


def test_a_session_that_is_wanted_and_away_is_found(session: FixSession) -> None:
    assert open_alarms() == []
    FixSession.objects.update(
        state=LinkState.CONNECTING, state_since=timezone.now() - timedelta(seconds=31), trouble="Refused."
    )
    (alarm,) = open_alarms()
    assert (alarm.startswith("session_away lp: "), alarm.endswith("Refused.")) == (True, True)
    FixSession.objects.update(state=LinkState.LOGGED_ON)
    assert open_alarms() == []
    FixSession.objects.update(leased_until=timezone.now() - timedelta(seconds=1))  # its process has died
    assert len(open_alarms()) == 1
    FixSession.objects.update(is_enabled=False)
    assert open_alarms() == []


def test_a_report_that_could_not_be_booked_is_booked_when_it_can_be(sent_order: Order, session: FixSession) -> None:
    fields = {35: "8", 11: f"{sent_order.pk}-1", 17: "E", 150: "F", 39: "1", 32: "4000", 31: "1.09", 14: "4000"}
    raw = "".join(f"{tag}={value}\x01" for tag, value in fields.items())
    body = f"8=FIX.4.4\x019={len(raw)}\x01{raw}"
    FixMessage.objects.create(
        session=session,
        epoch=1,
        direction=Direction.IN,
        seq=7,
        type="8",
        raw=f"{body}10={sum(body.encode()) % 256:03}\x01",
        error="There is no current rate",
    )
    reconciliation.run()
    sent_order.refresh_from_db()
    assert sent_order.filled_qty == 4000
    assert FixMessage.objects.get(seq=7).error == ""
    assert not Alarm.objects.filter(kind=AlarmKind.REPORT_UNBOOKED).exists()


def test_a_report_that_contradicts_the_books_stays_an_alarm(session: FixSession) -> None:
    body = "8=FIX.4.4\x019=26\x0135=8\x0111=77-1\x01150=F\x0117=E\x01"
    body = body.replace("9=26", f"9={len(body.split(chr(1), 2)[2])}")
    raw = f"{body}10={sum(body.encode()) % 256:03}\x01"
    FixMessage.objects.create(
        session=session, epoch=1, direction=Direction.IN, seq=9, type="8", raw=raw, error="anything"
    )
    (alarm,) = open_alarms()
    assert alarm == "report_unbooked lp 1/9: A report of the venue could not be booked: no number in the tag 32"


def test_it_reads_one_moment(account: Account, transactional_db: None) -> None:
    """Outside of tests nothing else is in the transaction: it may only read, and sees what began before it."""
    with reconciliation._one_moment(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
