"""The end of the day: the books and the trail are proved, and the report is kept for ever."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.choices import AccountState
from accounts.models import Account, Transfer
from backoffice.audit import verification
from backoffice.operations import statements
from backoffice.operations.models import CashRequest, DayEnd
from trading import books
from trading.models import Execution, Order, Position

KEPT_FAULTS = 200


def run(day: date) -> DayEnd:
    """Make the day's report, once: an existing one is returned as it is. `day` is a day in UTC that has ended."""
    if made := DayEnd.objects.filter(day=day).first():
        return made
    ends = statements.midnight(day + timedelta(days=1))
    totals = [
        {"kind": line.kind.value, "currency": line.currency, "total": str(line.total)}
        for line in statements.trial_balance(before=ends)
    ]
    begins = ends - timedelta(days=1)
    figures = {
        "accounts": Account.objects.exclude(state=AccountState.CLOSED).count(),
        "orders": Order.objects.filter(created_at__gte=begins, created_at__lt=ends).count(),
        "executions": Execution.objects.filter(at__gte=begins, at__lt=ends).count(),
        "transfers": Transfer.objects.filter(created_at__gte=begins, created_at__lt=ends).count(),
        "open_positions": Position.objects.open().count(),
        "cash_requests_waiting": CashRequest.objects.waiting().count(),
    }
    earlier = DayEnd.objects.filter(day__lt=day).order_by("-day").values_list("audit_head", flat=True).first()
    trail = verification.verify(expected=earlier or "")
    try:
        with transaction.atomic():
            return DayEnd.objects.create(
                day=day,
                totals=totals,
                figures=figures,
                faults=books.verify()[:KEPT_FAULTS],
                audit_faults=trail.faults[:KEPT_FAULTS],
                audit_head=trail.head,
            )
    except IntegrityError:  # somebody else made it meanwhile
        return DayEnd.objects.get(day=day)


def yesterday() -> date:
    return timezone.now().date() - timedelta(days=1)
