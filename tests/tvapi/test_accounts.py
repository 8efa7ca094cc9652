"""Configuration, accounts, instruments, figures and balances."""

from decimal import Decimal

import pytest

from accounts.choices import AccountState, Profile
from accounts.models import Account, Client
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import client_of, refused

MARGIN_PROFILES = [profile for profile in Profile if profile.has_positions]


def test_config_names_durations_intervals_and_the_account_manager(tv):
    config = tv.d("/config", locale="en")
    resting = ["limit", "stop", "stoplimit"]
    assert config["durations"] == [
        {"id": "gtc", "title": "Good till cancelled", "default": True, "supportedOrderTypes": resting},
        {"id": "day", "title": "Day", "supportedOrderTypes": resting},
        {
            "id": "gtd",
            "title": "Good till date",
            "hasDatePicker": True,
            "hasTimePicker": True,
            "supportedOrderTypes": resting,
        },
        {"id": "ioc", "title": "Immediate or cancel", "supportedOrderTypes": ["limit"]},
        {"id": "fok", "title": "Fill or kill", "supportedOrderTypes": ["limit"]},
    ]
    assert config["pullingInterval"] == {
        "quotes": 500,
        "orders": 500,
        "positions": 1000,
        "accountManager": 500,
        "balances": 1000,
    }
    assert [column["id"] for column in config["accountManager"][0]["columns"]] == [
        "balance",
        "unrealizedPl",
        "equity",
        "usedMargin",
        "orderMargin",
        "freeMargin",
        "maintenanceMargin",
        "marginLevel",
    ]
    assert [column["id"] for column in config["accountManager"][1]["columns"]] == ["commission", "swaps"]


def test_accounts_are_the_users_own_and_not_closed(tv, trader):
    factories.account(owner=trader, number="MINE", name="My account", type="demo", base="EUR")
    factories.account(owner=trader, number="GONE", state=AccountState.CLOSED)
    factories.account(number="OTHERS")
    Client.objects.filter(user=trader).update(is_verified=True)
    [account] = tv.d("/accounts", locale="en")
    assert account["id"] == "MINE"
    assert account["name"] == "My account"
    assert account["type"] == "demo"
    assert account["currency"] == "EUR"
    assert account["isVerified"] is True


def test_login_without_accounts_is_told_so(db):
    server = factories.user("tvdata", is_data_client=True)
    assert refused(client_of(server).get("/accounts")) == "This login has no trading account."


FLAGS = {
    Profile.FX_NETTING: {"supportPositions": True, "supportReversePosition": True, "supportLevel2Data": False},
    Profile.FX_HEDGING: {"supportMultiposition": True, "supportReversePosition": False, "supportLevel2Data": False},
    Profile.SPOT: {
        "supportPositions": False,
        "supportBalances": True,
        "supportClosePosition": False,
        "supportReversePosition": False,
        "supportLevel2Data": True,
    },
    Profile.PERPETUAL: {"supportPositions": True, "supportBalances": False, "supportLevel2Data": True},
    Profile.EXCHANGE: {"supportClosePosition": True, "supportPartialClosePosition": True, "supportLevel2Data": True},
}


@pytest.mark.parametrize(("profile", "expected"), FLAGS.items())
def test_flags_follow_from_the_profile(tv, trader, profile, expected):
    factories.account(profile, owner=trader, symbols=())
    [account] = tv.d("/accounts", locale="en")
    flags = account["config"]
    assert {name: flags[name] for name in expected} == expected
    assert flags["supportMultiposition"] is (profile is Profile.FX_HEDGING)
    assert flags["supportPositionBrackets"] is (profile is not Profile.SPOT)
    assert flags["supportStopOrdersInBothDirections"] is False
    for name in ("supportOrderBrackets", "supportMarketBrackets", "supportTrailingStop", "supportStopLimitOrders"):
        assert flags[name] is True
    for name in ("supportOrdersHistory", "supportExecutions", "supportPartialOrderExecution", "supportLogout"):
        assert flags[name] is True


@pytest.mark.parametrize("profile", Profile)
def test_cells_of_state_match_the_configured_columns(tv, trader, profile):
    account = factories.account(profile, owner=trader, symbols=())
    config = {**tv.d("/config"), **tv.d("/accounts")[0].get("ui", {})}
    state = tv.d(f"/accounts/{account.number}/state")
    assert len(state["accountSummaryRowData"]) == len(config["accountSummaryRow"])
    assert len(state["amData"]) == len(config["accountManager"])
    for rows, table in zip(state["amData"], config["accountManager"], strict=True):
        assert [len(row) for row in rows] == [len(table["columns"])]


