"""Domain objects for tests, made as the project makes them: plain functions, one for each thing.

Each needs the database; `quote` needs Redis too. What a test does not name has a sensible value, and asking twice for
the same currency, instrument or symbol group gives the same row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from accounts import cash, oauth_clients, tokens
from accounts import conditions as versions
from accounts.choices import ConditionsState, EnvironmentPair, Profile
from accounts.models import Account, AccountGroup, Client, Currency, TradingConditions, User
from accounts.oauth_models import OAuthClient
from marketdata import mapping_releases, mappings, ticklog
from marketdata.choices import BarSource, SymbolType
from marketdata.models import Instrument, SymbolGroup, SymbolMapping

CURRENCY_DECIMALS = {"JPY": (0, 0), "USDT": (6, 2), "BTC": (8, 8), "ETH": (8, 8)}  # kept, settled; others 2, 2
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)

_FOREX = {
    "type": SymbolType.FOREX,
    "minmovement2": 10,
    "min_qty": Decimal(1000),
    "max_qty": Decimal(10_000_000),
    "qty_step": Decimal(1000),
    "bar_source": BarSource.BID,
    "symbol_group": "demo_forex",
}
_COIN = {
    "type": SymbolType.CRYPTO,
    "pricescale": 100,
    "min_qty": Decimal("0.0001"),
    "max_qty": Decimal(1000),
    "qty_step": Decimal("0.0001"),
    "symbol_group": "demo_crypto",
}
_SHARE = {
    "type": SymbolType.STOCK,
    "pricescale": 100,
    "quote_currency": "USD",
    "min_qty": Decimal(1),
    "max_qty": Decimal(100_000),
    "qty_step": Decimal(1),
    "timezone": "America/New_York",
    "session_regular": "0930-1600",
}
INSTRUMENTS: dict[str, dict[str, Any]] = {
    "EURUSD": {**_FOREX, "base_currency": "EUR", "quote_currency": "USD", "pricescale": 100_000},
    "GBPUSD": {**_FOREX, "base_currency": "GBP", "quote_currency": "USD", "pricescale": 100_000},
    "USDJPY": {**_FOREX, "base_currency": "USD", "quote_currency": "JPY", "pricescale": 1000},
    "BTCUSDT": {**_COIN, "base_currency": "BTC", "quote_currency": "USDT"},
    "ETHUSDT": {**_COIN, "base_currency": "ETH", "quote_currency": "USDT"},
    "BTCUSDT.P": {**_COIN, "base_currency": "BTC", "quote_currency": "USDT"},
    "AAPL": {**_SHARE, "exchange_listed": "NASDAQ", "exchange_traded": "NASDAQ"},
    "ESZ2026": {
        **_SHARE,
        "type": SymbolType.FUTURES,
        "minmovement": 25,
        "contract_size": Decimal(50),
        "timezone": "America/Chicago",
        "session_regular": "1700-1600",
        "root": "ES",
        "root_description": "E-mini S&P 500",
        "expiration": date(2026, 12, 18),
        "exchange_listed": "CME_MINI",
        "exchange_traded": "CME_MINI",
    },
}

_numbers = count(1)


def currency(code: str) -> Currency:
    """A currency with the decimals it has in the demo."""
    decimals, cash_decimals = CURRENCY_DECIMALS.get(code, (2, 2))
    return Currency.objects.get_or_create(
        code=code, defaults={"name": code, "decimals": decimals, "cash_decimals": cash_decimals}
    )[0]


def user(username: str | None = None, *, password: str | None = None, **fields: Any) -> User:
    """A login with its client; one without a password can only use tokens (hashing takes its time)."""
    login = User.objects.create_user(username or f"trader-{next(_numbers)}", password=password, **fields)
    if not login.is_data_client and not login.is_staff:
        Client.objects.create(user=login, name=f"Client of {login.username}")
    return login


def token(of: User) -> str:
    """A bearer token of this user."""
    return tokens.issue(of)[0]


def oauth_client(
    pair: EnvironmentPair = EnvironmentPair.PRODUCTION_PRODUCTION, *, secret: str = "", **fields: Any
) -> OAuthClient:
    """The client of an environment pair; without a secret it can be shown, and gets no token."""
    values = {"redirect_uris": ["https://www.tradingview.com/trading/oauth-redirect/test/"], **fields}
    made = OAuthClient.objects.create(pair=pair, client_id=f"tv-{pair}", **values)
    if secret:
        oauth_clients.add_secret(made, secret)
    return made


def symbol_group(name: str) -> SymbolGroup:
    return SymbolGroup.objects.get_or_create(name=name, defaults={"description": name})[0]


def instrument(symbol: str = "EURUSD", **fields: Any) -> Instrument:
    """The instrument as `INSTRUMENTS` describes it, but for `fields`; round the clock where neither says otherwise."""
    if known := Instrument.objects.filter(symbol=symbol).first():
        return known
    values: dict[str, Any] = {
        "description": symbol,
        "type": SymbolType.STOCK,
        "quote_currency": "USD",
        "exchange_listed": "DEMO",
        "exchange_traded": "DEMO",
        "pricescale": 100,
        "min_qty": Decimal(1),
        "max_qty": Decimal(1_000_000),
        "qty_step": Decimal(1),
        "session_regular": "24x7",
        **INSTRUMENTS.get(symbol, {}),
        **fields,
    }
    if group_name := values.pop("symbol_group", None):
        values["symbol_group"] = symbol_group(group_name)
    for code in (values.get("base_currency"), values["quote_currency"]):
        if code:
            currency(code)
    return Instrument.objects.create(symbol=symbol, **values)


def mapping(symbol: str, tradingview_symbol: str, *, is_published: bool = True) -> SymbolMapping:
    """Choose TradingView's symbol for ours, and publish what was chosen so far, or leave it a draft."""
    mapped = instrument(symbol)
    mappings.choose({mapped.pk: tradingview_symbol})
    if is_published:
        mapping_releases.publish(by=None, note="Of the tests")
    return SymbolMapping.objects.get(instrument=mapped)


