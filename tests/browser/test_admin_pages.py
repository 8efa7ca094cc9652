"""The admin in a browser: each role finds the lists it may see, on a screen and on a phone."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from accounts.roles import Role
from tests import factories
from tests.trading import desk
from trading.models import Order

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True)]

PASSWORD = "a-password-of-tests"
LISTS = {
    Role.ADMINISTRATOR: {"Orders", "Accounts", "Instruments", "Postings", "Users", "Log entries"},
    Role.OPERATIONS: {"Orders", "Accounts", "Instruments", "Postings", "Users"},
    Role.DEALING: {"Orders", "Accounts", "Instruments", "Postings"},
    Role.SUPPORT: {"Orders", "Accounts", "Instruments", "Postings"},
    Role.COMPLIANCE: {"Orders", "Accounts", "Instruments", "Postings", "Users", "Log entries"},
}


@pytest.fixture
def account() -> Account:
    account = factories.account(number="WEB-1")
    factories.quote("EURUSD", "1.10000", "1.10010")
    desk.fill(account, "buy", "10000")
    desk.fill(account, "buy", "1000", limit="1.05000")
    return account


def log_in(page: Page, role: Role) -> None:
    user = User.objects.create_user(f"the-{role}", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    page.goto("/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_title("Overview | Back office")


def sidebar(page: Page) -> dict[str, str]:
    """The links of the sidebar, by title."""
    return {
        (link.locator("span").last.text_content() or "").strip(): link.get_attribute("href") or ""
        for link in page.locator("#nav-sidebar-apps a").all()
    }


def is_as_wide_as_the_screen(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("role", LISTS)
def test_a_role_finds_its_lists(page: Page, account: Account, role: Role) -> None:
    log_in(page, role)
    assert set(sidebar(page)) >= LISTS[role]
    orders = page.locator("#nav-sidebar-apps").get_by_role("link", name="Orders", exact=True)  # read without its icon
    orders.click()
    expect(page.get_by_role("cell", name="WEB-1").first).to_be_visible()


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_pages_fit_a_phone(page: Page, account: Account, colour_scheme: Any) -> None:
    log_in(page, Role.ADMINISTRATOR)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=colour_scheme)
    order = account.orders.latest("pk")
    for url in ("", "trading/order/", f"trading/order/{order.pk}/change/", f"accounts/account/{account.pk}/change/"):
        page.goto(f"/admin/{url}")
        assert is_as_wide_as_the_screen(page), url


def test_orders_need_no_scrolling_sideways(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    for width in (1440, 1024, 768):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/admin/trading/order/")
        table = page.locator("#result_list")
        assert table.evaluate("table => table.offsetWidth <= table.parentElement.clientWidth"), width


def test_a_dealer_cancels_an_order_after_reading_what_will_happen(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    order = account.orders.live().get()
    page.goto("/admin/trading/order/")
    page.locator(f"input.action-select[value='{order.pk}']").check()
    page.locator("select[name=action]").select_option("cancel_orders")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("This order will be cancelled for its client.")).to_be_visible()
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.get_by_text("1 order was cancelled.")).to_be_visible()
    assert Order.objects.live().count() == 0


def test_the_auditor_is_offered_nothing_to_press(page: Page, account: Account) -> None:
    log_in(page, Role.COMPLIANCE)
    for url in ("trading/order/", f"accounts/account/{account.pk}/change/"):
        page.goto(f"/admin/{url}")
        for name in ("Save", "Run", "Delete", "Add"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        expect(page.locator("input.action-select")).to_have_count(0)


def test_a_filter_narrows_the_orders(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    page.goto("/admin/trading/order/?status__exact=working")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)


def test_the_keyboard_gets_past_the_sidebar(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    page.goto("/admin/trading/order/")
    skip = page.get_by_role("link", name="Skip to the content")
    skip.focus()
    expect(skip).to_be_in_viewport()
    skip.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('content').contains(document.activeElement)")
    expect(page.get_by_role("main")).to_be_visible()
