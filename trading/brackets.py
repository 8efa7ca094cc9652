"""Brackets: the orders that protect an order or a position (BRK-1 … BRK-23).

A bracket waits `inactive` beside its order. The order's first fill puts it to work (BRK-9): where positions have
brackets it goes over to the position (BRK-15), in spot accounts it stays with the order for what is filled. From then
on it follows: its quantity is always that of what it protects (BRK-1), and it ends with it.

Everything here happens under the account's lock, and with the orders locked by `relatives.lock`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from trading import checks, endings, relatives, reserves, venue
from trading.choices import BracketRole, EventKind, ParentType, Side
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.legs import Leg, check_side, legs
from trading.models import Order, Position
from trading.states import OrderStatus
from trading.tickets import Brackets, Ticket
from trading.venues import interface as venues
from trading.venues.choices import Handling

if TYPE_CHECKING:
    from accounts.models import User
    from marketdata.models import Instrument
    from marketdata.quotes import Quote


# --- as clients ask for them ------------------------------------------------------------------------------------------


def set_on_order(booking: Booking, order: Order, wanted: Brackets, base: Decimal, *, by: User | None) -> list[Order]:
    """Give a live order the brackets asked for: changed, added and removed (BRK-5 … BRK-7); returns those touched.

    `base` is the price that the order is expected to be filled at. What is filled already has its brackets with the
    position; they are changed when any are asked for, and stay when none are.
    """
    asked = _of_order(booking, order, wanted, base)
    return _give(booking, asked, by) if asked else []


def check_on_order(booking: Booking, order: Order, wanted: Brackets, base: Decimal) -> list[Leg]:
    """Raise OrderRejected where `set_on_order` would, else return the legs that are asked for. Changes nothing."""
    asked = _of_order(booking, order, wanted, base)
    if asked is None:
        return []
    _check(asked)
    return asked.legs


def set_on_position(booking: Booking, position: Position, wanted: Brackets, *, by: User | None) -> list[Order]:
    """Give an open position the brackets asked for; one that is not, is removed (BRK-17). Returns those touched.

    Raises OrderRejected(NO_PRICE) when a new one cannot be held against the market.
    """
    return _give(booking, _of_position(booking, position, wanted), by)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The brackets asked for beside the live ones, by role, of an order or a position; nothing is changed yet."""

    parent: Order | Position
    base: Decimal
    legs: list[Leg]
    existing: dict[str, Order]


def _of_order(booking: Booking, order: Order, wanted: Brackets, base: Decimal) -> _Asked | None:
    if wanted and order.closes_id:
        raise OrderRejected(Reason.BRACKETS_OF_CLOSING)
    if order.filled_qty and (position := relatives.position_opened_by(booking.account, order)):
        return _of_position(booking, position, wanted) if wanted else None
    side = Side(order.side)
    existing = {each.role: each for each in relatives.tied_to(order)}
    return _Asked(order, base, legs(order.instrument, side, wanted, base), existing)


def _of_position(booking: Booking, position: Position, wanted: Brackets) -> _Asked:
    side, instrument = Side(position.side), position.instrument
    existing = {each.role: each for each in relatives.protecting(position)}
    quote = booking.prices.sound(instrument.symbol)
    if wanted and quote is None:
        raise OrderRejected(Reason.NO_PRICE, symbol=instrument.symbol)
    base = venue.price_for(side.opposite, quote) if quote else Decimal(0)
    return _Asked(position, base, legs(instrument, side, wanted, base), existing)


def _check(asked: _Asked) -> None:
    """Raise OrderRejected where a leg lies on the wrong side, or its bracket cannot be moved any more."""
    for leg in asked.legs:
        if bracket := asked.existing.get(leg.role):
            _check_move(bracket, leg, asked.base)
        else:
            check_side(leg, Side(asked.parent.side), asked.base)


def _give(booking: Booking, asked: _Asked, by: User | None) -> list[Order]:
    """Remove, move and make brackets until they are those asked for; returns all of them."""
    _check(asked)
    wanted = {leg.role: leg for leg in asked.legs}
    touched = []
    for role, bracket in asked.existing.items():
        if role not in wanted:
            heir = next((other for name, other in asked.existing.items() if name in wanted), None)
            _end(booking, bracket, OrderRejected(Reason.BRACKET_REMOVED), by=by, heir=heir)
            touched.append(bracket)
    for role, leg in wanted.items():
        if known := asked.existing.get(role):
            _move(booking, known, leg, by=by)
            touched.append(known)
        else:
            touched.append(_create(booking, asked.parent, leg, by=by))
    return touched


