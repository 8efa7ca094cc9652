"""The admin in a browser: each role finds its lists on every screen; tasks of the administrator, and the refused."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client as Visitor
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Page, expect

from accounts import oauth_clients
from accounts.models import Account, User
from accounts.oauth_models import ClientSecret
from accounts.roles import Role
from backoffice.admin import NOTHING
from backoffice.audit.models import Entry
from backoffice.operations import cash
from backoffice.operations.choices import CashKind
from backoffice.operations.models import CashRequest
from marketdata.models import Instrument, SymbolGroup
from tests import factories
from tests.browser.staff import (
    PASSWORD,
    act,
    asked,
    cells,
    fits_a_phone,
    is_as_wide_as_the_screen,
    is_refused,
    listed,
    log_in,
    member,
    offers,
    save,
    search,
    show_password,
)
from tests.trading import desk
from trading.models import Order

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

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


def sidebar(page: Page) -> dict[str, str]:
    """The links of the sidebar, by title."""
    return {
        (link.locator("span").last.text_content() or "").strip(): link.get_attribute("href") or ""
        for link in page.locator("#nav-sidebar-apps a").all()
    }


@pytest.mark.parametrize("role", LISTS)
def test_a_role_finds_its_lists(page: Page, account: Account, role: Role) -> None:
    show_password(page, member(role).username)
    expect(page).to_have_title("Overview | Back office")
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


# --- the administrator's own tasks ------------------------------------------------------------------------------------


def code(device: TOTPDevice) -> str:
    return f"{totp(device.bin_key):06d}"


def test_a_new_member_of_staff_gets_a_role_and_sets_the_second_factor_up(page: Page, settings: Any) -> None:
    log_in(page, Role.ADMINISTRATOR)
    page.goto("/admin/accounts/user/add/")
    for name, value in (("username", "newcomer"), ("password1", PASSWORD), ("password2", PASSWORD)):
        page.locator(f"[name={name}]").fill(value)
    save(page)
    page.get_by_label("Staff status").check()
    page.locator("[name=groups]").select_option(label=["operations"])
    save(page)
    search(page, "newcomer")
    expect(listed(page)).to_contain_text("operations")

    settings.SECOND_FACTOR_REQUIRED = True
    show_password(page, "newcomer")
    expect(page.get_by_role("img", name="The key as a picture")).to_be_visible()
    assert fits_a_phone(page)
    assert asked(page, "accounts/account/") == 302  # nothing opens before
    page.get_by_label("Code").fill(code(TOTPDevice.objects.get()))
    page.get_by_label("Code").press("Enter")
    codes = page.locator("li code").all_text_contents()
    assert fits_a_phone(page)
    page.get_by_role("link", name="I have kept them").click()
    expect(page).to_have_title("Overview | Back office")
    assert set(sidebar(page)) >= LISTS[Role.OPERATIONS]

    show_password(page, "newcomer")  # without the phone: one of the codes opens, once
    page.get_by_label("Code").fill(codes[0])
    page.get_by_label("Code").press("Enter")
    expect(page).to_have_title("Overview | Back office")
    assert StaticToken.objects.count() == len(set(codes)) - 1 == 9


def test_a_lost_phone_is_replaced(page: Page, settings: Any) -> None:
    user = member(Role.DEALING)
    TOTPDevice.objects.create(user=user, name="app", confirmed=True)
    log_in(page, Role.ADMINISTRATOR)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Second factors").click()
    act(page, "delete_selected", "the-dealing")
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.get_by_text("Successfully deleted 1")).to_be_visible()
    settings.SECOND_FACTOR_REQUIRED = True
    show_password(page, "the-dealing")
    expect(page.get_by_text("Scan this with an authenticator app")).to_be_visible()


def test_a_role_is_changed_and_with_it_what_is_seen(page: Page) -> None:
    user = member(Role.DEALING)
    log_in(page, Role.ADMINISTRATOR)
    page.goto(reverse("admin:accounts_user_change", args=[user.pk]))
    page.locator("[name=groups]").select_option(label=["support"])
    save(page)
    expect(listed(page).filter(has_text="the-dealing")).to_contain_text("support")
    log_in(page, Role.DEALING)
    assert "Access tokens" in sidebar(page)
    assert asked(page, "busts/new/") == 403


def test_who_leaves_is_switched_off_and_his_session_ends(page: Page) -> None:
    user = member(Role.DEALING)
    log_in(page, Role.DEALING)
    [session] = [each["value"] for each in page.context.cookies() if each["name"] == "sessionid"]
    log_in(page, Role.ADMINISTRATOR)
    page.goto(reverse("admin:accounts_user_change", args=[user.pk]))
    page.get_by_label("Active").uncheck()
    save(page)
    page.context.add_cookies([{"name": "sessionid", "value": session, "domain": "localhost", "path": "/"}])
    assert asked(page, "") == 302


def test_a_locked_out_member_of_staff_is_let_in_again(page: Page, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    user = member(Role.DEALING)
    for _try in range(2):
        Visitor().post("/admin/login/", {"username": user.username, "password": "mistyped"})
    assert Visitor().post("/admin/login/", {"username": user.username, "password": PASSWORD}).status_code == 429
    log_in(page, Role.ADMINISTRATOR)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Failed logins").click()
    act(page, "delete_selected", "the-dealing")
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.get_by_text("Successfully deleted 1")).to_be_visible()
    show_password(page, user.username)
    expect(page).to_have_title("Overview | Back office")


def test_only_the_networks_of_staff_get_in(page: Page, settings: Any) -> None:
    log_in(page, Role.ADMINISTRATOR)
    settings.STAFF_NETWORKS = ["192.0.2.0/24"]
    assert asked(page, "") == 403
    settings.STAFF_NETWORKS = ["127.0.0.0/8", "::1/128"]
    page.reload()
    expect(page).to_have_title("Overview | Back office")


def test_the_secret_of_a_pair_is_rotated_while_the_old_one_works_on(page: Page) -> None:
    client = factories.oauth_client(secret="a-secret-of-the-tests-only")
    log_in(page, Role.ADMINISTRATOR)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="OAuth clients").click()
    act(page, "give_new_secret", client.client_id)
    expect(page.get_by_text("The secrets before them work for another 7 days.")).to_be_visible()
    secret = page.locator("dd code").text_content() or ""
    assert fits_a_phone(page)
    assert oauth_clients.knows(client, secret)
    assert oauth_clients.knows(client, "a-secret-of-the-tests-only")
    page.goto(reverse("admin:accounts_oauthclient_change", args=[client.pk]))
    assert sorted(row[2] == NOTHING for row in cells(page, "Secrets")) == [False, True]
    assert secret not in page.content()
    ClientSecret.objects.exclude(ends_at=None).update(ends_at=timezone.now())
    assert not oauth_clients.knows(client, "a-secret-of-the-tests-only")


def test_a_symbol_group_is_made_and_gets_an_instrument(page: Page) -> None:
    instrument = factories.instrument("AAPL")
    log_in(page, Role.ADMINISTRATOR)
    page.goto("/admin/marketdata/symbolgroup/add/")
    page.locator("[name=name]").fill("demo_shares")
    page.locator("[name=description]").fill("Shares")
    save(page)
    page.goto(reverse("admin:marketdata_instrument_change", args=[instrument.pk]))
    page.locator("[name=symbol_group]").select_option(label="demo_shares")
    save(page)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Symbol groups").click()
    page.get_by_role("link", name="demo_shares").click()
    assert cells(page, "Instruments")[0][0] == "AAPL"
    assert Instrument.objects.get().symbol_group == SymbolGroup.objects.get(name="demo_shares")


def test_a_limit_keeps_operations_from_asking_for_more(page: Page, account: Account) -> None:
    log_in(page, Role.ADMINISTRATOR)
    page.goto("/admin/operations/cashlimit/add/")
    page.locator("[name=role]").select_option("operations")
    page.locator("[name=currency]").select_option("USD")
    for name in ("request_limit", "approve_limit"):
        page.locator(f"[name={name}]").fill("500")
    save(page)
    expect(listed(page)).to_contain_text("500")
    log_in(page, Role.OPERATIONS)
    page.goto("/admin/cash/new/?account=WEB-1")
    page.locator("[name=kind]").select_option("deposit")
    page.locator("[name=currency]").select_option("USD")
    page.locator("[name=amount]").fill("500.01")
    page.locator("[name=reason]").fill("Bank 4711")
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_role("button", name="Ask for approval")).to_be_visible()
    assert not CashRequest.objects.exists()


def test_data_is_sold_by_a_tariff(page: Page, account: Account) -> None:
    wire = Visitor(headers={"Authorization": f"Bearer {factories.token(account.client.user)}"})

    def groups() -> str:
        return wire.get("/tv/permissions?locale=en").content.decode()

    assert "demo_forex" in groups()
    log_in(page, Role.ADMINISTRATOR)
    page.goto("/admin/accounts/datatariff/add/")
    page.locator("[name=name]").fill("Currencies")
    page.locator("[name=groups]").fill("demo_forex")
    save(page)
    expect(listed(page)).to_contain_text("Currencies")
    assert "demo_forex" not in groups()


# --- what nobody does alone, or at all --------------------------------------------------------------------------------


def test_the_administrator_does_not_rise_and_does_not_decide_alone(page: Page, account: Account) -> None:
    above = User.objects.create_superuser("above")
    role = Group.objects.get(name=Role.SUPPORT)
    user = log_in(page, Role.ADMINISTRATOR)
    own = cash.ask(cash.Wish(CashKind.WITHDRAWAL, account.pk, "USD", Decimal(4), "Bank 4711", "k"), by=user)
    for address in (
        f"accounts/user/{above.pk}/change/",
        f"auth/group/{role.pk}/change/",
        f"operations/cashrequest/{own.pk}/change/",
        f"audit/entry/{Entry.objects.latest('pk').pk}/change/",
    ):
        page.goto(f"/admin/{address}")
        assert offers(page, "Save", "Approve…", "Delete") == [], address
        assert asked(page, address, {"_save": "1", "username": "x", "name": "x"}) == 403, address
    page.goto(reverse("admin:accounts_user_change", args=[user.pk]))
    expect(page.get_by_label("Superuser status")).to_have_count(0)
    asked(page, f"cash/{own.pk}/approve/", {"confirmed": "yes"})
    own.refresh_from_db()
    assert own.state == "requested"
    assert is_refused(page, f"accounts/account/{account.pk}/delete/", f"accounts/user/{user.pk}/delete/")
