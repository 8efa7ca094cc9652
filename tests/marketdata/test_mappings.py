"""Mappings: choosing, what is wrong with a choice, releases, and what stays hidden while it is not mapped."""

import pytest
from django.db import Error, connection, transaction
from django.utils import translation

from accounts.models import User
from marketdata import mapping_releases, mappings, suggestions
from marketdata.choices import MappingProblem, MappingState
from marketdata.mapping_releases import MappingRefused
from marketdata.models import MappedInstrument, MappingRelease, MappingSuggestion, SymbolMapping, TradingViewSymbol
from tests import factories

pytestmark = pytest.mark.django_db

APPLE = {"type": "stock", "quote_currency": "USD", "exchange_listed": "NASDAQ", "exchange_traded": "NASDAQ"}


def listed(full_name: str, kind: str = "stock", currency: str = "USD", description: str = "") -> TradingViewSymbol:
    return TradingViewSymbol.objects.create(
        full_name=full_name,
        code=suggestions.code_of(full_name.partition(":")[2]),
        type=kind,
        currency=currency,
        description=description,
        words=suggestions.words_of(description),
    )


def choose(**names: str) -> None:
    mappings.choose({factories.instrument(symbol, **APPLE).pk: name for symbol, name in names.items()})


def state_of(symbol: str) -> tuple[str, str]:
    row = MappedInstrument.workbench.with_states().get(symbol=symbol)
    return row.mapping_state, row.mapping_problem


def someone() -> User:
    return factories.user("supporter", is_staff=True)


# --- states and problems ----------------------------------------------------------------------------------------------


def test_an_instrument_goes_from_unmapped_by_suggested_and_draft_to_published():
    factories.instrument("AAPL")
    assert state_of("AAPL") == (MappingState.UNMAPPED, "")
    listed("NASDAQ:AAPL")
    assert suggestions.refresh() == 1
    assert state_of("AAPL") == (MappingState.SUGGESTED, "")
    assert mappings.accept(MappedInstrument.workbench.values_list("pk", flat=True)) == 1
    assert state_of("AAPL") == (MappingState.DRAFT, "")
    mapping_releases.publish(by=None, note="first")
    assert state_of("AAPL") == (MappingState.PUBLISHED, "")
    choose(AAPL="")
    assert state_of("AAPL") == (MappingState.DRAFT, "")


def test_without_a_list_of_tradingviews_nothing_is_called_unknown():
    choose(AAPL="NASDAQ:AAPL")
    assert state_of("AAPL") == (MappingState.DRAFT, "")
    listed("NASDAQ:MSFT")
    assert state_of("AAPL") == (MappingState.BROKEN, MappingProblem.UNKNOWN)


@pytest.mark.parametrize(
    ("kind", "currency", "problem"),
    [
        ("stock", "USD", ""),
        ("stock", "", ""),
        ("index", "USD", MappingProblem.TYPE),
        ("stock", "EUR", MappingProblem.CURRENCY),
    ],
)
def test_type_and_currency_must_be_those_of_the_list(kind, currency, problem):
    listed("NASDAQ:AAPL", kind, currency)
    choose(AAPL="NASDAQ:AAPL")
    assert state_of("AAPL")[1] == problem


def test_two_instruments_of_one_symbol_collide():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:AAPL")
    assert state_of("AAPL") == state_of("MSFT") == (MappingState.BROKEN, MappingProblem.COLLISION)


@pytest.mark.parametrize(("group", "problem"), [(None, MappingProblem.FOREX), ("demo_forex", "")])
def test_forex_is_not_mapped_to_prices_from_elsewhere(group, problem):
    pair = factories.instrument("EURUSD", symbol_group=group)
    mappings.choose({pair.pk: "FX:EURUSD"})
    assert state_of("EURUSD")[1] == problem


def test_a_draft_that_is_taken_back_leaves_what_is_published():
    choose(AAPL="NASDAQ:AAPL")
    mapping_releases.publish(by=None, note="first")
    choose(AAPL="NASDAQ:AAPL.OLD")
    assert mappings.take_back(MappedInstrument.workbench.values_list("pk", flat=True)) == 1
    assert SymbolMapping.objects.get().tradingview_symbol == "NASDAQ:AAPL"


