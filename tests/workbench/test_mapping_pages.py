"""The mapping workbench: list, files, publishing with its difference, and the way back."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser
from django.urls import reverse

from accounts.choices import Profile
from accounts.roles import Role
from backoffice.workbench import tables
from marketdata import mappings, suggestions
from marketdata.models import MappedInstrument, MappingRelease, SymbolMapping
from tests import factories
from tests.backoffice.test_admin import browser
from tests.marketdata.test_mappings import choose, listed
from tests.tvapi.contract import TradingView

pytestmark = pytest.mark.django_db

LIST = "admin:marketdata_mappedinstrument_changelist"


def symbols(visitor: Browser, **query: str) -> list[str]:
    return [row.symbol for row in visitor.get(reverse(LIST), query).context["cl"].result_list]


def act(visitor: Browser, action: str) -> str:
    selected = [str(pk) for pk in MappedInstrument.workbench.values_list("pk", flat=True)]
    page = visitor.post(reverse(LIST), {"action": action, "_selected_action": selected}, follow=True)
    return page.content.decode()


def upload(visitor: Browser, name: str, text: str) -> Any:
    return visitor.post(reverse("page:mapping_import"), {"file": SimpleUploadedFile(name, text.encode())}, follow=True)


def publish(visitor: Browser, reason: str = "Checked", **query: str) -> Any:
    """Look at what would change, and confirm it."""
    address = reverse("page:mapping_publish", query=query or None)
    seen = dict(visitor.get(address).context["hidden"])
    return visitor.post(address, {**seen, "confirmed": "yes", "_reason": reason}, follow=True)


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_has_each_state_and_what_speaks_for_a_suggestion() -> None:
    for full_name in ("NASDAQ:AAPL", "NASDAQ:MSFT", "NASDAQ:TSLA"):
        listed(full_name)
    factories.mapping("AAPL", "NASDAQ:AAPL")
    choose(MSFT="NASDAQ:MSFT", NFLX="NASDAQ:NFLX", IBM="")
    factories.instrument("TSLA")
    suggestions.refresh()
    visitor = browser(Role.SUPPORT)
    wanted = {"published": "AAPL", "draft": "MSFT", "broken": "NFLX", "unmapped": "IBM", "suggested": "TSLA"}
    for state, symbol in wanted.items():
        assert symbols(visitor, mapping=state) == [symbol], state
    assert symbols(visitor) == ["AAPL", "IBM", "MSFT", "NFLX", "TSLA"]
    page = visitor.get(reverse(LIST)).content.decode()
    assert "NASDAQ:TSLA · 65 · name, type, currency" in page
    assert "TradingView has no such symbol" in page


def test_suggestions_are_accepted_and_drafts_taken_back_for_many_at_once() -> None:
    for symbol in ("AAPL", "MSFT"):
        factories.instrument(symbol)
        listed(f"NASDAQ:{symbol}")
    suggestions.refresh()
    visitor = browser(Role.SUPPORT)
    assert "2 suggestions are drafts now." in act(visitor, "accept_suggestions")
    assert symbols(visitor, mapping="draft") == ["AAPL", "MSFT"]
    assert "2 drafts were taken back." in act(visitor, "take_back_drafts")
    assert symbols(visitor, mapping="suggested") == ["AAPL", "MSFT"]


def test_one_is_chosen_on_its_page_among_candidates() -> None:
    share = factories.instrument("AAPL")
    listed("NASDAQ:AAPL")
    visitor = browser(Role.SUPPORT)
    address = reverse("admin:marketdata_mappedinstrument_change", args=[share.pk])
    panels = {str(panel.title): panel.table["rows"] for panel in visitor.get(address).context["panels"]}
    assert [str(cell) for cell in panels["candidates"][0][1:3]] == ["80", "name, type, currency, exchange"]
    refused = visitor.post(address, {"tradingview_symbol": "AAPL"})
    assert "Write the full name with its exchange, as NASDAQ:AAPL." in refused.content.decode()
    visitor.post(address, {"tradingview_symbol": " NASDAQ:AAPL "})
    assert SymbolMapping.objects.get().tradingview_symbol == "NASDAQ:AAPL"


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_exported_is_imported_again() -> None:
    choose(AAPL="NASDAQ:AAPL", MSFT="")
    visitor = browser(Role.SUPPORT)
    for extension in tables.TYPES:
        exported = visitor.get(reverse("page:mapping_export", args=[extension])).content.decode()
        mappings.choose({each.instrument_id: "" for each in SymbolMapping.objects.all()})
        assert "1 draft was made." in upload(visitor, f"mappings.{extension}", exported).content.decode()
        assert symbols(visitor, mapping="draft") == ["AAPL"]


def test_the_export_says_state_and_problem() -> None:
    listed("NASDAQ:MSFT")
    choose(AAPL="NASDAQ:AAPL")
    assert json.loads(tables.written("json")) == [
        {
            "symbol": "AAPL",
            "tradingview_symbol": "NASDAQ:AAPL",
            "published_symbol": "",
            "state": "broken",
            "problem": "unknown",
        }
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("m.csv", "symbol,tradingview_symbol\nAAPL,NASDAQ:AAPL\nNONE,X:Y\n", "Row 3: There is no instrument NONE."),
        ("m.csv", "symbol,tradingview_symbol\nAAPL,AAPL\n", "Row 2: Write the full name with its exchange"),
        ("m.csv", "symbol,tradingview_symbol\nAAPL,A:B\nAAPL,A:C\n", "Row 3: AAPL is in the file already."),
        ("m.csv", "symbol,tradingview_symbol\nAAPL\n", "Row 2: Each row has the texts"),
        ("m.csv", "instrument\nAAPL\n", "The first row must name the columns"),
        ("m.json", '[{"symbol": "AAPL", "tradingview_symbol": 5}]', "Row 1: Each row has the texts"),
        ("m.json", "[5]", "Row 1: Each row has the texts"),
        ("m.json", "{}", "The file must hold a JSON array"),
        ("m.json", "[", "The file cannot be read as JSON."),
    ],
)
def test_a_file_with_a_wrong_row_stores_nothing(name: str, text: str, sentence: str) -> None:
    factories.instrument("AAPL")
    assert sentence in upload(browser(Role.SUPPORT), name, text).content.decode()
    assert not SymbolMapping.objects.exists()


# --- publishing -------------------------------------------------------------------------------------------------------


def test_publishing_shows_the_difference_its_problems_and_who_is_left_out() -> None:
    factories.group(Profile.EXCHANGE, symbols=["AAPL", "IBM"], name="Shares")
    listed("NASDAQ:AAPL")
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:MSFT")
    context = browser(Role.SUPPORT).get(reverse("page:mapping_publish")).context
    assert context["sentences"][0] == "With this release 1 mapping changes at TradingView."
    assert "Accounts of Shares are not offered at TradingView what is not mapped: IBM" in context["rows"]
    (_, taken, _), (_, left_out, _) = context["tables"]
    assert taken["rows"] == [["AAPL", "–", "NASDAQ:AAPL", "–"]]
    assert left_out["rows"] == [["MSFT", "–", "NASDAQ:MSFT", "TradingView has no such symbol"]]


def test_what_support_publishes_is_given_out_and_gone_back_from() -> None:
    visitor, tradingview = browser(Role.SUPPORT), TradingView()
    choose(AAPL="NASDAQ:AAPL")
    assert tradingview.get("/mapping")["symbols"] == []
    publish(visitor)
    first = MappingRelease.objects.get()
    assert (str(first.by), first.note) == ("the-support", "Checked")
    assert tradingview.get("/mapping")["symbols"] == [{"f": ["AAPL"], "s": "NASDAQ:AAPL"}]
    choose(AAPL="NASDAQ:AAPL.N")
    page = publish(visitor)
    assert page.context["tables"][0][1]["rows"] == [["AAPL", "NASDAQ:AAPL", "NASDAQ:AAPL.N", "–"]]
    back = reverse("page:mapping_roll_back", args=[first.pk])
    assert visitor.get(back).context["button"] == f"Go back to release {first.pk}"
    assert "Write down the reason" in visitor.post(back, {"confirmed": "yes"}).content.decode()
    visitor.post(back, {"confirmed": "yes", "_reason": "It was wrong"})
    assert tradingview.get("/mapping")["symbols"] == [{"f": ["AAPL"], "s": "NASDAQ:AAPL"}]
    assert "Nothing has changed since that release." in visitor.get(back, follow=True).content.decode()


def test_drafts_with_problems_are_published_only_when_asked_for() -> None:
    listed("NASDAQ:MSFT")
    choose(AAPL="NASDAQ:AAPL")
    visitor = browser(Role.SUPPORT)
    assert visitor.get(reverse("page:mapping_publish")).status_code == 302
    publish(visitor, with_problems="1")
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL")]


def test_what_changed_between_look_and_click_is_not_published() -> None:
    choose(AAPL="NASDAQ:AAPL")
    visitor, address = browser(Role.SUPPORT), reverse("page:mapping_publish")
    seen = dict(visitor.get(address).context["hidden"])
    choose(AAPL="NASDAQ:AAPL.N")
    page = visitor.post(address, {**seen, "confirmed": "yes", "_reason": "x"}, follow=True)
    assert "The drafts have changed since you looked" in page.content.decode()
    assert mappings.published() == []
