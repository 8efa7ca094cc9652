"""Snapshots: what polled answers say of an account, but for prices. Made from Postgres once after each change.

They are kept in Redis behind the fence (see `accounts.fence`): one is taken only when it was made from the account's
last version and from the last terms.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone, translation

from accounts import fence, rows, statements
from accounts.choices import AccountState, TransferKind
from accounts.models import Account, Balance, Client, Currency, TradingConditions, columns_with_terms
from trading import exposure, instruments_of, valuation
from trading.margin_terms import Upkeep
from trading.models import Position
from trading.valuation import Asset, Money, Portfolio
from tvapi import renderers, session_orders, wire

MAX_AGE_SECONDS = 60  # what slips by every fence, as when a Redis that takes over has forgotten one, ends with this
NOTHING = Decimal(0)
NEVER = float("inf")

logger = logging.getLogger(__name__)


class Snapshot(msgspec.Struct, frozen=True):
    """An account at one version. `until` (Unix seconds) is when it has to be made anew though nothing has changed."""

    account_id: int
    user_id: int
    is_closed: bool
    version: int
    terms: int
    made_ns: int
    until: float
    language: str
    profile: str
    money: tuple[str, int, int]
    orders: list[msgspec.Raw]
    portfolio: Portfolio | None  # None: a spot account
    kept: list[Upkeep]  # in the order of the portfolio, as the positions
    financing: Decimal  # what swaps and funding came to so far
    commission: Decimal
    positions: list[msgspec.Raw]
    closed: list[msgspec.Raw]
    assets: list[Asset]
    balances: list[msgspec.Raw]  # in the order of the assets

    @property
    def currency(self) -> Currency:
        return _currency(*self.money)

    @property
    def head(self) -> bytes:
        """What tells a process whether it has this snapshot already."""
        return b"%d %d %d" % (self.version, self.terms, self.made_ns)


_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Snapshot).decode


def head_field(language: str) -> str:
    """The field of the account's hash with the head of its snapshot."""
    return f"h:{language}"


def body_field(language: str) -> str:
    return f"s:{language}"


def is_valid(snapshot: Snapshot, account_fence: bytes | None, terms_fence: bytes | None, now: float) -> bool:
    """Whether it may be shown, going by the fences read from Redis with it (None: Redis knows none)."""
    return (
        account_fence is not None
        and terms_fence is not None
        and snapshot.version >= int(account_fence)
        and snapshot.terms >= int(terms_fence)
        and now < snapshot.until
    )


def current(account_id: int) -> Snapshot:
    """The account as it is now, in the language of the moment: from Redis where that is sure, else from Postgres.

    Inside a transaction only Postgres knows what was changed so far, and what it says is not for others yet. Raises
    Account.DoesNotExist.
    """
    if not settings.POLL_SNAPSHOTS or transaction.get_connection().in_atomic_block:
        return take(account_id)
    try:
        if found := _stored(account_id):
            return found
    except redis.RedisError as error:
        logger.warning("Snapshots cannot be read, Postgres answers: %s", error)
        return take(account_id)
    return made(account_id)


def made(account_id: int) -> Snapshot:
    """The account as it is now, from Postgres, and kept for the polls to come. Raises Account.DoesNotExist."""
    snapshot = take(account_id)
    if not settings.POLL_SNAPSHOTS:
        return snapshot
    try:
        store(snapshot)
    except redis.RedisError as error:
        logger.warning("A snapshot of account %s cannot be stored: %s", account_id, error)
    return snapshot


# --- in Redis ---------------------------------------------------------------------------------------------------------

_READ = """
local found = redis.call('HMGET', KEYS[1], 'f', ARGV[1])
return {found[1], redis.call('HGET', KEYS[2], 'f'), found[2]}
"""

# Stores a snapshot unless the account has moved on meanwhile; then it answers with the fence that is ahead.
_STORE = """
local version, terms = ARGV[1], ARGV[2]
local fence = tonumber(redis.call('HGET', KEYS[1], 'f') or 0)
if fence > tonumber(version) then return fence end
redis.call('HSET', KEYS[1], 'f', version, ARGV[4], ARGV[5], ARGV[6], ARGV[7])
redis.call('HSETNX', KEYS[2], 'f', terms)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 0
"""


def _stored(account_id: int) -> Snapshot | None:
    language = translation.get_language()
    account_fence, terms_fence, body = fence.ask(_READ, [account_id, fence.TERMS], [body_field(language)])
    if body is None:
        return None
    snapshot = decode(body)
    is_its = snapshot.account_id == account_id and snapshot.language == language
    return snapshot if is_its and is_valid(snapshot, account_fence, terms_fence, time.time()) else None


def store(snapshot: Snapshot) -> bool:
    """Keep it for the polls to come, unless the account has changed since. Raises `redis.RedisError`."""
    language = snapshot.language
    fields: list[str | bytes] = [head_field(language), snapshot.head, body_field(language), _encode(snapshot)]
    ahead = fence.ask(
        _STORE,
        [snapshot.account_id, fence.TERMS],
        [snapshot.version, snapshot.terms, fence.KEPT_SECONDS, *fields],
    )
    if ahead:
        _heal(snapshot)
    return not ahead


