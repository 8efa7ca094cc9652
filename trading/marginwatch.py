"""Watches margin levels: whose symbols moved, or who changed himself, is valued again, all in one batch.

Its memory is a cache of Postgres, known to be right by the accounts' versions: a pass reads one list of accounts with
their versions, and of those that changed their rows. The prices are those of the moment: a spike between two passes
that is gone again closes nobody.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import redis
from django.db import OperationalError, connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.models import Account, Balance, TradingConditions
from trading import exposure, levels, liquidation
from trading.errors import OrderRejected
from trading.exposure import Market
from trading.margin_terms import Upkeeps
from trading.models import Position
from trading.prices import Prices

log = logging.getLogger(__name__)

PASS_SECONDS = 0.25
TERMS_SECONDS = 5.0  # how long conditions and maintenance terms are believed
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Watched:
    """An account as it was at one version, and the books its level was last made of."""

    account: Account
    cash: Decimal
    positions: list[Position]
    latest: str | None
    books: tuple[str, ...] | None = None


class MarginWatch:
    """One watch over all accounts. `run_once` is a pass; `run` goes on until told to stop."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._terms: dict[int, tuple[TradingConditions, Upkeeps]] = {}
        self._terms_until = 0.0
        self._is_started = False

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until `stopping()`; through restarts of Postgres and Redis it waits, and starts afresh after them."""
        failures = 0
        while not stopping():
            try:
                self.run_once()
                failures, pause = 0, PASS_SECONDS
            except (OperationalError, redis.RedisError) as error:
                connection.close()
                self._watched.clear()
                pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures += 1
                log.warning("the margin watch pauses for %s s: %s", pause, error)
            time.sleep(pause)
        connection.close()

    def run_once(self) -> int:
        """Value whoever may have changed, take the steps that are due, and say how many were taken."""
        left = self._refresh()
        now = timezone.now()
        prices = Prices()
        prices.load({p.instrument.symbol for each in self._watched.values() for p in each.positions})
        due = [account_id for account_id, each in self._watched.items() if self._needs_review(each, prices, now)]
        return sum(self._review(account_id) for account_id in [*left, *due])

    def _review(self, account_id: int) -> bool:
        """One account's trouble is not the others'."""
        try:
            return liquidation.review(account_id) is not None
        except OperationalError:
            raise
        except Exception:
            log.exception("the margin of account %s could not be reviewed", account_id)
            return False

    def _needs_review(self, watched: Watched, prices: Prices, now: datetime) -> bool:
        """Would its latest prices change anything for the account? Those that are as they were are not looked at."""
        quotes = [prices.quote(position.instrument.symbol) for position in watched.positions]
        books = tuple(quote.version if quote else "" for quote in quotes)
        if books == watched.books:
            return False
        try:
            conditions, upkeeps = self._conditions(watched.account, now)
            market = Market(prices, now, conditions.max_quote_age_seconds)
            inputs = exposure.make(
                watched.account, conditions, watched.cash, watched.positions, upkeeps, market,
                closing={}, pending=0, latest=watched.latest,
            )  # fmt: skip
        except (OrderRejected, TradingConditions.DoesNotExist):
            return False  # not fit to decide on; the next price may be
        needs = levels.verdict(inputs).kind is not None
        if not needs:  # else it is looked at again until the step is done
            watched.books = books
        return needs

    def _conditions(self, account: Account, now: datetime) -> tuple[TradingConditions, Upkeeps]:
        if account.group_id not in self._terms:
            conditions = account.conditions_at(now)
            self._terms[account.group_id] = conditions, Upkeeps(conditions)
        return self._terms[account.group_id]

    def _refresh(self) -> list[int]:
        """Bring the memory in line with the accounts at risk; those that no longer are get a last look."""
        if time.monotonic() >= self._terms_until:
            # Terms may have changed, and so may rates of conversion, which are no books of the positions.
            self._terms.clear()
            self._watched = {pk: replace(watched, books=None) for pk, watched in self._watched.items()}
            self._terms_until = time.monotonic() + TERMS_SECONDS
        versions = dict(_at_risk().values_list("pk", "version"))
        left = [*(self._watched.keys() - versions.keys()), *(self._warned_before(versions))]
        for account_id in left:
            self._watched.pop(account_id, None)
        changed = [pk for pk, version in versions.items() if self._version(pk) != version]
        if changed:
            self._watched |= _read(changed)
        return left

    def _warned_before(self, at_risk: Container[int]) -> list[int]:
        """At the start: accounts that were left with a warning, and are at no risk any more."""
        if self._is_started:
            return []
        self._is_started = True
        return [pk for pk in exposure.warned_accounts() if pk not in at_risk]

    def _version(self, account_id: int) -> int | None:
        watched = self._watched.get(account_id)
        return watched.account.version if watched else None


def _at_risk() -> QuerySet[Account]:
    """Accounts with open positions, or owing us money."""
    opened = Position.objects.open().filter(account=OuterRef("pk"))
    owing = Balance.objects.filter(account=OuterRef("pk"), total__lt=0)
    return Account.objects.filter(Exists(opened) | Exists(owing))


def _read(accounts: list[int]) -> dict[int, Watched]:
    """These accounts with their cash and positions: five statements, however many accounts."""
    found = Account.objects.filter(pk__in=accounts).select_related("group", "currency")
    positions: dict[int, list[Position]] = defaultdict(list)
    for position in Position.objects.open().filter(account__in=accounts).select_related("instrument").order_by("pk"):
        positions[position.account_id].append(position)
    cash = {
        (account_id, currency): total
        for account_id, currency, total in Balance.objects.filter(account__in=accounts).values_list(
            "account_id", "currency_id", "total"
        )
    }
    latest = exposure.last_decisions(accounts)
    return {
        each.pk: Watched(
            account=each,
            cash=cash.get((each.pk, each.currency_id), Decimal(0)),
            positions=positions[each.pk],
            latest=latest.get(each.pk),
        )
        for each in found
    }
