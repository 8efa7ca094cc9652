"""The demo broker, as everybody outside relies on it."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from accounts.choices import CommissionKind, FeeAsset, Profile
from accounts.models import Account, AccountGroup, Balance, Currency, TradingConditions, Transfer, User
from accounts.roles import Role
from backoffice import demo
from marketdata.choices import BarSource
from marketdata.models import BarChunk, Holiday, Instrument, SymbolGroup, SymbolMapping
from trading.models import InstrumentTerms

FX = {"EURUSD", "GBPUSD", "USDJPY", "NZDUSD", "XAUUSD", "US500"}
SIMULATED = FX | {"BTCUSDT", "ETHUSDT", "BTCUSDT.P", "ETHUSDT.P"}


@pytest.fixture(scope="module", autouse=True)
def seeded(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The seeding takes seconds: once for the module, in a transaction that is given up at its end."""
    with django_db_blocker.unblock(), transaction.atomic():
        demo.seed()
        yield
        transaction.set_rollback(True)


pytestmark = pytest.mark.django_db


def counts() -> list[int]:
    models = (User, Account, Balance, Transfer, Currency, Instrument, SymbolMapping, AccountGroup, TradingConditions)
    return [model.objects.count() for model in (*models, InstrumentTerms, Holiday)]


@pytest.mark.parametrize(
    ("username", "password", "is_staff", "is_superuser", "is_data_client", "roles"),
    [
        ("trader", "trader-demo", False, False, False, []),
        ("trader2", "trader-demo", False, False, False, []),
        ("tvdata-staging", "tvdata-demo", False, False, True, []),
        ("tvdata-production", "tvdata-demo", False, False, True, []),
        ("admin", "staff-demo", True, True, False, [Role.ADMINISTRATOR]),
        ("ops", "staff-demo", True, False, False, [Role.OPERATIONS]),
        ("dealer", "staff-demo", True, False, False, [Role.DEALING]),
        ("support", "staff-demo", True, False, False, [Role.SUPPORT]),
        ("auditor", "staff-demo", True, False, False, [Role.COMPLIANCE]),
    ],
)
def test_every_login_works_and_may_what_its_role_may(
    username: str, password: str, is_staff: bool, is_superuser: bool, is_data_client: bool, roles: list[Role]
) -> None:
    user = User.objects.get(username=username)
    assert user.check_password(password)
    assert (user.is_staff, user.is_superuser, user.is_data_client) == (is_staff, is_superuser, is_data_client)
    assert [group.name for group in user.groups.all()] == roles


@pytest.mark.parametrize(
    ("number", "login", "profile", "currency", "money"),
    [
        ("FX-NET", "trader", Profile.FX_NETTING, "USD", {"USD": 100_000}),
        ("FX-HEDGE", "trader", Profile.FX_HEDGING, "EUR", {"EUR": 100_000}),
        ("SPOT", "trader", Profile.SPOT, "USDT", {"USDT": 50_000, "BTC": 1, "ETH": 10}),
        ("PERP", "trader", Profile.PERPETUAL, "USDT", {"USDT": 50_000}),
        ("STOCK", "trader", Profile.EXCHANGE, "USD", {"USD": 100_000}),
        ("FX-NET-2", "trader2", Profile.FX_NETTING, "USD", {"USD": 100_000}),
    ],
)
def test_accounts_open_with_their_money(
    number: str, login: str, profile: Profile, currency: str, money: dict[str, int]
) -> None:
    account = Account.objects.get(number=number)
    assert (account.client.user.username, account.profile, account.currency_id) == (login, profile, currency)
    assert {balance.currency_id: balance.total for balance in account.balances.all()} == money


@pytest.mark.parametrize(
    ("profile", "symbols", "margin_rate", "kind", "rate", "minimum"),
    [
        (Profile.FX_NETTING, FX, "0.0333", CommissionKind.PER_MILLION, "30", "0"),
        (Profile.FX_HEDGING, FX, "0.0333", CommissionKind.PER_MILLION, "30", "0"),
        (Profile.SPOT, {"BTCUSDT", "ETHUSDT"}, "1", CommissionKind.PERCENT, "0.1", "0"),
        (Profile.PERPETUAL, {"BTCUSDT.P", "ETHUSDT.P"}, "0.1", CommissionKind.PERCENT, "0.05", "0"),
        (Profile.EXCHANGE, {"AAPL", "MSFT", "SPY", "ESZ2026"}, "0.5", CommissionKind.PER_UNIT, "0.005", "1"),
    ],
)
def test_each_profile_has_a_group_with_its_conditions(
    profile: Profile, symbols: set[str], margin_rate: str, kind: CommissionKind, rate: str, minimum: str
) -> None:
    group = AccountGroup.objects.get(profile=profile)
    conditions = group.conditions_at()
    assert (conditions.margin_rate, conditions.commission_kind) == (Decimal(margin_rate), kind)
    assert (conditions.commission_rate, conditions.commission_minimum) == (Decimal(rate), Decimal(minimum))
    assert conditions.fee_asset == FeeAsset.QUOTE
    assert set(conditions.instruments.values_list("instrument__symbol", flat=True)) == symbols