def modify(booking: Booking, bracket: Order, ticket: Ticket, *, by: User | None) -> None:
    """Change one bracket by itself, as its own ticket says: its price, or a stop loss' trailing distance.

    A trailing stop that is given another price, and no distance, trails no longer.
    """
    _move(booking, bracket, check_change(booking, bracket, ticket), by=by)
    if bracket.status == OrderStatus.WORKING and not booking.account.profile.has_positions:
        _reserve_anew(booking, bracket)


def check_change(booking: Booking, bracket: Order, ticket: Ticket) -> Leg:
    """What `modify` makes of the bracket, or OrderRejected. Changes nothing."""
    checks.may_trade(booking.account)
    asked = ticket.brackets
    if asked.take_profit is not None or asked.stop_loss is not None:
        raise OrderRejected(Reason.BRACKETS_OF_BRACKET)
    if ticket.qty != bracket.qty:
        raise OrderRejected(Reason.BRACKET_QTY)
    pips = asked.trailing_pips
    if pips is None and ticket.stop_price == bracket.stop_price:
        pips = bracket.trailing_pips
    if bracket.role == BracketRole.STOP_LOSS:
        wanted = Brackets(stop_loss=ticket.stop_price, trailing_pips=pips)
    else:
        wanted = Brackets(take_profit=ticket.limit_price, trailing_pips=pips)
    parent_side, base = Side(bracket.side).opposite, _base_of(booking, bracket)
    asked_for = [leg for leg in legs(bracket.instrument, parent_side, wanted, base) if leg.role == bracket.role]
    _check_move(bracket, asked_for[0], base)
    return asked_for[0]


def _reserve_anew(booking: Booking, bracket: Order) -> None:
    """Set aside what a spot bracket may cost at its new price, or raise OrderRejected."""
    partner = relatives.partner_of(bracket)
    pair = [bracket, partner] if partner else [bracket]
    reserves.share(booking, pair)
    if refused := next((each for each in pair if each.is_final), None):
        raise OrderRejected(Reason(refused.reason), **refused.reason_details)
    for each in pair:
        each.save()


def _base_of(booking: Booking, bracket: Order) -> Decimal:
    """What a bracket's price is measured from: the price of the order it waits for, else the market (BRK-22)."""
    parent = bracket.parent
    if bracket.status == OrderStatus.INACTIVE and parent and parent.own_price is not None:
        return parent.own_price
    quote = booking.prices.sound(bracket.instrument.symbol)
    if quote is None:
        raise OrderRejected(Reason.NO_PRICE, symbol=bracket.instrument.symbol)
    return venue.price_for(Side(bracket.side), quote)


def _move(booking: Booking, bracket: Order, leg: Leg, *, by: User | None) -> None:
    """Give one bracket the leg's prices, which are checked."""
    if not _differs(bracket, leg):
        return
    before: dict[str, Any] = {"old_limit_price": bracket.limit_price, "old_stop_price": bracket.stop_price}
    bracket.limit_price, bracket.stop_price, bracket.trailing_pips = leg.limit_price, leg.stop_price, leg.trailing_pips
    bracket.book = None  # of a price that it was reached at before
    _changed(booking, bracket)
    bracket.save()
    bracket.record(EventKind.MODIFIED, by=by, **before)


def _check_move(bracket: Order, leg: Leg, base: Decimal) -> None:
    """Raise OrderRejected when a bracket was reached already, or would lie on the wrong side of `base`."""
    if not _differs(bracket, leg) and bracket.status != OrderStatus.INACTIVE:
        return  # at work, the market may have passed it since; waiting, its order's price may be what changes
    if bracket.triggered_at:
        raise OrderRejected(Reason.ALREADY_TRIGGERED)
    check_side(leg, Side(bracket.side).opposite, base)


def _differs(bracket: Order, leg: Leg) -> bool:
    """Whether the leg asks for other prices. A trailing stop that has moved since is not moved back."""
    if leg.trailing_pips is not None and bracket.status == OrderStatus.WORKING:
        return bracket.trailing_pips != leg.trailing_pips
    prices = (bracket.limit_price, bracket.stop_price, bracket.trailing_pips)
    return prices != (leg.limit_price, leg.stop_price, leg.trailing_pips)


