"""An order's life: place, modify, cancel, trigger, and work off at the venue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from accounts import ledger
from accounts.choices import AccountState
from accounts.models import Account, TradingConditions
from marketdata.choices import InstrumentState
from marketdata.quotes import Quote
from trading import checks, dispatch, executions, margin, quotebook, routing, tradables, venue
from trading.choices import DurationType, EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason, final_reason
from trading.models import Order, OrderEvent, Position
from trading.prices import Prices
from trading.states import OrderStatus
from trading.tradables import Tradable
from trading.venues import interface as venues
from trading.venues.choices import Handling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accounts.models import User


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client asks for. `qty` is in units, prices are in the instrument's quote currency."""

    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    duration: DurationType = DurationType.GTC


def place(
    account_id: int,
    ticket: Ticket,
    *,
    request_id: str,
    by: User | None = None,
    seen_bid: Decimal | None = None,
    seen_ask: Decimal | None = None,
) -> Order:
    """Accept the ticket and hold what it needs, or raise OrderRejected and store nothing.

    `request_id` is the client's own: a retry returns the order of the first try (ORD-16), whatever else it says.
    `seen_bid` and `seen_ask` are what the client saw (ORD-17); they are kept with the order's first event.
    """
    if earlier := _earlier(account_id, request_id):
        return earlier
    prices = Prices([ticket.symbol])
    with transaction.atomic():
        account = _changing(account_id)
        if earlier := _earlier(account_id, request_id):
            return earlier
        tradable = tradables.find(account, ticket.symbol)
        now = timezone.now()
        _check_account(account, tradable, ticket)
        conditions = account.group.conditions_at(now)
        seen = checks.ticket(tradable.instrument, ticket, prices, conditions, now)
        checks.room_for_one_more(account, conditions)
        return _accept(
            account, conditions, tradable, ticket, prices, request_id, by, seen, user_bid=seen_bid, user_ask=seen_ask
        )


def place_closing(position: Position, qty: Decimal, *, account: Account, request_id: str, by: User | None) -> Order:
    """A market order that closes part or all of a position; account and position are locked (see `positions.close`)."""
    ticket = Ticket(position.instrument.symbol, Side(position.side).opposite, OrderType.MARKET, qty)
    now = timezone.now()
    conditions = account.group.conditions_at(now)
    prices = Prices([ticket.symbol])
    seen = checks.ticket(position.instrument, ticket, prices, conditions, now, closing=True)
    nothing_held = Tradable(position.instrument, Decimal(0))
    return _accept(account, conditions, nothing_held, ticket, prices, request_id, by, seen, closes=position)


def modify(
    account_id: int,
    order_id: int,
    *,
    qty: Decimal,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    by: User | None = None,
) -> Order:
    """Give a live order a new quantity and price (ORD-19), or raise OrderRejected and change nothing.

    A price not given is unchanged. The quantity may not fall below what is filled; at just that, the order is filled.
    """
    with transaction.atomic():
        account, order = _locked(account_id, order_id)
        ticket = Ticket(
            order.instrument.symbol,
            Side(order.side),
            OrderType(order.type),
            qty,
            limit_price if limit_price is not None else order.limit_price,
            stop_price if stop_price is not None else order.stop_price,
        )
        now = timezone.now()
        conditions = account.group.conditions_at(now)
        prices = Prices([ticket.symbol])
        if qty < order.filled_qty:
            raise OrderRejected(Reason.QTY_BELOW_FILLED, filled_qty=order.filled_qty)
        seen = checks.ticket(
            order.instrument, ticket, prices, conditions, now, closing=order.closes_id is not None, before=order
        )
        held_before = order.held
        _change_hold(account, conditions, order, ticket, prices, seen)
        if venues.of(order).replace(account, order, ticket, held_before, by=by) is Handling.THERE:
            return order  # it changes when the venue says so (ORD-20)
        before = {"qty": order.qty, "limit_price": order.limit_price, "stop_price": order.stop_price}
        order.qty, order.limit_price, order.stop_price = ticket.qty, ticket.limit_price, ticket.stop_price
        order.revision += 1
        order.queued, order.book = True, None
        if not order.leaves_qty:
            order.advance(OrderStatus.FILLED, at=now)
        order.updated_at = now
        order.save()
        order.record(EventKind.MODIFIED, by=by, seen=seen, **{f"old_{name}": value for name, value in before.items()})
        dispatch.after_commit(account_id=account.pk, order_ids=[order.pk], drain=order.queued)
        return order


