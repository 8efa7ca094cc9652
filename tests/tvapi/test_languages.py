"""Answers in the client's language (LOC-1 … LOC-6)."""

from decimal import Decimal

import pytest
from django.conf import settings
from django.utils import translation

from tests import factories
from tests.tvapi.contract import DOCUMENT, TradingView, refused
from trading.errors import OrderRejected, Reason
from tvapi import locales


def test_every_locale_of_the_contract_has_a_language_of_ours():
    assert list(locales.LANGUAGES) == DOCUMENT["components"]["schemas"]["Locale"]["enum"]
    assert set(locales.LANGUAGES.values()) == {code for code, _name in settings.LANGUAGES}


@pytest.mark.parametrize(
    ("locale", "language"),
    [("br", "pt-br"), ("kr", "ko"), ("in", "en"), ("zh_TW", "zh-hant"), ("xx", "en"), ("ru%20", "en")],
)
def test_answer_is_in_the_language_of_the_locale(tv, locale, language):
    tv.send("GET", f"/config?locale={locale}")
    assert tv.response["Content-Language"] == language


def test_data_half_has_no_locale_and_speaks_english(tv):
    tv.send("GET", "/groups", **{"accept-language": "de"})
    assert tv.response["Content-Language"] == "en"


def test_authorize_speaks_the_locale_of_its_body(db):
    client = TradingView()
    client.post("/authorize", {"login": "x", "password": "y", "locale": "de_DE"}, locale="fr")
    assert client.response["Content-Language"] == "de"


def test_language_of_one_answer_does_not_stay_for_the_next(tv):
    tv.get("/config", locale="ru")
    tv.get("/config")
    assert tv.response["Content-Language"] == "en"


@pytest.mark.parametrize(
    ("locale", "text"),
    [("en", "1,234,567.80"), ("de_DE", "1.234.567,80"), ("ru", "1\xa0234\xa0567,80"), ("fr", "1\u202f234\u202f567,80")],
)
def test_amounts_in_cells_are_written_as_in_that_language(tv, trader, locale, text):
    account = factories.account(owner=trader, deposits={"USD": Decimal("1234567.80")})
    state = tv.d(f"/accounts/{account.number}/state", locale=locale)
    assert state["amData"][0][0][0] == text


def test_descriptions_of_instruments_are_localized_and_their_names_are_not(tv, trader):
    factories.instrument("EURUSD", description="Euro / US Dollar", description_de="Euro / US-Dollar")
    account = factories.account(owner=trader)
    [english] = tv.d(f"/accounts/{account.number}/instruments", locale="en")
    [german] = tv.d(f"/accounts/{account.number}/instruments", locale="de_DE")
    assert (english["name"], english["description"]) == ("EURUSD", "Euro / US Dollar")
    assert (german["name"], german["description"]) == ("EURUSD", "Euro / US-Dollar")


def test_refusal_of_a_broken_query_is_in_the_language_it_names(tv):
    refused(tv.send("GET", "/history?locale=de_DE&symbol=%FF")[1])
    assert tv.response["Content-Language"] == "de"


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en", "An order can be good until 2027-11-27 17:16:59 UTC at the latest."),
        ("de_DE", "Eine Order kann längstens bis 27.11.2027, 17:16:59 UTC gültig sein."),
    ],
)
def test_moments_in_sentences_are_written_as_in_that_language(locale, text):
    with translation.override(locales.language(locale)):
        assert str(OrderRejected(Reason.GTD_TOO_FAR, latest="2027-11-27 17:16:59 UTC")) == text


@pytest.mark.parametrize(
    ("locale", "figure"), [("en", "1.10010"), ("de_DE", "1,10010"), ("fr", "1,10010"), ("zh_CN", "1.10010")]
)
def test_prices_in_sentences_have_all_their_digits_and_the_languages_own_sign(locale, figure):
    with translation.override(locales.language(locale)):
        assert figure in str(OrderRejected(Reason.STOP_SIDE_BUY, price="1.10010"))
        assert "1.5.2" in str(OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol="1.5.2"))
