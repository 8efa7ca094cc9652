"""The audit trail: every change is in it, with who and why, and no entry can be changed without being found."""

from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from accounts.choices import AccountState
from accounts.models import Account, AccountGroup, Client
from accounts.roles import MAY, Role
from backoffice.audit import context, tracking, verification
from backoffice.audit.functions import CONTENT
from backoffice.audit.models import Action, Entry, Head
from backoffice.celery import app as celery
from tests import factories
from tests.trading import desk

pytestmark = pytest.mark.django_db


def seal() -> None:
    """What the commit does, for tests that never commit."""
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("SET CONSTRAINTS ALL DEFERRED")


def run(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def forced(sql: str, *params: Any) -> None:
    """What a superuser can do who knows what he is doing: write with the triggers switched off."""
    run("SET session_replication_role = replica")
    run(sql, *params)
    run("SET session_replication_role = origin")


def latest(row: Any) -> Entry:
    return Entry.objects.of(row)[0]


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_every_model_that_staff_may_change_is_tracked() -> None:
    tracked = {model._meta.label_lower for model in tracking.tracked_models()}
    for role in Role:
        for app, rights in MAY[role].items():
            for model, actions in rights.items():
                if {"change", "delete"} & {*actions}:  # what is only added is append-only
                    table = apps.get_model(app, model)._meta.concrete_model  # of a proxy, what it stands for
                    assert table is not None
                    assert table._meta.label_lower in tracked, (role, model)


def test_every_model_of_ours_is_tracked_or_says_why_not() -> None:
    labels = {model._meta.label for app in ("accounts", "marketdata", "trading") for model in _models(app)}
    tracked = {model._meta.label for model in tracking.tracked_models()}
    assert labels - tracked <= set(tracking.UNTRACKED)


def _models(app: str) -> Any:
    return [model for model in apps.get_app_config(app).get_models() if model._meta.managed and not model._meta.proxy]


def test_an_update_keeps_what_differs_with_who_and_why() -> None:
    account = factories.account(number="A-1")
    officer = factories.user("ops", is_staff=True)
    with context.acting(user=officer, source="POST /admin/", reason="Documents are missing"):
        account.state = AccountState.BLOCKED
        account.save()
    entry = latest(account)
    assert (entry.action, entry.before, entry.after) == (Action.UPDATE, {"state": "active"}, {"state": "blocked"})
    assert (entry.user_id, entry.username, entry.source) == (officer.pk, "ops", "POST /admin/")
    assert entry.reason == "Documents are missing"


def test_adding_and_deleting_keep_the_whole_row() -> None:
    group = AccountGroup.objects.create(name="New", profile="spot")
    pk = group.pk
    row = {"id": pk, "name": "New", "profile": "spot", "state": "active", "number_series_id": None}
    assert (latest(group).before, latest(group).after) == (None, row)
    group.delete()
    group.pk = pk
    assert (latest(group).before, latest(group).after) == (row, None)


def test_bulk_updates_and_sql_are_seen_too() -> None:
    first, second = factories.account(), factories.account()
    Account.objects.filter(pk__in=[first.pk, second.pk]).update(name="Renamed")
    run("UPDATE accounts_client SET name = 'By hand' WHERE id = %s", first.client_id)
    assert [latest(account).after for account in (first, second)] == [{"name": "Renamed"}] * 2
    assert latest(first.client).after == {"name": "By hand"}


def test_memberships_are_seen() -> None:
    user = factories.user("somebody", is_staff=True)
    user.groups.add(Group.objects.get(name=Role.DEALING))
    entry = Entry.objects.filter(table_name="accounts_user_groups").latest("id")
    assert entry.after is not None
    assert entry.after["user_id"] == user.pk


def test_passwords_are_recorded_as_fingerprints() -> None:
    user = factories.user("somebody", password="one-long-password")
    stored = user.password
    user.set_password("another-long-password")
    user.save()
    entry = latest(user)
    assert entry.before is not None
    assert set(entry.before) == {"password"}
    assert entry.before["password"].startswith("secret ")
    assert stored not in str(list(Entry.objects.values_list("before", "after")))


def test_an_order_leaves_no_entry_and_a_raised_version_neither() -> None:
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    before = Entry.objects.count()
    desk.fill(account, "buy", "10000")
    assert Entry.objects.count() == before


def test_a_task_writes_as_itself_and_a_command_too() -> None:
    @celery.task(name="tests.rename")
    def rename(pk: int) -> None:
        Account.objects.filter(pk=pk).update(name="By a task")

    account = factories.account()
    rename.apply(args=(account.pk,))
    assert (latest(account).source, latest(account).username) == ("task tests.rename", "")
    with context.acting(source="command repair"):
        Account.objects.filter(pk=account.pk).update(name="By a command")
    assert latest(account).source == "command repair"


def test_the_context_ends_with_its_block() -> None:
    account = factories.account()
    with context.acting(user=factories.user("ops"), reason="Once"):
        Account.objects.filter(pk=account.pk).update(name="One")
    Account.objects.filter(pk=account.pk).update(name="Two")
    assert (latest(account).username, latest(account).reason, latest(account).source) == ("", "", "system")


# --- that it stays as it was written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entry SET reason = 'x'",
        "UPDATE audit_entry SET hash = NULL",
        "DELETE FROM audit_entry",
        "UPDATE audit_head SET seq = 0",
        "DELETE FROM audit_head",
        "INSERT INTO audit_entry (at, action, table_name, row_id, username, source, db_user, reason)"
        " VALUES (now(), 'update', 'accounts_account', '1', 'me', 'x', 'x', '')",
    ],
)
def test_the_database_refuses_to_change_the_trail(sql: str) -> None:
    factories.account()
    seal()
    before = list(Entry.objects.values())
    with pytest.raises(DatabaseError, match="written by the database alone"), transaction.atomic():
        run(sql)
    assert list(Entry.objects.values()) == before


