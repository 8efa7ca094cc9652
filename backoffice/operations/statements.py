"""Statements of an account, and the trial balance: read from the postings, never from what is cached."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db.models import Sum

from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Posting
from backoffice.fields import plain

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One posting as the client reads it: what came (positive) or went, and what he had after it."""

    at: datetime
    kind: str
    reference: str
    amount: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Section:
    """The statement of one currency."""

    currency: str
    opening: Decimal
    lines: list[Line]

    @property
    def closing(self) -> Decimal:
        return self.lines[-1].balance if self.lines else self.opening

    def totals(self) -> dict[str, Decimal]:
        """What came and went, by kind of transfer."""
        sums: dict[str, Decimal] = {}
        for line in self.lines:
            sums[line.kind] = sums.get(line.kind, NOTHING) + line.amount
        return sums


@dataclass(frozen=True, slots=True)
class Statement:
    """An account's money over whole days (UTC), both included."""

    account: Account
    first: date
    last: date
    sections: list[Section]


def statement(account: Account, first: date, last: date) -> Statement:
    """The statement of these days: opening balance, every posting, closing balance, by currency."""
    begins, ends = midnight(first), midnight(last + timedelta(days=1))
    own = Posting.objects.filter(ledger_account__account=account)
    before = own.filter(transfer__created_at__lt=begins).values("ledger_account__currency_id")
    opening = {row["ledger_account__currency_id"]: plain(-row["total"]) for row in before.annotate(total=Sum("amount"))}
    postings = (
        own.filter(transfer__created_at__gte=begins, transfer__created_at__lt=ends)
        .select_related("transfer", "ledger_account")
        .order_by("transfer__created_at", "pk")
    )
    lines: dict[str, list[Line]] = {}
    balances = dict(opening)
    for posting in postings.iterator(chunk_size=2000):
        currency = posting.ledger_account.currency_id
        balances[currency] = balances.get(currency, NOTHING) - posting.amount
        transfer = posting.transfer
        kind = str(TransferKind(transfer.kind).label)
        lines.setdefault(currency, []).append(
            Line(transfer.created_at, kind, transfer.reference, -posting.amount, plain(balances[currency]))
        )
    currencies = sorted({*opening, *lines})
    sections = [Section(each, opening.get(each, NOTHING), lines.get(each, [])) for each in currencies]
    return Statement(account, first, last, sections)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def as_csv(of: Statement) -> str:
    """One row for each posting, opening and closing balances as rows of their own."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["account", "currency", "at", "kind", "reference", "amount", "balance"])
    for section in of.sections:
        head = [of.account.number, section.currency]
        writer.writerow([*head, f"{of.first}", "opening balance", "", "", section.opening])
        for line in section.lines:
            at = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            writer.writerow([*head, at, line.kind, line.reference, line.amount, line.balance])
        writer.writerow([*head, f"{of.last}", "closing balance", "", "", section.closing])
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One kind of ledger account in one currency: what is on it, debit above zero."""

    kind: LedgerKind
    currency: str
    total: Decimal


def trial_balance(before: datetime | None = None) -> list[TrialLine]:
    """Everything posted, or what was before a moment. In each currency the lines sum to zero."""
    postings = Posting.objects.filter(transfer__created_at__lt=before) if before else Posting.objects.all()
    rows = (
        postings.values("ledger_account__kind", "ledger_account__currency_id")
        .annotate(total=Sum("amount"))
        .order_by("ledger_account__currency_id", "ledger_account__kind")
    )
    return [
        TrialLine(LedgerKind(row["ledger_account__kind"]), row["ledger_account__currency_id"], plain(row["total"]))
        for row in rows
    ]


def sums(lines: list[TrialLine]) -> Iterator[tuple[str, Decimal]]:
    """(currency, sum of its lines): zero wherever the books are right."""
    for currency in sorted({line.currency for line in lines}):
        yield currency, sum((line.total for line in lines if line.currency == currency), NOTHING)