def _create(booking: Booking, parent: Order | Position, leg: Leg, *, by: User | None) -> Order:
    """A new bracket: inactive beside its order, or at work for its position."""
    account, instrument, side = booking.account, parent.instrument, Side(parent.side).opposite
    order, position = (parent, None) if isinstance(parent, Order) else (None, parent)
    bracket = Order.objects.create(
        account=account,
        instrument=instrument,
        side=side,
        type=leg.type,
        qty=parent.qty,
        limit_price=leg.limit_price,
        stop_price=leg.stop_price,
        trailing_pips=leg.trailing_pips,
        role=leg.role,
        parent=order,
        closes=position,
        parent_type=ParentType.POSITION if position else ParentType.ORDER,
        request_id=f"bracket-{uuid4().hex}",
        held_currency_id=reserves.currency_of(account, instrument, side),
        venue=venue.INTERNAL,
        status=OrderStatus.WORKING if position else OrderStatus.INACTIVE,
        queued=position is not None,
        created_at=booking.at,
        updated_at=booking.at,
    )
    bracket.record(EventKind.PLACED, by=by, seen=booking.prices.quote(instrument.symbol))
    return bracket


# --- following what they protect --------------------------------------------------------------------------------------


def settle(booking: Booking, order: Order) -> list[Order]:
    """After a change of this order: bring in line every bracket that it concerns, and return those that changed.

    The order is saved. Whatever books fills or ends orders calls this, once for each order and before the commit.
    """
    live = _live(booking, order.instrument)
    if not live and not order.role:
        return []
    touched = _follow_order(booking, order, live)
    if order.role:
        touched += _follow_partner(booking, order, live)
    return touched + _follow_positions(booking, live)


def follow_positions(booking: Booking, instrument: Instrument) -> list[Order]:
    """After positions were booked anew: every bracket of theirs has their quantity, or ends (BRK-16, BRK-18)."""
    return _follow_positions(booking, _live(booking, instrument))


def release(booking: Booking, order: Order) -> list[Order]:
    """End the brackets that are the order's own, because what they were to sell was taken back."""
    return _end_all(booking, relatives.tied_to(order) + _left_of(order), Reason.NOTHING_TO_PROTECT)


def _left_of(order: Order) -> list[Order]:
    """Spot brackets that went on when their order ended (BRK-13)."""
    left = order.brackets.live().filter(parent_type="")
    return list(left.select_related("instrument", "held_currency").order_by("pk"))


def _live(booking: Booking, instrument: Instrument) -> list[Order]:
    live = booking.account.orders.live().brackets().filter(instrument=instrument)
    return list(live.select_related("instrument", "held_currency", "closes").order_by("pk"))


def _follow_order(booking: Booking, order: Order, live: list[Order]) -> list[Order]:
    """The brackets still tied to this order, after it changed."""
    own = [each for each in live if each.parent_id == order.pk and each.parent_type == ParentType.ORDER]
    if not own:
        return []
    if not order.filled_qty:
        if order.is_final:  # BRK-10
            return _end_all(booking, own, Reason.PARENT_ENDED)
        return _resize(booking, own, order.qty)  # BRK-11
    if not booking.account.profile.has_position_brackets:
        return _work_for_filled(booking, order, own)
    position = relatives.position_opened_by(booking.account, order)
    if position:
        return _go_over(booking, own, position, live)
    if order.is_final:
        return _end_all(booking, own, Reason.NOTHING_TO_PROTECT)
    return _resize(booking, own, order.qty)


def _go_over(booking: Booking, own: list[Order], position: Position, live: list[Order]) -> list[Order]:
    """From the order to its position (BRK-15). Older protection of the same kind gives way."""
    roles = {bracket.role for bracket in own}
    older = [each for each in live if each.closes_id == position.pk and each.role in roles]
    _end_all(booking, older, Reason.BRACKET_REPLACED)
    for bracket in own:
        bracket.closes, bracket.parent_type = position, ParentType.POSITION
        _activate(booking, bracket, position.qty)
        bracket.save()
    return [*older, *own]


def _work_for_filled(booking: Booking, order: Order, own: list[Order]) -> list[Order]:
    """Spot: at work for what is filled and not sold again. They leave the order when it has ended (BRK-13)."""
    executed = sum(order.brackets.values_list("filled_qty", flat=True), Decimal(0))
    unprotected = order.filled_qty - executed
    for bracket in own:
        if order.is_final:
            bracket.parent_type = ""
        if unprotected > 0:
            _activate(booking, bracket, bracket.filled_qty + unprotected)
    reserves.share(booking, own)
    for bracket in own:
        bracket.save()
    return own


def _follow_partner(booking: Booking, order: Order, live: list[Order]) -> list[Order]:
    """One executed cancels the other, and partly executed reduces it (BRK-3, BRK-4).

    What is left of the order it was placed with is cancelled too: it would open what nothing protects any more.
    """
    if not order.filled_qty:
        return []
    partners = [each for each in live if relatives.is_partner(each, order)]
    if order.status != OrderStatus.FILLED:
        return _resize(booking, partners, order.leaves_qty)
    touched = _end_all(booking, partners, Reason.OCO)
    parent = order.parent
    if parent and not parent.is_final:
        touched += _end_rest(booking, parent, OrderRejected(Reason.PROTECTION_EXECUTED))
    return touched