def group(
    profile: Profile = Profile.FX_NETTING, *, symbols: Iterable[str] = (), name: str | None = None, **conditions: Any
) -> AccountGroup:
    """An account group that trades these symbols, with one version of conditions that was always in force."""
    made = AccountGroup.objects.create(name=name or f"{profile}-{next(_numbers)}", profile=profile)
    conditions = {"effective_from": BEGINNING, "margin_rate": Decimal("0.02"), **conditions}
    TradingConditions.objects.create(group=made, **conditions)
    for symbol in symbols:
        allow(made, symbol)
    return made


def change_conditions(of: AccountGroup, **changes: Any) -> TradingConditions:
    """Put a new version in force from now on, like the last one but for these fields: versions are not rewritten."""
    last = of.conditions_at()
    effective_from = changes.pop("effective_from", None)
    values = {field.name: getattr(last, field.name) for field in versions.content_fields()} | changes
    return approved(of, effective_from, values, like=last)


def approved(
    of: AccountGroup,
    effective_from: datetime | None,
    values: Mapping[str, Any],
    *,
    like: TradingConditions,
    change: Callable[[TradingConditions], object] = lambda draft: None,
) -> TradingConditions:
    """A version that two people have put in force, from now on unless said otherwise; the past is allowed."""
    author, other = user(is_staff=True), user(is_staff=True)
    moment = effective_from or datetime.now(UTC)
    made = TradingConditions.objects.create(
        group=of, effective_from=moment, state=ConditionsState.DRAFT, drafted_by=author, **values
    )
    versions.copy_tables(like, made)
    change(made)
    made.state, made.approved_by, made.approved_at = ConditionsState.APPROVED, other, moment
    made.save(update_fields=["state", "approved_by", "approved_at"])
    return made


def allow(to: AccountGroup, symbol: str, **terms: Any) -> None:
    """Let the accounts of the group trade the symbol."""
    offered = instrument(symbol)
    change_terms(to, lambda rows: rows.create(instrument=offered, **terms))


def set_terms(of: AccountGroup, *symbols: str, effective_from: datetime | None = None, **terms: Any) -> None:
    """Give these instruments of the group, or all of them, other terms."""
    chosen = {"instrument__symbol__in": symbols} if symbols else {}
    change_terms(of, lambda rows: rows.filter(**chosen).update(**terms), effective_from)


def take_away(of: AccountGroup, symbol: str) -> None:
    """Let the accounts of the group trade the symbol no longer, by a version that does not name it."""
    change_terms(of, lambda rows: rows.filter(instrument__symbol=symbol).delete())


def change_terms(
    of: AccountGroup, change: Callable[[Any], object], effective_from: datetime | None = None
) -> TradingConditions:
    """Change rows of instruments: where nobody trades yet in the version there is, else by another from now on."""
    last = of.conditions_at()
    if not of.accounts.exists():
        change(last.instruments)
        return last
    values = {field.name: getattr(last, field.name) for field in versions.content_fields()}
    return approved(of, effective_from, values, like=last, change=lambda draft: change(draft.instruments))


def account(
    profile: Profile = Profile.FX_NETTING,
    *,
    owner: User | None = None,
    number: str | None = None,
    symbols: Iterable[str] = ("EURUSD",),
    of_group: AccountGroup | None = None,
    base: str = "USD",
    deposits: Mapping[str, Decimal] | None = None,
    **fields: Any,
) -> Account:
    """An account in the currency `base`, with 100,000 of it unless `deposits` says otherwise (by currency)."""
    owner = owner or user()
    made = Account.objects.create(
        number=number or f"ACC-{next(_numbers)}",
        name=fields.pop("name", "Test account"),
        client=owner.client,
        group=of_group or group(profile, symbols=symbols),
        currency=currency(base),
        **fields,
    )
    for code, amount in ({base: Decimal(100_000)} if deposits is None else deposits).items():
        currency(code)
        cash.deposit(made.pk, amount, code, reference=f"{made.number}-{code}")
    made.refresh_from_db()  # its version rose
    return made


def quote(
    symbol: str,
    bid: Decimal | str,
    ask: Decimal | str,
    *,
    size: Decimal | str = "10000000",
    bids: Sequence[tuple[str, str]] = (),
    asks: Sequence[tuple[str, str]] = (),
    at_ms: int | None = None,
    last: Decimal | str | None = None,
) -> str:
    """Make this the symbol's latest price, by the tick log; the tick's id. Levels are (price, quantity), best first."""
    tick = ticklog.Tick(
        symbol=symbol,
        time_ms=time.time_ns() // 1_000_000 if at_ms is None else at_ms,
        bid=Decimal(bid),
        ask=Decimal(ask),
        bid_size=Decimal(bids[0][1] if bids else size),
        ask_size=Decimal(asks[0][1] if asks else size),
        last=None if last is None else Decimal(last),
        last_size=None if last is None else Decimal(1),
        bids=tuple((Decimal(price), Decimal(qty)) for price, qty in bids),
        asks=tuple((Decimal(price), Decimal(qty)) for price, qty in asks),
    )
    return ticklog.append([tick])[0]