def test_state_of_a_margin_account_values_positions_at_the_price_they_close_at(tv, trader):
    account = factories.account(owner=trader)
    factories.quote("EURUSD", "1.10000", "1.10010")
    desk.fill(account, "buy", "100000")  # margin 100,000 × 1.1001 × 0.02
    factories.quote("EURUSD", "1.10150", "1.10160")
    desk.place(account, "buy", "10000", limit="1.00000")  # holds 10,000 × 1 × 0.02
    state = tv.d(f"/accounts/{account.number}/state", locale="en")
    assert (state["balance"], state["unrealizedPl"], state["equity"]) == (100000, 140, 100140)
    assert state["amData"] == [
        [["100,000.00", "140.00", "100,140.00", "2,200.20", "200.00", "97,739.80", "2,200.20", "4,551.40%"]],
        [["0.00", "0.00"]],
    ]
    assert state["accountSummaryRowData"] == [
        "4,551.40%",
        "2,200.20",
        "97,739.80",
        "140.00",
        "100,000.00",
        "100,140.00",
    ]


def test_state_tells_maintenance_margin_costs_and_the_level_made_of_them(tv, trader):
    """10:1, of which a twentieth of the value must be kept; half a coin at 60,000 for 0.05 % costs 15."""
    group = factories.group(
        Profile.PERPETUAL,
        symbols=["BTCUSDT.P"],
        margin_rate=Decimal("0.1"),
        maintenance_rate=Decimal("0.05"),
        commission_kind="percent",
        commission_rate=Decimal("0.05"),
    )
    account = factories.account(owner=trader, of_group=group, base="USDT", deposits={"USDT": Decimal(10_015)})
    factories.quote("BTCUSDT.P", "60000", "60000", size="100")
    desk.fill(account, "buy", "0.5", "BTCUSDT.P")
    factories.quote("BTCUSDT.P", "50000", "50001", size="100")
    state = tv.d(f"/accounts/{account.number}/state", locale="de_DE")
    # equity 10,000 - 5,000; 0.5 × 50,000 × 0.05 = 1,250 to be kept
    assert state["amData"] == [
        [["10.000,00", "-5.000,00", "5.000,00", "3.000,00", "0,00", "2.000,00", "1.250,00", "400,00%"]],
        [["-15,00", "0,00"]],
    ]
    [table] = [table for table in tv.d("/accounts")[0]["ui"]["accountManager"] if table["id"] == "costs"]
    assert [column["id"] for column in table["columns"]] == ["commission", "funding"]


@pytest.mark.parametrize(
    ("profile", "base", "symbols"),
    [(Profile.FX_NETTING, "GBP", ["EURUSD", "USDJPY"]), (Profile.FX_HEDGING, "EUR", ["EURUSD", "USDJPY"])],
)
def test_state_and_positions_agree_to_the_cent_across_currencies(tv, trader, profile, base, symbols):
    factories.instrument("GBPUSD")
    account = factories.account(profile, owner=trader, base=base, symbols=symbols)
    factories.quote("EURUSD", "1.10000", "1.10010")
    factories.quote("USDJPY", "150.000", "150.010")
    factories.quote("GBPUSD", "1.27000", "1.27013")
    for side, qty, symbol in [("buy", "37000", "EURUSD"), ("sell", "11000", "USDJPY"), ("buy", "3000", "USDJPY")]:
        desk.fill(account, side, qty, symbol)
    factories.quote("EURUSD", "1.10333", "1.10341")
    factories.quote("USDJPY", "150.777", "150.789")
    shown = tv.d(f"/accounts/{account.number}/positions")
    state = tv.d(f"/accounts/{account.number}/state")
    assert state["unrealizedPl"] == sum(position["unrealizedPl"] for position in shown) != 0
    assert state["equity"] == state["balance"] + state["unrealizedPl"]


def test_state_of_a_spot_account_is_the_value_of_its_assets(tv, trader):
    account = spot_account(trader)
    factories.quote("BTCUSDT", "60000.00", "60010.00")
    state = tv.d(f"/accounts/{account.number}/state", locale="en")
    assert (state["balance"], state["unrealizedPl"], state["equity"]) == (110000, 0, 110000)
    assert state["accountSummaryRowData"][-1] == "110,000.00"


def test_balances_show_each_asset_with_what_orders_reserve(tv, trader):
    account = spot_account(trader)
    factories.quote("BTCUSDT", "60000.00", "60010.00")
    desk.place(account, "sell", "0.25", "BTCUSDT", limit="70000.00")
    by_symbol = {balance["symbol"]: balance for balance in tv.d(f"/accounts/{account.number}/balances")}
    assert by_symbol["BTC"] == {
        "symbol": "BTC",
        "longName": "BTC",
        "total": 1,
        "available": Decimal("0.75"),
        "reserved": Decimal("0.25"),
        "btcValue": 1,
        "value": 60000,
        "valueCurrency": "USDT",
    }
    usdt = by_symbol["USDT"]
    assert (usdt["total"], usdt["available"], usdt["reserved"], usdt["value"]) == (50000, 50000, 0, 50000)
    assert usdt["btcValue"] == Decimal("0.83319447")  # 50,000 / 60,010


def test_asset_without_a_rate_has_no_value(tv, trader):
    account = spot_account(trader)
    by_symbol = {balance["symbol"]: balance for balance in tv.d(f"/accounts/{account.number}/balances")}
    assert "value" not in by_symbol["BTC"]
    assert by_symbol["BTC"]["btcValue"] == 1
    assert tv.d(f"/accounts/{account.number}/state")["balance"] == 50000


