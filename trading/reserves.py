"""What the brackets of a spot account set aside: a pair shares one reserve, as only one of the two is executed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from accounts import ledger
from accounts.models import Account, Balance
from trading import endings, margin
from trading.choices import EventKind, OrderType, Side
from trading.errors import OrderRejected
from trading.models import Order
from trading.states import OrderStatus

if TYPE_CHECKING:
    from marketdata.models import Instrument
    from trading.executions import Booking


def currency_of(account: Account, instrument: Instrument, side: Side) -> str:
    """What an order holds money in: the asset that it pays with, or the account's currency."""
    if account.profile.has_positions:
        return account.currency_id
    return instrument.quote_currency if side is Side.BUY else instrument.base_currency


def share(booking: Booking, pair: Iterable[Order]) -> None:
    """Set aside what the dearest of these brackets may cost, held by the first one. The caller saves them.

    What a fee has taken from the bought asset is not there to be sold: they are cut to what is. One that the account
    cannot pay for at all is cancelled, with the reason.
    """
    live = sorted((each for each in pair if each.status == OrderStatus.WORKING), key=lambda each: each.role)
    while live:
        holder, *others = live
        for other in others:
            holder.held, other.held = holder.held + other.held, Decimal(0)
        try:
            _hold(booking, holder)
        except OrderRejected as refusal:
            qty = _affordable(booking.account, holder)
            if qty > 0:
                for each in live:
                    each.qty = each.filled_qty + qty
                continue
            live.pop(0)
            heir = live[0] if live else None
            endings.end(booking.account, holder, OrderStatus.CANCELLED, at=booking.at, because=refusal, heir=heir)
            holder.record(EventKind.CANCELLED, reason=refusal.reason)
        else:
            return


def take_over(order: Order, partner: Order) -> None:
    """Let the bracket that is about to be executed hold what its partner held; both are saved by the caller."""
    order.held, partner.held = order.held + partner.held, Decimal(0)


def _hold(booking: Booking, holder: Order) -> None:
    price = holder.own_price
    assert price is not None
    need = margin.Need(
        holder.instrument, Side(holder.side), OrderType(holder.type), holder.leaves_qty, price, None, holder
    )
    held = margin.hold(booking.account, booking.conditions, need, booking.prices)
    ledger.reserve(booking.account, held.currency, held.amount - holder.held)
    holder.held = held.amount


def _affordable(account: Account, holder: Order) -> Decimal:
    """The part of a selling bracket's quantity that the account has, when that is less; else nothing."""
    if holder.side == Side.BUY:
        return Decimal(0)
    balance = Balance.objects.filter(account=account, currency=holder.held_currency_id).first()
    available = (balance.available if balance else Decimal(0)) + holder.held
    step = holder.instrument.qty_step
    qty = (available / step).to_integral_value(ROUND_DOWN) * step
    return qty if qty < holder.leaves_qty else Decimal(0)