# --- suggestions ------------------------------------------------------------------------------------------------------


def test_the_likeliest_symbol_is_suggested_with_its_score_and_reasons():
    share = factories.instrument("AAPL", description="Apple Inc.")
    listed("XETR:AAPL", currency="EUR", description="Apple Inc")
    listed("BCBA:AAPL", description="Apple")
    listed("NASDAQ:AAPL", description="Apple Inc")
    suggestions.refresh()
    suggestion = share.suggestion
    assert (suggestion.target.full_name, suggestion.score) == ("NASDAQ:AAPL", 95)
    assert suggestion.reasons == ["name", "description", "type", "currency", "exchange"]
    found = [(each.target.full_name, each.score) for each in suggestions.candidates(share)]
    assert found == [("NASDAQ:AAPL", 95), ("BCBA:AAPL", 80), ("XETR:AAPL", 65)]


def test_a_symbol_with_its_exchange_before_it_is_found_without():
    share = factories.instrument("NASDAQ_AAPL", **APPLE)
    listed("NASDAQ:AAPL")
    suggestions.refresh()
    assert share.suggestion.target.full_name == "NASDAQ:AAPL"


def test_what_the_check_would_call_broken_is_not_suggested():
    factories.instrument("AAPL")
    listed("NASDAQ:AAPL", "index")
    listed("XETR:AAPL", "stock", "EUR")
    assert suggestions.refresh() == 0


def test_it_is_the_english_description_that_is_compared_in_every_language():
    share = factories.instrument("ALPHA", description_en="Apple Inc.", description_de="Apfel AG", **APPLE)
    listed("NASDAQ:AAPL", description="Apple Inc")
    with translation.override("de"):
        suggestions.renew([share.pk])
        assert [each.target.full_name for each in suggestions.candidates(share)] == ["NASDAQ:AAPL"]
    assert share.suggestion.target.full_name == "NASDAQ:AAPL"


def test_renewing_one_leaves_the_others_suggestions_and_what_was_chosen():
    renamed, chosen, other = (factories.instrument(symbol, **APPLE) for symbol in ("AAPL", "MSFT", "TSLA"))
    for symbol in ("AAPL", "MSFT", "TSLA"):
        listed(f"NASDAQ:{symbol}")
    mappings.choose({chosen.pk: "NASDAQ:MSFT"})
    suggestions.refresh()
    kept = other.suggestion.pk
    renamed.symbol = "AAPLX"
    renamed.save()
    assert suggestions.renew([renamed.pk, chosen.pk]) == 0
    assert list(MappingSuggestion.objects.values_list("pk", "instrument__symbol")) == [(kept, "TSLA")]


# --- releases ---------------------------------------------------------------------------------------------------------


def test_what_is_given_out_changes_at_publishing_only():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:MSFT")
    assert mappings.published() == []
    release = mapping_releases.publish(by=someone(), note="first")
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL"), ("MSFT", "NASDAQ:MSFT")]
    choose(AAPL="", MSFT="NASDAQ:MSFT.N")
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL"), ("MSFT", "NASDAQ:MSFT")]
    assert [(each.symbol, each.before, each.after) for each in mapping_releases.pending()] == [
        ("AAPL", "NASDAQ:AAPL", ""),
        ("MSFT", "NASDAQ:MSFT", "NASDAQ:MSFT.N"),
    ]
    mapping_releases.publish(by=None, note="second")
    assert mappings.published() == [("MSFT", "NASDAQ:MSFT.N")]
    assert sorted(mapping_releases.state_at(release).values()) == ["NASDAQ:AAPL", "NASDAQ:MSFT"]