def _heal(snapshot: Snapshot) -> None:
    """Catch up with a fence whose change was never committed: with it ahead, every poll would go to Postgres.

    Nobody can tell an abandoned change from one in progress but by the lock, which the latter holds.
    """
    with transaction.atomic():
        idle = Account.objects.select_for_update(skip_locked=True, no_key=True).filter(
            pk=snapshot.account_id, version=snapshot.version
        )
        if idle.exists():
            Account.objects.changing(snapshot.account_id)


# --- from Postgres ----------------------------------------------------------------------------------------------------


def take(account_id: int) -> Snapshot:
    """Read the account, in the language of the moment.

    The versions are read first. What changes after that is perhaps in the snapshot and perhaps not, but then the fence
    is ahead of it already: it serves the one answer it was made for, and is not kept.
    """
    account, user_id, money = _read(account_id)
    made_ns, now = time.time_ns(), timezone.now()
    shown, moments = session_orders.of_session(account, now)
    open_positions, closed, closed_until = _positions(account, now)
    balances = [] if account.profile.has_positions else list(_balances(account))
    totals = statements.totals(account) if account.profile.has_positions else {}
    conditions, conditions_until = _conditions(account, now)
    return Snapshot(
        account_id=account.pk,
        user_id=user_id,
        is_closed=account.state == AccountState.CLOSED,
        version=account.version,
        terms=account.terms or 0,
        made_ns=made_ns,
        until=min(made_ns / 1e9 + MAX_AGE_SECONDS, _first(moments, now), closed_until, conditions_until),
        language=translation.get_language(),
        profile=account.profile,
        money=(account.currency.code, account.currency.decimals, account.currency.cash_decimals),
        orders=shown,
        portfolio=valuation.portfolio(account, open_positions, money) if account.profile.has_positions else None,
        kept=exposure.upkeeps(account, conditions, open_positions) if conditions else [Upkeep()] * len(open_positions),
        financing=totals.get(TransferKind.SWAP, NOTHING) + totals.get(TransferKind.FUNDING, NOTHING),
        commission=totals.get(TransferKind.COMMISSION, NOTHING),
        positions=[_raw(wire.position(position)) for position in open_positions],
        closed=[_raw(wire.position(position) | wire.profit(NOTHING)) for position in closed],
        assets=[Asset(balance.currency_id, balance.total) for balance in balances],
        balances=[_raw(wire.balance(balance)) for balance in balances],
    )


_ACCOUNT = f"""
SELECT {columns_with_terms()},
       (SELECT user_id FROM {Client._meta.db_table} WHERE id = client_id) AS user_id, {valuation.MONEY}
  FROM {Account._meta.db_table} AS account
 WHERE id = %s
"""  # noqa: S608


def _read(account_id: int) -> tuple[Account, int, Money]:
    """The account with the version of the terms, whose it is, and its money. Raises Account.DoesNotExist."""
    extras = ("terms", "user_id", *Money._fields)
    found: list[Any] = rows.read(Account, _ACCOUNT, [account_id], using=Account.objects.db, extras=extras)
    for account in found:
        account.know()
        return account, account.user_id, Money.of(account.cash, account.held)
    raise Account.DoesNotExist


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(renderers.encode(value))


_POSITIONS = f"""
SELECT {rows.columns_of(Position)} FROM {Position._meta.db_table}
 WHERE account_id = %s AND (closed_at IS NULL OR closed_at > %s)
 ORDER BY id
"""  # noqa: S608


def _positions(account: Account, now: datetime) -> tuple[list[Position], list[Position], float]:
    """The open positions, those just closed (POS-6), and until when these are to be shown."""
    shown_for = timedelta(seconds=settings.SHOW_CLOSED_POSITIONS_SECONDS)
    if not account.profile.has_positions:
        return [], [], NEVER
    asked = [account.pk, now - shown_for]
    found = instruments_of.attach(account, rows.read(Position, _POSITIONS, asked, using=Position.objects.db))
    ends = [each.closed_at + shown_for for each in found if each.closed_at]
    return [each for each in found if not each.closed_at], [each for each in found if each.closed_at], _first(ends, now)


def _conditions(account: Account, now: datetime) -> tuple[TradingConditions | None, float]:
    """Those in force, if any, and until when."""
    versions = account.all_conditions()
    present = next((version for version in versions if version.effective_from <= now), None)
    return present, _first([version.effective_from for version in versions], now)


def _balances(account: Account) -> Iterable[Balance]:
    return account.balances.select_related("currency").order_by("currency")


def _first(moments: Iterable[datetime], now: datetime) -> float:
    """The first of them that is yet to come, in Unix seconds."""
    return min((moment.timestamp() for moment in moments if moment > now), default=NEVER)


@lru_cache(maxsize=1024)
def _currency(code: str, decimals: int, cash_decimals: int) -> Currency:
    return Currency(code=code, decimals=decimals, cash_decimals=cash_decimals)
