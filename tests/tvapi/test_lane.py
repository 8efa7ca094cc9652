"""The poll lane: the same answers as Django's, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from random import Random
from unittest import mock

import pytest
from django.db import transaction

from accounts import cash, tokens
from accounts.choices import AccountState, Profile
from accounts.models import Account, TradingConditions, User
from marketdata.choices import InstrumentState, Shortability
from marketdata.models import Instrument
from tests import factories
from tests.processes import eventually
from tests.trading import desk
from tests.tvapi.lane import Answer, Poller, django, polling
from trading import orders, positions
from trading.errors import OrderRejected
from trading.models import GroupInstrument
from tvapi import snapshots

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "https://www.tradingview.com"
POLLED = ("orders", "positions", "state", "balances")


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    with polling(monkeypatch) as running:
        yield running


@pytest.fixture
def owner() -> User:
    return factories.user()


@pytest.fixture
def token(owner: User) -> str:
    return factories.token(owner)


@pytest.fixture
def account(owner: User) -> Account:
    factories.quote("EURUSD", "1.1", "1.1001")
    return factories.account(owner=owner, number="FX")


def primed(poller: Poller, target: str, token: str) -> bytes:
    """What the lane answers once Django has been asked and the token is known."""

    def asked() -> bytes | None:
        if answer := poller.get(target, token):
            return answer.body
        django(target, token)
        return None

    return eventually(asked, f"the lane answers {target}")


STATE = "/accounts/FX/state?locale=en"
ORDERS = "/accounts/FX/orders?locale=en"


def test_first_poll_is_djangos_and_the_next_the_lanes(poller: Poller, account: Account, token: str) -> None:
    assert poller.get(STATE, token) is None
    assert primed(poller, STATE, token) == django(STATE, token).body


def test_answer_after_a_change_shows_it(poller: Poller, account: Account, token: str) -> None:
    assert primed(poller, ORDERS, token) == b'{"s":"ok","d":[]}'
    order = desk.place(account, "buy", "1000", limit="1.0")
    assert poller.get(ORDERS, token) is None
    assert f'"id":"{order.pk}"'.encode() in primed(poller, ORDERS, token)


def test_headers_are_djangos(poller: Poller, account: Account, token: str) -> None:
    for answer in (*POLLED[:3], "quotes", "depth"):
        target = {
            "quotes": "/quotes?accountId=FX&symbols=EURUSD",
            "depth": "/depth?accountId=FX&symbol=EURUSD",
        }.get(answer, f"/accounts/FX/{answer}?locale=de_DE")
        primed(poller, target, token)
        for headers in ({}, {"origin": ORIGIN}, {"origin": "https://evil.com"}, {"origin": "https://["}):
            assert poller.get(target, token, **headers) == django(target, token, **headers)


def test_a_secure_site_gets_its_headers_too(poller: Poller, account: Account, token: str, settings) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = 60, True
    secure = {"x-forwarded-proto": "https"}
    primed_by = lambda: poller.get(STATE, token, **secure) or (django(STATE, token, **secure) and None)  # noqa: E731
    assert eventually(primed_by, "the lane answers") == django(STATE, token, **secure)
    assert poller.get(STATE, token) is None  # it is redirected


@pytest.mark.parametrize(
    "target",
    [
        "/accounts/FX/state?locale=en&locale=de_DE",
        "/accounts/FX/state?a=%ff",
        "/accounts/FX/state?a=%00",
        "/accounts/OTHER/state?locale=en",
        "/accounts/FX/balances?locale=en",
        "/accounts/FX/ordersHistory?locale=en",
        "/quotes?accountId=FX",
        "/quotes?accountId=FX&symbols=",
        "/depth?accountId=FX&symbol=NOPE",
        "/depth?accountId=OTHER&symbol=EURUSD",
        "/accounts",
    ],
)
def test_what_is_refused_or_not_polled_is_djangos(poller: Poller, account: Account, token: str, target: str) -> None:
    primed(poller, STATE, token)
    django(target, token)
    assert poller.get(target, token) is None


def test_foreign_and_unknown_tokens_are_djangos(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    stranger = factories.token(factories.user())
    for other in ("unknown", stranger, ""):
        for _try in range(3):
            assert poller.get(STATE, other) is None


def test_a_token_that_was_revoked_is_dropped_at_once(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    tokens.revoke(token)
    assert poller.get(STATE, token) is None
    assert django(STATE, token).status == 401


def test_a_token_that_was_made_to_expire_is_dropped_at_once(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    tokens.expire(token)
    assert poller.get(STATE, token) is None


def test_a_closed_account_is_djangos(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    with transaction.atomic():
        Account.objects.changing(account.pk)
        Account.objects.filter(pk=account.pk).update(state=AccountState.CLOSED)
    assert poller.get(STATE, token) is None


# --- changes that are of no account -----------------------------------------------------------------------------------

QUOTES = "/quotes?accountId=FX&symbols=EURUSD,GBPUSD"


def test_a_halted_instrument_is_shown_at_once(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    assert b'"halted":false' in primed(poller, QUOTES, token)
    instrument = Instrument.objects.get(symbol="EURUSD")
    instrument.state = InstrumentState.HALTED
    instrument.save()
    assert poller.get(QUOTES, token) is None
    assert b'"halted":true' in django(QUOTES, token).body


def test_what_a_group_trades_changes_at_once(poller: Poller, account: Account, token: str) -> None:
    factories.quote("GBPUSD", "1.3", "1.3001")
    primed(poller, STATE, token)
    assert b'"s":"error"' in primed(poller, QUOTES, token)
    factories.allow(account.group, "GBPUSD")
    assert poller.get(QUOTES, token) is None
    GroupInstrument.objects.get(group=account.group, instrument__symbol="EURUSD").delete()
    assert poller.get(QUOTES, token) is None


def test_conditions_and_currencies_are_terms_too(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    for row in (TradingConditions.objects.get(group=account.group), account.currency, account.group):
        row.save()
        assert poller.get(STATE, token) is None
        primed(poller, STATE, token)


# --- equality ---------------------------------------------------------------------------------------------------------

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
COINS = ("BTCUSDT", "ETHUSDT")
PRICES = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 150, "BTCUSDT": 60_000, "ETHUSDT": 3000}
LANGUAGES = ("en", "de_DE", "ar_AE", "xx")
STEPS = 20


class Business:
    """Accounts of every kind of money, and a random next thing that happens to them."""

    def __init__(self, owner: User, seed: int) -> None:
        self.random = Random(seed)
        self.tick()
        self.accounts = [
            factories.account(Profile.FX_NETTING, owner=owner, number="NET", symbols=SYMBOLS, base="EUR"),
            factories.account(Profile.FX_HEDGING, owner=owner, number="HEDGE", symbols=SYMBOLS),
            factories.account(
                Profile.SPOT,
                owner=owner,
                number="SPOT",
                symbols=COINS,
                base="USDT",
                deposits={"USDT": Decimal(100_000), "BTC": Decimal(2), "ETH": Decimal("1.5")},
            ),
        ]

    def tick(self) -> None:
        for symbol, price in PRICES.items():
            bid = Decimal(str(round(price * self.random.uniform(0.98, 1.02), 2 if price < 1000 else 0)))
            factories.quote(symbol, bid, bid * Decimal("1.0001"), size="100000000")

    def step(self) -> None:
        account = self.random.choice(self.accounts)
        for_account = self.random.choice([self.order, self.order, self.end, self.deposit])
        happens: Callable[[], None] = partial(for_account, account)
        with contextlib.suppress(OrderRejected):
            self.random.choice([self.tick, self.terms, *[happens] * 5])()

    def order(self, account: Account) -> None:
        is_spot = account.number == "SPOT"
        symbol = self.random.choice(COINS if is_spot else SYMBOLS)
        qty = "0.01" if is_spot else self.random.choice(["1000", "20000"])
        far = str(round(PRICES[symbol] * self.random.choice([0.5, 1.5]), 1))
        prices = self.random.choice([{}, {}, {"limit": far}, {"stop": far}])
        desk.fill(account, self.random.choice(["buy", "sell"]), qty, symbol, **prices)

    def end(self, account: Account) -> None:
        live = list(account.orders.live())
        opened = list(account.positions.open())
        if live and self.random.random() < 0.5:
            orders.cancel(account.pk, self.random.choice(live).pk)
        elif opened:
            position = self.random.choice(opened)
            positions.close(account.pk, position.pk, amount=None, request_id=f"close-{self.random.random()}")
            desk.drain(account)

    def deposit(self, account: Account) -> None:
        cash.deposit(account.pk, Decimal("12.34"), account.currency_id, reference=str(self.random.random()))

    def terms(self) -> None:
        instrument = Instrument.objects.get(symbol=self.random.choice(SYMBOLS))
        instrument.state = self.random.choice(InstrumentState.values)
        instrument.shortability = self.random.choice(Shortability.values)
        instrument.save()


def from_postgres(target: str, token: str) -> Answer:
    """What Django answers without anything that was kept."""
    with mock.patch.object(snapshots, "current", lambda account: snapshots.take(account.pk)):
        return django(target, token)


@pytest.mark.parametrize("seed", range(2))
def test_both_lanes_say_the_same_in_every_state(poller: Poller, owner: User, token: str, seed: int) -> None:
    business = Business(owner, seed)
    targets = [f"/accounts/{number}/{answer}" for number in ("NET", "HEDGE") for answer in POLLED[:3]]
    targets += [f"/accounts/SPOT/{answer}" for answer in POLLED]
    targets += [f"/quotes?accountId={number}&symbols={','.join(PRICES)}" for number in ("NET", "HEDGE", "SPOT")]
    targets += ["/depth?accountId=NET&symbol=USDJPY", "/depth?accountId=SPOT&symbol=BTCUSDT"]
    for _step in range(STEPS):
        business.step()
        poller.catch_up() if poller.lane._background else None
        locale = business.random.choice(LANGUAGES)
        for target in targets:
            asked = f"{target}{'&' if '?' in target else '?'}locale={locale}"
            truth = from_postgres(asked, token)
            if early := poller.get(asked, token):
                assert early == truth
            assert primed(poller, asked, token) == truth.body
