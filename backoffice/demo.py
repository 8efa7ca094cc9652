"""The demo broker: its logins, instruments, groups, accounts and opening money.

Everything is made once and then left alone, so what somebody changed in the demo stays changed. It knows every app, and
only the command that seeds imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from babel import Locale
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from modeltranslation.utils import build_localized_fieldname

from accounts import cash
from accounts.choices import AccountType, CommissionKind, FeeAsset, Profile
from accounts.models import Account, AccountGroup, Client, Currency, TradingConditions, User
from accounts.roles import Role
from backoffice import demo_oauth
from marketdata import mapping_releases, mappings, sessions, simulator
from marketdata.choices import BarSource, SymbolType
from marketdata.models import Instrument, SymbolGroup
from trading.charges import SWAP_PROFILES
from trading.choices import SwapUnit
from trading.models import InstrumentTerms

BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)  # the first conditions are in force before anything else
HOLIDAY_CALENDARS = ("NYSE", "CME")
TRADER_PASSWORD = "trader-demo"  # noqa: S105 (printed by `make demo`; production refuses to be seeded)
DATA_PASSWORD = "tvdata-demo"  # noqa: S105
STAFF_PASSWORD = "staff-demo"  # noqa: S105


class SeedingRefusedError(Exception):
    """The demo's data has no place here; the message says why."""


@dataclass(frozen=True)
class Login:
    """A user of the demo. A trader has a client's name, staff has a role."""

    username: str
    password: str
    client: str = ""
    role: Role | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DemoGroup:
    """An account group with its conditions, and its instruments, each with its own margin rate where it has one."""

    name: str
    profile: Profile
    conditions: Mapping[str, Any]
    instruments: Mapping[str, Decimal | None]


@dataclass(frozen=True)
class DemoAccount:
    """An account with its opening money by currency; the first currency is the account's."""

    number: str
    name: str
    login: str
    group: str
    money: Mapping[str, Decimal]


LOGINS = (
    Login("trader", TRADER_PASSWORD, client="Tara Trader", fields={"first_name": "Tara", "last_name": "Trader"}),
    Login("trader2", TRADER_PASSWORD, client="Tom Trader", fields={"first_name": "Tom", "last_name": "Trader"}),
    Login("tvdata-staging", DATA_PASSWORD, fields={"is_data_client": True}),
    Login("tvdata-production", DATA_PASSWORD, fields={"is_data_client": True}),
    Login("admin", STAFF_PASSWORD, role=Role.ADMINISTRATOR, fields={"is_superuser": True}),
    Login("ops", STAFF_PASSWORD, role=Role.OPERATIONS),
    Login("dealer", STAFF_PASSWORD, role=Role.DEALING),
    Login("support", STAFF_PASSWORD, role=Role.SUPPORT),
    Login("auditor", STAFF_PASSWORD, role=Role.COMPLIANCE),
)

# code: name, sign, decimals kept, decimals settled
CURRENCIES = {
    "USD": ("US dollar", "$", 2, 2),
    "EUR": ("Euro", "€", 2, 2),
    "GBP": ("Pound sterling", "£", 2, 2),
    "JPY": ("Japanese yen", "¥", 0, 0),
    "NZD": ("New Zealand dollar", "NZ$", 2, 2),
    "XAU": ("Gold, troy ounce", "", 4, 4),
    "USDT": ("Tether", "₮", 8, 2),
    "BTC": ("Bitcoin", "₿", 8, 8),
    "ETH": ("Ether", "Ξ", 8, 8),
}

SYMBOL_GROUPS = {
    "forex": "Currency pairs",
    "cfd": "CFDs on metals and indices",
    "crypto": "Crypto spot",
    "perpetual": "Perpetual swaps",
}

