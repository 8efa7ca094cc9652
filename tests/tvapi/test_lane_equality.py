"""The poll lane and Django say the same of an account, to the byte, whatever has happened to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from accounts import cash
from accounts.choices import Profile
from accounts.models import Account, User
from marketdata.choices import InstrumentState, Shortability
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from tests.tvapi.lane import Answer, Poller, django, polling, primed
from trading import charges, leverage, orders, positions, triggers
from trading.errors import OrderRejected
from trading.models import MarginTier
from trading.triggers import Move
from tvapi import snapshots

pytestmark = pytest.mark.django_db(transaction=True)

D = Decimal
PRICES = {
    "EURUSD": D("1.1"),
    "GBPUSD": D("1.3"),
    "USDJPY": D(150),
    "BTCUSDT": D(60_000),
    "ETHUSDT": D(3000),
    "BTCUSDT.P": D(60_000),
    "AAPL": D(200),
    "ESZ2026": D(6000),
}
PAIRS, COINS, SHARES = ("EURUSD", "GBPUSD", "USDJPY"), ("BTCUSDT", "ETHUSDT"), ("AAPL", "ESZ2026")
QUANTITIES = {"BTCUSDT": "0.01", "ETHUSDT": "0.01", "BTCUSDT.P": "0.02", "AAPL": "10", "ESZ2026": "1"}
OF_ACCOUNT = ("orders", "positions", "state", "balances")
LANGUAGES = ("en", "de_DE", "ar_AE", "xx")


class Business:
    """An account of every profile, and a random next thing that happens to one of them."""

    def __init__(self, owner: User, seed: int) -> None:
        self.random = Random(seed)
        factories.instrument("AAPL", session_regular="24x7")  # some shares trade now, whenever the test runs
        self.tick()
        funds = {"USDT": D(100_000), "BTC": D(2), "ETH": D("1.5")}
        perpetuals = factories.group(
            Profile.PERPETUAL, symbols=["BTCUSDT.P"], margin_rate=D("0.1"), maintenance_rate=D("0.01")
        )
        self.accounts = [
            factories.account(Profile.FX_NETTING, owner=owner, number="NET", symbols=PAIRS, base="EUR"),
            factories.account(Profile.FX_HEDGING, owner=owner, number="HEDGE", symbols=PAIRS),
            factories.account(Profile.SPOT, owner=owner, number="SPOT", symbols=COINS, base="USDT", deposits=funds),
            factories.account(of_group=perpetuals, owner=owner, number="PERP", base="USDT"),
            factories.account(Profile.EXCHANGE, owner=owner, number="STOCK", symbols=SHARES),
        ]
        perp, stock = self.accounts[3:]
        MarginTier.objects.create(conditions=perp.group.conditions_at(), floor=D(1000), rate=D("0.2"))
        factories.set_terms(perp.group, max_leverage=50)
        factories.set_terms(stock.group, "ESZ2026", contract_margin=D(12_000), contract_maintenance=D(11_000))
        for account in self.accounts[:2]:
            factories.set_terms(account.group, *PAIRS, swap_long=D("-6.5"), swap_short=D(2))
        self.moment = timezone.now()
        self._charge(self.moment)

    def targets(self, account: Account) -> list[str]:
        of_account = f"/accounts/{account.number}"
        symbols = ",".join(PRICES)
        return [
            *(f"{of_account}/{answer}?" for answer in OF_ACCOUNT[: 4 if account.number == "SPOT" else 3]),
            f"/quotes?accountId={account.number}&symbols={symbols}&",
            f"/depth?accountId={account.number}&symbol={self.symbol(account)}&",
        ]

    def symbol(self, account: Account) -> str:
        return self.random.choice(
            list(account.group.conditions_at().instruments.values_list("instrument__symbol", flat=True))
        )

    def step(self) -> Account:
        """Let something happen; the account that is most likely to show it."""
        self.tick()
        account = self.random.choice(self.accounts)
        with contextlib.suppress(OrderRejected):
            self.random.choice(
                [self.order] * 5
                + [self.end] * 3
                + [self.trail, self.trail, self.lever, self.deposit, self.charge, self.terms, self.conditions]
            )(account)
        return account

    # --- what may happen ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        for symbol, price in PRICES.items():
            places = 4 if price < 10 else 2
            bid = round(price * D(str(self.random.uniform(0.98, 1.02))), places)
            factories.quote(symbol, bid, bid * D("1.0001"), size="100000000")

    def order(self, account: Account) -> None:
        symbol = self.symbol(account)
        far = str(round(PRICES[symbol] * self.random.choice([D("0.5"), D("1.5")]), 1))
        fields = self.random.choice([{}, {}, {"limit": far}, {"stop": far}, {"trail": "500"}])
        desk.fill(account, self.random.choice(["buy", "sell"]), QUANTITIES.get(symbol, "20000"), symbol, **fields)

    def end(self, account: Account) -> None:
        live, opened = list(account.orders.live()), list(account.positions.open())
        if live and self.random.random() < 0.5:
            orders.cancel(account.pk, self.random.choice(live).pk)
        elif opened:
            position = self.random.choice(opened)
            positions.close(account.pk, position.pk, amount=None, request_id=f"close-{self.random.random()}")
            desk.drain(account)

    def trail(self, account: Account) -> None:
        trailing = account.orders.live().filter(trailing_pips__gt=0)
        now_ms, factor = int(timezone.now().timestamp() * 1000) + 1, self.random.choice([D("0.99"), D("1.01")])
        stops = {leg.pk: leg.stop_price * factor for leg in trailing if leg.stop_price}
        triggers.ratchet({pk: Move(round(stop, 2), now_ms) for pk, stop in stops.items()})

    def lever(self, account: Account) -> None:
        leverage.choose(self.accounts[3].pk, "BTCUSDT.P", D(self.random.randint(2, 40)))

    def deposit(self, account: Account) -> None:
        cash.deposit(account.pk, D("12.34"), account.currency_id, reference=str(self.random.random()))

    def charge(self, account: Account) -> None:
        self.moment += timedelta(days=1)
        self._charge(self.moment)

    def _charge(self, moment: datetime) -> None:
        charges.charge_swaps(moment)
        charges.charge_funding(moment)

    def terms(self, account: Account) -> None:
        instrument = Instrument.objects.get(symbol=self.symbol(account))
        instrument.state = self.random.choice(InstrumentState.values)
        instrument.shortability = self.random.choice(Shortability.values)
        instrument.save()

    def conditions(self, account: Account) -> None:
        rate = self.random.choice(["0.01", "0.02", "0.05"])
        factories.change_conditions(account.group, maintenance_rate=D(rate), commission_rate=D(rate))


def from_postgres(target: str, token: str) -> Answer:
    """What Django answers without anything that was kept."""
    with mock.patch.object(snapshots, "current", snapshots.take):
        return django(target, token)


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    with polling(monkeypatch) as running:
        yield running


@pytest.mark.parametrize(
    ("seed", "steps"), [(1, 12), *(pytest.param(seed, 250, marks=pytest.mark.proof) for seed in range(2, 6))]
)
def test_both_lanes_say_the_same_in_every_state(poller: Poller, seed: int, steps: int, settings: Any) -> None:
    settings.SHOW_CLOSED_POSITIONS_SECONDS = 3600  # so that none leaves between two answers that are compared
    owner = factories.user()
    token, business = factories.token(owner), Business(owner, seed)
    primed(poller, "/accounts/NET/state?locale=en", token)
    for _step in range(steps):
        account = business.step()
        poller.catch_up()
        locale = business.random.choice(LANGUAGES)
        for target in business.targets(account):
            asked = f"{target}locale={locale}"
            truth = from_postgres(asked, token)
            if early := poller.get(asked, token):
                assert early == truth
            assert primed(poller, asked, token) == truth
