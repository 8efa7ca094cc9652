"""Booking a fill: execution, position or balances, and postings, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import partial

from django.db import router

from accounts import ledger, rows
from accounts.choices import CommissionKind, LedgerKind, TransferKind
from accounts.models import Account, Balance, TradingConditions
from accounts.rows import Drawn
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading import margin, risk, valuation
from trading.choices import EventKind, Side
from trading.errors import OrderRejected, Reason
from trading.models import Execution, Order, Position, PositionFill
from trading.prices import Prices
from trading.states import OrderStatus
from trading.venue import INTERNAL, Fill


@dataclass(frozen=True, slots=True)
class Booking:
    """What fills are booked with: the locked account, its conditions, the market seen, and the moment.

    `book` is the one that an order is worked off with, which may be older than the latest.

    `positions` are all that are open, if they were read under the account's lock.

    `drawn` are ids for rows to come, which need not be written one by one then.

    `is_done` says that another venue has executed: what it did is booked, whether the account can bear it or not. Only
    a spot asset is never overdrawn.
    """

    account: Account
    conditions: TradingConditions
    prices: Prices
    at: datetime
    is_done: bool = False
    book: Quote | None = None
    positions: list[Position] | None = None
    drawn: Drawn = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prices.on_terms_of(self.account)


def record(booking: Booking, order: Order, fill: Fill, *, seen: Quote | None = None) -> Execution:
    """Book one fill of a live order, once per venue's execution id, and return its execution.

    Account and order are locked, and the caller saves the order. Raises OrderRejected, and books nothing, when the
    account cannot bear the fill: the price moved beyond what is set aside and free, or what it was to close is gone.
    """
    # Of our own books none is used twice for an order (`Order.last_book`), so there is no need to ask.
    if order.venue != INTERNAL:
        earlier = Execution.objects.filter(venue=order.venue, venue_exec_id=fill.exec_id).first()
        if earlier:
            return earlier
    kept = _kept(order, fill)
    book = _book_position if booking.account.profile.has_positions else _book_spot
    execution, released = book(booking, order, fill, order.held - kept)  # which refuses before it writes anything
    order.held -= released
    order.avg_price = risk.average(order.filled_qty, order.avg_price or Decimal(0), fill.qty, fill.price)
    order.filled_qty += fill.qty
    if not order.leaves_qty:
        order.advance(OrderStatus.FILLED, at=booking.at)
    order.record(
        EventKind.EXECUTED, seen=seen, execution=execution.pk, qty=fill.qty, price=fill.price, venue=order.venue
    )
    return execution


def _kept(order: Order, fill: Fill) -> Decimal:
    """What the order should go on holding after the fill: the share of what is left to be filled."""
    left = order.leaves_qty - fill.qty
    return order.held_currency.round(risk.share(order.held, left, order.leaves_qty)) if left else Decimal(0)


def _create(booking: Booking, order: Order, fill: Fill, commission: Decimal, currency: str) -> Execution:
    execution = Execution(
        order=order,
        account=booking.account,
        instrument=order.instrument,
        side=order.side,
        qty=fill.qty,
        price=fill.price,
        commission=commission,
        commission_currency_id=currency,
        venue=order.venue,
        venue_exec_id=fill.exec_id,
        at=booking.at,
    )
    return rows.insert(execution, booking.drawn)


# --- spot -------------------------------------------------------------------------------------------------------------


def _book_spot(booking: Booking, order: Order, fill: Fill, share: Decimal) -> tuple[Execution, Decimal]:
    """Exchange one asset for the other and take the commission in one of them; also says what the order released."""
    account, instrument, side = booking.account, order.instrument, Side(order.side)
    brought = exchanged(account, instrument, side, fill.qty, fill.price)
    fee, fee_currency = _spot_fee_of(booking, order, fill)
    released = _released(order, share, brought, {fee_currency: fee})
    execution = _create(booking, order, fill, fee, fee_currency)
    ledger.reserve(account, order.held_currency_id, -released)
    # The fee may come out of what the exchange brings, so that comes first.
    _post_later(TransferKind.EXCHANGE, f"exec-{execution.pk}:exchange", account, brought, LedgerKind.HOUSE_TRADING)
    charge(account, execution)
    return execution, released


def exchanged(account: Account, instrument: Instrument, side: Side, qty: Decimal, price: Decimal) -> dict[str, Decimal]:
    """What a spot fill brings the client of each asset, below zero what it takes."""
    cost = account.unit(instrument.quote_currency).round(risk.turnover(qty, price, instrument.contract_size))
    return {instrument.base_currency: side.sign * qty, instrument.quote_currency: -side.sign * cost}


def _spot_fee_of(booking: Booking, order: Order, fill: Fill) -> tuple[Decimal, str]:
    """The commission of one more fill of an order: rounding and minimum are the order's, however many fills it has.

    What an order for all there is has set aside would else be short by a step for each of them.
    """
    instrument, side = order.instrument, Side(order.side)
    earlier = order.executions.all() if order.filled_qty else Execution.objects.none()
    fills = [(each.qty, each.price) for each in earlier] + [(fill.qty, fill.price)]
    due, currency = margin.spot_fee(booking.conditions, instrument, side, *fills)
    charged = sum((each.commission for each in earlier), Decimal(0))
    return max(Decimal(0), booking.account.unit(currency).round(due, ROUND_UP) - charged), currency


def _spot_fee(booking: Booking, instrument: Instrument, side: Side, fill: Fill) -> tuple[Decimal, str]:
    fee, currency = margin.spot_fee(booking.conditions, instrument, side, (fill.qty, fill.price))
    return booking.account.unit(currency).round(fee, ROUND_UP), currency


def fee(booking: Booking, instrument: Instrument, side: Side, fill: Fill) -> tuple[Decimal, str]:
    """The commission of a fill, rounded up, and its currency."""
    if booking.account.profile.has_positions:
        return commission(booking, instrument, fill), booking.account.currency_id
    return _spot_fee(booking, instrument, side, fill)


def _released(order: Order, share: Decimal, exchanged: dict[str, Decimal], fees: dict[str, Decimal]) -> Decimal:
    """What the order releases for a fill: its share, and more of what it holds where that and what is free fall short.

    Refuses a fill that would overdraw an asset all the same.
    """
    after: dict[str, Decimal] = defaultdict(Decimal)
    for balance in Balance.objects.filter(account=order.account_id, currency__in={*exchanged, *fees}):
        after[balance.currency_id] = balance.available
    for currency, amount in exchanged.items():
        after[currency] += amount
    for currency, fee in fees.items():
        after[currency] -= fee
    after[order.held_currency_id] += share
    more = min(max(Decimal(0), -after[order.held_currency_id]), order.held - share)
    after[order.held_currency_id] += more
    if any(amount < 0 for amount in after.values()):
        raise OrderRejected(Reason.HELD_TOO_SMALL)
    return share + more


def charge(account: Account, execution: Execution) -> None:
    """Take the execution's commission."""
    if execution.commission:
        _post_later(
            TransferKind.COMMISSION,
            f"exec-{execution.pk}:commission",
            account,
            {execution.commission_currency_id: -execution.commission},
            LedgerKind.HOUSE_COMMISSION,
        )