def cancel(account_id: int, order_id: int, *, by: User | None = None) -> Order:
    """End a live order and give back what it holds. Raises OrderRejected when it is final already (ORD-21)."""
    with transaction.atomic():
        account, order = _locked(account_id, order_id)
        if venues.of(order).cancel(order, by=by) is Handling.THERE:
            return order  # it ends when the venue says so (ORD-20); what is filled meanwhile is booked first
        now = timezone.now()
        end(account, order, OrderStatus.CANCELLED, at=now)
        order.save()
        order.record(EventKind.CANCELLED, by=by)
        dispatch.after_commit(account_id=account.pk, order_ids=[order.pk], drain=False)
        return order


def end(
    account: Account, order: Order, status: OrderStatus, *, at: datetime, because: OrderRejected | None = None
) -> None:
    """Make a live order final without a fill and release what it holds. The caller saves it and stores the event."""
    if not account.profile.has_positions:
        ledger.reserve(account, order.held_currency_id, -order.held)
    order.held = Decimal(0)
    order.updated_at = at
    if because:
        order.advance(status, at=at, reason=because.reason, **because.details)
    else:
        order.advance(status, at=at)


@transaction.atomic
def trigger(touched: Mapping[int, Quote]) -> list[tuple[int, int]]:
    """Queue the working orders whose prices were reached, each with the book that reached it.

    Returns (order id, account id) of those queued; one that has ended or is queued already is passed over. Locks orders
    only, in the order everybody locks them.
    """
    now = timezone.now()
    found = list(
        Order.objects.locked().filter(pk__in=touched, status=OrderStatus.WORKING, queued=False).select_related(None)
    )
    stopped = []
    for order in found:
        quote = touched[order.pk]
        order.queued, order.book = True, quotebook.dump(quote)
        if order.type == OrderType.STOP and order.triggered_at is None:
            order.triggered_at = now
            stopped.append(order)
    Order.objects.bulk_update(found, ["queued", "book", "triggered_at"])
    OrderEvent.objects.bulk_create(
        OrderEvent(
            order=order,
            kind=EventKind.TRIGGERED,
            status=order.status,
            bid=touched[order.pk].bid,
            ask=touched[order.pk].ask,
            book=touched[order.pk].version,
        )
        for order in stopped
    )
    return [(order.pk, order.account_id) for order in found]


def work(account_id: int, order_id: int) -> None:
    """Let the venue look at a queued order: acknowledge it, and book what it fills. Running twice is harmless.

    A placing order becomes working here, or rejected when its market is gone. What depth does not hold stays working
    and is filled from later books.
    """
    with transaction.atomic():
        account = _changing(account_id)
        order = account.orders.locked().select_related("instrument", "held_currency").get(pk=order_id)
        if not order.queued:
            return
        if venues.of(order).submit(order) is Handling.THERE:
            order.queued = False
            order.save(update_fields=["queued"])
            return
        now = timezone.now()
        conditions = account.group.conditions_at(now)
        prices = Prices([order.instrument.symbol])
        quote = quotebook.of(order, prices, now, conditions.max_quote_age_seconds)
        before = (order.status, order.filled_qty)
        _acknowledge(account, order, quote, now)
        if not order.is_final and quote and _is_open(order, now):
            _fill(executions.Booking(account, conditions, prices, now), order, quote)
        order.queued, order.book = False, None
        if (order.status, order.filled_qty) != before:
            order.updated_at = now
        order.save()
        dispatch.after_commit(account_id=account.pk, order_ids=[order.pk], drain=False)


# --- inside the lock --------------------------------------------------------------------------------------------------


def _changing(account_id: int) -> Account:
    return Account.objects.changing(account_id)


def _earlier(account_id: int, request_id: str) -> Order | None:
    return Order.objects.filter(account_id=account_id, request_id=request_id).first()


def _locked(account_id: int, order_id: int) -> tuple[Account, Order]:
    """The account and its live order, locked. Raises OrderRejected: unknown, another account's, or final."""
    account = _changing(account_id)
    order = account.orders.locked().select_related("instrument", "held_currency").filter(pk=order_id).first()
    if order is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    if order.is_final:
        raise OrderRejected(final_reason(order.status))
    return account, order


def _check_account(account: Account, tradable: Tradable, ticket: Ticket) -> None:
    """Refuse what the state of the account or of the instrument does not allow."""
    if account.state not in (AccountState.ACTIVE, AccountState.CLOSE_ONLY):
        raise OrderRejected(Reason.ACCOUNT_NO_TRADING)
    close_only = tradable.instrument.state == InstrumentState.CLOSE_ONLY
    if account.state == AccountState.ACTIVE and not close_only:
        return
    if _opens(account, tradable, ticket):
        raise (
            OrderRejected(Reason.INSTRUMENT_CLOSE_ONLY, symbol=ticket.symbol)
            if close_only
            else OrderRejected(Reason.ACCOUNT_CLOSE_ONLY)
        )


