"""Tasks of support in a browser: mappings from the suggestion to what TradingView fetches, and back."""

import pytest
from django.test import Client as Wire
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.roles import Role
from backoffice.admin import NOTHING
from marketdata import suggestions
from marketdata.models import MappedInstrument, MappingRelease, SymbolMapping
from tests import factories
from tests.browser.test_admin_pages import log_in
from tests.browser.test_desk_pages import cells
from tests.marketdata.test_mappings import APPLE, listed

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

LIST = "/admin/marketdata/mappedinstrument/"


def given_out(name: str) -> bool:
    """Whether TradingView would fetch this name of its own now."""
    answer = Wire().get("/tv/mapping")
    assert answer.status_code == 200
    return name in answer.content.decode()


def state_of(symbol: str) -> str:
    return MappedInstrument.workbench.with_states().get(symbol=symbol).mapping_state


def accept(page: Page, *symbols: str) -> None:
    for symbol in symbols:
        page.get_by_role("row").filter(has_text=symbol).locator("input.action-select").check()
    page.locator("select[name=action]").select_option("accept_suggestions")
    page.get_by_role("button", name="Run").click()


def test_an_account_is_found_by_number_or_login_in_small_letters(page: Page) -> None:
    factories.account(number="WEB-1", owner=factories.user("anna.web"))
    factories.account(number="OTHER-2", owner=factories.user("bert.other"))
    log_in(page, Role.SUPPORT)
    page.goto("/admin/accounts/account/")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    for typed in ("web-1", "anna.w"):
        page.locator("#searchbar").fill(typed)
        page.locator("#searchbar").press("Enter")
        expect(page.locator("#result_list tbody tr")).to_have_count(1)
        expect(page.locator("#result_list tbody tr")).to_contain_text("WEB-1")


def test_one_suggestion_is_accepted_and_then_the_rest(page: Page) -> None:
    for symbol in ("AAPL", "MSFT", "NVDA"):
        factories.instrument(symbol, **APPLE)
        listed(f"NASDAQ:{symbol}")
    factories.instrument("NOBODYS", **APPLE)
    suggestions.refresh()
    log_in(page, Role.SUPPORT)
    page.goto(f"{LIST}?mapping=suggested")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    accept(page, "NASDAQ:MSFT")
    expect(page.get_by_text("1 suggestion is a draft now.")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    accept(page, "NASDAQ:AAPL", "NASDAQ:NVDA")
    expect(page.get_by_text("2 suggestions are drafts now.")).to_be_visible()
    expect(page.get_by_text("0 mappings")).to_be_visible()
    assert {symbol: state_of(symbol) for symbol in ("AAPL", "MSFT", "NVDA", "NOBODYS")} == {
        "AAPL": "draft",
        "MSFT": "draft",
        "NVDA": "draft",
        "NOBODYS": "unmapped",
    }
    assert not given_out("NASDAQ:AAPL")


def test_what_tradingview_fetches_changes_when_a_release_is_published_and_gone_back_on(page: Page) -> None:
    apple = factories.instrument("AAPL", **APPLE)
    listed("NASDAQ:AAPL")
    listed("NASDAQ:AAPLX")
    log_in(page, Role.SUPPORT)
    for name, earlier in (("NASDAQ:AAPL", NOTHING), ("NASDAQ:AAPLX", "NASDAQ:AAPL")):
        page.goto(reverse("admin:marketdata_mappedinstrument_change", args=[apple.pk]))
        page.locator("[name=tradingview_symbol]").fill(name)
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("link", name="Publish…").click()
        assert cells(page, "What changes")[0][1:3] == [earlier, name]
        page.get_by_label("Reason").fill("New share")
        assert not given_out(f'"{name}"')
        page.get_by_role("button", name="Publish", exact=True).click()
        expect(page.get_by_text("is published.")).to_be_visible()
        assert given_out(f'"{name}"')

    first, second = MappingRelease.objects.order_by("pk")
    page.goto(f"/admin/marketdata/mappingrelease/{first.pk}/change/")
    page.get_by_role("link", name="Go back to this release…").click()
    assert cells(page, "What changes")[0][1:3] == ["NASDAQ:AAPLX", "NASDAQ:AAPL"]
    page.get_by_label("Reason").fill("Wrong share")
    assert given_out('"NASDAQ:AAPLX"')
    page.get_by_role("button", name=f"Go back to release {first.pk}").click()
    expect(page.get_by_text(f"gives out what release {first.pk} gave out.")).to_be_visible()
    assert given_out('"NASDAQ:AAPL"')
    assert not given_out('"NASDAQ:AAPLX"')
    restored = MappingRelease.objects.latest("pk")
    assert (restored.restores, restored.note) == (first, "Wrong share")
    assert restored.pk > second.pk
    assert SymbolMapping.objects.get().tradingview_symbol == "NASDAQ:AAPL"
