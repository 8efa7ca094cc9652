"""Tasks of operations and compliance in a browser, and the forbidden ones."""

from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts.choices import ConditionsState
from accounts.models import Account, Balance, TradingConditions, User
from accounts.roles import Role
from backoffice.audit.models import Entry
from backoffice.operations import cash, jobs, tasks
from backoffice.operations.choices import CashKind, JobState
from backoffice.operations.models import CashRequest, Job
from tests import factories
from tests.browser.staff import asked, is_as_wide_as_the_screen, is_refused, log_in, member, offers
from tests.trading import desk

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="WEB-1")


def colleague() -> User:
    return member(Role.OPERATIONS, "colleague")


def ask(account: Account, by: User) -> CashRequest:
    return cash.ask(cash.Wish(CashKind.WITHDRAWAL, account.pk, "USD", Decimal(400), "Bank 4711", "k"), by=by)


def test_a_withdrawal_is_asked_for_from_the_accounts_page(page: Page, account: Account) -> None:
    log_in(page, Role.OPERATIONS)
    page.goto(f"/admin/accounts/account/{account.pk}/change/")
    page.get_by_role("link", name="Ask for cash…").click()
    expect(page.get_by_label("Account", exact=False).first).to_have_value("WEB-1")
    page.locator("[name=kind]").select_option("withdrawal")
    page.locator("[name=currency]").select_option("USD")
    page.locator("[name=amount]").fill("400")
    page.locator("[name=reason]").fill("Bank 4711")
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_text("waits for somebody else's decision")).to_be_visible()
    expect(page.get_by_text("You asked for this: somebody else decides.")).to_be_visible()
    expect(page.get_by_role("link", name="Approve…")).to_have_count(0)
    assert Balance.objects.get(account=account).total == Decimal(99_600)


def test_a_colleagues_request_is_approved_from_the_overview(page: Page, account: Account) -> None:
    asked = ask(account, colleague())
    log_in(page, Role.OPERATIONS)
    page.get_by_role("link", name="1 cash request waits for your decision.").click()
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("link", name="Approve…").click()
    expect(page.get_by_text("400 USD, set aside in WEB-1, will leave it for good (Withdrawal).")).to_be_visible()
    page.get_by_role("button", name="Approve and book").click()
    expect(page.get_by_text("It is booked.")).to_be_visible()
    asked.refresh_from_db()
    assert asked.state == "approved"


def test_a_request_is_rejected_with_a_reason(page: Page, account: Account) -> None:
    asked = ask(account, colleague())
    log_in(page, Role.OPERATIONS)
    page.goto(f"/admin/operations/cashrequest/{asked.pk}/change/")
    page.get_by_role("link", name="Reject…").click()
    page.get_by_label("Reason").fill("No signature")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("It is rejected.")).to_be_visible()
    assert Balance.objects.get(account=account).total == Decimal(100_000)