_ALWAYS = {"session_regular": sessions.ALWAYS, "timezone": "Etc/UTC"}
_FOREX = {
    **_ALWAYS,
    "type": SymbolType.FOREX,
    "group": "forex",
    "bar_source": BarSource.BID,
    "pricescale": 100_000,
    "minmovement2": 10,
    "min_qty": Decimal(1),
    "max_qty": Decimal(50_000_000),
    "qty_step": Decimal(1),
}
_COIN = {
    **_ALWAYS,
    "type": SymbolType.CRYPTO,
    "bar_source": BarSource.TRADE,
    "quote_currency": "USDT",
    "pricescale": 100,
}
_BTC = {
    **_COIN,
    "base_currency": "BTC",
    "min_qty": Decimal("0.00001"),
    "max_qty": Decimal(1000),
    "qty_step": Decimal("0.00001"),
}
_ETH = {
    **_COIN,
    "base_currency": "ETH",
    "min_qty": Decimal("0.0001"),
    "max_qty": Decimal(10_000),
    "qty_step": Decimal("0.0001"),
}
_SHARE = {
    "type": SymbolType.STOCK,
    "bar_source": BarSource.TRADE,
    "quote_currency": "USD",
    "pricescale": 100,
    "min_qty": Decimal(1),
    "max_qty": Decimal(100_000),
    "qty_step": Decimal(1),
    "timezone": "America/New_York",
    "session_regular": "0930-1600",
    "session_premarket": "0400-0930",
    "session_postmarket": "1600-2000",
    "holiday_calendar": "NYSE",
}

# Fields of `Instrument`, but for two: `group` is the symbol group without the broker's prefix (whoever has none shows
# TradingView's own data), `exchange` stands for both exchanges (ours when it is missing).
INSTRUMENTS: Mapping[str, Mapping[str, Any]] = {
    "EURUSD": {**_FOREX, "base_currency": "EUR", "quote_currency": "USD"},
    "GBPUSD": {**_FOREX, "base_currency": "GBP", "quote_currency": "USD"},
    "USDJPY": {**_FOREX, "base_currency": "USD", "quote_currency": "JPY", "pricescale": 1000},
    "NZDUSD": {**_FOREX, "base_currency": "NZD", "quote_currency": "USD"},
    "XAUUSD": {  # gold is quoted like a pair and has a currency's code: a CFD with a pair's type (DIS-9)
        **_FOREX,
        "group": "cfd",
        "is_cfd": True,
        "base_currency": "XAU",
        "quote_currency": "USD",
        "pricescale": 100,
        "max_qty": Decimal(50_000),
    },
    "US500": {
        **_ALWAYS,
        "type": SymbolType.INDEX,
        "is_cfd": True,
        "group": "cfd",
        "description": "US 500 index",
        "bar_source": BarSource.BID,
        "quote_currency": "USD",
        "pricescale": 10,
        "min_qty": Decimal("0.1"),
        "max_qty": Decimal(10_000),
        "qty_step": Decimal("0.1"),
    },
    "BTCUSDT": {**_BTC, "group": "crypto", "description": "Bitcoin / Tether"},
    "ETHUSDT": {**_ETH, "group": "crypto", "description": "Ether / Tether"},
    "BTCUSDT.P": {**_BTC, "group": "perpetual", "description": "Bitcoin / Tether perpetual swap"},
    "ETHUSDT.P": {**_ETH, "group": "perpetual", "description": "Ether / Tether perpetual swap"},
    "AAPL": {**_SHARE, "exchange": "NASDAQ", "description": "Apple Inc.", "isin": "US0378331005"},
    "MSFT": {**_SHARE, "exchange": "NASDAQ", "description": "Microsoft Corporation", "isin": "US5949181045"},
    "SPY": {**_SHARE, "exchange": "AMEX", "description": "SPDR S&P 500 ETF Trust", "isin": "US78462F1030"},
    "ESZ2026": {
        **_SHARE,
        "type": SymbolType.FUTURES,
        "exchange": "CME_MINI",
        "description": "E-mini S&P 500 futures, December 2026",
        "minmovement": 25,
        "contract_size": Decimal(50),
        "max_qty": Decimal(1000),
        "timezone": "America/Chicago",
        "session_regular": "1700-1600",
        "session_premarket": "",
        "session_postmarket": "",
        "holiday_calendar": "CME",
        "root": "ES",
        "root_description": "E-mini S&P 500",
        "expiration": date(2026, 12, 18),
    },
}