def _post_later(
    kind: TransferKind, reference: str, account: Account, amounts: dict[str, Decimal], against: LedgerKind
) -> None:
    """As `ledger.credit`, when what was put off is written: posting at once would part it in two."""
    rows.afterwards(partial(ledger.credit, kind, reference, account, amounts, against))


# --- positions --------------------------------------------------------------------------------------------------------


_OPEN = f"""
SELECT {rows.columns_of(Position)} FROM {Position._meta.db_table}
 WHERE account_id = %s AND instrument_id = %s AND closed_at IS NULL FOR UPDATE
"""  # noqa: S608


def _book_position(booking: Booking, order: Order, fill: Fill, released: Decimal) -> tuple[Execution, Decimal]:
    """Close what the fill closes, open with the rest, settle result and commission in the account's currency."""
    account, instrument = booking.account, order.instrument
    target = _position_of(booking, order)
    closing = _closing_qty(order, target, fill.qty)
    opening = fill.qty - closing
    if opening and order.closes_id and not booking.is_done:
        raise OrderRejected(Reason.POSITION_GONE)
    needed = _margin_for(booking, order, opening, fill.price)
    if needed > released and not booking.is_done:
        _check_free(booking, order, target, closing, needed)

    fee = commission(booking, instrument, fill)
    for receives in (True, False):  # whichever is asked for below: refused now where there is none
        booking.prices.rate(instrument.quote_currency, account.currency_id, receives=receives)
    execution = _create(booking, order, fill, fee, account.currency_id)
    if closing:
        assert target is not None
        _close(booking, execution, target, closing)
    if opening:
        _open(booking, execution, order, None if closing else target, opening, needed)
    charge(account, execution)
    return execution, released


def _position_of(booking: Booking, order: Order) -> Position | None:
    """The open position that a fill of this order touches. What has locked the account changes it alone."""
    here = _open_here(booking, order)
    if order.closes_id:
        closed = next((each for each in here if each.pk == order.closes_id), None)
        if closed or not booking.is_done:
            return closed
        # Another venue has closed what is closed already: in a net account it touches what is there now.
    opened_by = order.pk if booking.account.profile.is_hedging else None
    return next((each for each in here if each.opened_by_id == opened_by), None)


