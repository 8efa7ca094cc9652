"""The leverage that clients of crypto derivatives choose for an instrument (LEV-1 … LEV-5)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from accounts.choices import Profile
from accounts.models import Account
from marketdata.models import Instrument
from trading import checks, margin, margin_terms, tradables, valuation
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.margin_terms import MarginTerms
from trading.models import InstrumentTerms, Leverage, MarginChange, Order, Position
from trading.prices import Prices

if TYPE_CHECKING:
    from accounts.models import User

STEP = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What is in force, and between what a client may choose, in whole steps."""

    instrument: Instrument
    current: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What another leverage would do: the margin of each open position and live order by id, what they hold now
    together, and what is free besides."""

    leverage: int
    positions: dict[int, Decimal]
    orders: dict[int, Decimal]
    held: Decimal
    free: Decimal

    @property
    def needed(self) -> Decimal:
        return sum([*self.positions.values(), *self.orders.values()], Decimal(0))

    @property
    def added(self) -> Decimal:
        """What has to be free for it; below zero it sets margin free."""
        return self.needed - self.held


def choice(account: Account, symbol: str) -> Choice:
    """Raises OrderRejected: UNKNOWN_INSTRUMENT, or NO_LEVERAGE where margin is not chosen."""
    conditions = account.conditions_at()
    instrument = tradables.find(account, symbol, conditions).instrument
    if account.profile is not Profile.PERPETUAL:
        raise OrderRejected(Reason.NO_LEVERAGE, symbol=symbol)
    row = InstrumentTerms.objects.get(conditions=conditions, instrument=instrument)
    usual = _of_rate(margin_terms.own_rate(row, conditions))
    most = row.max_leverage or usual
    current = margin_terms.leverage(account, instrument) or usual
    return Choice(instrument, current, least=STEP, most=max(most, STEP))


def preview(account: Account, symbol: str, leverage: Decimal) -> Effect:
    """What setting this leverage would do; nothing is changed (LEV-2). Raises OrderRejected as `choose` does."""
    checks.may_trade(account)
    offered = choice(account, symbol)
    return _effect(account, offered.instrument, _in_range(offered, leverage), Prices([symbol]))


@transaction.atomic
def choose(account_id: int, symbol: str, leverage: Decimal, *, by: User | None = None) -> int:
    """Set the leverage, rounded down to a whole step, and margin the open position and live orders by it (LEV-3).

    Returns what is set. Raises OrderRejected (LEVERAGE_RANGE, MARGIN, NO_PRICE, ACCOUNT_NO_TRADING) and changes
    nothing.
    """
    account = Account.objects.changing(account_id)
    checks.may_trade(account)
    offered = choice(account, symbol)
    instrument, chosen = offered.instrument, _in_range(offered, leverage)
    effect = _effect(account, instrument, chosen, Prices([symbol]))
    margin.check_free(account, effect.added, effect.free)
    Leverage.objects.update_or_create(account=account, instrument=instrument, defaults={"leverage": chosen})
    for order in account.orders.live().locked().filter(pk__in=effect.orders):
        order.held = effect.orders[order.pk]
        order.save(update_fields=["held"])
    for position in account.positions.open().locked().filter(pk__in=effect.positions):
        _remargin(position, effect.positions[position.pk], chosen, by)
    return chosen


def _remargin(position: Position, amount: Decimal, leverage: int, by: User | None) -> None:
    if amount == position.margin:
        return
    MarginChange.objects.create(position=position, amount=amount - position.margin, leverage=leverage, by=by)
    position.margin = amount
    position.save(update_fields=["margin"])


def _effect(account: Account, instrument: Instrument, leverage: int, prices: Prices) -> Effect:
    conditions = account.conditions_at(timezone.now())
    terms = margin_terms.at_leverage(account, instrument, conditions, leverage)
    positions = list(account.positions.open().filter(instrument=instrument))
    orders = list(account.orders.live().filter(instrument=instrument, held__gt=0).select_related("instrument"))
    margins = {
        each.pk: margin.on_terms(account, instrument, each.qty, each.avg_price, terms, prices) for each in positions
    }
    return Effect(
        leverage=leverage,
        positions=margins,
        orders={each.pk: _for_order(account, each, terms, prices, margins) for each in orders},
        held=sum((each.margin for each in positions), Decimal(0)) + sum((each.held for each in orders), Decimal(0)),
        free=valuation.value(account, prices).free,
    )


def _for_order(
    account: Account, order: Order, terms: MarginTerms, prices: Prices, margins: dict[int, Decimal]
) -> Decimal:
    """What a live order holds on these terms; the price of a market order is the market's. Raises OrderRejected."""
    side, instrument = Side(order.side), order.instrument
    price = order.own_price
    if price is None:
        quote = prices.sound(instrument.symbol)
        if quote is None:
            raise OrderRejected(Reason.NO_PRICE, symbol=instrument.symbol)
        price = quote.ask if side is Side.BUY else quote.bid
    need = margin.Need(instrument, side, OrderType(order.type), order.leaves_qty, price, terms.rate, order)
    return margin.of_order(account, need, margin.opening_part(account, need), terms, prices, margins)


def _in_range(offered: Choice, leverage: Decimal) -> int:
    chosen = int(leverage.to_integral_value(ROUND_DOWN))
    if not offered.least <= chosen or leverage > offered.most:
        raise OrderRejected(
            Reason.LEVERAGE_RANGE, symbol=offered.instrument.symbol, least=offered.least, most=offered.most
        )
    return chosen


def _of_rate(rate: Decimal) -> int:
    """The whole leverage of a margin rate: 0.1 is 10."""
    return max(1, int(1 / rate)) if rate else 1