def _opens(account: Account, tradable: Tradable, ticket: Ticket) -> bool:
    if not account.profile.has_positions:
        return ticket.side is Side.BUY
    return bool(margin.opening_qty(account, tradable.instrument, ticket.side, ticket.qty))


def _accept(
    account: Account,
    conditions: TradingConditions,
    tradable: Tradable,
    ticket: Ticket,
    prices: Prices,
    request_id: str,
    by: User | None,
    seen: Quote | None,
    *,
    closes: Position | None = None,
    user_bid: Decimal | None = None,
    user_ask: Decimal | None = None,
) -> Order:
    """Hold what the ticket needs and store it as a placing order, to be worked off after the commit."""
    held = (
        margin.Hold(Decimal(0), account.currency_id)
        if closes
        else margin.hold(account, conditions, _need(tradable, ticket, seen), prices)
    )
    if not account.profile.has_positions:
        ledger.reserve(account, held.currency, held.amount)
    order = Order.objects.create(
        account=account,
        instrument=tradable.instrument,
        side=ticket.side,
        type=ticket.type,
        qty=ticket.qty,
        limit_price=ticket.limit_price,
        stop_price=ticket.stop_price,
        duration=ticket.duration,
        closes=closes,
        request_id=request_id,
        held=held.amount,
        held_currency_id=held.currency,
        venue=routing.venue_for(account, tradable.instrument, ticket.qty),
        created_at=(now := timezone.now()),
        updated_at=now,
    )
    order.record(EventKind.PLACED, by=by, seen=seen, request_id=request_id, user_bid=user_bid, user_ask=user_ask)
    dispatch.after_commit(account_id=account.pk, order_ids=[], drain=True)
    return order


def _need(tradable: Tradable, ticket: Ticket, seen: Quote | None, order: Order | None = None) -> margin.Need:
    """What is to be held for the ticket: at its own price, or at the market's for a market order."""
    price = ticket.limit_price or ticket.stop_price
    if price is None:
        assert seen is not None
        price = seen.ask if ticket.side is Side.BUY else seen.bid
    return margin.Need(tradable.instrument, ticket.side, ticket.type, ticket.qty, price, tradable.margin_rate, order)


def _change_hold(
    account: Account, conditions: TradingConditions, order: Order, ticket: Ticket, prices: Prices, seen: Quote | None
) -> None:
    """Hold for what is left of the changed order, instead of what it held before."""
    leaves = ticket.qty - order.filled_qty
    held = margin.Hold(Decimal(0), order.held_currency_id)
    if leaves and not order.closes_id:
        rate = tradables.margin_rate(account, order.instrument, conditions) if account.profile.has_positions else None
        need = _need(Tradable(order.instrument, rate), replace(ticket, qty=leaves), seen, order)
        held = margin.hold(account, conditions, need, prices)
    if not account.profile.has_positions:
        ledger.reserve(account, order.held_currency_id, held.amount - order.held)
    order.held = held.amount


def _acknowledge(account: Account, order: Order, quote: Quote | None, now: datetime) -> None:
    if order.status != OrderStatus.PLACING:
        return
    if order.type == OrderType.MARKET and quote is None:
        refusal = OrderRejected(Reason.NO_PRICE, symbol=order.instrument.symbol)
        end(account, order, OrderStatus.REJECTED, at=now, because=refusal)
        order.record(EventKind.REJECTED)
        return
    order.advance(OrderStatus.WORKING, at=now)
    order.record(EventKind.ACKNOWLEDGED, seen=quote)


def _is_open(order: Order, now: datetime) -> bool:
    instrument = order.instrument
    return instrument.state != InstrumentState.HALTED and instrument.session.is_open(now)


def _fill(booking: executions.Booking, order: Order, quote: Quote) -> None:
    """Book the order's fills from one book. What the account cannot bear, or has nothing to close, is cancelled."""
    for fill in venue.match(order, quote):
        try:
            part = _closable(order, fill)
            executions.record(booking, order, part, seen=quote)
        except OrderRejected as refusal:
            end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=refusal)
            order.record(EventKind.CANCELLED, seen=quote, reason=refusal.reason)
            return
        order.last_book = quote.version


def _closable(order: Order, fill: venue.Fill) -> venue.Fill:
    """The fill, cut to what is left of the position that the order closes. Raises OrderRejected(POSITION_GONE)."""
    if not order.closes_id:
        return fill
    left = Position.objects.open().filter(pk=order.closes_id).values_list("qty", flat=True).first()
    if left is None:
        raise OrderRejected(Reason.POSITION_GONE)
    return replace(fill, qty=min(fill.qty, left))
