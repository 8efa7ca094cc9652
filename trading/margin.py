"""What an order keeps from being used for others: margin, or the spot asset it pays with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from django.db import connection

from accounts.choices import FeeAsset
from accounts.models import Account, Balance, TradingConditions
from backoffice.fields import plain
from marketdata.choices import Shortability
from marketdata.models import Instrument
from trading import margin_terms, risk, valuation
from trading.choices import OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.margin_terms import MarginTerms
from trading.models import Order, Position
from trading.prices import Prices
from trading.valuation import Means


@dataclass(frozen=True, slots=True)
class Hold:
    """An amount set aside, in a currency. The order releases it as it is filled, and the rest at its end."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Need:
    """What there is to hold for: a quantity at a price, on one side, and the order it is for, if there is one yet.

    `margin_rate` is None where an asset is held, not margin; else the account's own terms are looked up.
    """

    instrument: Instrument
    side: Side
    type: OrderType
    qty: Decimal
    price: Decimal
    margin_rate: Decimal | None
    order: Order | None = None


def hold(
    account: Account, conditions: TradingConditions, need: Need, prices: Prices, *, means: Means | None = None
) -> Hold:
    """What the account must set aside, or OrderRejected(MARGIN or BALANCE) when it has not that much.

    The account is locked. What `need.order` holds already counts as available, and what an order closes on its way to
    the other side pays for what it opens there: a position can be reversed with all margin in use. `means` are the
    account's, if they are at hand.
    """
    if need.margin_rate is None:
        return _hold_asset(account, conditions, need)
    return _hold_margin(account, conditions, need, prices, means)


def required(
    account: Account, instrument: Instrument, qty: Decimal, price: Decimal, rate: Decimal, prices: Prices
) -> Decimal:
    """Margin in the account's currency: quantity × price × contract size × rate, converted, to the cent."""
    amount = risk.turnover(qty, price, instrument.contract_size) * rate
    return account.currency.round_cash(-prices.convert(-amount, instrument.quote_currency, account.currency_id))


def needed(
    account: Account,
    conditions: TradingConditions,
    instrument: Instrument,
    side: Side,
    qty: Decimal,
    price: Decimal,
    prices: Prices,
) -> Decimal:
    """The margin for opening this quantity, on the terms of the account, in its currency, to the cent.

    By tiers it depends on the position of that side: each further unit is at the rate of the band that it falls in.
    """
    terms = margin_terms.of(account, instrument, conditions)
    there = _value_open(account, instrument, side) if len(terms.bands) > 1 else Decimal(0)
    return on_terms(account, instrument, qty, price, terms, prices, there=there)


def of_order(
    account: Account,
    need: Need,
    opening: Decimal,
    terms: MarginTerms,
    prices: Prices,
    margins: Mapping[int, Decimal] | None = None,
) -> Decimal:
    """What an order holds on these terms: the margin of its `opening` part, less what the rest of it sets free.

    By tiers it comes on top of the position and of the orders before it, so that those together hold what one of their
    size would, whichever of them is computed anew. `margins` are what positions will hold by their ids, if not what
    they do.
    """
    instrument, side, there = need.instrument, need.side, Decimal(0)
    if len(terms.bands) > 1:
        there = _value_open(account, instrument, side) + _value_ordered(account, need)
    amount = on_terms(account, instrument, opening, need.price, terms, prices, there=there)
    return max(Decimal(0), amount - _freed(account, instrument, side, need.qty - opening, margins or {}))


def on_terms(
    account: Account,
    instrument: Instrument,
    qty: Decimal,
    price: Decimal,
    terms: MarginTerms,
    prices: Prices,
    *,
    there: Decimal = Decimal(0),
) -> Decimal:
    """The margin of a quantity on these terms, on top of the value that is `there`, in the quote currency."""
    if terms.contract is not None:
        amount = -prices.convert(-qty * terms.contract, instrument.quote_currency, account.currency_id)
        return account.currency.round_cash(amount)
    if len(terms.bands) == 1:
        return required(account, instrument, qty, price, terms.rate, prices)
    rate = prices.rate(instrument.quote_currency, account.currency_id, receives=False)
    before, added = there * rate, risk.turnover(qty, price, instrument.contract_size) * rate
    return account.currency.round_cash(risk.banded(before + added, terms.bands) - risk.banded(before, terms.bands))


def check_shortable(instrument: Instrument, side: Side) -> None:
    """Refuse to open a short position in what cannot be borrowed. Raises OrderRejected(NOT_SHORTABLE)."""
    if side is Side.SELL and instrument.shortability == Shortability.NONE:
        raise OrderRejected(Reason.NOT_SHORTABLE, symbol=instrument.symbol)


# The net position of a side, and what live orders of the other side, given first, commit of it: those before one and
# apart from one. Brackets reduce it only where nothing else has before, so they commit nothing of it.
_NET = f"""
SELECT qty, (
    SELECT sum(qty - filled_qty) FROM {Order._meta.db_table} AS other
     WHERE other.account_id = net.account_id AND other.instrument_id = net.instrument_id AND other.side = %s
           AND other.final_at IS NULL AND other.role = '' AND other.id < %s AND other.id <> %s
  ) FROM {Position._meta.db_table} AS net
 WHERE account_id = %s AND instrument_id = %s AND side = %s AND closed_at IS NULL
"""  # noqa: S608
_AFTER_ALL = 2**63 - 1  # an id that no order reaches


