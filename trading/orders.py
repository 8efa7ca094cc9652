"""An order's life: place, modify, cancel, and work off at the venue."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.utils import timezone

from accounts import ledger, rows
from accounts.models import Account, TradingConditions
from marketdata.quotes import Quote
from trading import (
    brackets,
    checks,
    confirmations,
    dispatch,
    endings,
    expiry,
    margin,
    matching,
    quotebook,
    relatives,
    routing,
    tradables,
    venue,
)
from trading import standing as standings
from trading.choices import DurationType, EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason, final_reason
from trading.executions import Booking
from trading.models import Order, Position
from trading.prices import Prices
from trading.standing import Standing
from trading.states import OrderStatus
from trading.tickets import NO_BRACKETS, Brackets, Ticket
from trading.tradables import Tradable
from trading.valuation import Means
from trading.venues import interface as venues
from trading.venues.choices import Handling

if TYPE_CHECKING:
    from accounts.models import User


def place(
    account_id: int,
    ticket: Ticket,
    *,
    request_id: str,
    confirm_id: str = "",
    by: User | None = None,
    seen_bid: Decimal | None = None,
    seen_ask: Decimal | None = None,
    reverses: Position | None = None,
    at_once: bool = False,
) -> Order:
    """Accept the ticket and hold what it needs, or raise OrderRejected and store nothing.

    `request_id` is the client's own: a retry returns the order of the first try (ORD-16), whatever else it says.
    `confirm_id` is that of the preview he confirmed (ORD-18). `seen_bid` and `seen_ask` are what he saw (ORD-17); they
    are kept with the order's first event. `reverses` is the position that it turns (see `positions.reverse`).
    With `at_once` an order that we execute ourselves is worked off in the same transaction, without a drain.
    """
    prices = Prices([ticket.symbol])
    with transaction.atomic():
        account = Account.objects.changing(account_id)
        standing = standings.of(account, request_id)
        if standing.earlier:
            return standing.earlier
        if confirm_id:
            confirmations.use(confirm_id, account, ticket)
        now = timezone.now()
        conditions = account.conditions_at(now)
        tradable = tradables.find(account, ticket.symbol, conditions)
        seen = check(account, tradable, ticket, conditions, prices, now, live_orders=standing.live_orders)
        means = standing.means(account)
        booking = Booking(
            account,
            conditions,
            prices,
            now,
            positions=means.positions if means else None,
            drawn=standing.drawn,
        )
        order = _accept(
            booking,
            tradable,
            ticket,
            request_id,
            by,
            seen,
            means=means,
            reverses=reverses,
            user_bid=seen_bid,
            user_ask=seen_ask,
        )
        if ticket.brackets:
            brackets.set_on_order(booking, order, ticket.brackets, base_price(ticket, seen), by=by)
        has_relatives = standing.has_brackets or bool(ticket.brackets)
        _hand_over(booking, order, at_once=at_once, has_relatives=has_relatives)
        return order


def check(
    account: Account,
    tradable: Tradable,
    ticket: Ticket,
    conditions: TradingConditions,
    prices: Prices,
    now: datetime,
    *,
    live_orders: int,
) -> Quote | None:
    """Raise OrderRejected unless such an order may be placed, apart from what it costs. Changes nothing.

    The account has so many live orders. Returns the quote that the ticket was checked against.
    """
    checks.account(account, tradable.instrument, ticket)
    seen = checks.ticket(tradable.instrument, ticket, prices, conditions, now)
    checks.room_for(1 + ticket.brackets.count, live_orders, conditions)
    return seen


def place_closing(
    position: Position,
    qty: Decimal,
    *,
    account: Account,
    standing: Standing,
    request_id: str,
    by: User | None,
    whole: bool,
    at_once: bool = False,
) -> Order:
    """A market order that closes part of a position, or with `whole` what is left of it, of whatever quantity.

    Account, which stands as given, and position are locked (see `positions.close`). `at_once` as for `place`.
    """
    ticket = Ticket(position.instrument.symbol, Side(position.side).opposite, OrderType.MARKET, qty)
    now = timezone.now()
    conditions = account.conditions_at(now)
    prices = Prices([ticket.symbol])
    seen = checks.ticket(position.instrument, ticket, prices, conditions, now, closing=True, whole=whole)
    nothing_held = Tradable(position.instrument, Decimal(0))
    booking = Booking(account, conditions, prices, now, drawn=standing.drawn)
    order = _accept(booking, nothing_held, ticket, request_id, by, seen, closes=position)
    _hand_over(booking, order, at_once=at_once, has_relatives=standing.has_brackets)
    return order


def modify(
    account_id: int,
    order_id: int,
    *,
    qty: Decimal,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    duration: DurationType | None = None,
    good_till: datetime | None = None,
    wanted: Brackets = NO_BRACKETS,
    confirm_id: str = "",
    by: User | None = None,
) -> Order:
    """Give a live order its whole new state (ORD-19), or raise OrderRejected and change nothing.

    A price or duration not given is unchanged, a bracket not wanted is removed (BRK-7). The quantity may not fall below
    what is filled; at just that, the order is filled. A bracket itself is given another price only.
    """
    with transaction.atomic():
        account, order = _locked(account_id, order_id)
        ticket = amended(order, qty, limit_price, stop_price, duration, good_till, wanted)
        if confirm_id:
            confirmations.use(confirm_id, account, ticket, order_id=order.pk)
        now = timezone.now()
        booking = Booking(account, account.conditions_at(now), Prices([ticket.symbol]), now)
        if order.role:
            brackets.modify(booking, order, ticket, by=by)
            touched: list[Order] = []
        else:
            touched = _modify(booking, order, ticket, by)
        _tell(account, order, touched)
        return order


def amended(
    order: Order,
    qty: Decimal,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
    duration: DurationType | None,
    good_till: datetime | None,
    wanted: Brackets,
) -> Ticket:
    """The order as it shall be, as a ticket: what is not given stays as it is."""
    return Ticket(
        order.instrument.symbol,
        Side(order.side),
        OrderType(order.type),
        qty,
        limit_price if limit_price is not None else order.limit_price,
        stop_price if stop_price is not None else order.stop_price,
        duration or DurationType(order.duration),
        order.expires_at if good_till is None and duration in (None, order.duration) else good_till,
        wanted,
    )


def check_change(
    account: Account, order: Order, ticket: Ticket, conditions: TradingConditions, prices: Prices, now: datetime
) -> Quote | None:
    """Raise OrderRejected unless the order may become what the ticket says, apart from what it costs."""
    checks.account(account, order.instrument, ticket, before=order)
    if ticket.qty < order.filled_qty:
        raise OrderRejected(Reason.QTY_BELOW_FILLED, filled_qty=order.filled_qty)
    if order.triggered_at and ticket.stop_price != order.stop_price:
        raise OrderRejected(Reason.ALREADY_TRIGGERED)
    venues.of(order).check_replace(order, ticket)
    closing = order.closes_id is not None
    return checks.ticket(order.instrument, ticket, prices, conditions, now, closing=closing, before=order)


def _modify(booking: Booking, order: Order, ticket: Ticket, by: User | None) -> list[Order]:
    """Change an order that is no bracket, and its brackets with it; returns the brackets that changed."""
    now = booking.at
    seen = check_change(booking.account, order, ticket, booking.conditions, booking.prices, now)
    held_before = order.held
    _change_hold(booking, order, ticket, seen)
    if venues.of(order).replace(booking.account, order, ticket, held_before, by=by) is Handling.THERE:
        # Price and quantity change when the venue says so (ORD-20); due date and brackets are ours.
        _change_duration(order, ticket, now)
        order.save()
        return brackets.set_on_order(booking, order, ticket.brackets, base_price(ticket, seen), by=by)
    before = {"qty": order.qty, "limit_price": order.limit_price, "stop_price": order.stop_price}
    if ticket.stop_price != order.stop_price:
        order.if_touched = checks.is_if_touched(ticket, seen)
    _change_duration(order, ticket, now)
    order.qty, order.limit_price, order.stop_price = ticket.qty, ticket.limit_price, ticket.stop_price
    order.revision += 1
    order.queued, order.book = True, None
    if not order.leaves_qty:
        order.advance(OrderStatus.FILLED, at=now)
    order.updated_at = now
    order.save()
    order.record(EventKind.MODIFIED, by=by, seen=seen, **{f"old_{name}": value for name, value in before.items()})
    touched = brackets.set_on_order(booking, order, ticket.brackets, base_price(ticket, seen), by=by)
    return touched + brackets.settle(booking, order)


def _change_duration(order: Order, ticket: Ticket, now: datetime) -> None:
    order.duration, order.expires_at = ticket.duration, due(order, ticket, now)


def due(order: Order, ticket: Ticket, now: datetime) -> datetime | None:
    """Until when the order is good as the ticket says; raises OrderRejected for a new date that cannot be."""
    if (ticket.duration, ticket.good_till) == (order.duration, order.expires_at):
        return order.expires_at
    return expiry.due(order.instrument, ticket, now)


def cancel(account_id: int, order_id: int, *, by: User | None = None) -> Order:
    """End a live order and give back what it holds. Raises OrderRejected when it is final already (ORD-21).

    Its brackets end with it, unless something of it is filled that they protect. A bracket ends alone (BRK-8).
    """
    with transaction.atomic():
        account, order = _locked(account_id, order_id)
        if venues.of(order).cancel(order, by=by) is Handling.THERE:
            return order  # it ends when the venue says so (ORD-20); what is filled meanwhile is booked first
        now = timezone.now()
        heir = relatives.partner_of(order) if order.held else None
        endings.end(account, order, OrderStatus.CANCELLED, at=now, heir=heir)
        order.save()
        order.record(EventKind.CANCELLED, by=by)
        booking = Booking(account, account.conditions_at(now), Prices(), now)
        _tell(account, order, brackets.settle(booking, order))
        return order


def work(account_id: int, order_id: int, *, leave_to_others: bool = False) -> bool:
    """Let the venue look at a queued order: acknowledge it, and book what it fills. Running twice is harmless.

    A placing order becomes working here, or rejected when its market is gone. What depth does not hold stays working
    and is filled from later books, unless the order is good for this moment only. With `leave_to_others` nothing is
    done, and False returned, while another who was told so works off an order of the account.
    """
    with transaction.atomic():
        if leave_to_others and not _is_ours(account_id):
            return False
        account = Account.objects.changing(account_id)
        order, others = _with_relatives(account, order_id)
        if order is None or not order.queued:
            return True
        now = timezone.now()
        # A bracket stays with us whatever venue its order went to, and is executed by us when a price reaches it. To
        # have a venue execute it, choose `order.venue` by `routing` here, for one that this price reaches.
        if not expiry.is_due(order, now) and venues.of(order).submit(order) is Handling.THERE:
            order.queued = False
            order.save(update_fields=["queued"])
            return True
        conditions = account.conditions_at(now)
        booking = Booking(account, conditions, Prices([order.instrument.symbol]), now)
        _tell(account, order, _work_off(booking, order, others))
        return True


# --- inside the lock --------------------------------------------------------------------------------------------------


def _hand_over(booking: Booking, order: Order, *, at_once: bool, has_relatives: bool) -> None:
    """Have an accepted order worked off: `at_once` here, if that is for us to do, else by a drain after the commit.

    Another venue answers later, and a last look needs a later price.
    """
    account = booking.account
    if not at_once or order.venue != venue.INTERNAL or booking.conditions.last_look_pips is not None:
        dispatch.after_commit(account_id=account.pk, order_ids=[], drain=True)
        return
    others = _with_relatives(account, order.pk)[1] if has_relatives else []
    touched = _work_off(booking, order, others)
    if touched or not order.is_final:  # else it has nothing to tell: nobody watches it yet
        _tell(account, order, touched)


def _work_off(booking: Booking, order: Order, others: list[Order]) -> list[Order]:
    """Let the venue look at a queued order of ours and store what came of it; returns the brackets that changed."""
    now = booking.at
    quote = quotebook.of(order, booking.prices, now, booking.conditions.max_quote_age_seconds)
    booking = replace(booking, book=quote)
    before = (order.status, order.filled_qty)
    if expiry.is_due(order, now):
        expiry.end(booking, order)
    else:
        matching.look(booking, order, quote)
    order.queued, order.book = False, None
    has_changed = (order.status, order.filled_qty) != before
    if has_changed:
        order.updated_at = now
    rows.update_later(order)
    if not (order.role or any(each.role for each in others)):
        return []  # there is nothing that would follow
    return brackets.settle(booking, order) if has_changed else _partners_of(order)


def _is_ours(account_id: int) -> bool:
    """May we work off orders of the account until the commit? It holds back nobody else who changes the account."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"work off account {account_id}"])
        (is_ours,) = cursor.fetchone()
    return bool(is_ours)