def test_going_back_gives_out_what_was_given_out():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:MSFT")
    first = mapping_releases.publish(by=None, note="first")
    choose(AAPL="", MSFT="NASDAQ:MSFT.N", TSLA="NASDAQ:TSLA")
    mapping_releases.publish(by=None, note="second")
    back = mapping_releases.roll_back(first, by=someone(), note="wrong")
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL"), ("MSFT", "NASDAQ:MSFT")]
    assert (back.restores, mapping_releases.pending()) == (first, [])
    with pytest.raises(MappingRefused, match="Nothing has changed"):
        mapping_releases.roll_back(first, by=someone_again(), note="again")


def someone_again() -> User:
    return User.objects.get(username="supporter")


def test_two_instruments_swap_their_symbols_in_one_release():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:MSFT")
    mapping_releases.publish(by=None, note="first")
    choose(AAPL="NASDAQ:MSFT", MSFT="NASDAQ:AAPL")
    mapping_releases.publish(by=None, note="second")
    assert mappings.published() == [("AAPL", "NASDAQ:MSFT"), ("MSFT", "NASDAQ:AAPL")]


def test_drafts_with_problems_wait_unless_they_are_wanted():
    listed("NASDAQ:MSFT")
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:MSFT")
    mapping_releases.publish(by=None, note="first")
    assert mappings.published() == [("MSFT", "NASDAQ:MSFT")]
    mapping_releases.publish(by=None, note="all the same", with_problems=True)
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL"), ("MSFT", "NASDAQ:MSFT")]


def test_a_collision_is_never_published():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:AAPL")
    with pytest.raises(MappingRefused, match="nothing to publish"):
        mapping_releases.publish(by=None, note="x", with_problems=True)
    assert not MappingRelease.objects.exists()


def test_what_changed_after_the_look_at_it_is_not_published():
    choose(AAPL="NASDAQ:AAPL")
    seen = mapping_releases.fingerprint(mapping_releases.pending())
    choose(AAPL="NASDAQ:AAPL.N")
    with pytest.raises(MappingRefused, match="have changed since you looked"):
        mapping_releases.publish(by=None, note="x", seen=seen)
    assert mappings.published() == []


def test_the_database_refuses_to_publish_without_a_release():
    choose(AAPL="NASDAQ:AAPL")
    mapping_releases.publish(by=None, note="first")
    for change in (
        lambda: SymbolMapping.objects.update(published_symbol="NASDAQ:OTHER"),
        lambda: SymbolMapping.objects.update(published_symbol=None),
        lambda: SymbolMapping.objects.all().delete(),
        lambda: SymbolMapping.objects.create(instrument=factories.instrument("MSFT"), published_symbol="NASDAQ:MSFT"),
    ):
        with pytest.raises(Error, match="with a release only"), transaction.atomic():
            change()
    with pytest.raises(Error, match="Cannot update"), transaction.atomic():
        MappingRelease.objects.update(note="rewritten")
    assert mappings.published() == [("AAPL", "NASDAQ:AAPL")]


def test_the_database_refuses_one_symbol_for_two():
    choose(AAPL="NASDAQ:AAPL", MSFT="NASDAQ:AAPL")
    both = [(each.instrument_id, each.tradingview_symbol) for each in SymbolMapping.objects.all()]
    differences = [mapping_releases.Difference(pk, "", "", name) for pk, name in both]
    mapping_releases._release(differences, MappingRelease(note="x"))
    with pytest.raises(Error, match="one_instrument_of_a_published_symbol"):
        connection.check_constraints()


# --- coverage ---------------------------------------------------------------------------------------------------------


def uncovered() -> set[str]:
    instruments = list(MappedInstrument.workbench.all())
    found = mappings.uncovered(instruments)
    return {each.symbol for each in instruments if each.pk in found}


def test_while_nothing_is_mapped_only_those_without_data_of_ours_are_left_out():
    factories.instrument("EURUSD", symbol_group="demo_forex")
    factories.instrument("AAPL")
    assert uncovered() == {"AAPL"}


def test_as_soon_as_anything_is_mapped_everything_must_be():
    factories.instrument("EURUSD", symbol_group="demo_forex")
    factories.mapping("AAPL", "NASDAQ:AAPL")
    assert uncovered() == {"EURUSD"}