def opening_qty(
    account: Account,
    instrument: Instrument,
    side: Side,
    qty: Decimal,
    *,
    before: Order | None = None,
    besides: Order | None = None,
) -> Decimal:
    """The part of a quantity that would open or enlarge a position, so needs margin.

    Of a net position the opposite side only reduces it, as far as live orders of that side do not reduce it already:
    all of them, or those `before` one, or all `besides` one. In hedging accounts every trade opens.
    """
    if account.profile.is_hedging:
        return qty
    orders: list[str | int] = [side, before.pk if before else _AFTER_ALL, besides.pk if besides else 0]
    with connection.cursor() as cursor:
        net = cursor.execute(_NET, [*orders, account.pk, instrument.pk, side.opposite]).fetchone()
    if net is None:
        return qty
    open_qty, committed = (plain(each or Decimal(0)) for each in net)
    return max(Decimal(0), qty - max(Decimal(0), open_qty - committed))


def _is_all_opening(need: Need, means: Means) -> bool:
    """Whether there is nothing on the other side that it could reduce, which saves asking for the orders that do."""
    other = need.side.opposite
    return not any(each.instrument_id == need.instrument.pk and each.side == other for each in means.positions)


def opening_part(account: Account, need: Need) -> Decimal:
    """The part of the need that opens, what older orders close being theirs; by what it grows, it comes last."""
    instrument, side, order = need.instrument, need.side, need.order
    grows_by = max(Decimal(0), need.qty - order.leaves_qty) if order else Decimal(0)
    opening = opening_qty(account, instrument, side, need.qty - grows_by, before=order)
    if grows_by:
        opening += opening_qty(account, instrument, side, grows_by)
    return opening


def spot_fee(
    conditions: TradingConditions, instrument: Instrument, side: Side, *fills: tuple[Decimal, Decimal]
) -> tuple[Decimal, str]:
    """The commission of an order's fills (quantity, price), not rounded, and the asset it is charged in."""
    kind, rate, lot = conditions.commission_kind, conditions.commission_rate, conditions.commission_lot
    in_base = conditions.fee_asset == FeeAsset.RECEIVED and side is Side.BUY
    fee = sum(
        (
            risk.commission(kind, rate, qty, price, instrument.contract_size, lot) / (price if in_base else 1)
            for qty, price in fills
        ),
        Decimal(0),
    )
    return max(fee, conditions.commission_minimum), instrument.base_currency if in_base else instrument.quote_currency


def _hold_margin(
    account: Account, conditions: TradingConditions, need: Need, prices: Prices, means: Means | None
) -> Hold:
    instrument, side = need.instrument, need.side
    opening = need.qty if means and _is_all_opening(need, means) else opening_part(account, need)
    if not opening:
        return Hold(Decimal(0), account.currency_id)
    check_shortable(instrument, side)
    amount = of_order(account, need, opening, margin_terms.of(account, instrument, conditions), prices)
    free = valuation.value(account, prices, means).free + (need.order.held if need.order else 0)
    check_free(account, amount, free)
    return Hold(amount, account.currency_id)


def _freed(
    account: Account, instrument: Instrument, side: Side, closing: Decimal, margins: Mapping[int, Decimal]
) -> Decimal:
    """The margin that closing so much of the net position of the other side sets free."""
    position = account.positions.open().filter(instrument=instrument, side=side.opposite).first() if closing else None
    if position is None:
        return Decimal(0)
    held = margins.get(position.pk, position.margin)
    return account.currency.round_cash(risk.share(held, closing, position.qty))


def check_free(account: Account, amount: Decimal, free: Decimal) -> None:
    """Raise OrderRejected(MARGIN) unless so much is free."""
    if amount > free:
        raise OrderRejected(
            Reason.MARGIN,
            needed=amount,
            available=max(account.currency.round_cash(free), Decimal(0)),
            currency=account.currency_id,
        )


def _value_open(account: Account, instrument: Instrument, side: Side) -> Decimal:
    """What is open on this side, at its own prices, in the quote currency."""
    open_ = account.positions.open().filter(instrument=instrument, side=side).values_list("qty", "avg_price")
    return sum((risk.turnover(qty, avg, instrument.contract_size) for qty, avg in open_), Decimal(0))


def _value_ordered(account: Account, need: Need) -> Decimal:
    """What the orders before it that hold margin are for, market orders at the price of the need."""
    size = need.instrument.contract_size
    before = account.orders.live().filter(instrument=need.instrument, side=need.side, held__gt=0)
    if need.order:
        before = before.filter(pk__lt=need.order.pk)
    at_prices = ((each.leaves_qty, each.own_price) for each in before)
    return sum((risk.turnover(qty, price or need.price, size) for qty, price in at_prices), Decimal(0))


def _hold_asset(account: Account, conditions: TradingConditions, need: Need) -> Hold:
    instrument = need.instrument
    currency = instrument.quote_currency if need.side is Side.BUY else instrument.base_currency
    balance = Balance.objects.select_related("currency").filter(account=account, currency=currency).first()
    needed = need.qty
    if need.side is Side.BUY:
        has_limit = need.type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        price = need.price if has_limit else need.price * (1 + conditions.market_buffer)
        fee, fee_currency = spot_fee(conditions, instrument, need.side, (need.qty, price))
        needed = risk.turnover(need.qty, price, instrument.contract_size) + (fee if fee_currency == currency else 0)
    needed = balance.currency.round(needed, ROUND_UP) if balance else needed
    available = (balance.available if balance else Decimal(0)) + (need.order.held if need.order else 0)
    if needed > available:
        raise OrderRejected(Reason.BALANCE, needed=needed, available=available, currency=currency)
    return Hold(needed, currency)