def _with_relatives(account: Account, order_id: int) -> tuple[Order | None, list[Order]]:
    """The order, and what its change may concern, all of them locked."""
    locked = relatives.lock(account, [order_id])
    order = next((each for each in locked if each.pk == order_id), None)
    return order, [each for each in locked if each.pk != order_id]


def _locked(account_id: int, order_id: int) -> tuple[Account, Order]:
    """The account and its live order, locked. Raises OrderRejected: unknown, another account's, or final."""
    account = Account.objects.changing(account_id)
    order, _others = _with_relatives(account, order_id)
    if order is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    if order.is_final:
        raise OrderRejected(final_reason(order.status))
    return account, order


def _partners_of(order: Order) -> list[Order]:
    """The other bracket of a pair, which who watches has put aside while this one was looked at."""
    partner = relatives.partner_of(order) if order.role else None
    return [partner] if partner else []


def _tell(account: Account, order: Order, touched: list[Order]) -> None:
    """Once this is committed: news of the order and its brackets, and a drain for those of them that wait for it."""
    changed = [order, *touched]
    dispatch.after_commit(
        account_id=account.pk, order_ids=[each.pk for each in changed], drain=any(each.queued for each in changed)
    )


def _accept(
    booking: Booking,
    tradable: Tradable,
    ticket: Ticket,
    request_id: str,
    by: User | None,
    seen: Quote | None,
    *,
    means: Means | None = None,
    closes: Position | None = None,
    reverses: Position | None = None,
    user_bid: Decimal | None = None,
    user_ask: Decimal | None = None,
) -> Order:
    """Hold what the ticket needs and store it as a placing order, to be worked off after the commit."""
    account, now = booking.account, booking.at
    held = (
        margin.Hold(Decimal(0), account.currency_id)
        if closes
        else margin.hold(account, booking.conditions, need(tradable, ticket, seen), booking.prices, means=means)
    )
    if not account.profile.has_positions:
        ledger.reserve(account, held.currency, held.amount)
    if_touched = checks.is_if_touched(ticket, seen)
    order = Order(
        account=account,
        instrument=tradable.instrument,
        side=ticket.side,
        type=ticket.type,
        qty=ticket.qty,
        limit_price=ticket.limit_price,
        stop_price=ticket.stop_price,
        if_touched=if_touched,
        duration=ticket.duration,
        expires_at=expiry.due(tradable.instrument, ticket, now),
        closes=closes,
        reverses=reverses,
        request_id=request_id,
        held=held.amount,
        held_currency_id=held.currency,
        # Counterparties take stops beyond the market only.
        venue=venue.INTERNAL if if_touched else routing.venue_for(account, tradable.instrument, ticket.qty),
        created_at=now,
        updated_at=now,
    )
    rows.insert(order, booking.drawn)
    order.record(EventKind.PLACED, by=by, seen=seen, request_id=request_id, user_bid=user_bid, user_ask=user_ask)
    return order


