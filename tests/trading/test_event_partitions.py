"""Order events by month: where they lie, that nobody changes them there, and how a month leaves the database."""

import csv
import gzip
import hashlib
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from accounts.models import Account
from backoffice import partitions, tasks
from backoffice.partitions import Partition
from backoffice.support import past
from tests import factories
from tests.trading import desk
from trading import reconciliation
from trading.alarms import Alarm, AlarmKind
from trading.choices import EventKind
from trading.models import Order, OrderEvent

pytestmark = pytest.mark.django_db

TABLE = "trading_orderevent"
THIS = partitions.this_month()


def event(order: Order, at: datetime) -> OrderEvent:
    made = OrderEvent.objects.create(order=order, at=at, kind=EventKind.PLACED, status=order.status)
    with connection.cursor() as cursor:  # as a commit does
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    return made


def in_month(month: date) -> datetime:
    return datetime(month.year, month.month, 15, tzinfo=UTC)


def home_of(row: OrderEvent) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = %s", [row.pk])
        return str(cursor.fetchone()[0])


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def ended(account: Account) -> Order:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return desk.fill(account, "buy", "1000")


@pytest.fixture
def old_month() -> Partition:
    """The month before this one; where the project was installed this month, it has none."""
    partition = Partition(TABLE, partitions.following(THIS, -1))
    partitions.make(partition, "at")
    return partition


def archive(directory: Path, before: date = THIS) -> str:
    out = StringIO()
    call_command("archive_partitions", f"--before={before:%Y-%m}", f"--to={directory}", stdout=out)
    return out.getvalue()


# --- where events lie -------------------------------------------------------------------------------------------------


def test_this_month_and_three_more_are_ready_and_made_once() -> None:
    expected = [partitions.following(THIS, count) for count in range(4)]
    assert [each.begins for each in partitions.months(TABLE)] == expected
    assert tasks.make_partitions() == []
    assert partitions.make_ahead(partitions.following(THIS, 1)) == [
        Partition(TABLE, partitions.following(THIS, 4)).name
    ]


@pytest.mark.parametrize(("count", "month"), [(1, date(2027, 1, 1)), (-11, date(2026, 1, 1)), (-12, date(2025, 12, 1))])
def test_months_are_counted_over_the_turn_of_the_year(count: int, month: date) -> None:
    assert partitions.following(date(2026, 12, 1), count) == month


def test_an_event_lies_in_its_month_by_utc(ended: Order) -> None:
    first = datetime(THIS.year, THIS.month, 1, tzinfo=UTC)
    ahead = partitions.following(THIS, 1)
    assert home_of(event(ended, first)) == Partition(TABLE, THIS).name
    assert home_of(event(ended, datetime(ahead.year, ahead.month, 1, tzinfo=UTC))) == Partition(TABLE, ahead).name


def test_an_event_astray_is_an_alarm_until_its_month_is_made(ended: Order) -> None:
    late = partitions.following(THIS, 4)
    row = event(ended, in_month(late))
    assert home_of(row) == f"{TABLE}_default"
    reconciliation.run()
    assert str(Alarm.objects.open().get(kind=AlarmKind.EVENTS_ASTRAY).sentence).startswith("1 order events")

    partitions.make_ahead(partitions.following(THIS, 1))
    assert home_of(row) == Partition(TABLE, late).name
    reconciliation.run()
    assert not Alarm.objects.open().filter(kind=AlarmKind.EVENTS_ASTRAY).exists()


# --- what holds for the table holds for each of them ------------------------------------------------------------------


@pytest.mark.parametrize("sql", ["UPDATE {0} SET kind = 'x'", "DELETE FROM {0}", "TRUNCATE {0}"])
@pytest.mark.parametrize("part", ["", "_default", f"_{THIS:%Y_%m}", "_made"])
def test_nobody_changes_events_in_any_partition(ended: Order, sql: str, part: str) -> None:
    late = partitions.following(THIS, 4)
    if part == "_made":
        partitions.make(Partition(TABLE, late), "at")
        part = f"_{late:%Y_%m}"
    else:
        partitions.make(Partition(TABLE, partitions.following(late)), "at")
    event(ended, in_month(late))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL backoffice.allow_truncate = 'off'")
        with pytest.raises(DatabaseError, match="pgtrigger: Cannot"), transaction.atomic():
            cursor.execute(sql.format(TABLE + part))


def test_an_event_belongs_to_an_order_and_its_number_is_given_once(ended: Order) -> None:
    first, second = event(ended, in_month(THIS)), event(ended, in_month(partitions.following(THIS, 1)))
    assert second.pk == first.pk + 1
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(DatabaseError, match="foreign key"), transaction.atomic():
            cursor.execute(
                f"INSERT INTO {TABLE} (order_id, kind, status, book, details) VALUES (0, 'x', 'x', '', '{{}}')"
            )


# --- the archive ------------------------------------------------------------------------------------------------------


def test_a_closed_month_goes_into_its_file_and_out_of_the_database(
    ended: Order, old_month: Partition, tmp_path: Path
) -> None:
    first, second = event(ended, in_month(old_month.begins)), event(ended, in_month(old_month.begins))
    stays = set(OrderEvent.objects.values_list("pk", flat=True)) - {first.pk, second.pk}
    path = tmp_path / f"{old_month.name}.csv.gz"

    assert archive(tmp_path) == f"{path}: 2 events\n"
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["id"]), int(row["order_id"]), row["kind"]) for row in rows] == [
        (first.pk, ended.pk, "placed"),
        (second.pk, ended.pk, "placed"),
    ]
    assert (tmp_path / f"{path.name}.sha256").read_text() == (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    )
    assert set(OrderEvent.objects.values_list("pk", flat=True)) == stays
    assert old_month not in partitions.months(TABLE)
    call_command("verify_books", stdout=StringIO())
    assert archive(tmp_path) == f"No month before {THIS:%Y-%m} is in the database.\n"


def test_a_month_with_events_of_a_living_order_stays(account: Account, old_month: Partition, tmp_path: Path) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    waits = desk.fill(account, "buy", "1000", limit="1.09")
    row = event(waits, in_month(old_month.begins))
    with pytest.raises(CommandError, match=rf"{old_month.name} stays: .* have not ended: {waits.pk}\."):
        archive(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert OrderEvent.objects.filter(pk=row.pk).exists()


def test_a_month_that_is_not_over_is_refused(ended: Order, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has not begun"):
        archive(tmp_path, partitions.following(THIS))
    with pytest.raises(CommandError, match="2026-13 is no month like 2026-03"):
        call_command("archive_partitions", "--before=2026-13", f"--to={tmp_path}")


def test_a_failure_on_the_way_leaves_all_as_it_was(
    ended: Order, old_month: Partition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = event(ended, in_month(old_month.begins))

    def full(path: Path) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr("trading.event_archive._count", full)
    with pytest.raises(CommandError, match="No space left"):
        archive(tmp_path)
    monkeypatch.setattr("trading.event_archive._count", lambda path: 0)
    with pytest.raises(CommandError, match=f"{old_month.name} stays: 0 of its 1 rows"):
        archive(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert home_of(row) == old_month.name


def test_a_look_at_a_time_whose_events_are_archived_is_told_from_one_without_orders(
    account: Account, ended: Order, old_month: Partition, tmp_path: Path, monkeypatch: Any
) -> None:
    now = datetime.now(UTC)
    assert not past.is_archived(account, now)
    monkeypatch.setattr(partitions, "begins", lambda table: now)
    assert past.is_archived(account, now)
    assert not past.is_archived(factories.account(), now)
