"""What a definition must say by its kind: SYM-5, SYM-8, PRC-1 … PRC-5, SES-7."""

from datetime import date
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from marketdata import sessions
from marketdata.choices import SymbolType
from marketdata.definitions import problems
from marketdata.models import Instrument

_FUTURE = {"type": SymbolType.FUTURES, "root": "ES", "root_description": "E-mini", "expiration": date(2027, 6, 18)}
_CRYPTO = {"type": SymbolType.CRYPTO, "base_currency": "BTC", "quote_currency": "USDT"}
_FOREX = {"type": SymbolType.FOREX, "base_currency": "EUR", "quote_currency": "USD", "pricescale": 100_000}


def instrument(symbol: str, **fields: Any) -> Instrument:
    values = {"type": SymbolType.STOCK, "quote_currency": "USD", "pricescale": 100, "session_regular": "0930-1600"}
    return Instrument(symbol=symbol, **{**values, **fields})


def wrong(symbol: str, **fields: Any) -> set[str]:
    """The fields that are wrong."""
    return {name for name, _why in problems(instrument(symbol, **fields))}


@pytest.mark.parametrize(
    ("symbol", "fields"),
    [
        ("AAPL", {"isin": "US0378331005"}),
        ("NASDAQ_AAPL", {"wkn": "865985"}),
        ("EURUSD", {**_FOREX, "minmovement2": 10}),
        ("XAUUSD.M", {**_FOREX, "is_cfd": True}),
        ("US500", {"type": SymbolType.INDEX, "is_cfd": True}),
        ("ESM2027", {**_FUTURE, "minmovement": 25}),
        ("ES24M2027", _FUTURE),
        ("ZBH2027", {**_FUTURE, "root": "ZB", "fractional": True, "pricescale": 32}),
        ("ZNH2027", {**_FUTURE, "root": "ZN", "fractional": True, "pricescale": 128, "minmovement2": 4}),
        ("BTCUSDT", _CRYPTO),
        ("BTCUSDT.P", _CRYPTO),
        ("BTCUSDT.3L", _CRYPTO),
        ("BINANCE_BTCUSDT", _CRYPTO),
        ("BTCUSDT_7380E1", _CRYPTO),
        ("BTCUSDT_7380E1.USD", _CRYPTO),
        ("AAPL", {"session_premarket": "0400-0930", "session_postmarket": "1600-2000"}),
    ],
)
def test_definitions_of_every_kind_are_accepted(symbol: str, fields: dict[str, Any]) -> None:
    assert wrong(symbol, **fields) == set()


@pytest.mark.parametrize(
    ("symbol", "fields", "names"),
    [
        ("USDEUR", _FOREX, {"symbol"}),
        ("EURUSD.P", _FOREX, {"symbol"}),
        ("USD", {**_FOREX, "base_currency": ""}, {"base_currency"}),
        ("AAPL", {"base_currency": "EUR"}, {"base_currency"}),
        ("BTCUSD", _CRYPTO, {"symbol"}),
        ("BTCUSDT.L", _CRYPTO, {"symbol"}),
        ("BTCUSDT_7380", _CRYPTO, {"symbol"}),
        ("ESM27", _FUTURE, {"symbol"}),
        ("ESA2027", _FUTURE, {"symbol"}),
        ("ES44M2027", _FUTURE, {"symbol"}),
        ("ES32M2027", _FUTURE, {"symbol"}),
        ("ES00M2027", _FUTURE, {"symbol"}),
        ("ESM2027", {**_FUTURE, "root_description": "", "expiration": None}, {"root_description", "expiration"}),
        ("AAPL", {"expiration": date(2027, 1, 1)}, {"expiration"}),
        ("AAPL", {"isin": "US037833100"}, {"isin"}),
        ("AAPL", {"isin": "US0378331006"}, {"isin"}),
        ("AAPL", {"isin": "US0378313005"}, {"isin"}),
        ("EURUSD", {**_FOREX, "isin": "US0378331005"}, {"isin"}),
        ("AAPL", {"wkn": "12"}, {"wkn"}),
        ("EURUSD", {**_FOREX, "wkn": "865985"}, {"wkn"}),
        ("AAPL", {"pricescale": 32}, {"pricescale"}),
        ("AAPL", {"minmovement2": 10}, {"minmovement2"}),
        ("EURUSD", {**_FOREX, "minmovement2": 5}, {"minmovement2"}),
        ("AAPL", {"fractional": True, "pricescale": 32}, {"fractional"}),
        ("ESM2027", {**_FUTURE, "fractional": True, "pricescale": 100}, {"pricescale"}),
        ("ESM2027", {**_FUTURE, "fractional": True, "pricescale": 32, "minmovement2": 32}, {"minmovement2"}),
        ("AAPL", {"session_premarket": "0400-0931"}, {"session_regular"}),
        ("AAPL", {"session_postmarket": "1559-2000"}, {"session_regular"}),
    ],
)
def test_what_does_not_fit_its_kind_is_named_by_field(symbol: str, fields: dict[str, Any], names: set[str]) -> None:
    assert wrong(symbol, **fields) == names


@pytest.mark.parametrize(
    ("regular", "premarket", "postmarket", "extended"),
    [
        ("0930-1600", "", "", ""),
        ("0930-1600", "0400-0930", "1600-2000", "0400-2000"),
        ("0930-1600:2345|1000-1500:6", "0400-0930:2345", "", "0400-1600:2345|1000-1500:6"),
        ("0930-1600:23456", "0800-0930:2", "1600-1700:6", "0800-1600:2|0930-1600:345|0930-1700:6"),
        ("1800-1700", "1730-1800", "", "1730-1700"),
        ("0900-2200", "", "2200-2400", "0900-0000"),
    ],
)
def test_extended_hours_span_those_around_the_regular_session(
    regular: str, premarket: str, postmarket: str, extended: str
) -> None:
    assert sessions.extended(regular, premarket, postmarket) == extended


@pytest.mark.parametrize(
    ("premarket", "postmarket", "sentence"),
    [
        ("0400-1000", "", "The pre-market of Monday does not end before a regular session of that day."),
        ("0400-0930:7", "", "The pre-market of Saturday does not end before a regular session of that day."),
        ("", "1500-2000", "The post-market of Monday does not begin after a regular session of that day."),
        ("", "1600-2000:1", "The post-market of Sunday does not begin after a regular session of that day."),
    ],
)
def test_hours_that_do_not_fit_the_regular_session_are_refused(premarket: str, postmarket: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        sessions.extended("0930-1600", premarket, postmarket)
    assert refusal.value.messages == [sentence]