def base_price(ticket: Ticket, seen: Quote | None) -> Decimal:
    """The price that the ticket's brackets are measured from: its own, or that at which the market would close it."""
    if ticket.own_price is not None:
        return ticket.own_price
    assert seen is not None  # a market order is checked against a price
    return venue.price_for(ticket.side.opposite, seen)


def need(tradable: Tradable, ticket: Ticket, seen: Quote | None, order: Order | None = None) -> margin.Need:
    """What is to be held for the ticket: at its own price, or at the market's for a market order."""
    price = ticket.own_price
    if price is None:
        assert seen is not None
        price = venue.price_for(ticket.side, seen)
    return margin.Need(tradable.instrument, ticket.side, ticket.type, ticket.qty, price, tradable.margin_rate, order)


def _change_hold(booking: Booking, order: Order, ticket: Ticket, seen: Quote | None) -> None:
    """Hold for what is left of the changed order, instead of what it held before."""
    account, held = booking.account, hold(booking, order, ticket, seen)
    if not account.profile.has_positions:
        ledger.reserve(account, order.held_currency_id, held.amount - order.held)
    order.held = held.amount


def hold(booking: Booking, order: Order, ticket: Ticket, seen: Quote | None) -> margin.Hold:
    """What is to be held for what is left of an order, as the ticket changes it. Raises OrderRejected."""
    account, conditions = booking.account, booking.conditions
    leaves = ticket.qty - order.filled_qty
    if not leaves or order.closes_id:
        return margin.Hold(Decimal(0), order.held_currency_id)
    rate = tradables.margin_rate(account, order.instrument, conditions) if account.profile.has_positions else None
    needed = need(Tradable(order.instrument, rate), replace(ticket, qty=leaves), seen, order)
    return margin.hold(account, conditions, needed, booking.prices)
