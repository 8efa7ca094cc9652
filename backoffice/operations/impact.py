"""Whom another version of conditions would affect, and by how much, at the prices of the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from accounts.models import Account, AccountGroup, TradingConditions
from trading import margin, tradables, valuation
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.prices import Prices

SHOWN_ACCOUNTS = 200  # with the largest margin; the figures of the group count all accounts


@dataclass(frozen=True, slots=True)
class AccountImpact:
    """An account's margin, were its positions opened now: on the conditions in force and on the others.

    `equity` is None while a rate into the account's currency is missing."""

    account: Account
    margin_now: Decimal
    margin_then: Decimal
    equity: Decimal | None

    @property
    def is_short_of_margin(self) -> bool:
        return self.equity is not None and self.margin_then > self.equity

    @property
    def change(self) -> Decimal:
        return self.margin_then - self.margin_now


@dataclass(frozen=True, slots=True)
class Impact:
    """Counts of the whole group, and the accounts with positions, those with the largest change first."""

    accounts: int
    live_orders: int
    open_positions: int
    over_order_limit: int
    details: list[AccountImpact]


def of(version: TradingConditions) -> Impact:
    """What changes for the group when this version is in force instead of the present one."""
    group = version.group
    live = Order.objects.live().filter(account__group=group)
    positions = Position.objects.open().filter(account__group=group)
    crowded = live.values("account_id").annotate(n=Sum(1)).filter(n__gt=version.max_open_orders)
    largest = positions.values("account_id").annotate(margin=Sum("margin")).order_by("-margin")[:SHOWN_ACCOUNTS]
    accounts = Account.objects.select_related("group", "currency").filter(pk__in=[row["account_id"] for row in largest])
    present = _present(group)
    details = [_of_account(account, present or version, version) for account in accounts]
    return Impact(
        accounts=group.accounts.count(),
        live_orders=live.count(),
        open_positions=positions.count(),
        over_order_limit=crowded.count(),
        details=sorted(details, key=lambda each: -abs(each.change)),
    )


def _present(group: AccountGroup) -> TradingConditions | None:
    try:
        return group.conditions_at()
    except TradingConditions.DoesNotExist:
        return None


def _of_account(account: Account, present: TradingConditions, other: TradingConditions) -> AccountImpact:
    prices = Prices()
    positions = valuation.open_positions(account)
    needed = [_needed(account, positions, version, prices) for version in (present, other)]
    try:
        equity = valuation.appraise(valuation.portfolio(account, positions), account.currency, prices).equity
    except OrderRejected:
        equity = None
    return AccountImpact(account, needed[0], needed[1], equity)


def _needed(account: Account, positions: Sequence[Position], version: TradingConditions, prices: Prices) -> Decimal:
    total = Decimal(0)
    for position in positions:
        rate = tradables.margin_rate(account, position.instrument, version)
        quote = prices.quote(position.instrument.symbol)
        price = (quote.bid + quote.ask) / 2 if quote else position.avg_price
        try:
            total += margin.required(account, position.instrument, position.qty, price, rate, prices)
        except OrderRejected:  # no rate into the account's currency at the moment
            total += position.margin
    return total