@pytest.mark.parametrize("profile", MARGIN_PROFILES)
def test_margin_accounts_have_no_balances_by_asset(tv, trader, profile):
    account = factories.account(profile, owner=trader, symbols=())
    assert "no balances by asset" in refused(tv.get(f"/accounts/{account.number}/balances"))


def test_spot_accounts_have_no_positions(tv, trader):
    assert tv.d(f"/accounts/{spot_account(trader).number}/positions") == []


def test_instruments_are_those_of_the_accounts_group_with_steps_pips_and_margin(tv, trader):
    factories.instrument("GBPUSD")
    account = factories.account(owner=trader, symbols=["EURUSD"])
    [instrument] = tv.d(f"/accounts/{account.number}/instruments", locale="en")
    assert instrument == {
        "name": "EURUSD",
        "description": "EURUSD",
        "type": "forex",
        "minQty": 1000,
        "maxQty": 10_000_000,
        "qtyStep": 1000,
        "minTick": Decimal("0.00001"),
        "pipSize": Decimal("0.0001"),
        "pipValue": Decimal("0.0001"),
        "marginRate": Decimal("0.02"),
    }


def test_margin_rate_of_a_contract_has_its_size_in_it(tv, trader):
    factories.mapping("ESZ2026", "CME_MINI:ESZ2026")
    account = factories.account(Profile.EXCHANGE, owner=trader, symbols=["ESZ2026"])
    [instrument] = tv.d(f"/accounts/{account.number}/instruments")
    assert instrument["marginRate"] == 1  # 0.02 × 50
    assert (instrument["minTick"], instrument["pipSize"]) == (Decimal("0.25"), Decimal("0.25"))
    assert instrument["pipValue"] == Decimal("12.5")


def test_instruments_that_are_not_mapped_are_not_offered(tv, trader):
    account = factories.account(Profile.EXCHANGE, owner=trader, symbols=["AAPL", "ESZ2026"])
    assert tv.d(f"/accounts/{account.number}/instruments") == []
    factories.mapping("AAPL", "NASDAQ:AAPL")
    assert [each["name"] for each in tv.d(f"/accounts/{account.number}/instruments")] == ["AAPL"]


def test_spot_instruments_have_both_currencies_and_no_margin_rate(tv, trader):
    [instrument] = tv.d(f"/accounts/{spot_account(trader).number}/instruments")
    assert (instrument["baseCurrency"], instrument["quoteCurrency"]) == ("BTC", "USDT")
    assert "marginRate" not in instrument


def test_pip_value_is_in_the_accounts_currency_and_zero_as_long_as_there_is_no_rate(tv, trader):
    account = factories.account(owner=trader, base="EUR", symbols=["EURUSD"])
    path = f"/accounts/{account.number}/instruments"
    assert tv.d(path)[0]["pipValue"] == 0
    factories.quote("EURUSD", "1.24990", "1.25000")
    assert tv.d(path)[0]["pipValue"] == pytest.approx(Decimal("0.0001") / Decimal("1.2499"))


ACCOUNT_GETS = ["instruments", "state", "orders", "ordersHistory", "positions", "balances", "executions?instrument=X"]
STRANGE_IDS = [
    "UNKNOWN", "x" * 5000, "a%2Fb", "..%2F..", "%0A", "%00", "%FF%FE", "%D0%BA", "'%20OR%201=1", "", "1%0A", "%2F",
    "%F0%9F%92%A9",
]  # fmt: skip


@pytest.mark.parametrize("what", ACCOUNT_GETS)
def test_anothers_account_is_refused_like_an_unknown_one(tv, what):
    others = factories.account(number="OTHERS")
    assert others.number == "OTHERS"
    for account_id in ["OTHERS", *STRANGE_IDS]:
        assert refused(tv.get(f"/accounts/{account_id}/{what}")) == "There is no such account."


@pytest.mark.parametrize("path", ["/quotes?symbols=EURUSD&accountId=", "/depth?symbol=EURUSD&accountId="])
def test_prices_of_anothers_account_are_refused_too(tv, path):
    factories.account(number="OTHERS")
    for account_id in ["OTHERS", "UNKNOWN", "x" * 5000, "a%2Fb", "%0A", "%D0%BA"]:
        assert refused(tv.get(path + account_id)) == "There is no such account."


def test_number_of_queries_does_not_grow_with_the_accounts(tv, trader, django_assert_num_queries):
    group = factories.group()
    for _ in range(5):
        factories.account(owner=trader, of_group=group)
    with django_assert_num_queries(3):  # token, accounts, conditions
        assert len(tv.d("/accounts")) == 5


def spot_account(trader) -> Account:
    return factories.account(
        Profile.SPOT,
        owner=trader,
        symbols=["BTCUSDT"],
        base="USDT",
        deposits={"USDT": Decimal(50000), "BTC": Decimal(1)},
    )
