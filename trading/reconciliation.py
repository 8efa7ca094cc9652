"""Our books against themselves and against the venues: what differs raises an alarm, which ends when it is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.choices import LedgerKind, Profile
from accounts.models import Balance, Posting
from backoffice import partitions
from trading import alarms, states, venue
from trading.alarms import Alarm, AlarmKind, Finding, Reconciliation
from trading.models import Execution, Order, OrderEvent, Position, PositionFill
from trading.states import OrderStatus
from trading.venues import interface as venues
from trading.venues.choices import Direction, LinkState, RequestState
from trading.venues.fix import store
from trading.venues.models import FixMessage, FixSession, VenueOrder, VenueRequest

NOTHING = Decimal(0)
PATIENCE = timedelta(seconds=15)  # after which an order is placed or final, and a request answered
SESSION_PATIENCE = timedelta(seconds=30)
RECENT = timedelta(hours=1)
KEPT = timedelta(days=7)
# Ids are given before their rows are committed: so many are looked at once more.
OVERLAP = 1000


@dataclass(frozen=True)
class _Extent:
    """What changed since the last comparison, and how far this one looks."""

    orders: set[int]
    accounts: set[int]
    last_event: int
    last_posting: int


def run() -> int:
    """Compare, raise and resolve alarms, and say how many findings there are. Running twice is harmless."""
    looked_at = timezone.now()
    retry_reports()
    with _one_moment():
        extent = _extent()
        found = [*_fills(extent), *_positions(extent), *_balances(extent), *_reserves(extent)]
    found += [*_stuck(), *_unanswered(), *_differing(), *_sessions(), *_unbooked(), *_astray()]
    alarms.settle(found, looked_at=looked_at)
    Reconciliation.objects.create(
        last_event=extent.last_event,
        last_posting=extent.last_posting,
        accounts=len(extent.accounts),
        findings=len(found),
    )
    Reconciliation.objects.filter(at__lt=looked_at - KEPT).delete()
    ask_venues()
    return len(found)


def ask_venues() -> None:
    """Have the venues say how our open orders stand there; the next comparison sees their answers."""
    for order in Order.objects.live().exclude(venue=venue.INTERNAL).iterator():
        venues.of(order).ask(order)


def retry_reports() -> None:
    """Book reports that could not be booked when they came: a rate may be back, or an execution before them."""
    for message in FixMessage.objects.exclude(error="").select_related("session").order_by("pk"):
        store.book_again(message)


def _astray() -> Iterator[Finding]:
    """Events of months that were not prepared; the next making of partitions takes them in."""
    if count := partitions.astray(OrderEvent._meta.db_table):
        yield Finding(AlarmKind.EVENTS_ASTRAY, "order events", details={"count": count})


# --- our books against themselves -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _one_moment() -> Iterator[None]:
    """A transaction that sees one moment of the database, so that trading may go on meanwhile."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _extent() -> _Extent:
    """What has new order events or postings, and whatever has an open alarm: it may be well again."""
    before = Reconciliation.objects.first()
    events = OrderEvent.objects.filter(pk__gt=before.last_event - OVERLAP if before else 0)
    postings = Posting.objects.filter(pk__gt=before.last_posting - OVERLAP if before else 0)
    alarmed = set(Alarm.objects.open().exclude(account=None).values_list("account_id", flat=True))
    orders = set(events.values_list("order_id", flat=True))
    orders |= set(Order.objects.filter(account__in=alarmed).values_list("pk", flat=True))
    accounts = alarmed | set(Order.objects.filter(pk__in=orders).values_list("account_id", flat=True))
    accounts |= set(postings.exclude(ledger_account__account=None).values_list("ledger_account__account_id", flat=True))
    return _Extent(
        orders,
        accounts,
        last_event=OrderEvent.objects.aggregate(last=Max("pk"))["last"] or 0,
        last_posting=Posting.objects.aggregate(last=Max("pk"))["last"] or 0,
    )


def _fills(extent: _Extent) -> Iterator[Finding]:
    """An order's filled quantity is the sum of its executions."""
    executed = _sum(Execution.objects.counted().filter(order=OuterRef("pk")), "order", "qty")
    orders = Order.objects.filter(pk__in=extent.orders).annotate(made=executed).exclude(made=F("filled_qty"))
    for order in orders:
        details = {"order": order.filled_qty, "executions": order.made}
        yield Finding(AlarmKind.FILLS_DIFFER, f"order {order.pk}", order.account_id, details)


