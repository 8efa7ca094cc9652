"""The poll lane: the same answers as Django's, or none."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import transaction

from accounts import cash, tokens
from accounts.choices import AccountState
from accounts.models import Account, User
from accounts.oauth_models import OAuthClient
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from marketdata.sessions import load_holidays
from tests import factories
from tests.processes import eventually
from tests.trading import desk
from tests.tvapi.lane import Poller, django, polling, primed
from trading.models import MarginTier
from tvapi import snapshots, usage
from tvapi.lane import Lane, logins
from tvapi.snapshots import Snapshot

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


STATE = "/accounts/FX/state?locale=en"
ORDERS = "/accounts/FX/orders?locale=en"


def test_first_poll_is_djangos_and_the_next_the_lanes(poller: Poller, account: Account, token: str) -> None:
    assert poller.get(STATE, token) is None
    assert primed(poller, STATE, token) == django(STATE, token)


def test_answer_after_a_change_shows_it(poller: Poller, account: Account, token: str) -> None:
    assert primed(poller, ORDERS, token).body == b'{"s":"ok","d":[]}'
    order = desk.place(account, "buy", "1000", limit="1.0")
    answer = poller.get(ORDERS, token)
    assert answer == django(ORDERS, token)
    assert f'"id":"{order.pk}"'.encode() in answer.body


def test_what_the_lane_did_is_counted(poller: Poller, account: Account, token: str) -> None:
    primed(poller, ORDERS, token)
    usage.counter.take()
    for _poll in range(2):
        poller.get(ORDERS, token)
    assert usage.counter.take().polled == {"answered": 2}
    desk.place(account, "buy", "1000", limit="1.0")
    poller.get(ORDERS, token)
    assert usage.counter.take().polled == {"answered": 1, "missed": 1}
    assert poller.get(ORDERS, "a stranger's") is None
    assert usage.counter.take().polled == {"left": 1}


def test_a_token_that_is_forgotten_waits_for_the_next_look_instead_of_going_to_django(
    poller: Poller, account: Account, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when all is busy, and looking tokens up takes longer than they are remembered."""
    primed(poller, ORDERS, token)
    monkeypatch.setattr(logins, "REMEMBERED_SECONDS", 0.0)
    usage.counter.take()
    for _poll in range(5):
        time.sleep(logins.REFRESH_SECONDS / 2)
        assert poller.get(ORDERS, token) is not None
    assert usage.counter.take().polled == {"answered": 5}


