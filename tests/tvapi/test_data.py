"""The data half: groups, permissions, symbols, history, mapping."""

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from marketdata import bars
from marketdata.bars import Bar
from tests import factories
from tests.tvapi.contract import TradingView, client_of, refused


@pytest.fixture
def server(db):
    """One of TradingView's data servers."""
    return client_of(factories.user("tvdata", is_data_client=True))


def test_groups_and_permissions_name_all_symbol_groups(server, tv):
    factories.symbol_group("demo_forex")
    factories.symbol_group("demo_cfd")
    assert server.d("/groups") == {"groups": [{"id": "demo_cfd"}, {"id": "demo_forex"}]}
    assert tv.d("/permissions") == {"groups": ["demo_cfd", "demo_forex"]}


def test_mapping_has_the_published_ones_without_an_envelope(db):
    factories.mapping("AAPL", "NASDAQ:AAPL")
    factories.mapping("EURUSD", "DEMO:EURUSD", is_published=False)
    assert TradingView().get("/mapping") == {
        "symbols": [{"f": ["AAPL"], "s": "NASDAQ:AAPL"}],
        "fields": ["brokerSymbol"],
    }


def test_symbol_info_describes_every_symbol_of_a_group_by_columns(server):
    """SYM-2: what all have alike is one plain value."""
    for symbol in ("EURUSD", "BTCUSDT.P", "AAPL"):  # AAPL has no group: its data are TradingView's own
        factories.instrument(symbol)
    info = server.get("/symbol_info")
    assert info["symbol"] == ["BTCUSDT.P", "EURUSD"]
    columns = {name: value for name, value in info.items() if isinstance(value, list)}
    assert {len(column) for column in columns.values()} == {2}
    assert info["currency"] == ["USDT", "USD"]
    assert info["base-currency"] == ["BTC", "EUR"]
    assert (info["minmovement"], info["pricescale"], info["minmovement2"]) == (1, [100, 100000], [0, 10])
    assert info["bar-source"] == ["trade", "bid"]
    assert (info["has-daily"], info["session-regular"], info["root"], info["isin"]) == (False, "24x7", None, "")
    assert (info["has-intraday"], info["bar-fillgaps"], info["intraday-multipliers"]) == (True, False, [["1"], ["1"]])


def test_a_group_of_one_symbol_still_has_columns_of_names_and_resolutions(server):
    factories.instrument("EURUSD", description="Euro")
    info = server.get("/symbol_info")
    assert {name for name, value in info.items() if isinstance(value, list)} == {
        "symbol", "description", "intraday-multipliers",
    }  # fmt: skip


def test_futures_have_root_expiration_and_point_value(server):
    factories.instrument("ESZ2026", symbol_group="demo_futures")
    info = server.get("/symbol_info")
    assert (info["root"], info["root-description"], info["expiration"]) == ("ES", "E-mini S&P 500", 20261218)
    assert (info["pointvalue"], info["timezone"], info["type"]) == (50, "America/Chicago", "futures")


@pytest.mark.parametrize(
    ("fields", "extended"),
    [
        ({}, None),
        ({"session_premarket": "0400-0930"}, "0400-1600"),
        ({"session_postmarket": "1600-2000"}, "0930-2000"),
        ({"session_premarket": "0400-0930", "session_postmarket": "1600-2000"}, "0400-2000"),
        (
            {
                "session_regular": "0930-1600:2345",
                "session_premarket": "0400-0930:2345",
                "session_postmarket": "1600-2000:2345",
            },
            "0400-2000:2345",
        ),
        (
            {"session_regular": "0930-1600:2345|1000-1500:6", "session_premarket": "0400-0930:2345"},
            "0400-1600:2345|1000-1500:6",
        ),
    ],
)
def test_extended_session_runs_from_pre_market_to_post_market(server, fields, extended):
    factories.instrument("AAPL", symbol_group="demo_stock", **fields)
    info = server.get("/symbol_info")
    assert info["session-extended"] == extended
    assert info["session-premarket"] == fields.get("session_premarket")


def test_group_filters_symbols_and_an_unknown_one_is_refused(server):
    factories.instrument("EURUSD")
    factories.instrument("BTCUSDT")
    factories.symbol_group("demo_empty")
    assert server.get("/symbol_info", group="demo_forex")["symbol"] == ["EURUSD"]
    assert refused(server.get("/symbol_info", group="demo_nope")) == "There is no such group of symbols."
    assert refused(server.get("/symbol_info", group="demo_empty")) == "There are no symbols here."


