"""A broker's years of rows in minutes, to see how pages fare with them; and the times of these pages.

Rows are made by the database from the models' own defaults, so that a new column needs nothing here. The books stay
right: orders end without a fill, transfers have their two legs, balances grow by what was posted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.db import connection, models, transaction
from django.db.models.expressions import DatabaseDefault
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, AccountGroup, Balance, Client, LedgerAccount, Posting, Transfer, User
from trading.choices import DurationType, OrderType, Side
from trading.models import Order
from trading.states import OrderStatus

ACCOUNTS = 1000
PER_BATCH = 100_000
MARK = "LOAD"
RUNS = 5
# What the rows refer to is known to be there, and the legs of a transfer sum to zero: checking each costs most of the
# time. It needs a superuser of the database.
_UNCHECKED = "SET LOCAL session_replication_role = replica"


@dataclass(frozen=True, slots=True)
class PageTime:
    path: str
    status: int
    median_ms: float
    worst_ms: float
    cpu_ms: float  # median of this process' own work: it depends less on what else the machine does


def make(orders: int, postings: int, tell: Callable[[str], None]) -> None:
    """Add so many orders and postings, spread over a thousand accounts of their own, in committed batches."""
    accounts = _accounts()
    stamp = f"{timezone.now():%Y%m%d%H%M%S}"  # of this run, in what has to be unique
    for begin, end in _batches(orders):
        _insert_orders(accounts, stamp, begin, end)
        tell(f"{end} of {orders} orders")
    for begin, end in _batches(postings // 2):
        _insert_transfers(accounts, stamp, begin, end)
        tell(f"{2 * end} of {postings} postings")
    with connection.cursor() as cursor:
        for model in (Order, Transfer, Posting):
            cursor.execute(f'VACUUM ANALYZE "{model._meta.db_table}"')


def _batches(count: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, count, PER_BATCH):
        yield begin, min(begin + PER_BATCH, count)


@transaction.atomic
def _accounts() -> list[Account]:
    """The accounts of the load, made at the first time, in the group and currency of the first account there is."""
    if made := list(Account.objects.filter(number__startswith=f"{MARK}-").order_by("pk")):
        return made
    pattern = Account.objects.select_related("group", "currency").exclude(group__profile="spot").earliest("pk")
    names = [f"{MARK}-{number:04d}" for number in range(ACCOUNTS)]
    users = User.objects.bulk_create(User(username=name.lower(), is_active=False) for name in names)
    clients = Client.objects.bulk_create(Client(user=user, name=user.username) for user in users)
    made = Account.objects.bulk_create(
        Account(number=name, name="Load", client=client, group=pattern.group, currency=pattern.currency)
        for name, client in zip(names, clients, strict=True)
    )
    Balance.objects.bulk_create(
        Balance(account=account, currency=account.currency, may_be_negative=True) for account in made
    )
    LedgerAccount.objects.bulk_create(
        LedgerAccount(kind=LedgerKind.CLIENT, account=account, currency=account.currency) for account in made
    )
    LedgerAccount.objects.get_or_create(kind=LedgerKind.HOUSE_CASH, account=None, currency=pattern.currency)
    return made


@transaction.atomic
def _insert_orders(accounts: list[Account], stamp: str, begin: int, end: int) -> None:
    """Limit orders over the last year: most cancelled, some rejected, one in a hundred still working."""
    first = accounts[0]
    conditions = AccountGroup.objects.get(pk=first.group_id).conditions_at()
    instrument = conditions.instruments.select_related("instrument").earliest("pk")
    template = Order(
        account=first,
        instrument=instrument.instrument,
        side=Side.BUY,
        type=OrderType.LIMIT,
        qty=Decimal(1000),
        limit_price=Decimal(1),
        duration=DurationType.GTC,
        status=OrderStatus.CANCELLED,
        held_currency=first.currency,
        venue="load",
        queued=False,
    )
    is_working = "n %% 100 = 0"
    moment = "now() - interval '1 year' + n * interval '6 seconds'"
    _insert(
        template,
        {
            "account_id": f"{first.pk} + (n %% {len(accounts)})",
            "side": "CASE WHEN n %% 2 = 0 THEN 'buy' ELSE 'sell' END",
            "status": f"CASE WHEN {is_working} THEN 'working' WHEN n %% 10 = 1 THEN 'rejected' ELSE 'cancelled' END",
            "request_id": f"'{MARK}-{stamp}-' || n",
            "created_at": moment,
            "updated_at": moment,
            "final_at": f"CASE WHEN {is_working} THEN NULL ELSE {moment} END",
        },
        begin,
        end,
    )


@transaction.atomic
def _insert_transfers(accounts: list[Account], stamp: str, begin: int, end: int) -> None:
    """Deposits of 1 in the currency of the accounts, both legs, and the balances with them."""
    first = accounts[0]
    ledger = LedgerAccount.objects.filter(account__in=accounts).order_by("account_id").values_list("pk", flat=True)[0]
    house = LedgerAccount.objects.get(kind=LedgerKind.HOUSE_CASH, account=None, currency=first.currency).pk
    before = Transfer.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    _insert(
        Transfer(kind=TransferKind.DEPOSIT, reference=""),
        {"reference": f"'{MARK}-{stamp}-' || n", "created_at": "now() - interval '1 year' + n * interval '60 seconds'"},
        begin,
        end,
    )
    with connection.cursor() as cursor:
        cursor.execute(_UNCHECKED)
        cursor.execute(
            "INSERT INTO accounts_posting (transfer_id, ledger_account_id, amount)"
            " SELECT t.id, leg.account, leg.amount FROM accounts_transfer t,"
            " LATERAL (VALUES (%s + t.id %% %s, -1), (%s, 1)) AS leg(account, amount) WHERE t.id > %s",
            [ledger, len(accounts), house, before],
        )
        cursor.execute(
            "UPDATE accounts_balance b SET total = b.total + s.sum FROM ("
            " SELECT l.account_id, l.currency_id, -sum(p.amount) AS sum FROM accounts_posting p"
            " JOIN accounts_ledgeraccount l ON l.id = p.ledger_account_id"
            " WHERE p.transfer_id > %s AND l.account_id IS NOT NULL GROUP BY 1, 2) s"
            " WHERE b.account_id = s.account_id AND b.currency_id = s.currency_id",
            [before],
        )


def _insert(template: models.Model, varying: Mapping[str, str], begin: int, end: int) -> None:
    """Insert a row for each number n, like the template but for the columns that an expression of n gives."""
    columns, expressions, constants = [], [], []
    for field in template._meta.concrete_fields:
        value = getattr(template, field.attname)
        if (
            field.primary_key
            or not field.column
            or (isinstance(value, DatabaseDefault) and field.column not in varying)
        ):
            continue
        columns.append(f'"{field.column}"')
        if field.column in varying:
            expressions.append(varying[field.column])
        else:
            expressions.append("%s")
            constants.append(field.get_db_prep_save(value, connection))
    with connection.cursor() as cursor:
        cursor.execute(_UNCHECKED)
        cursor.execute(
            f'INSERT INTO "{template._meta.db_table}" ({", ".join(columns)})'  # noqa: S608 (names of our own models)
            f" SELECT {', '.join(expressions)} FROM generate_series(%s::bigint, %s::bigint) AS n",
            [*constants, begin, end - 1],
        )


def measure() -> Iterator[PageTime]:
    """The first pages of the big lists, asked in this process as a superuser: the median of five, and the worst."""
    browser = Browser()
    browser.force_login(get_user_model().objects.filter(is_superuser=True).earliest("pk"), _BACKEND)
    account = Account.objects.filter(number__startswith=MARK).earliest("pk")
    order_list = reverse("admin:trading_order_changelist")
    for path in (
        reverse("admin:index"),
        order_list,
        f"{order_list}?p=100",
        f"{order_list}?status__exact=working",
        f"{order_list}?status__exact=filled",
        f"{order_list}?account__id__exact={account.pk}",
        f"{order_list}?q={account.number}",
        f"{order_list}?q=1",
        reverse("admin:accounts_transfer_changelist"),
        reverse("admin:accounts_posting_changelist"),
        f"{reverse('admin:accounts_posting_changelist')}?q={account.number}",
        reverse("admin:accounts_account_changelist"),
        reverse("admin:accounts_account_change", args=[account.pk]),
        reverse("admin:audit_entry_changelist"),
        reverse("page:account_statement", args=[account.pk]),
        reverse("page:trial_balance"),
    ):
        yield _time(browser, path)


_BACKEND = "django.contrib.auth.backends.ModelBackend"


def _time(browser: Browser, path: str) -> PageTime:
    times, work, status = [], [], 0
    browser.get(path)  # templates and plans are not what is measured
    for _run in range(RUNS):
        begun, worked = time.perf_counter(), time.process_time()
        status = browser.get(path).status_code
        times.append((time.perf_counter() - begun) * 1000)
        work.append((time.process_time() - worked) * 1000)
    return PageTime(path, status, statistics.median(times), max(times), statistics.median(work))
