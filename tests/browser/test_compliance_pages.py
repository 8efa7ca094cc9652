"""Tasks of compliance in a browser: papers, the trail, busts and stop-outs with evidence, books; and the refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.choices import KycState
from accounts.models import Account
from accounts.roles import Role
from backoffice.audit.context import acting
from backoffice.operations import account_life, day_end
from backoffice.operations.choices import DocumentKind
from backoffice.operations.models import Attachment, ClientDocument
from backoffice.support.models import Look
from tests import factories
from tests.browser.staff import (
    asked,
    cells,
    figure,
    fits_a_phone,
    is_refused,
    listed,
    log_in,
    member,
    offers,
    search,
    shown,
)
from tests.trading import desk
from trading import busts, liquidation
from trading.models import Bust
from tvapi import usage
from tvapi.conformance.framework import Half, Result, Status
from tvapi.conformance.models import ConformanceRun
from tvapi.conformance.runner import Document
from tvapi.usage import Tally

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

D = Decimal


@pytest.fixture
def account() -> Account:
    """10,000 euros bought."""
    factories.instrument("EURUSD", session_regular="24x7")
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(number="WEB-1")
    desk.fill(account, "buy", "10000")
    return account


# --- clients ----------------------------------------------------------------------------------------------------------


def test_an_identity_check_is_reviewed_with_its_papers(page: Page, account: Account) -> None:
    by = member(Role.OPERATIONS)
    paper = Attachment.keep("passport.txt", "text/plain", b"Passport 4711", by=by)
    ClientDocument.objects.create(client=account.client, kind=DocumentKind.IDENTITY, attachment=paper)
    with acting(user=by):
        account_life.set_kyc(account.client_id, KycState.VERIFIED, reason="Passport seen", by=by)
    log_in(page, Role.COMPLIANCE)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Documents").click()
    expect(listed(page)).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="passport.txt").click()
    assert download.value.path().read_bytes() == b"Passport 4711"
    page.goto(reverse("admin:accounts_client_change", args=[account.client_id]))
    assert cells(page, "History")[0][2:5:2] == ["the-operations", "Passport seen"]
    assert cells(page, "Documents")[0][2] == "passport.txt"
    assert fits_a_phone(page)


def test_who_looked_through_a_clients_eyes_is_known_with_the_reason(page: Page, account: Account) -> None:
    Look.objects.create(by=member(Role.SUPPORT), account=account, locale="en", reason="Ticket 20")
    log_in(page, Role.COMPLIANCE)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Looks of staff").click()
    search(page, "web-1")
    expect(listed(page)).to_contain_text("the-support")
    expect(listed(page)).to_contain_text("Ticket 20")
    search(page, "WEB-2")
    expect(page.get_by_text("Nothing matches this search.")).to_be_visible()


# --- the trail --------------------------------------------------------------------------------------------------------


def test_the_trail_is_narrowed_to_one_person_and_one_kind_of_row(page: Page, account: Account) -> None:
    for username, name in (("anna", "First"), ("bert", "Second")):
        by = factories.user(username, is_staff=True)
        with acting(user=by):
            Account.objects.filter(pk=account.pk).update(name=name)
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/audit/entry/?table_name__exact=accounts_account&action__exact=update")
    expect(listed(page).filter(has_text="name:")).to_have_count(2)
    search(page, "bert")
    expect(listed(page)).to_have_count(1)
    listed(page).get_by_role("link").first.click()
    expect(page.get_by_role("row").filter(has_text="First")).to_contain_text("Second")
    expect(page.get_by_text("bert").first).to_be_visible()


def test_the_trail_is_exported_as_it_is_narrowed(page: Page, account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(name="Renamed")
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/audit/entry/?table_name__exact=accounts_accountgroup")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export these entries as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("seq,at,action,table_name,row_id")
    assert len(lines) > 1
    assert all(",accounts_accountgroup," in line for line in lines[1:])


def test_the_night_has_verified_books_and_trail(page: Page, account: Account) -> None:
    day_end.run(day_end.yesterday() - timedelta(days=1))
    account.balances.update(total=D(1))
    day_end.run(day_end.yesterday())
    log_in(page, Role.COMPLIANCE)
    page.get_by_role("link", name="found faults: read its report.").click()
    expect(shown(page, "Faults")).to_contain_text("balance WEB-1 USD: stored 1")
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Ends of days").click()
    listed(page).get_by_role("link").last.click()
    expect(shown(page, "Faults")).to_have_text("–")


# --- trading ----------------------------------------------------------------------------------------------------------


def test_a_bust_is_looked_at_with_its_fills_and_who_decided(page: Page, account: Account) -> None:
    execution = account.executions.get()
    asker, other = member(Role.DEALING), member(Role.DEALING, "second-dealer")
    wish = busts.Wish(execution.instrument, (execution.pk,), "Bad tick", "k")
    waiting = busts.ask(wish, by=asker)
    log_in(page, Role.COMPLIANCE)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Busts and corrections").click()
    listed(page).get_by_role("link").first.click()
    assert offers(page, "Approve", "Reject", "Withdraw", "Save") == []
    assert is_refused(page, f"busts/{waiting.pk}/approve/", f"busts/{waiting.pk}/reject/", "busts/new/")
    busts.approve(waiting.pk, by=other)
    page.reload()
    for name in ("the-dealing", "second-dealer", "Bad tick"):
        expect(page.locator("form").get_by_text(name).first).to_be_visible()
    assert cells(page, "The fills")[0][2:3] == ["WEB-1"]
    page.get_by_role("region", name="The fills").get_by_role("link").first.click()
    expect(shown(page, "Taken back by").get_by_role("link")).to_be_visible()
    assert Bust.objects.get().state == "approved"


def test_a_stop_out_is_followed_to_what_was_seen(page: Page, account: Account) -> None:
    account.balances.update(total=D(200))
    desk.market(account, "1.08000", "1.08010")
    assert liquidation.review(account.pk)
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/desk/margin/")
    page.get_by_role("region", name="Latest stop-outs").get_by_role("link").first.click()
    expect(page.get_by_text("200 - 201 = -1")).to_be_visible()
    expect(page.get_by_text("opened at 1.1001, seen at 1.08")).to_be_visible()
    assert fits_a_phone(page)


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


# --- TradingView ------------------------------------------------------------------------------------------------------


def test_a_conformance_run_is_read_down_to_its_report(page: Page) -> None:
    results = [
        Result("ordersPlace", "Places.", "ORD-1", Half.TRADING, Status.PASSED),
        Result("ordersRetry", "Who retries gets one order.", "ORD-7", Half.TRADING, Status.FAILED, ["Two came."]),
    ]
    ConformanceRun.objects.keep(Document("https://api.broker.example", datetime.now(UTC), 12.5, results))
    log_in(page, Role.COMPLIANCE)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Conformance runs").click()
    listed(page).get_by_role("link").first.click()
    expect(page.get_by_text("Two came.")).to_be_visible()
    assert fits_a_phone(page)
    page.get_by_role("link", name="Open the report").click()
    expect(page.get_by_text("Who retries gets one order").first).to_be_visible()


def test_an_alarm_of_the_overview_leads_to_the_monitor(page: Page) -> None:
    tally = Tally()
    for _request in range(20):
        tally.add(30, 401, is_error=True, is_cors_refused=False, is_timed=True)
    usage.tell(usage.Taken({("", "POST oauth2/token"): tally}))
    log_in(page, Role.COMPLIANCE)
    page.get_by_role("link", name="server: 20 tokens were refused in 5 minutes.").click()
    expect(figure(page, "Tokens refused")).to_have_text("20")
    page.locator("[name=minutes]").select_option("60")
    page.get_by_role("button", name="Show").click()
    expect(figure(page, "Failures")).to_have_text("20")


# --- what is for others -----------------------------------------------------------------------------------------------


def test_tasks_of_others_are_neither_offered_nor_done(page: Page, account: Account) -> None:
    position = account.positions.get()
    log_in(page, Role.COMPLIANCE)
    for address in (
        f"accounts/account/{account.pk}/change/",
        f"accounts/accountgroup/{account.group_id}/change/",
        f"accounts/client/{account.client_id}/change/",
        f"trading/position/{position.pk}/change/",
        f"trading/execution/{account.executions.get().pk}/change/",
        f"marketdata/instrument/{position.instrument_id}/change/",
        "marketdata/mappedinstrument/",
    ):
        page.goto(f"/admin/{address}")
        assert offers(page, "Save", "Run", "Delete", "…") == [], address
        assert asked(page, address, {"_save": "1", "name": "x"}) == 403 or "change" not in address, address
    assert is_refused(
        page,
        f"accounts/{account.pk}/state/",
        f"clients/{account.client_id}/kyc/",
        f"clients/{account.client_id}/document/",
        f"clients/{account.client_id}/note/",
        f"conditions/draft/{account.group_id}/",
        f"desk/stop/account/{account.pk}/",
        f"lens/account/{account.pk}/",
        f"positions/{position.pk}/close/",
        "bulk/import/",
        "cash/new/",
        "lens/",
        "mappings/publish/",
    )
    assert asked(page, "mappings/suggest/", {}) == 403
    assert asked(page, "books/trial-balance/") == 200