_FX_SYMBOLS = dict.fromkeys(("EURUSD", "GBPUSD", "USDJPY", "NZDUSD", "XAUUSD", "US500"))
_FX_CONDITIONS = {
    "margin_rate": Decimal("0.0333"),
    "commission_kind": CommissionKind.PER_MILLION,
    "commission_rate": Decimal(30),
    "margin_call_level": Decimal(100),
    "stop_out_level": Decimal(50),
    "protects_negative_balance": True,
}
MAX_LEVERAGE = {"BTCUSDT.P": 100, "ETHUSDT.P": 50}
FUTURES_MAINTENANCE = {"ESZ2026": Decimal("0.054")}
# In points a day, long and short; indices and gold in percent of the value a year.
SWAPS = {
    "EURUSD": (SwapUnit.POINTS, "-6.5", "2.1"),
    "GBPUSD": (SwapUnit.POINTS, "-3.2", "-1.4"),
    "USDJPY": (SwapUnit.POINTS, "11.5", "-22"),
    "NZDUSD": (SwapUnit.POINTS, "-1.8", "-0.9"),
    "XAUUSD": (SwapUnit.PERCENT, "-6.2", "3.1"),
    "US500": (SwapUnit.PERCENT, "-6.8", "1.4"),
}
GROUPS = (
    DemoGroup("FX netting", Profile.FX_NETTING, _FX_CONDITIONS, _FX_SYMBOLS),
    DemoGroup("FX hedging", Profile.FX_HEDGING, _FX_CONDITIONS, _FX_SYMBOLS),
    DemoGroup(
        "Crypto spot",
        Profile.SPOT,
        {
            "commission_kind": CommissionKind.PERCENT,
            "commission_rate": Decimal("0.1"),
            "fee_asset": FeeAsset.QUOTE,
        },
        dict.fromkeys(("BTCUSDT", "ETHUSDT")),
    ),
    DemoGroup(
        "Perpetual swaps",
        Profile.PERPETUAL,
        {
            "margin_rate": Decimal("0.1"),
            "maintenance_rate": Decimal("0.005"),
            "margin_call_level": Decimal(150),
            "stop_out_level": Decimal(100),
            "protects_negative_balance": True,
            "commission_kind": CommissionKind.PERCENT,
            "commission_rate": Decimal("0.05"),
            "stops_both_ways": True,
            "stop_limits_both_ways": True,
        },
        dict.fromkeys(("BTCUSDT.P", "ETHUSDT.P")),
    ),
    DemoGroup(
        "Stocks and futures",
        Profile.EXCHANGE,
        {
            "margin_rate": Decimal("0.5"),
            "maintenance_rate": Decimal("0.25"),
            "margin_call_level": Decimal(120),
            "stop_out_level": Decimal(100),
            "commission_kind": CommissionKind.PER_UNIT,
            "commission_rate": Decimal("0.005"),
            "commission_minimum": Decimal("1.00"),
        },
        {**dict.fromkeys(("AAPL", "MSFT", "SPY")), "ESZ2026": Decimal("0.06")},
    ),
)

ACCOUNTS = (
    DemoAccount("FX-NET", "FX and CFDs, netting", "trader", "FX netting", {"USD": Decimal(100_000)}),
    DemoAccount("FX-HEDGE", "FX and CFDs, hedging", "trader", "FX hedging", {"EUR": Decimal(100_000)}),
    DemoAccount(
        "SPOT",
        "Crypto spot",
        "trader",
        "Crypto spot",
        {"USDT": Decimal(50_000), "BTC": Decimal(1), "ETH": Decimal(10)},
    ),
    DemoAccount("PERP", "Crypto derivatives", "trader", "Perpetual swaps", {"USDT": Decimal(50_000)}),
    DemoAccount("STOCK", "Stocks and futures", "trader", "Stocks and futures", {"USD": Decimal(100_000)}),
    DemoAccount("FX-NET-2", "FX and CFDs, netting", "trader2", "FX netting", {"USD": Decimal(100_000)}),
)


def seed() -> None:
    """Make whatever of the demo broker is missing, up to the bars of the last whole minute. Harmless when repeated.

    Raises SeedingRefusedError in production, nothing made.
    """
    if settings.IS_PRODUCTION:
        raise SeedingRefusedError(
            _("The demo's data is not for ENVIRONMENT=production: its passwords are known to everybody.")
        )
    with transaction.atomic():
        _make_users()
        demo_oauth.make_clients()
        _make_currencies()
        _make_market()
        _make_groups()
        _make_accounts()
    now = timezone.now()
    for instrument in Instrument.objects.filter(symbol__in=INSTRUMENTS):
        simulator.backfill(instrument, until=now)


def _make_users() -> None:
    usernames = [login.username for login in LOGINS]
    known = set(User.objects.filter(username__in=usernames).values_list("username", flat=True))
    for login in LOGINS:
        if login.username not in known:  # hashing passwords is slow on purpose: once
            _make_user(login)


