"""Quotes and depth of an account (QTE)."""

from decimal import Decimal

import pytest

from accounts.choices import Profile
from marketdata.choices import InstrumentState, Shortability
from tests import factories
from tests.tvapi.contract import refused


@pytest.fixture
def account(trader):
    return factories.account(owner=trader, number="FX", symbols=["EURUSD", "USDJPY"])


def test_quotes_come_in_the_order_asked_for_with_unknown_symbols_marked(tv, account):
    factories.instrument("GBPUSD")  # not offered to this account
    factories.quote("EURUSD", "1.10000", "1.10010")
    factories.quote("GBPUSD", "1.30000", "1.30010")
    elements = tv.d("/quotes", accountId="FX", symbols="USDJPY,NOPE,EURUSD,GBPUSD,,EURUSD,a/b", locale="en")
    assert [(element["n"], element["s"]) for element in elements] == [
        ("USDJPY", "error"),
        ("NOPE", "error"),
        ("EURUSD", "ok"),
        ("GBPUSD", "error"),
        ("EURUSD", "ok"),
        ("a/b", "error"),
    ]
    assert elements[0]["v"] == {"bid": 0, "ask": 0}
    assert elements[2]["v"] == {
        "bid": Decimal("1.1"),
        "ask": Decimal("1.1001"),
        "hardToBorrow": False,
        "notShortable": False,
        "halted": False,
    }


def test_pip_values_come_for_instruments_in_another_currency_than_the_accounts(tv, account):
    factories.quote("EURUSD", "1.10000", "1.10010")
    factories.quote("USDJPY", "160.000", "160.010")
    euro, yen = tv.d("/quotes", accountId="FX", symbols="EURUSD,USDJPY")
    assert not euro["v"].keys() & {"buyPipValue", "sellPipValue"}
    assert yen["v"]["buyPipValue"] == yen["v"]["sellPipValue"] == Decimal("0.0000625")  # 0.01 JPY at 160.000


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"shortability": Shortability.HARD}, "hardToBorrow"),
        ({"shortability": Shortability.NONE}, "notShortable"),
        ({"state": InstrumentState.HALTED}, "halted"),
    ],
)
def test_restrictions_of_an_instrument_are_told(tv, trader, fields, flag):
    factories.instrument("AAPL", **fields)
    factories.account(Profile.EXCHANGE, owner=trader, number="X", symbols=["AAPL"])
    factories.quote("AAPL", "180.00", "180.02")
    [element] = tv.d("/quotes", accountId="X", symbols="AAPL")
    flags = {name for name in ("hardToBorrow", "notShortable", "halted") if element["v"][name]}
    assert flags == {flag}


def test_five_hundred_symbols_are_answered_and_more_are_refused(tv, account):
    symbols = [f"S{number}" for number in range(501)]
    assert len(tv.d("/quotes", accountId="FX", symbols=",".join(symbols[:500]))) == 500
    answer = tv.get("/quotes", accountId="FX", symbols=",".join(symbols))
    assert refused(answer) == "Ask for at most 500 symbols at a time."


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"accountId": "FX"}, "The field “symbols” is missing."),
        ({"accountId": "FX", "symbols": ","}, "The field “symbols” is missing."),
        ({"symbols": "EURUSD"}, "The field “accountId” is missing."),
    ],
)
def test_quotes_need_an_account_and_symbols(tv, account, query, sentence):
    assert refused(tv.get("/quotes", **query)) == sentence


def test_both_sides_of_depth_ascend_so_the_best_bid_is_last(tv, account):
    factories.quote(
        "EURUSD",
        "1.10000",
        "1.10010",
        bids=[("1.10000", "100000"), ("1.09990", "250000")],
        asks=[("1.10010", "50000"), ("1.10020", "300000.5")],
    )
    assert tv.d("/depth", accountId="FX", symbol="EURUSD", locale="en") == {
        "bids": [[Decimal("1.0999"), 250000], [Decimal("1.1"), 100000]],
        "asks": [[Decimal("1.1001"), 50000], [Decimal("1.1002"), Decimal("300000.5")]],
    }


@pytest.mark.parametrize(
    ("symbol", "sentence"),
    [
        ("NOPE", "There is no instrument NOPE in this account."),
        ("GBPUSD", "There is no instrument GBPUSD in this account."),
        ("x" * 5000, f"There is no instrument {'x' * 64} in this account."),
        ("EURUSD", "There is no current price for EURUSD. Please try again later."),
    ],
)
def test_depth_of_what_has_none_is_refused(tv, account, symbol, sentence):
    factories.instrument("GBPUSD")
    assert refused(tv.get("/depth", accountId="FX", symbol=symbol)) == sentence


def test_polling_quotes_takes_few_queries(tv, account, django_assert_max_num_queries):
    factories.quote("EURUSD", "1.10000", "1.10010")
    factories.quote("USDJPY", "160.000", "160.010")
    with django_assert_max_num_queries(5):  # token, account, conditions, instruments, pairs to convert by
        tv.d("/quotes", accountId="FX", symbols="EURUSD,USDJPY")
