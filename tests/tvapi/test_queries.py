"""No endpoint asks the database more often when there is more to tell."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.choices import CommissionKind, Profile
from accounts.models import Account, User
from marketdata import bars
from marketdata.bars import Bar
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import TradingView
from trading import orders

# As a process at work: inside the transaction of a test, what is known of the terms counts for nothing.
pytestmark = pytest.mark.django_db(transaction=True)

FEW, MANY = 2, 6
ENDPOINTS = [
    "/config",
    "/accounts",
    "/accounts/FX/instruments",
    "/accounts/FX/orders",
    "/accounts/FX/ordersHistory",
    "/accounts/FX/positions",
    "/accounts/FX/state",
    "/accounts/FX/executions?instrument=EURUSD",
    "/accounts/SPOT/balances",
    "/accounts/SPOT/state",
    "/quotes?accountId=FX&symbols=EURUSD,S2,S3,S5",
    "/depth?accountId=FX&symbol=EURUSD",
    "/mapping",
    "/groups",
    "/permissions",
    "/symbol_info",
    "/history?symbol=EURUSD&resolution=1&from=0&to=4000000000",
]
COINS = ("BTC", "ETH", "USDT")


@pytest.fixture
def account(trader: User) -> Account:
    factories.account(Profile.SPOT, owner=trader, number="SPOT", symbols=["BTCUSDT"], base="USDT")
    return factories.account(Profile.FX_HEDGING, owner=trader, number="FX")


def grow(account: Account, numbers: range) -> None:
    """One of everything for each number."""
    spot = Account.objects.get(number="SPOT")
    for number in numbers:
        symbol = f"S{number}"
        factories.instrument(symbol, symbol_group="demo_forex")
        factories.allow(account.group, symbol)
        factories.mapping(symbol, f"DEMO:{symbol}")
        factories.quote(symbol, "1", "2")
        factories.quote("EURUSD", "1.1", "1.1001")  # again: it must be fresh to trade on
        desk.fill(account, "buy", "1000")
        desk.fill(account, "buy", "1000", limit="1.0")
        factories.account(owner=account.client.user, of_group=account.group, deposits={})
        factories.currency(f"COIN{number}")
        spot.balances.create(currency_id=f"COIN{number}", total=Decimal(1))
        price = Decimal("1.1")
        bars.write(factories.instrument("EURUSD"), [Bar(number * 60, price, price, price, price, Decimal(1))])


def queries(tv: TradingView) -> dict[str, int]:
    asked = {}
    for endpoint in ENDPOINTS:
        with CaptureQueriesContext(connection) as captured:
            assert tv.get(endpoint).get("s", "ok") == "ok"
        asked[endpoint] = len(captured)
    return asked


def test_no_endpoint_asks_more_often_for_more(tv: TradingView, account: Account) -> None:
    grow(account, range(FEW))
    first = queries(tv)
    grow(account, range(FEW, 2 * FEW))
    before = queries(tv)
    grow(account, range(2 * FEW, MANY))
    assert queries(tv) == before
    assert max(first.values()) <= 14  # the first that asks for an account's orders, and learns the terms with it


def test_an_order_takes_no_more_statements_than_it_did(account: Account, django_assert_max_num_queries) -> None:
    """All but the first few run under the account's lock. The transaction's own two are counted."""
    factories.change_conditions(account.group, commission_kind=CommissionKind.PER_MILLION, commission_rate=Decimal(40))
    factories.quote("EURUSD", "1.1", "1.1001")
    desk.fill(account, "buy", "1000")
    with django_assert_max_num_queries(10):
        order = desk.place(account, "buy", "1000")
    with django_assert_max_num_queries(19):  # one more than in a net account: the position is a new one
        orders.work(account.pk, order.pk)
    assert order.executions.get().commission == Decimal("0.05")