def test_conditions_are_drafted_compared_and_approved_by_two(page: Page, account: Account) -> None:
    log_in(page, Role.OPERATIONS)
    page.goto(f"/admin/accounts/accountgroup/{account.group_id}/change/")
    page.get_by_role("link", name="Draft new conditions").click()
    page.locator("[name=margin_rate]").fill("0.05")
    page.locator("[name=note]").fill("New regulation")
    page.get_by_role("button", name="Save the draft").click()
    expect(page.get_by_text("The draft waits for somebody else's approval.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="margin rate")
    expect(row).to_contain_text("0.02")
    expect(row).to_contain_text("0.05")
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    log_in(page, Role.OPERATIONS, "colleague")
    page.get_by_role("link", name="1 draft of conditions waits for your approval.").click()
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("link", name="Approve…").click()
    expect(page.get_by_text("margin rate: 0.02 → 0.05")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("It is approved.")).to_be_visible()
    draft.refresh_from_db()
    assert draft.approved_by == User.objects.get(username="colleague")


def test_terms_are_explained(page: Page, account: Account) -> None:
    log_in(page, Role.SUPPORT)
    page.goto("/admin/conditions/explain/")
    page.locator("[name=account]").fill("web-1")
    page.locator("[name=symbol]").fill("eurusd")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row").filter(has_text="Margin rate")).to_contain_text("0.02")


def test_an_account_is_blocked_with_a_reason_that_the_trail_keeps(page: Page, account: Account) -> None:
    log_in(page, Role.OPERATIONS)
    page.goto(f"/admin/accounts/account/{account.pk}/change/")
    page.get_by_role("link", name="Change the state…").click()
    page.locator("[name=state]").select_option("blocked")
    page.locator("[name=reason]").fill("Fraud alarm")
    page.get_by_role("button", name="Change the state").click()
    expect(page.get_by_text("It is recorded.")).to_be_visible()
    expect(page.get_by_role("region", name="Timeline").get_by_text("Fraud alarm")).to_be_visible()
    assert Entry.objects.of(account)[0].reason == "Fraud alarm"


def test_a_statement_is_read_and_downloaded(page: Page, account: Account) -> None:
    log_in(page, Role.COMPLIANCE)
    page.goto(f"/admin/accounts/{account.pk}/statement/")
    expect(page.get_by_text("Closing balance")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert download.value.suggested_filename == "WEB-1.pdf"


def test_a_table_is_tried_out_and_imported_while_the_page_follows(
    page: Page, account: Account, monkeypatch: Any
) -> None:
    queued: list[int] = []
    monkeypatch.setattr(tasks.run_job, "delay", queued.append)
    log_in(page, Role.OPERATIONS)
    page.goto("/admin/bulk/import/")
    page.locator("[name=table_name]").select_option("group instruments")
    table = f"group,instrument,margin_rate\n{account.group},EURUSD,0.08\n".encode()
    page.locator("[name=file]").set_input_files({"name": "t.csv", "mimeType": "text/csv", "buffer": table})
    page.get_by_role("button", name="Try it out").click()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    jobs.run(queued.pop())
    expect(page.get_by_text("0 new, 1 changed, 0 as they are, 0 with errors.")).to_be_visible()
    page.get_by_role("button", name="Import it as shown").click()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    jobs.run(queued.pop())
    expect(page.get_by_text("0 added, 1 changed. 1 draft of conditions waits")).to_be_visible()
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    assert draft.instruments.get().margin_rate == Decimal("0.08")


def test_a_job_is_cancelled_from_its_page(page: Page, account: Account, monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks.run_job, "delay", lambda pk: None)
    log_in(page, Role.OPERATIONS)
    page.goto("/admin/bulk/export/")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_text("It was cancelled before it began.")).to_be_visible()
    assert Job.objects.get().state == JobState.CANCELLED


def test_compliance_reads_the_trail_and_exports_it(page: Page, account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(name="Renamed")
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/audit/entry/?action__exact=update")
    expect(page.get_by_text("name: Test account → Renamed")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export these entries as CSV").click()
    assert download.value.suggested_filename == "audit-trail.csv"


def test_the_auditor_is_offered_nothing_of_it(page: Page, account: Account) -> None:
    asked = ask(account, colleague())
    log_in(page, Role.COMPLIANCE)
    for url in (
        f"operations/cashrequest/{asked.pk}/change/",
        f"accounts/account/{account.pk}/change/",
        f"accounts/client/{account.client_id}/change/",
        f"accounts/accountgroup/{account.group_id}/change/",
    ):
        page.goto(f"/admin/{url}")
        for name in ("Approve…", "Reject…", "Change the state…", "Ask for cash…", "Identity check…", "Draft new"):
            expect(page.get_by_role("link", name=name)).to_have_count(0)
        expect(page.get_by_role("button", name="Save")).to_have_count(0)


def test_tasks_of_others_are_neither_offered_nor_done(page: Page, account: Account) -> None:
    desk.fill(account, "buy", "10000")
    position = account.positions.get()
    own = ask(account, log_in(page, Role.OPERATIONS))
    for address, names in (
        (f"operations/cashrequest/{own.pk}/change/", ("Approve…", "Reject…")),
        (f"accounts/account/{account.pk}/change/", ("Stop trading…",)),
        (f"trading/position/{position.pk}/change/", ("Close the position…", "Save")),
        (f"trading/execution/{account.executions.get().pk}/change/", ("Bust or correct…", "Save")),
        (f"marketdata/instrument/{position.instrument_id}/change/", ("Stop trading…", "Save")),
        ("marketdata/mappedinstrument/", ("Publish…", "Import…", "Run")),
    ):
        page.goto(f"/admin/{address}")
        assert offers(page, *names) == [], address
    assert is_refused(
        page,
        f"desk/stop/account/{account.pk}/",
        f"desk/stop/group/{account.group_id}/",
        f"positions/{position.pk}/close/",
        "accounts/user/add/",
        "accounts/oauthclient/add/",
        "busts/new/",
        "mappings/publish/",
    )
    asked(page, f"cash/{own.pk}/approve/", {"confirmed": "yes"})
    own.refresh_from_db()
    assert own.state == "requested"


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_the_pages_fit_a_phone(page: Page, account: Account, colour_scheme: Any) -> None:
    asked = ask(account, colleague())
    log_in(page, Role.ADMINISTRATOR)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=colour_scheme)
    for url in (
        "",
        "cash/new/",
        f"cash/{asked.pk}/approve/",
        f"operations/cashrequest/{asked.pk}/change/",
        "operations/cashrequest/",
        f"accounts/{account.pk}/statement/",
        f"accounts/{account.pk}/figures/",
        f"accounts/client/{account.client_id}/change/",
        "conditions/explain/?account=WEB-1&symbol=EURUSD&at_0=&at_1=",
        f"conditions/draft/{account.group_id}/",
        f"conditions/{account.group.conditions_at().pk}/compare/",
        "books/trial-balance/",
        "audit/entry/",
        "bulk/import/",
    ):
        page.goto(f"/admin/{url}")
        assert is_as_wide_as_the_screen(page), url