def _positions(extent: _Extent) -> Iterator[Finding]:
    """A position is the sum of its fills."""
    filled = _sum(PositionFill.objects.filter(position=OuterRef("pk")), "position", "qty")
    recent = Q(closed_at=None) | Q(closed_at__gte=timezone.now() - RECENT)
    for position in Position.objects.filter(recent, account__in=extent.accounts).annotate(made=filled):
        if position.made != position.signed_qty:
            details = {"position": position.signed_qty, "fills": position.made}
            yield Finding(AlarmKind.POSITION_DIFFERS, f"position {position.pk}", position.account_id, details)


def _balances(extent: _Extent) -> Iterator[Finding]:
    """A balance is the sum of its postings, with the sign turned: what the house owes is a credit."""
    posted = {
        (row["ledger_account__account_id"], row["ledger_account__currency_id"]): -row["total"]
        for row in Posting.objects.filter(
            ledger_account__kind=LedgerKind.CLIENT, ledger_account__account__in=extent.accounts
        )
        .values("ledger_account__account_id", "ledger_account__currency_id")
        .annotate(total=Sum("amount"))
    }
    for balance in _balances_of(extent.accounts):
        total = posted.get((balance.account_id, balance.currency_id), NOTHING)
        if total != balance.total:
            details = {"balance": balance.total, "postings": total}
            yield Finding(AlarmKind.BALANCE_DIFFERS, _name(balance), balance.account_id, details)


def _reserves(extent: _Extent) -> Iterator[Finding]:
    """What a spot balance reserves is what its live orders hold."""
    live = Order.objects.live().filter(account=OuterRef("account"), held_currency=OuterRef("currency"))
    spot = _balances_of(extent.accounts).filter(account__group__profile=Profile.SPOT)
    for balance in spot.annotate(held=_sum(live, "held_currency", "held")).exclude(held=F("reserved")):
        details = {"reserved": balance.reserved, "held": balance.held}
        yield Finding(AlarmKind.RESERVE_DIFFERS, _name(balance), balance.account_id, details)


def _balances_of(accounts: Iterable[int]) -> QuerySet[Balance]:
    return Balance.objects.filter(account__in=accounts).select_related("account")


def _name(balance: Balance) -> str:
    return f"balance {balance.account} {balance.currency_id}"


def _sum(rows: QuerySet, by: str, name: str) -> Coalesce:
    """The sum of a column over related rows, as a part of a query; zero over none."""
    return Coalesce(Subquery(rows.order_by().values(by).annotate(total=Sum(name)).values("total")), NOTHING)


# --- our books against the venues -------------------------------------------------------------------------------------


def _stuck() -> Iterator[Finding]:
    """Within seconds an order is at its venue, and working or final."""
    waiting = Q(status=OrderStatus.PLACING) | Q(queued=True)
    for order in Order.objects.live().filter(waiting, updated_at__lt=timezone.now() - PATIENCE):
        details = {"since": f"{order.updated_at:%Y-%m-%d %H:%M:%S}"}
        yield Finding(AlarmKind.ORDER_STUCK, f"order {order.pk}", order.account_id, details)


def _unanswered() -> Iterator[Finding]:
    late = VenueRequest.objects.filter(state=RequestState.SENT, sent_at__lt=timezone.now() - PATIENCE)
    for request in late.select_related("order"):
        details = {"kind": request.kind, "since": f"{request.sent_at:%Y-%m-%d %H:%M:%S}"}
        subject = f"order {request.order_id}, {request.cl_ord_id}"
        yield Finding(AlarmKind.REQUEST_UNANSWERED, subject, request.order.account_id, details)


def _differing() -> Iterator[Finding]:
    """The venue has filled more of a live order than it has reported to us."""
    told = VenueOrder.objects.filter(order__status__in=states.LIVE, cum_qty__gt=F("order__filled_qty"))
    for standing in told.select_related("order"):
        order = standing.order
        details = {"theirs": standing.cum_qty, "ours": order.filled_qty}
        yield Finding(AlarmKind.VENUE_DIFFERS, f"order {order.pk}", order.account_id, details)


def _sessions() -> Iterator[Finding]:
    """A session that staff wants connected is, and some process runs it."""
    now = timezone.now()
    for session in FixSession.objects.filter(is_enabled=True):
        is_run = session.leased_until is not None and session.leased_until > now
        if is_run and (session.state == LinkState.LOGGED_ON or session.state_since > now - SESSION_PATIENCE):
            continue
        since = session.state_since if is_run else session.leased_until or session.state_since
        details = {"since": f"{since:%Y-%m-%d %H:%M:%S}", "trouble": session.trouble}
        yield Finding(AlarmKind.SESSION_AWAY, str(session), details=details)


def _unbooked() -> Iterator[Finding]:
    for message in FixMessage.objects.filter(direction=Direction.IN).exclude(error="").select_related("session"):
        yield store.unbooked(message.session, message.epoch, message.seq, message.error)
