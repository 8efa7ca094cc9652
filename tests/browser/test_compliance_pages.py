"""Tasks of compliance in a browser: the trail, statements as files, the books, and the tasks that are refused."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Account
from accounts.roles import Role
from backoffice.audit.context import acting
from tests import factories
from tests.browser.test_admin_pages import log_in
from tests.browser.test_desk_pages import cells

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="WEB-1")


def test_the_trail_is_narrowed_to_one_person_and_one_kind_of_row(page: Page, account: Account) -> None:
    for username, name in (("anna", "First"), ("bert", "Second")):
        by = factories.user(username, is_staff=True)
        with acting(user=by):
            Account.objects.filter(pk=account.pk).update(name=name)
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/audit/entry/?table_name__exact=accounts_account&action__exact=update")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    page.locator("#searchbar").fill("bert")
    page.locator("#searchbar").press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_role("row").filter(has_text="First")).to_contain_text("Second")
    expect(page.get_by_text("bert").first).to_be_visible()


def test_a_statement_is_taken_away_as_a_table_and_on_paper(page: Page, account: Account) -> None:
    log_in(page, Role.COMPLIANCE)
    page.goto(f"/admin/accounts/{account.pk}/statement/")
    with page.expect_download() as table:
        page.get_by_role("link", name="CSV").click()
    last = table.value.path().read_text().splitlines()[-1]
    assert "closing balance" in last
    assert "100000" in last
    with page.expect_download() as paper:
        page.get_by_role("link", name="PDF").click()
    assert paper.value.path().read_bytes().startswith(b"%PDF-")


def test_the_books_are_seen_to_balance(page: Page, account: Account) -> None:
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/books/trial-balance/")
    expect(page.get_by_text("In every currency debits equal credits.")).to_be_visible()
    rows = cells(page, "All postings")
    assert sorted(row[2] for row in rows if row[0] == "USD") == ["", "100,000"]
    assert sorted(row[3] for row in rows if row[0] == "USD") == ["", "100,000"]


def test_tasks_of_others_are_refused(page: Page, account: Account) -> None:
    log_in(page, Role.COMPLIANCE)
    for url in (
        "cash/new/",
        "mappings/publish/",
        "mappings/suggest/",
        f"conditions/draft/{account.group_id}/",
        "lens/",
    ):
        # Asked for with the tab's session, but not in the tab, whose refusals would be called troubles.
        assert page.request.get(f"/admin/{url}").status == 403, url
    assert page.request.get("/admin/books/trial-balance/").status == 200
