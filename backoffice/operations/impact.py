"""Whom another version of conditions would affect, and by how much, at the prices of the moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from accounts.models import Account, AccountGroup, TradingConditions
from trading import charges, margin, margin_terms, risk, valuation
from trading.choices import Side
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.prices import Prices

SHOWN_ACCOUNTS = 200  # with the largest margin; the figures of the group count all accounts


@dataclass(frozen=True, slots=True)
class AccountImpact:
    """An account's margin, were its positions opened now, and its swaps of one night: on the conditions in force and on
    the others.

    `equity` is None while a rate into the account's currency is missing."""

    account: Account
    margin_now: Decimal
    margin_then: Decimal
    swap_now: Decimal
    swap_then: Decimal
    equity: Decimal | None

    @property
    def is_short_of_margin(self) -> bool:
        return self.equity is not None and self.margin_then > self.equity

    @property
    def change(self) -> Decimal:
        return self.margin_then - self.margin_now


@dataclass(frozen=True, slots=True)
class Impact:
    """Counts of the whole group, and the accounts with positions, those with the largest change first.

    What is `dropped` is in instruments that the other version does not offer."""

    accounts: int
    live_orders: int
    open_positions: int
    over_order_limit: int
    dropped_orders: int
    dropped_positions: int
    details: list[AccountImpact]


def of(version: TradingConditions) -> Impact:
    """What changes for the group when this version is in force instead of the present one."""
    group = version.group
    live = Order.objects.live().filter(account__group=group)
    positions = Position.objects.open().filter(account__group=group)
    crowded = live.values("account_id").annotate(n=Sum(1)).filter(n__gt=version.max_open_orders)
    offered = version.instruments.offered().values("instrument")
    largest = positions.values("account_id").annotate(margin=Sum("margin")).order_by("-margin")[:SHOWN_ACCOUNTS]
    accounts = Account.objects.select_related("group", "currency").filter(pk__in=[row["account_id"] for row in largest])
    present = _present(group)
    details = [_of_account(account, present or version, version) for account in accounts]
    return Impact(
        accounts=group.accounts.count(),
        live_orders=live.count(),
        open_positions=positions.count(),
        over_order_limit=crowded.count(),
        dropped_orders=live.exclude(instrument__in=offered).count(),
        dropped_positions=positions.exclude(instrument__in=offered).count(),
        details=sorted(details, key=lambda each: (-abs(each.change), -abs(each.swap_then - each.swap_now))),
    )


def _present(group: AccountGroup) -> TradingConditions | None:
    try:
        return group.conditions_at()
    except TradingConditions.DoesNotExist:
        return None


def _of_account(account: Account, present: TradingConditions, other: TradingConditions) -> AccountImpact:
    prices = Prices()
    positions = valuation.open_positions(account)
    try:
        equity = valuation.appraise(valuation.portfolio(account, positions), account.currency, prices).equity
    except OrderRejected:
        equity = None
    return AccountImpact(
        account,
        margin_now=_needed(account, positions, present, prices),
        margin_then=_needed(account, positions, other, prices),
        swap_now=_swap(account, positions, present, prices),
        swap_then=_swap(account, positions, other, prices),
        equity=equity,
    )


def _needed(account: Account, positions: Sequence[Position], version: TradingConditions, prices: Prices) -> Decimal:
    total, there = Decimal(0), defaultdict[tuple[int, str], Decimal](Decimal)
    for position in positions:
        instrument = position.instrument
        terms = margin_terms.of(account, instrument, version)
        quote = prices.quote(instrument.symbol)
        price = (quote.bid + quote.ask) / 2 if quote else position.avg_price
        side = (instrument.pk, position.side)
        try:
            total += margin.on_terms(account, instrument, position.qty, price, terms, prices, there=there[side])
        except OrderRejected:  # no rate into the account's currency at the moment
            total += position.margin
        there[side] += risk.turnover(position.qty, price, instrument.contract_size)  # tiers count what is there
    return total


def _swap(account: Account, positions: Sequence[Position], version: TradingConditions, prices: Prices) -> Decimal:
    """Of one night that counts once, below zero where the account pays; what cannot be converted now is left out."""
    if account.profile not in charges.SWAP_PROFILES:
        return Decimal(0)
    held = {position.instrument_id for position in positions}
    rows = {row.instrument_id: row for row in version.instruments.filter(instrument__in=held).exclude(swap_long=None)}
    total = Decimal(0)
    for position in positions:
        if terms := rows.get(position.instrument_id):
            due = charges.swap(terms, position, Side(position.side).sign * position.qty, 1)
            with suppress(OrderRejected):
                source = position.instrument.quote_currency
                rate = prices.rate(source, account.currency_id, receives=due.amount > 0)
                total += account.currency.round_cash(due.amount * rate)
    return total