def _follow_positions(booking: Booking, live: list[Order]) -> list[Order]:
    """Brackets of positions have their quantity, and end when they are closed (BRK-16, BRK-18)."""
    touched = []
    for bracket in live:
        position = bracket.closes
        if position is None or bracket.is_final:
            continue
        if not position.closed_at:
            touched += _resize(booking, [bracket], position.qty)
            continue
        touched += _end_all(booking, [bracket], Reason.POSITION_CLOSED)
        if (parent := bracket.parent) and not parent.is_final:
            touched += _back_beside(booking, bracket, parent)
    return touched


def _back_beside(booking: Booking, ended: Order, parent: Order) -> list[Order]:
    """The rest of an order goes on when the position that it began is closed: with a bracket like the one that ended.

    Where it would lie on the wrong side of the order's own price by now, the rest ends instead; returns what changed.
    """
    leg = Leg(BracketRole(ended.role), ended.limit_price, ended.stop_price, ended.trailing_pips)
    side, base = Side(parent.side), parent.own_price
    try:
        if base is not None and leg.trailing_pips is not None:
            leg = legs(ended.instrument, side, Brackets(trailing_pips=leg.trailing_pips), base)[0]
        elif base is not None:
            check_side(leg, side, base)
    except OrderRejected as refusal:
        return _end_rest(booking, parent, refusal)
    return [_create(booking, parent, leg, by=None)]


def _end_rest(booking: Booking, order: Order, because: OrderRejected) -> list[Order]:
    """What is left of an order, and the brackets beside it. At a venue it ends when that says so."""
    if venues.of(order).cancel(order, by=None) is not Handling.HERE:
        return []
    _end(booking, order, because)
    return [order, *_end_all(booking, relatives.tied_to(order), Reason.PARENT_ENDED)]


def _resize(booking: Booking, resized: Iterable[Order], leaves: Decimal) -> list[Order]:
    """Let so much be left of these brackets; those of which it is already are passed over."""
    touched = []
    for bracket in resized:
        if bracket.leaves_qty == leaves:
            continue
        bracket.qty = bracket.filled_qty + leaves
        _changed(booking, bracket)
        bracket.save()
        bracket.record(EventKind.RESIZED, qty=bracket.qty)
        touched.append(bracket)
    return touched


def _activate(booking: Booking, bracket: Order, qty: Decimal) -> None:
    """Put a bracket to work, or go on with it, for this quantity. A trailing stop begins at the market (BRK-22)."""
    if bracket.status == OrderStatus.INACTIVE:
        bracket.advance(OrderStatus.WORKING, at=booking.at)
        quote = booking.prices.sound(bracket.instrument.symbol) or booking.book
        if bracket.trailing_pips is not None and quote:
            bracket.stop_price = trailing_stop(bracket, quote)
        bracket.qty = qty
        bracket.record(EventKind.ACTIVATED, seen=quote, qty=qty)
    elif bracket.qty != qty:
        bracket.qty = qty
        bracket.record(EventKind.RESIZED, qty=qty)
    _changed(booking, bracket)


def trailing_stop(bracket: Order, quote: Quote) -> Decimal:
    """Where the stop lies when it has its distance from this market (BRK-22)."""
    assert bracket.trailing_pips is not None
    distance = bracket.trailing_pips * bracket.instrument.pip_size
    side = Side(bracket.side)
    return bracket.instrument.round_price(venue.price_for(side, quote) + side.sign * distance)


def _changed(booking: Booking, bracket: Order) -> None:
    """Have a bracket at work looked at again. One that a price has reached keeps the book of that price."""
    bracket.revision += 1
    bracket.updated_at = booking.at
    if bracket.status == OrderStatus.WORKING and not bracket.queued:
        bracket.queued, bracket.book = True, None


def _end_all(booking: Booking, ended: list[Order], reason: Reason) -> list[Order]:
    for bracket in ended:
        _end(booking, bracket, OrderRejected(reason))
    return ended


def _end(
    booking: Booking, order: Order, because: OrderRejected, *, by: User | None = None, heir: Order | None = None
) -> None:
    endings.end(booking.account, order, OrderStatus.CANCELLED, at=booking.at, because=because, heir=heir)
    order.save()
    order.record(EventKind.CANCELLED, by=by, reason=because.reason)