def _open_here(booking: Booking, order: Order) -> list[Position]:
    """The open positions of the order's instrument."""
    if booking.positions is None:
        there = [booking.account.pk, order.instrument_id]
        return rows.read(Position, _OPEN, there, using=router.db_for_write(Position))
    return [each for each in booking.positions if each.instrument_id == order.instrument_id and not each.closed_at]


def _closing_qty(order: Order, target: Position | None, qty: Decimal) -> Decimal:
    if target is None or target.side == order.side:
        return Decimal(0)
    return min(target.qty, qty)


def _margin_for(booking: Booking, order: Order, qty: Decimal, price: Decimal) -> Decimal:
    if not qty:
        return Decimal(0)
    side = Side(order.side)
    if not booking.is_done:
        margin.check_shortable(order.instrument, side)
    return margin.needed(booking.account, booking.conditions, order.instrument, side, qty, price, booking.prices)


def _check_free(booking: Booking, order: Order, target: Position | None, closing: Decimal, needed: Decimal) -> None:
    """Refuse a fill whose margin is neither held by its order, nor set free by what it closes, nor free."""
    freed = risk.share(target.margin, closing, target.qty) if target and closing else Decimal(0)
    # Until the order is saved the database still counts what its fills of a moment ago have released.
    counted = Order.objects.values_list("held", flat=True).get(pk=order.pk)
    free = valuation.value(booking.account, booking.prices).free + counted + freed
    margin.check_free(booking.account, needed, free)


def commission(booking: Booking, instrument: Instrument, fill: Fill) -> Decimal:
    """The commission of a fill in the account's currency, rounded up to the cent."""
    conditions, account = booking.conditions, booking.account
    if conditions.commission_kind == CommissionKind.NONE:
        return Decimal(0)
    kind, rate, lot = conditions.commission_kind, conditions.commission_rate, conditions.commission_lot
    amount = risk.commission(kind, rate, fill.qty, fill.price, instrument.contract_size, lot)
    converted = -booking.prices.convert(-amount, instrument.quote_currency, account.currency_id)
    return account.currency.round_cash(max(converted, conditions.commission_minimum), ROUND_UP)


def _close(booking: Booking, execution: Execution, position: Position, qty: Decimal) -> None:
    """Make the position smaller and settle what that part brought, to the cent."""
    account, instrument = booking.account, execution.instrument
    sign = Side(position.side).sign
    profit = risk.profit(sign, qty, position.avg_price, execution.price, instrument.contract_size)
    rate = booking.prices.rate(instrument.quote_currency, account.currency_id, receives=profit > 0)
    realized_pl = account.currency.round_cash(profit * rate)
    is_whole = qty == position.qty
    freed = position.margin if is_whole else account.currency.round_cash(risk.share(position.margin, qty, position.qty))
    fill = PositionFill(
        execution=execution,
        position=position,
        qty=-sign * qty,
        is_close=True,
        margin=-freed,
        realized_pl=realized_pl,
        conversion_rate=rate,
    )
    rows.insert_later(fill)
    position.qty -= qty
    position.margin -= freed
    position.realized_pl += realized_pl
    position.closed_at = booking.at if is_whole else None
    rows.update_later(position, ["qty", "margin", "realized_pl", "closed_at"])
    if realized_pl:
        _post_later(
            TransferKind.REALIZED_PL,
            f"exec-{execution.pk}:pl",
            account,
            {account.currency_id: realized_pl},
            LedgerKind.HOUSE_TRADING,
        )


def _open(
    booking: Booking, execution: Execution, order: Order, position: Position | None, qty: Decimal, needed: Decimal
) -> None:
    """Make the position larger, or a new one."""
    account, instrument = booking.account, execution.instrument
    if position is None:
        position = Position(
            account=account,
            instrument=instrument,
            side=order.side,
            qty=qty,
            avg_price=execution.price,
            margin=needed,
            opened_by=order if account.profile.is_hedging else None,
            opened_at=booking.at,
        )
        rows.insert(position, booking.drawn)
        if booking.positions is not None:
            booking.positions.append(position)
    else:
        position.avg_price = risk.average(position.qty, position.avg_price, qty, execution.price)
        position.qty += qty
        position.margin += needed
        rows.update_later(position, ["qty", "avg_price", "margin"])
    fill = PositionFill(
        execution=execution,
        position=position,
        qty=Side(order.side).sign * qty,
        is_close=False,
        margin=needed,
        conversion_rate=booking.prices.rate(instrument.quote_currency, account.currency_id, receives=False),
    )
    rows.insert_later(fill)
