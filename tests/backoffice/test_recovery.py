"""Backups and what comes back from them: a real base backup, a real log, a second server that replays it."""

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import cash
from accounts.models import Account
from backoffice import recovery
from tests import factories
from tests.processes import eventually, running
from tests.standby import drop_slot

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


@pytest.fixture
def archive(place: Path) -> Iterator[None]:
    """`archive_wal`, running. Its slot goes with it: the server would keep its log for it for ever."""
    with running("manage.py", "archive_wal", str(place)):
        eventually(lambda: list((place / "wal").glob("*.partial")), "the log is being archived")
        yield
    drop_slot(recovery.SLOT)


def deposit(account: Account, amount: int) -> datetime:
    """Returns a moment after its commit and before the next one."""
    cash.deposit(account.pk, Decimal(amount), "USD", reference=f"{amount}")
    return timezone.now()


def archived(place: Path) -> None:
    """Wait until the archive holds all that was committed so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_flush_lsn()")
        (end,) = cursor.fetchone()

    def has_come() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT flush_lsn >= %s FROM pg_stat_replication WHERE application_name = 'pg_receivewal'", [end]
            )
            return cursor.fetchone() == (True,)

    eventually(has_come, "the archive has it")


def balances(url: str) -> list[Decimal]:
    with psycopg.connect(url) as other:
        return [row[0] for row in other.execute("SELECT total FROM accounts_balance")]


@pytest.mark.usefixtures("archive")
def test_every_moment_since_a_backup_comes_back(place: Path) -> None:
    account = factories.account(deposits={})
    before = deposit(account, 100)
    call_command("back_up", str(place), stdout=StringIO())
    first = deposit(account, 10)
    deposit(account, 1)
    archived(place)

    assert balances_as_of(place, first) == [Decimal(110)]
    assert balances_as_of(place, None) == [Decimal(111)]
    with pytest.raises(CommandError, match="old enough"):
        call_command("restore", str(place), str(place / "data"), to=before - timedelta(days=1))
    with pytest.raises(CommandError, match="recovery ended before configured recovery target was reached"):
        call_command("restore_drill", str(place), to=timezone.now() + timedelta(days=1), stdout=StringIO())
    out = StringIO()
    call_command("restore_drill", str(place), stdout=out)
    assert "The books agree" in out.getvalue()
    assert "The audit trail is whole" in out.getvalue()
    assert "The restored database is sound." in out.getvalue()


def balances_as_of(place: Path, moment: datetime | None) -> list[Decimal]:
    target = recovery.home() / f"test-{place.parent.name}-{place.name}"
    try:
        recovery.restore(place, target, moment)
        with recovery.running(target) as restored:
            return balances(restored.url)
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)