def test_the_orm_is_refused_too() -> None:
    factories.account()
    seal()
    entry = Entry.objects.latest("id")
    entry.reason = "Another"
    with pytest.raises(DatabaseError, match="written by the database alone"), transaction.atomic():
        entry.save()
    with pytest.raises(DatabaseError, match="written by the database alone"), transaction.atomic():
        entry.delete()


def test_even_entries_of_ones_own_transaction_are_refused() -> None:
    factories.account()
    with pytest.raises(DatabaseError, match="written by the database alone"), transaction.atomic():
        run("UPDATE audit_entry SET after = '{}'")


def test_emptying_the_table_is_refused() -> None:
    run("SET LOCAL backoffice.allow_truncate = 'off'")
    seal()
    with pytest.raises(DatabaseError, match="Cannot truncate"), transaction.atomic():
        run("TRUNCATE audit_entry")


def test_an_untouched_trail_is_whole() -> None:
    factories.account()
    seal()
    verdict = verification.verify()
    assert verdict.faults == []
    assert verdict.count == Entry.objects.count() > 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reason", "'Another'"),
        ("username", "'someone'"),
        ("before", '\'{"state": "closed"}\''),
        ("after", "'{}'"),
        ("at", "at - interval '1 day'"),
        ("row_id", "'4711'"),
        ("hash", "repeat('0', 64)"),
    ],
)
def test_an_edited_entry_is_named(column: str, value: str) -> None:
    Account.objects.filter(pk=factories.account().pk).update(name="Renamed")
    factories.account()
    seal()
    entry = Entry.objects.filter(action=Action.UPDATE).earliest("seq")
    forced(f"UPDATE audit_entry SET {column} = {value} WHERE id = %s", entry.pk)
    faults = verification.verify().faults
    assert faults
    assert faults[0].startswith(f"entry {entry.seq} (")


def test_an_entry_edited_with_its_hash_breaks_the_next_one() -> None:
    factories.account()
    seal()
    entry = Entry.objects.order_by("seq")[1]
    forced("UPDATE audit_entry SET reason = 'Another' WHERE id = %s", entry.pk)
    previous = Entry.objects.get(seq=1).hash
    forced(
        f"UPDATE audit_entry SET hash = encode(sha256(convert_to(%s || {CONTENT}, 'UTF8')), 'hex') WHERE id = %s",
        previous,
        entry.pk,
    )
    (fault,) = verification.verify().faults
    assert fault.startswith("entry 3 (")


def test_a_missing_entry_is_named() -> None:
    factories.account()
    seal()
    forced("DELETE FROM audit_entry WHERE seq = 2")
    assert verification.verify().faults[0].startswith("entry 2 is missing before entry 3")


def test_a_cut_off_end_is_found() -> None:
    factories.account()
    seal()
    last = Head.objects.get().seq
    forced("DELETE FROM audit_entry WHERE seq = %s", last)
    assert verification.verify().faults == [
        f"the chain ends with entry {last - 1}, but entry {last} was the last one written"
    ]


def test_a_chain_cut_off_with_its_head_lacks_what_was_noted_before() -> None:
    factories.account()
    seal()
    noted = verification.verify().head
    last = Head.objects.get().seq
    forced("DELETE FROM audit_entry WHERE seq = %s", last)
    forced("UPDATE audit_head SET seq = e.seq, hash = e.hash FROM audit_entry e WHERE e.seq = %s", last - 1)
    assert verification.verify().faults == []
    assert verification.verify(expected=noted).faults == [
        f"the entry {noted} is not part of the chain: it was cut off or written anew"
    ]


def test_an_entry_written_past_the_chain_is_found() -> None:
    factories.account()
    seal()
    forced(
        "INSERT INTO audit_entry (at, action, table_name, row_id, username, source, db_user, reason)"
        " VALUES (now(), 'update', 'accounts_account', '1', 'me', 'x', 'x', '')"
    )
    assert "was written past the chain" in verification.verify().faults[0]


def test_a_switched_off_trigger_is_found() -> None:
    seal()
    run("ALTER TABLE accounts_account DISABLE TRIGGER USER")
    (fault,) = verification.verify().faults
    assert fault.startswith("table accounts_account is not recorded")


def test_the_command_says_where_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    factories.account()
    seal()
    call_command("verify_audit")
    assert "The audit trail is whole" in capsys.readouterr().out
    forced("UPDATE audit_entry SET reason = 'x' WHERE seq = 1")
    with pytest.raises(CommandError, match="broken in 1 places"):
        call_command("verify_audit")
    assert "entry 1 (insert" in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_commits_side_by_side_make_one_chain() -> None:
    from tests.concurrency.test_races import together

    account = factories.account()

    def rename(number: int) -> None:
        for step in range(5):
            Client.objects.filter(pk=account.client_id).update(name=f"{number}-{step}")
            Account.objects.filter(pk=account.pk).update(name=f"{number}-{step}")

    results = together(*[lambda number=number: rename(number) for number in range(6)])
    assert results == [None] * 6
    verdict = verification.verify()
    assert verdict.faults == []
    assert Entry.objects.filter(action=Action.UPDATE).count() == 60
    assert Decimal(verdict.head.split(":")[0]) == verdict.count