START = int(datetime(2026, 1, 5, 14, 30, tzinfo=UTC).timestamp())


def write_minutes(symbol: str, *minutes: int) -> None:
    """A bar for each of these minutes after START; the price tells which."""
    instrument = factories.instrument(symbol)
    prices = [(minute, Decimal("1.1") + Decimal(minute).scaleb(-5)) for minute in minutes]
    bars.write(instrument, [Bar(START + 60 * minute, p, p, p, p, Decimal(5)) for minute, p in prices])


def test_history_returns_the_bars_whose_times_lie_between_both_ends_included(server):
    write_minutes("EURUSD", 0, 1, 3, 4)
    answer = server.get("/history", symbol="EURUSD", resolution="1", **{"from": START + 25, "to": START + 240})
    assert answer == {
        "s": "ok",
        "t": [START + 60, START + 180, START + 240],
        "o": [Decimal("1.10001"), Decimal("1.10003"), Decimal("1.10004")],
        "h": [Decimal("1.10001"), Decimal("1.10003"), Decimal("1.10004")],
        "l": [Decimal("1.10001"), Decimal("1.10003"), Decimal("1.10004")],
        "c": [Decimal("1.10001"), Decimal("1.10003"), Decimal("1.10004")],
        "v": [5, 5, 5],
    }


def test_history_at_one_instant_returns_that_bar(server):
    write_minutes("EURUSD", 0, 1)
    answer = server.get("/history", symbol="EURUSD", resolution="1", **{"from": START + 60, "to": START + 60})
    assert answer["t"] == [START + 60]


@pytest.mark.parametrize(("from_", "to"), [(0, 100), (START + 60, START), (-(10**14), -(10**13)), (10**14, 10**14 + 1)])
def test_history_of_nothing_is_six_empty_columns(server, from_, to):
    write_minutes("EURUSD", 0, 1)
    answer = server.get("/history", symbol="EURUSD", resolution="1", **{"from": from_, "to": to})
    assert answer == {"s": "ok", "t": [], "o": [], "h": [], "l": [], "c": [], "v": []}


def test_countback_returns_that_many_bars_up_to_the_end(server):
    write_minutes("EURUSD", *range(10))
    for count, times in [(3, 3), (1, 1), (10**9, 10)]:
        query = {"from": START, "to": int(time.time()) + 1000, "countback": count}
        answer = server.get("/history", symbol="EURUSD", resolution="1", **query)
        assert answer["t"] == [START + 60 * minute for minute in range(10)][-times:]


def test_days_of_a_symbol_without_daily_bars_are_empty(server):
    factories.instrument("EURUSD")
    for resolution in ("D", "1D"):
        assert server.get("/history", symbol="EURUSD", resolution=resolution, **{"from": 0, "to": START})["t"] == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"symbol": ""}, "The field “symbol” is missing."),
        ({"resolution": ""}, "The field “resolution” is missing."),
        ({"from": ""}, "The field “from” is missing."),
        ({"to": ""}, "The field “to” is missing."),
        ({"from": "x"}, "The field “from” must be a whole number."),
        ({"to": "1.5"}, "The field “to” must be a whole number."),
        ({"to": "9" * 30}, "The field “to” must be a whole number."),
        ({"countback": "0"}, "The field “countback” must be a whole number, 1 or more."),
        ({"countback": "-5"}, "The field “countback” must be a whole number, 1 or more."),
        ({"resolution": "5"}, "There are bars of minutes (1) and of days (1D), not of 5."),
        ({"resolution": "x" * 17}, "The field “resolution” is too long."),
        ({"symbol": "NOPE"}, "There is no such symbol."),
        ({"symbol": "a/b"}, "There is no such symbol."),
        ({"symbol": "x" * 5000}, "There is no such symbol."),
    ],
)
def test_history_that_cannot_be_answered_is_refused(server, change, sentence):
    factories.instrument("EURUSD")
    query = {"symbol": "EURUSD", "resolution": "1", "from": START, "to": START + 60, **change}
    assert refused(server.get("/history", **query)) == sentence


def test_data_servers_have_no_accounts(server):
    factories.account(number="FX")
    assert refused(server.get("/accounts/FX/state")) == "There is no such account."


def test_expiration_column_is_a_number_of_eight_digits(server):
    factories.instrument("ESZ2026", symbol_group="demo_futures", expiration=date(2026, 1, 2))
    assert server.get("/symbol_info")["expiration"] == 20260102
