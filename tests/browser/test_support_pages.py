"""Tasks of support in a browser: what a client sees, tokens, mappings up to what TradingView fetches; the refused."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client as Wire
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.dossier_models import ClientNote
from accounts.models import Account
from accounts.roles import Role
from backoffice.admin import NOTHING
from backoffice.support.models import Look
from marketdata import suggestions
from marketdata.models import Holiday, Instrument, MappedInstrument, MappingRelease, SymbolMapping
from tests import factories
from tests.browser.staff import act, cells, fits_a_phone, is_refused, log_in, offers, save, search
from tests.browser.staff import listed as rows
from tests.marketdata.test_mappings import APPLE, choose, listed
from tests.trading import desk
from trading import orders
from trading.models import Order

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

LIST = "/admin/marketdata/mappedinstrument/"


@pytest.fixture
def account() -> Account:
    """10,000 euros bought."""
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(number="WEB-1", owner=factories.user("anna.web"))
    desk.fill(account, "buy", "10000")
    return account


def given_out(name: str) -> bool:
    """Whether TradingView would fetch this name of its own now."""
    answer = Wire().get("/tv/mapping")
    assert answer.status_code == 200
    return name in answer.content.decode()


def state_of(symbol: str) -> str:
    return MappedInstrument.workbench.with_states().get(symbol=symbol).mapping_state


def look(page: Page, account: Account, reason: str, **fields: str) -> None:
    """From the account's page through the client's eyes."""
    page.goto(reverse("admin:accounts_account_change", args=[account.pk]))
    page.get_by_role("link", name="See what the client sees…").click()
    page.get_by_label("Language").select_option(fields.get("language", "English (en)"))
    page.locator("[name=moment]").fill(fields.get("moment", ""))
    page.locator("[name=reason]").fill(reason)
    page.locator("[name=reason]").press("Enter")
    expect(page.get_by_text(f"Reason: {reason}")).to_be_visible()


# --- clients ----------------------------------------------------------------------------------------------------------


def test_an_account_is_found_by_number_or_login_in_small_letters(page: Page, account: Account) -> None:
    factories.account(number="OTHER-2", owner=factories.user("bert.other"))
    log_in(page, Role.SUPPORT)
    page.goto("/admin/accounts/account/")
    expect(rows(page)).to_have_count(2)
    for typed in ("web-1", "anna.w"):
        search(page, typed)
        expect(rows(page)).to_have_count(1)
        expect(rows(page)).to_contain_text("WEB-1")


def test_a_past_minute_is_looked_at_and_the_look_is_recorded(page: Page, account: Account) -> None:
    moment = datetime.now(UTC)
    desk.fill(account, "sell", "4000")
    log_in(page, Role.SUPPORT)
    look(page, account, "Ticket 18", moment=f"{moment:%Y-%m-%d %H:%M:%S.%f}")
    expect(page.get_by_text(f"As it was at {moment:%Y-%m-%d %H:%M:%S} UTC, from the books.")).to_be_visible()
    expect(page.locator("pre", has_text='"qty": 10000').last).to_be_visible()
    assert fits_a_phone(page)
    page.get_by_role("link", name="Look again, or at another moment").click()
    page.locator("[name=reason]").fill("Ticket 18")
    page.get_by_role("button", name="Look", exact=True).click()
    page.locator("summary", has_text="/positions").click()
    expect(page.locator("pre", has_text='"qty": 6000').first).to_be_visible()
    kept = Look.objects.order_by("pk").values_list("by__username", "account", "moment", "reason")
    assert list(kept) == [
        ("the-support", account.pk, moment, "Ticket 18"),
        ("the-support", account.pk, None, "Ticket 18"),
    ]


def test_an_orders_story_is_told_as_the_client_was_told_it(page: Page, account: Account) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.05000", sl="1.04000")
    orders.cancel(account.pk, order.pk)
    stop = Order.objects.get(parent=order)
    log_in(page, Role.SUPPORT)
    look(page, account, "Ticket 19", language="Deutsch (de_DE)")
    page.get_by_role("link", name=str(stop.pk), exact=True).click()
    last = cells(page, f"Story of order {stop.pk}")[-1]
    assert last[1:3] + last[-1:] == ["Cancelled", "Cancelled", "Die Order, die abgesichert werden sollte, ist beendet."]
    assert fits_a_phone(page)


def test_a_note_is_left_for_the_next_who_is_asked(page: Page, account: Account) -> None:
    log_in(page, Role.SUPPORT)
    page.goto(reverse("admin:accounts_account_change", args=[account.pk]))
    page.goto(reverse("admin:accounts_client_change", args=[account.client_id]))
    page.get_by_role("link", name="Add a note…").click()
    page.locator("[name=text]").fill("Wants to be called before noon")
    page.get_by_role("button", name="Add the note").click()
    expect(page.get_by_text("It is recorded.")).to_be_visible()
    assert cells(page, "Notes")[0][1:] == ["the-support", "Wants to be called before noon"]
    assert ClientNote.objects.get().client == account.client


def test_a_token_is_ended_and_opens_nothing_any_more(page: Page, account: Account) -> None:
    wire = Wire(headers={"Authorization": f"Bearer {factories.token(account.client.user)}"})
    assert wire.get("/tv/accounts?locale=en").status_code == 200
    log_in(page, Role.SUPPORT)
    page.goto(reverse("admin:accounts_account_change", args=[account.pk]))
    page.get_by_role("region", name="The login's tokens").get_by_role("link", name="All").click()
    act(page, "revoke", "anna.web")
    expect(page.get_by_text("1 token was ended.")).to_be_visible()
    assert wire.get("/tv/accounts?locale=en").status_code == 401


# --- instruments ------------------------------------------------------------------------------------------------------


def test_a_missing_description_is_found_side_by_side_and_written(page: Page) -> None:
    instrument = factories.instrument("EURUSD", description_en="Euro / Dollar")
    log_in(page, Role.SUPPORT)
    page.goto(reverse("admin:marketdata_instrument_change", args=[instrument.pk]))
    page.get_by_role("link", name="Descriptions").click()
    found = {row[1]: row[2:] for row in cells(page, "Side by side")}
    assert found["de"] == [NOTHING, "Euro / Dollar", "missing: English is shown"]
    assert fits_a_phone(page)
    page.get_by_role("link", name="The instrument").click()
    page.get_by_text("Description in other languages").click()
    page.locator("[name=description_de]").fill("Euro / US-Dollar")
    save(page)
    page.goto(reverse("page:instrument_descriptions", args=[instrument.pk]))
    assert {row[1]: row[2:] for row in cells(page, "Side by side")}["de"] == ["Euro / US-Dollar"] * 2 + [""]
    assert Instrument.objects.values_list("description_de", flat=True).get() == "Euro / US-Dollar"


def test_the_calendar_shows_the_coming_sessions_with_their_holidays(page: Page) -> None:
    day = (datetime.now(UTC) + timedelta(days=7)).date()
    Holiday.objects.create(calendar="NYSE", day=day, name="Founders' day")
    instrument = factories.instrument("AAPL", holiday_calendar="NYSE")
    log_in(page, Role.SUPPORT)
    page.goto(reverse("admin:marketdata_instrument_change", args=[instrument.pk]))
    page.get_by_role("link", name="Trading hours").click()
    days = {row[0]: row[1:] for row in cells(page, "The next five weeks")}
    assert days[f"{day}"][1:] == [NOTHING, NOTHING, NOTHING, "Founders' day"]
    weekdays = [row for row in days.values() if row[0] not in ("Saturday", "Sunday") and row[-1] != "Founders' day"]
    assert {row[3] for row in weekdays} == {"6.5"}
    assert fits_a_phone(page)


# --- mappings ---------------------------------------------------------------------------------------------------------


def test_what_is_unmapped_is_filtered_with_the_keyboard_and_mapped_by_hand(page: Page) -> None:
    choose(MSFT="NASDAQ:MSFT", IBM="")
    log_in(page, Role.SUPPORT)
    page.goto(LIST)
    page.get_by_role("button", name="Filters").first.press("Enter")
    page.locator("#changelist-filter").get_by_role("link", name="Broken").press("Enter")
    expect(page.get_by_text("Nothing passes these filters.")).to_be_visible()
    page.get_by_role("link", name="Show everything").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Filters").first.click()
    page.locator("#changelist-filter").get_by_role("link", name="Unmapped").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="IBM").click()
    page.locator("[name=tradingview_symbol]").fill("IBM")
    page.locator("[name=tradingview_symbol]").press("Enter")
    expect(page.get_by_text("Write the full name with its exchange, as NASDAQ:AAPL.")).to_be_visible()
    page.locator("[name=tradingview_symbol]").fill("NYSE:IBM")
    page.locator("[name=tradingview_symbol]").press("Enter")
    expect(page.get_by_text("Nothing passes these filters.")).to_be_visible()  # it is back in the list of the unmapped
    assert state_of("IBM") == "draft"


def test_one_suggestion_is_accepted_and_then_the_rest(page: Page) -> None:
    for symbol in ("AAPL", "MSFT", "NVDA"):
        factories.instrument(symbol, **APPLE)
        listed(f"NASDAQ:{symbol}")
    factories.instrument("NOBODYS", **APPLE)
    suggestions.refresh()
    log_in(page, Role.SUPPORT)
    page.goto(f"{LIST}?mapping=suggested")
    expect(rows(page)).to_have_count(3)
    act(page, "accept_suggestions", "NASDAQ:MSFT")
    expect(page.get_by_text("1 suggestion is a draft now.")).to_be_visible()
    expect(rows(page)).to_have_count(2)
    act(page, "accept_suggestions", "NASDAQ:AAPL", "NASDAQ:NVDA")
    expect(page.get_by_text("2 suggestions are drafts now.")).to_be_visible()
    expect(page.get_by_text("0 mappings")).to_be_visible()
    assert {symbol: state_of(symbol) for symbol in ("AAPL", "MSFT", "NVDA", "NOBODYS")} == {
        "AAPL": "draft",
        "MSFT": "draft",
        "NVDA": "draft",
        "NOBODYS": "unmapped",
    }
    assert not given_out("NASDAQ:AAPL")


def test_a_file_of_mappings_becomes_drafts_or_says_which_row_is_wrong(page: Page) -> None:
    factories.instrument("AAPL", **APPLE)
    log_in(page, Role.SUPPORT)
    page.goto(LIST)
    page.get_by_role("link", name="Import…").click()
    for row, sentence in (("NONE,NASDAQ:NONE", "Row 3: There is no instrument NONE."), ("", "1 draft was made.")):
        table = f"symbol,tradingview_symbol\nAAPL,NASDAQ:AAPL\n{row}".encode()
        page.locator("[name=file]").set_input_files({"name": "m.csv", "mimeType": "text/csv", "buffer": table})
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text(sentence)).to_be_visible()
    assert state_of("AAPL") == "draft"


def test_what_is_wrong_with_drafts_is_shown_before_they_are_published(page: Page) -> None:
    for name, kind, currency in (("GOOD", "stock", "USD"), ("COIN", "crypto", "USD"), ("EURO", "stock", "EUR")):
        listed(f"NASDAQ:{name}", kind, currency)
    listed("NASDAQ:TWICE")
    wishes = {"ONE": "TWICE", "TWO": "TWICE", "KIND": "COIN", "MONEY": "EURO", "LOST": "NOWHERE", "FINE": "GOOD"}
    choose(**{symbol: f"NASDAQ:{name}" for symbol, name in wishes.items()})
    log_in(page, Role.SUPPORT)
    page.goto(LIST)
    page.get_by_role("link", name="Publish…").click()
    problems = {
        "KIND": "TradingView's symbol is of another type",
        "LOST": "TradingView has no such symbol",
        "MONEY": "TradingView's symbol is in another currency",
        "ONE": "Another instrument has this symbol",
        "TWO": "Another instrument has this symbol",
    }
    assert {row[0]: row[3] for row in cells(page, "What stays a draft")} == problems
    assert [row[0] for row in cells(page, "What changes")] == ["FINE"]
    assert fits_a_phone(page)
    page.get_by_role("link", name="Publish them all the same").click()
    assert [row[0] for row in cells(page, "What stays a draft")] == ["ONE", "TWO"]
    page.get_by_role("link", name="Go back").click()
    assert not SymbolMapping.objects.exclude(published_symbol=None).exists()


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


# --- what is for others -----------------------------------------------------------------------------------------------


def test_tasks_of_others_are_neither_offered_nor_done(page: Page, account: Account) -> None:
    position, group, client = account.positions.get(), account.group_id, account.client_id
    log_in(page, Role.SUPPORT)
    for address, names in (
        (f"accounts/account/{account.pk}/change/", ("Stop trading", "Change the state", "Ask for cash", "Save")),
        (f"accounts/accountgroup/{group}/change/", ("Stop trading", "Draft new conditions", "Save")),
        (f"accounts/client/{client}/change/", ("Identity check", "Add a document", "Save")),
        (f"trading/position/{position.pk}/change/", ("Close the position", "Save")),
        (f"trading/execution/{account.executions.get().pk}/change/", ("Bust or correct", "Save")),
        ("trading/order/", ("Run",)),
    ):
        page.goto(f"/admin/{address}")
        assert offers(page, *names) == [], address
    assert is_refused(
        page,
        f"accounts/{account.pk}/state/",
        f"clients/{client}/kyc/",
        f"conditions/draft/{group}/",
        f"desk/stop/account/{account.pk}/",
        f"desk/stop/group/{group}/",
        f"positions/{position.pk}/close/",
        "busts/new/",
        "cash/new/",
        "accounts/user/",
        "audit/entry/",
    )
    assert account.positions.open().exists()
