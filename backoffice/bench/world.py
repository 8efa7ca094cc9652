"""A broker to measure: users with a token, an account, working orders and positions each. Its books are not meant to
agree: positions are written without the fills that would have made them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from django.utils import timezone

from accounts import tokens
from accounts.choices import CommissionKind, Profile
from accounts.models import AccessToken, Account, AccountGroup, Balance, Client, Currency, TradingConditions, User
from marketdata import ticklog
from marketdata.choices import BarSource, SymbolType
from marketdata.models import Instrument, SymbolGroup
from trading import venue
from trading.choices import OrderType, Side
from trading.models import InstrumentTerms, Order, Position
from trading.states import OrderStatus

SYMBOLS = 20
ORDERS_EACH = 20
POSITIONS_EACH = 5
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
D = Decimal


@dataclass(frozen=True)
class Trader:
    account: Account
    token: str


@dataclass(frozen=True)
class World:
    traders: list[Trader]
    instruments: list[Instrument]

    @property
    def symbols(self) -> list[str]:
        return [instrument.symbol for instrument in self.instruments]


def make(users: int) -> World:
    """Write it all, in a few statements."""
    usd = Currency.objects.create(code="USD", name="US dollar", sign="$", decimals=2, cash_decimals=2)
    symbol_group = SymbolGroup.objects.create(name="bench_forex", description="Bench")
    instruments = [instrument(f"PAIR{number:02}", symbol_group) for number in range(SYMBOLS)]
    for each in instruments:
        each.save()
    group = AccountGroup.objects.create(name="Bench", profile=Profile.FX_NETTING)
    conditions = TradingConditions.objects.create(
        group=group,
        effective_from=BEGINNING,
        margin_rate=D("0.01"),
        commission_kind=CommissionKind.PER_MILLION,
        commission_rate=D(40),
        max_quote_age_seconds=3600,
        max_open_orders=10**6,
    )
    InstrumentTerms.objects.bulk_create(InstrumentTerms(conditions=conditions, instrument=each) for each in instruments)
    made = World([], instruments)
    made.traders.extend(_traders(group, usd, "B", users))
    accounts = [trader.account for trader in made.traders]
    Balance.objects.bulk_create(
        Balance(account=account, currency=usd, total=D(10**7), may_be_negative=True) for account in accounts
    )
    _orders(accounts, instruments, usd)
    _positions(accounts, instruments)
    tick(instruments, Random(1))
    return made


def more_traders(made: World, users: int) -> list[Trader]:
    """Others, who have nothing yet."""
    first = made.traders[0].account
    return _traders(first.group, first.currency, f"M{Account.objects.count()}", users)


def _traders(group: AccountGroup, currency: Currency, prefix: str, users: int) -> list[Trader]:
    names = [f"{prefix}-{number}" for number in range(users)]
    logins = User.objects.bulk_create(User(username=name, password="!") for name in names)  # noqa: S106 (no password)
    clients = Client.objects.bulk_create(Client(user=login, name=login.username) for login in logins)
    accounts = Account.objects.bulk_create(
        Account(number=name, name="Bench", client=client, group=group, currency=currency)
        for name, client in zip(names, clients, strict=True)
    )
    return [Trader(*pair) for pair in zip(accounts, _tokens(logins), strict=True)]


def data_token() -> str:
    """That of a data server."""
    login = User.objects.create(username=f"bench-data-{User.objects.count()}", password="!", is_data_client=True)  # noqa: S106
    return _tokens([login])[0]


def _tokens(logins: list[User]) -> list[str]:
    given = [f"bench-{login.username}-{'x' * 24}" for login in logins]
    AccessToken.objects.bulk_create(
        AccessToken(user=login, digest=tokens.digest(token), expires_at=timezone.now() + timedelta(days=1))
        for login, token in zip(logins, given, strict=True)
    )
    return given


def instrument(symbol: str, group: SymbolGroup | None) -> Instrument:
    """Not saved yet."""
    return Instrument(
        symbol=symbol,
        description=symbol,
        type=SymbolType.FOREX,
        base_currency="",
        quote_currency="USD",
        exchange_listed="BENCH",
        exchange_traded="BENCH",
        pricescale=100_000,
        minmovement2=10,
        min_qty=D(1000),
        max_qty=D(10**9),
        qty_step=D(1000),
        session_regular="24x7",
        bar_source=BarSource.BID,
        symbol_group=group,
    )


def _orders(accounts: list[Account], instruments: list[Instrument], usd: Currency) -> None:
    Order.objects.bulk_create(
        (
            Order(
                account=account,
                instrument=instruments[number % SYMBOLS],
                side=Side.BUY,
                type=OrderType.LIMIT,
                qty=D(1000),
                limit_price=D("0.9") + D(number) / 1000,
                status=OrderStatus.WORKING,
                queued=False,
                request_id=f"seed-{number}",
                held=D(10),
                held_currency=usd,
                venue=venue.INTERNAL,
            )
            for account in accounts
            for number in range(ORDERS_EACH)
        ),
        batch_size=2000,
    )


def _positions(accounts: list[Account], instruments: list[Instrument]) -> None:
    Position.objects.bulk_create(
        (
            Position(
                account=account,
                instrument=instruments[number],
                side=Side.BUY if number % 2 else Side.SELL,
                qty=D(1000 * (number + 1)),
                avg_price=D("1.1"),
                margin=D(10),
            )
            for account in accounts
            for number in range(POSITIONS_EACH)
        ),
        batch_size=2000,
    )


def tick(instruments: list[Instrument], random: Random) -> None:
    """A new price of every instrument."""
    now_ms = time.time_ns() // 1_000_000
    ticks = []
    for instrument in instruments:
        bid = D("1.1") + D(random.randint(-100, 100)) / 100_000
        ask = bid + D("0.0001")
        ticks.append(ticklog.Tick(instrument.symbol, now_ms, bid, ask, D(10**9), D(10**9)))
    ticklog.append(ticks)


@contextlib.contextmanager
def ticking(world: World, times_a_second: float = 5) -> Iterator[None]:
    """Prices that move while the block runs."""
    end, random = threading.Event(), Random(2)

    def run() -> None:
        while not end.wait(1 / times_a_second):
            tick(world.instruments, random)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