def test_who_polls_while_the_account_is_read_waits_for_the_same_snapshot(
    poller: Poller, account: Account, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_slowly(account_id: int) -> Snapshot:
        time.sleep(0.5)
        return made(account_id)

    made = snapshots.made
    monkeypatch.setattr(snapshots, "made", made_slowly)
    primed(poller, ORDERS, token)
    order = desk.place(account, "buy", "1000", limit="1.0")
    usage.counter.take()
    with ThreadPoolExecutor(8) as pool:
        found = {answer and answer.body for answer in pool.map(lambda _poll: poller.get(ORDERS, token), range(8))}
    assert usage.counter.take().polled == {"answered": 8, "missed": 1}
    assert found == {django(ORDERS, token).body}
    assert f'"id":"{order.pk}"'.encode() in (found.pop() or b"")


def test_a_change_while_the_account_is_read_is_not_missed_by_who_knows_of_it(
    poller: Poller, account: Account, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before it serves who asked before it, and nobody else."""
    is_read, is_changed = threading.Event(), threading.Event()

    def made_slowly(account_id: int) -> Snapshot:
        snapshot = made(account_id)
        is_read.set()
        is_changed.wait(60)
        return snapshot

    primed(poller, ORDERS, token)
    desk.place(account, "buy", "1000", limit="1.0")
    made = snapshots.made
    monkeypatch.setattr(snapshots, "made", made_slowly)
    usage.counter.take()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(poller.get, ORDERS, token)
        assert is_read.wait(60)
        order = desk.place(account, "buy", "2000", limit="1.0")
        later = [pool.submit(poller.get, ORDERS, token) for _poll in range(4)]
        time.sleep(0.2)
        is_changed.set()
        answers = [each.result() for each in (first, *later)]
    named = f'"id":"{order.pk}"'.encode()
    assert [answer is not None and named in answer.body for answer in answers] == [False, True, True, True, True]
    assert usage.counter.take().polled == {"answered": 5, "missed": 2}


def test_switched_off_it_leaves_everything_to_django(poller: Poller, account: Account, token: str, settings) -> None:
    primed(poller, STATE, token)
    settings.POLL_LANE = False
    assert poller.get(STATE, token) is None
    settings.POLL_LANE = True
    assert poller.get(STATE, token) is not None


def test_where_nothing_is_kept_writers_raise_the_fence_all_the_same(
    poller: Poller, account: Account, token: str, settings
) -> None:
    """So processes may differ in what they are set to."""
    primed(poller, STATE, token)
    settings.POLL_SNAPSHOTS = False
    cash.deposit(account.pk, Decimal(1), "USD", reference="one more")
    settings.POLL_SNAPSHOTS = True
    answer = poller.get(STATE, token)
    assert answer == django(STATE, token)
    assert b'"balance":100001' in answer.body


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


def test_a_user_who_is_switched_off_is_not_answered(poller: Poller, account: Account, token: str, owner: User) -> None:
    primed(poller, STATE, token)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    eventually(lambda: poller.get(STATE, token) is None, "the lane has noticed it")
    assert django(STATE, token).status == 401


def test_a_client_that_is_switched_off_is_not_answered(poller: Poller, account: Account, owner: User) -> None:
    client = factories.oauth_client()
    token = tokens.new()
    tokens.keep(token, owner, lifetime_seconds=60, client=client)
    primed(poller, STATE, token)
    OAuthClient.objects.filter(pk=client.pk).update(is_active=False)
    eventually(lambda: poller.get(STATE, token) is None, "the lane has noticed it")
    assert django(STATE, token).status == 401


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
    assert b'"halted":false' in primed(poller, QUOTES, token).body
    instrument = Instrument.objects.get(symbol="EURUSD")
    instrument.state = InstrumentState.HALTED
    instrument.save()
    assert poller.get(QUOTES, token) is None
    assert b'"halted":true' in django(QUOTES, token).body


def test_what_a_group_trades_changes_at_once(poller: Poller, account: Account, token: str) -> None:
    factories.quote("GBPUSD", "1.3", "1.3001")
    primed(poller, STATE, token)
    assert b'"s":"error"' in primed(poller, QUOTES, token).body
    factories.allow(account.group, "GBPUSD")
    assert poller.get(QUOTES, token) is None
    factories.take_away(account.group, "EURUSD")
    assert poller.get(QUOTES, token) is None


@pytest.mark.parametrize("pauses", range(4))
def test_what_follows_changes_ends_also_when_it_is_told_so_in_the_moment_of_one(pauses: int) -> None:
    async def known_at_once(work: object) -> None:
        return None

    async def ends() -> bool:
        lane = Lane()
        lane._in_thread = known_at_once  # type: ignore[method-assign, assignment]
        following = asyncio.create_task(lane._keep_catalogue())
        await turns(10)
        lane._stale_catalogue.set()
        await turns(pauses)
        following.cancel()
        await turns(10)
        return following.cancelled()

    async def turns(count: int) -> None:
        for _turn in range(count):
            await asyncio.sleep(0)

    assert asyncio.run(ends())


def test_conditions_and_currencies_are_terms_too(poller: Poller, account: Account, token: str) -> None:
    primed(poller, STATE, token)
    currency, group = account.currency, account.group
    for change in (
        lambda: MarginTier.objects.create(conditions=group.conditions_at(), floor=Decimal(1000), rate=Decimal("0.1")),
        lambda: factories.change_conditions(group, margin_rate=Decimal("0.03")),
        lambda: load_holidays("XNYS", [2026]),
        currency.save,
        group.save,
    ):
        change()
        assert poller.get(STATE, token) is None
        primed(poller, STATE, token)
