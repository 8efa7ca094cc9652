"""The trail in the admin: the reason that was written, the list with its filters, the export."""

import csv
import io

import pytest
from django.urls import reverse

from accounts.models import Account
from accounts.roles import Role
from backoffice.audit.models import Entry
from tests import factories
from tests.backoffice.test_admin import browser, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def renamed() -> Account:
    account = factories.account(number="AUD-1")
    form = {"name": "Renamed", "_reason": "Asked by the client"}
    assert browser(Role.OPERATIONS).post(url(account, "change"), form).status_code == 302
    return account


def test_a_change_in_the_admin_has_its_user_page_and_reason(renamed: Account) -> None:
    entry = Entry.objects.of(renamed)[0]
    assert (entry.username, entry.reason) == ("the-operations", "Asked by the client")
    assert entry.source == f"POST {url(renamed, 'change')}"
    assert entry.after == {"name": "Renamed"}


def test_the_page_of_the_row_shows_its_history(renamed: Account) -> None:
    panels = {
        str(panel.title): panel for panel in browser(Role.COMPLIANCE).get(url(renamed, "change")).context["panels"]
    }
    newest = panels["history"].table["rows"][0]
    assert [str(cell) for cell in newest[2:]] == [
        "the-operations",
        f"POST {url(renamed, 'change')}",
        "Asked by the client",
        "name: Test account → Renamed",
    ]


def test_the_list_is_narrowed_to_one_row(renamed: Account) -> None:
    query = {"table_name__exact": "accounts_account", "row_id__exact": str(renamed.pk)}
    rows = browser(Role.COMPLIANCE).get(url(Entry), query).context["cl"].result_list
    assert [entry.action for entry in rows] == ["update", "insert"]


def test_the_auditor_exports_what_the_list_shows(renamed: Account) -> None:
    answer = browser(Role.COMPLIANCE).get(reverse("admin:audit_entry_export"), {"action__exact": "update"})
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [(row["username"], row["after"]) for row in rows] == [("the-operations", '{"name": "Renamed"}')]


def test_a_text_that_looks_like_a_formula_is_no_formula_in_the_export() -> None:
    account = factories.account()
    Account.objects.filter(pk=account.pk).update(name="x")
    visitor = browser(Role.OPERATIONS)
    visitor.post(url(account, "change"), {"name": "y", "state": "active", "_reason": "=1+1"})
    answer = browser(Role.COMPLIANCE).get(reverse("admin:audit_entry_export"), {"q": "the-operations"})
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["reason"] for row in rows] == ["'=1+1"]


@pytest.mark.parametrize("role", [Role.OPERATIONS, Role.DEALING, Role.SUPPORT])
def test_others_do_not_export(role: Role) -> None:
    assert browser(role).get(reverse("admin:audit_entry_export")).status_code == 403
