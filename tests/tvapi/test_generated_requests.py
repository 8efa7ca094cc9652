"""Generated requests: whatever comes, the answer has a status of the contract and fits its schema."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client as Browser
from jsonschema import ValidationError

from accounts.choices import Profile
from accounts.models import Account, User
from tests import factories, fuzz
from tests.trading import desk
from tests.tvapi.contract import FORM, TradingView
from trading.models import Order, Position

COUNT = int(os.environ.get("FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SYMBOLS = ("EURUSD", "BTCUSDT", "BTCUSDT.P", "AAPL")
DRAIN_EVERY = 20  # requests, after which the desk works off what is queued
ROUND = 500  # requests, after which the world begins again: what one round left behind would slow the others down
SECRET = "a-secret-of-the-tests-only"

pytestmark = [pytest.mark.proof, pytest.mark.django_db]


class World:
    """A trader with an account of each kind; every instrument trades at about 1.10, so that any price may be meant."""

    def __init__(self) -> None:
        self.trader = factories.user("trader", password="a-password")
        for symbol in SYMBOLS:
            factories.instrument(symbol, session_regular="24x7")
        coins = {"USDT": Decimal(100_000), "BTC": Decimal(1000)}
        self.accounts = [
            self._account(Profile.FX_NETTING, "EURUSD", "AAPL"),
            self._account(Profile.FX_HEDGING, "EURUSD", "AAPL"),
            self._account(Profile.SPOT, "BTCUSDT", base="USDT", deposits=coins),
            self._account(Profile.PERPETUAL, "BTCUSDT.P", base="USDT"),
            self._account(Profile.EXCHANGE, "AAPL", "EURUSD"),
        ]
        client = factories.oauth_client(secret=SECRET)
        now = int(time.time())
        self.known: dict[str, Sequence[object]] = {
            "accountId": [account.number for account in self.accounts],
            "instrument": SYMBOLS,
            "symbol": ["EURUSD", "BTCUSDT"],
            "symbols": ["EURUSD", "EURUSD,BTCUSDT", "AAPL"],
            "type": ["market", "market", "limit", "stop"],
            "qty": [1000, 2000, 1, 0.5],
            "amount": [1000, 1, 0.5],
            "durationType": ["gtc", "day", "gtt"],
            "durationDateTime": [now + 3600, now + 86400],
            "leverage": [1, 10, 20],
            "resolution": ["1", "1D"],
            "group": ["demo_forex", "demo_crypto"],
            "from": [now - 86400],
            "to": [now],
            "login": ["trader", "trader", "nobody"],
            "password": ["a-password", "a-password", "another"],
            "client_id": [client.client_id],
            "client_secret": [SECRET],
            "redirect_uri": client.redirect_uris,
            **{name: [1.09, 1.1, 1.11, 1.12] for name in ("limitPrice", "stopPrice", "stopLoss", "takeProfit")},
            **{name: [1.1] for name in ("currentBid", "currentAsk", "bid", "ask")},
            "trailingStopPips": [10],
            "guaranteedStop": [1.09],
            "confirmId": [""],  # not confirmed
        }

    def _account(self, profile: Profile, *symbols: str, **fields: Any) -> Account:
        """With a position where it can have one, and an order that waits."""
        number = profile.name.replace("_", "-")
        account = factories.account(profile, owner=self.trader, number=number, symbols=[*symbols], **fields)
        factories.quote(symbols[0], "1.10", "1.11")
        desk.fill(account, "buy", "1000", symbols[0])
        desk.place(account, "buy", "1000", symbols[0], limit="1.09")
        return account

    def pass_time(self) -> None:
        """Prices come, the desk works, and who asks now knows the rows that there are."""
        for symbol in SYMBOLS:
            factories.quote(symbol, "1.10", "1.11")
        for account in self.accounts:
            desk.drain(account)
        self.known["orderId"] = self.known["id"] = ids(Order)
        self.known["positionId"] = ids(Position)


def ids(model: type[Order] | type[Position]) -> list[str]:
    return [str(pk) for pk in model.objects.values_list("pk", flat=True)]


def test_no_generated_request_is_answered_with_a_fault() -> None:
    world = World()
    answers: Counter[str] = Counter()
    wrong: list[str] = []
    for first in range(0, COUNT, ROUND):
        cache.clear()
        with transaction.atomic():
            send_all(world, range(first, min(first + ROUND, COUNT)), answers, wrong)
            transaction.set_rollback(True)
    print(f"{COUNT} requests, answered:", dict(sorted(answers.items())))  # noqa: T201 (`make fuzz` shows it)
    assert wrong == []
    assert answers["ok"] > COUNT / 5  # else they were broken in ways that hide each other


def send_all(world: World, numbers: range, answers: Counter[str], wrong: list[str]) -> None:
    """Send the requests, count the kinds of their answers, and note those that the contract does not know."""
    sender = Sender(world.trader)
    for first in numbers[::DRAIN_EVERY]:
        world.pass_time()
        count = min(DRAIN_EVERY, numbers.stop - first)
        for call in fuzz.calls(count, seed=SEED * 1_000_000 + first, known=world.known):
            try:
                answers[sender.send(call)] += 1
            except (AssertionError, ValidationError) as error:
                wrong.append(f"{call}: {error}")


class Sender:
    def __init__(self, trader: User) -> None:
        self.trader = trader
        self.browser = Browser(raise_request_exception=False)
        self.client = TradingView(factories.token(trader))

    def send(self, call: fuzz.Call) -> str:
        """The kind of the answer. What fits no schema of the contract raises."""
        if call.path.startswith("/oauth2/"):
            page = self.browser.generic(call.method, f"/tv{call.path}", call.body, content_type=FORM)
            assert page.status_code in (200, 302, 400, 403, 405)  # 403: a form without the page's own field
            return str(page.status_code)
        status, answer = self.client.send(call.method, call.path, call.body)
        if status == 401:  # it logged out
            self.client = TradingView(factories.token(self.trader))
            return "401"
        return str(answer.get("s", "ok"))
