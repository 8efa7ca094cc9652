"""Which reads may come from a replica, and which never do: a second server that follows the first, and stands still."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from accounts import cash
from accounts.models import Account, Posting, User
from accounts.roles import Role
from backoffice import replica
from backoffice.admin import number
from backoffice.processes import free_port, kill_group, port_is_free
from tests import factories
from tests.backoffice.test_admin import browser, superuser
from tests.processes import eventually
from tests.standby import Standby, configured, standby
from tests.tvapi.contract import client_of

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]

LIST = "/admin/accounts/account/"


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Standby]:
    with django_db_blocker.unblock(), standby() as running:
        yield running


@pytest.fixture(autouse=True)
def second_alias(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[None]:
    """What Django forbids a test is the use of aliases that it did not know when the test began."""
    monkeypatch.setattr(replica, "_away_until", 0.0)
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def follower(server: Standby, settings: Any) -> Iterator[Standby]:
    """A replica that Django knows, that may lag as far as it likes, and replays again when the test is over."""
    settings.REPLICA_LAG_SECONDS = 10_000_000.0
    with configured(server.port):
        yield server
        if server.process.poll() is None:
            server.resume()


def shows(page: Browser, number: str, address: str = LIST) -> bool:
    """Whether the list has the account."""
    answer = page.get(address)
    assert answer.status_code == 200
    return number in answer.content.decode()


def reads_replica(page: Browser, address: str = LIST) -> bool:
    """Whether the page was made from the replica: it asks it more than whether it is fit."""
    with CaptureQueriesContext(connections[replica.REPLICA]) as asked:
        assert page.get(address).status_code == 200
    return len(asked) > 1


def test_lists_and_reports_may_lag_and_what_decides_or_is_polled_never_does(follower: Standby) -> None:
    account = factories.account(number="EARLY-1")
    tv, reader = client_of(account.client.user), browser(Role.COMPLIANCE)
    statement = f"/admin/accounts/{account.pk}/statement/?first=2020-01-01&last=2020-01-02&format=csv"
    follower.catch_up()
    before = reader.get("/admin/books/trial-balance/").content.decode()
    follower.pause()
    late = factories.account(number="LATE-1", owner=account.client.user)
    cash.deposit(account.pk, Decimal(500), "USD", reference="late")
    follower.receive_all()

    assert (shows(reader, "EARLY-1"), shows(reader, "LATE-1")) == (True, False)
    assert number(Decimal(100_000)) in before
    assert number(Decimal(200_500)) not in reader.get("/admin/books/trial-balance/").content.decode()
    assert reads_replica(reader, statement)

    assert reader.get(f"{LIST}{late.pk}/change/").status_code == 200
    assert tv.d("/accounts/EARLY-1/state")["balance"] == Decimal(100_500)
    assert {each["id"] for each in tv.d("/accounts")} == {"EARLY-1", "LATE-1"}

    follower.resume()
    follower.catch_up()
    assert shows(reader, "LATE-1")
    assert reads_replica(reader)
    assert number(Decimal(200_500)) in reader.get("/admin/books/trial-balance/").content.decode()


def test_who_has_written_reads_the_primary_until_the_replica_has_it(follower: Standby) -> None:
    writer, reader = superuser(), browser(Role.COMPLIANCE)
    follower.catch_up()
    follower.pause()
    factories.account(number="LATE-1")
    assert not shows(writer, "LATE-1")
    assert writer.post("/admin/auth/group/add/", {"name": "Night shift", "_reason": "test"}).status_code == 302
    follower.receive_all()

    assert shows(writer, "LATE-1")
    assert "Night shift" in writer.get("/admin/auth/group/").content.decode()
    assert not reads_replica(writer)
    assert not shows(reader, "LATE-1")

    follower.resume()
    follower.catch_up()
    assert reads_replica(writer)
    Group.objects.filter(name="Night shift").delete()


def test_a_replica_that_lags_more_than_it_may_is_not_read(follower: Standby, settings: Any) -> None:
    reader = browser(Role.COMPLIANCE)
    follower.catch_up()
    follower.pause()
    factories.account(number="LATE-1")
    follower.receive_all()
    assert not shows(reader, "LATE-1")
    settings.REPLICA_LAG_SECONDS = 0.0
    assert shows(reader, "LATE-1")


def test_an_idle_replica_does_not_lag(follower: Standby, settings: Any) -> None:
    reader = browser(Role.COMPLIANCE)
    settings.REPLICA_LAG_SECONDS = 0.0
    follower.catch_up()
    eventually(lambda: reads_replica(reader), "a replica that has everything is read, however old the last commit")


def test_without_asking_and_in_transactions_and_for_rights_the_primary_is_read(follower: Standby) -> None:
    assert Account.objects.all().db == "default"
    token = replica._lagging.set(True)
    try:
        assert Posting.objects.all().db == replica.REPLICA
        assert {User.objects.all().db, Group.objects.all().db} == {"default"}
        with transaction.atomic():
            assert Posting.objects.all().db == "default"
    finally:
        replica._lagging.reset(token)


def test_pages_answer_while_there_is_no_replica_where_one_should_be() -> None:
    factories.account(number="EARLY-1")
    with configured(free_port()):
        assert shows(browser(Role.COMPLIANCE), "EARLY-1")
        assert replica._away_until > 0


def test_a_page_whose_replica_dies_meanwhile_is_made_from_the_primary(
    follower: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of these: the replica does not come back."""
    reader, is_fit = browser(Role.COMPLIANCE), replica._is_fit
    factories.account(number="EARLY-1")
    follower.catch_up()

    def fit_and_then_dead(written: str | None) -> bool:
        verdict = is_fit(written)
        kill_group(follower.process)
        eventually(lambda: port_is_free(follower.port), "the replica is dead")
        return verdict

    monkeypatch.setattr(replica, "_is_fit", fit_and_then_dead)
    assert shows(reader, "EARLY-1")
    assert replica._away_until > 0
    monkeypatch.undo()
    assert shows(reader, "EARLY-1")