def _make_user(login: Login) -> None:
    fields = {"is_staff": login.role is not None, **login.fields}
    user = User.objects.create_user(login.username, password=login.password, **fields)
    if login.role:
        user.groups.add(Group.objects.get(name=login.role))
    if login.client:
        Client.objects.create(user=user, name=login.client, country="GB", is_verified=True)


def _make_currencies() -> None:
    for code, (name, sign, decimals, cash_decimals) in CURRENCIES.items():
        values = {"name": name, "sign": sign, "decimals": decimals, "cash_decimals": cash_decimals}
        Currency.objects.get_or_create(code=code, defaults=values)


def _make_market() -> None:
    this_year = timezone.now().year
    for calendar in HOLIDAY_CALENDARS:
        sessions.load_holidays(calendar, range(this_year - 1, this_year + 2))
    for name, description in SYMBOL_GROUPS.items():
        SymbolGroup.objects.get_or_create(name=_prefixed(name), defaults={"description": description})
    known = set(Instrument.objects.filter(symbol__in=INSTRUMENTS).values_list("symbol", flat=True))
    made = [_make_instrument(symbol, dict(values)) for symbol, values in INSTRUMENTS.items() if symbol not in known]
    # MAP-1: as soon as one symbol is TradingView's, ours are mapped too.
    if mappings.choose({each.pk: f"{each.exchange_listed}:{each.symbol}" for each in made}):
        mapping_releases.publish(by=None, note="The demo's symbols")


def _make_instrument(symbol: str, values: dict[str, Any]) -> Instrument:
    exchange = values.pop("exchange", settings.BROKER_ID.upper())
    if group := values.pop("group", None):
        values["symbol_group"] = SymbolGroup.objects.get(name=_prefixed(group))
    if "description" not in values:
        values |= _pair_descriptions(values["base_currency"], values["quote_currency"])
    return Instrument.objects.create(symbol=symbol, exchange_listed=exchange, exchange_traded=exchange, **values)


def _prefixed(name: str) -> str:
    return f"{settings.BROKER_ID}_{name}"  # GRP-5


def _pair_descriptions(base: str, quote: str) -> dict[str, str]:
    """Both currencies' names by field, {"description_de": "Euro / US-Dollar", …}, in the languages that have them."""
    descriptions = {}
    for code, _language in settings.LANGUAGES:
        names = Locale.parse(code, sep="-").currencies
        if base in names and quote in names:
            text = f"{names[base]} / {names[quote]}"
            descriptions[build_localized_fieldname("description", code)] = text[:1].upper() + text[1:]
    return descriptions


def _make_groups() -> None:
    instruments = Instrument.objects.in_bulk(INSTRUMENTS, field_name="symbol")
    for described in GROUPS:
        group, is_new = AccountGroup.objects.get_or_create(name=described.name, defaults={"profile": described.profile})
        if is_new:
            first = TradingConditions.objects.create(group=group, effective_from=BEGINNING, **described.conditions)
            InstrumentTerms.objects.bulk_create(
                InstrumentTerms(
                    conditions=first,
                    instrument=instruments[symbol],
                    margin_rate=rate,
                    maintenance_rate=FUTURES_MAINTENANCE.get(symbol),
                    max_leverage=MAX_LEVERAGE.get(symbol),
                    **_swap(described.profile, symbol),
                )
                for symbol, rate in described.instruments.items()
            )


def _swap(profile: Profile, symbol: str) -> dict[str, Any]:
    if symbol not in SWAPS or profile not in SWAP_PROFILES:
        return {}
    unit, long, short = SWAPS[symbol]
    return {"swap_unit": unit, "swap_long": Decimal(long), "swap_short": Decimal(short)}


def _make_accounts() -> None:
    known = set(Account.objects.values_list("number", flat=True))
    for described in ACCOUNTS:
        if described.number not in known:
            _make_account(described)


def _make_account(described: DemoAccount) -> None:
    account = Account.objects.create(
        number=described.number,
        name=described.name,
        client=Client.objects.get(user__username=described.login),
        group=AccountGroup.objects.get(name=described.group),
        currency_id=next(iter(described.money)),
        type=AccountType.DEMO,
    )
    for currency, amount in described.money.items():
        cash.deposit(account.pk, amount, currency, reference=f"opening:{account.number}:{currency}")