def test_the_future_has_a_margin_rate_of_its_own() -> None:
    own_rates = InstrumentTerms.objects.exclude(margin_rate=None)
    assert [(row.instrument.symbol, row.margin_rate) for row in own_rates] == [("ESZ2026", Decimal("0.06"))]


def test_every_instrument_is_mapped_the_listed_ones_to_their_exchanges() -> None:
    names = dict(SymbolMapping.objects.values_list("instrument__symbol", "published_symbol"))
    listed = {"AAPL": "NASDAQ:AAPL", "MSFT": "NASDAQ:MSFT", "SPY": "AMEX:SPY", "ESZ2026": "CME_MINI:ESZ2026"}
    assert names == {**{symbol: f"DEMO:{symbol}" for symbol in SIMULATED}, **listed}


def test_our_own_symbols_are_in_groups_of_the_brokers_prefix() -> None:
    groups = {
        group.name: set(group.instruments.values_list("symbol", flat=True)) for group in SymbolGroup.objects.all()
    }
    assert groups == {
        "demo_forex": {"EURUSD", "GBPUSD", "USDJPY", "NZDUSD"},
        "demo_cfd": {"XAUUSD", "US500"},
        "demo_crypto": {"BTCUSDT", "ETHUSDT"},
        "demo_perpetual": {"BTCUSDT.P", "ETHUSDT.P"},
    }


@pytest.mark.parametrize(
    ("symbol", "tick_size", "pip_size", "bar_source"),
    [
        ("EURUSD", "0.00001", "0.0001", BarSource.BID),
        ("USDJPY", "0.001", "0.01", BarSource.BID),
        ("XAUUSD", "0.01", "0.1", BarSource.BID),
        ("US500", "0.1", "0.1", BarSource.BID),
        ("BTCUSDT", "0.01", "0.01", BarSource.TRADE),
        ("ESZ2026", "0.25", "0.25", BarSource.TRADE),
    ],
)
def test_price_formats(symbol: str, tick_size: str, pip_size: str, bar_source: BarSource) -> None:
    instrument = Instrument.objects.get(symbol=symbol)
    assert (instrument.tick_size, instrument.pip_size) == (Decimal(tick_size), Decimal(pip_size))
    assert instrument.bar_source == bar_source


def test_pairs_are_described_in_other_languages_too() -> None:
    texts = Instrument.objects.values("description_en", "description_de", "description_ru").get(symbol="EURUSD")
    assert list(texts.values()) == ["Euro / US Dollar", "Euro / US-Dollar", "Евро / доллар США"]


def test_thirty_days_of_minutes_lie_behind_each_simulated_instrument() -> None:
    now = timezone.now()
    for symbol in SIMULATED:
        chunks = BarChunk.objects.filter(instrument__symbol=symbol)
        assert chunks.earliest("start").start == (now - timedelta(days=30)).date(), symbol
        yesterday = chunks.get(start=(now - timedelta(days=1)).date())
        assert yesterday.t == list(range(1440)), symbol


def test_seeding_again_makes_nothing_and_changes_nothing() -> None:
    Account.objects.filter(number="FX-NET").update(name="Renamed by staff")
    before = counts()
    passwords = dict(User.objects.values_list("username", "password"))

    demo.seed()

    assert counts() == before
    assert dict(User.objects.values_list("username", "password")) == passwords
    assert Account.objects.get(number="FX-NET").name == "Renamed by staff"


def test_seeding_completes_what_is_missing() -> None:
    User.objects.get(username="support").delete()
    demo.seed()
    assert User.objects.get(username="support").groups.get().name == Role.SUPPORT


def test_production_refuses_in_a_sentence(settings: Settings) -> None:
    settings.IS_PRODUCTION = True
    before = counts()
    with pytest.raises(CommandError, match="not for ENVIRONMENT=production"):
        call_command("seed_demo")
    assert counts() == before
