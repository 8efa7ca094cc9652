"""The legs of a pair of brackets before they are orders: their prices, and which side of the parent they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketdata.models import Instrument
from trading.choices import BracketRole, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.tickets import Brackets


@dataclass(frozen=True, slots=True)
class Leg:
    """One bracket as it is asked for. The stop price of a trailing one is where it begins."""

    role: BracketRole
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_pips: Decimal | None = None

    @property
    def type(self) -> OrderType:
        return OrderType.LIMIT if self.role is BracketRole.TAKE_PROFIT else OrderType.STOP


def legs(instrument: Instrument, side: Side, wanted: Brackets, base: Decimal) -> list[Leg]:
    """The brackets of a parent on this side, `base` being its price or that of its market (BRK-22).

    Raises OrderRejected for prices that are none of the instrument's.
    """
    made = []
    if wanted.trailing_pips is not None:
        stop = _trailing_start(instrument, side, wanted.trailing_pips, base)
        made.append(Leg(BracketRole.STOP_LOSS, stop_price=stop, trailing_pips=wanted.trailing_pips))
    elif wanted.stop_loss is not None:
        made.append(Leg(BracketRole.STOP_LOSS, stop_price=_on_grid(instrument, wanted.stop_loss)))
    if wanted.take_profit is not None:
        made.append(Leg(BracketRole.TAKE_PROFIT, limit_price=_on_grid(instrument, wanted.take_profit)))
    return made


def check_side(leg: Leg, parent_side: Side, base: Decimal) -> None:
    """Refuse a stop loss where the parent would win, and a take profit where it would lose."""
    is_long = parent_side is Side.BUY
    if leg.limit_price is not None and (leg.limit_price <= base if is_long else leg.limit_price >= base):
        raise OrderRejected(Reason.TAKE_PROFIT_ABOVE if is_long else Reason.TAKE_PROFIT_BELOW, price=base)
    if leg.stop_price is not None and (leg.stop_price >= base if is_long else leg.stop_price <= base):
        raise OrderRejected(Reason.STOP_LOSS_BELOW if is_long else Reason.STOP_LOSS_ABOVE, price=base)


def _trailing_start(instrument: Instrument, side: Side, pips: Decimal, base: Decimal) -> Decimal:
    step = instrument.tick_size / instrument.pip_size
    if pips <= 0 or pips % step:
        raise OrderRejected(Reason.TRAILING_STEP, symbol=instrument.symbol, step=step)
    stop = instrument.round_price(base - side.sign * pips * instrument.pip_size)
    if stop <= 0:
        raise OrderRejected(Reason.TRAILING_TOO_FAR)
    return stop


def _on_grid(instrument: Instrument, price: Decimal) -> Decimal:
    if price <= 0:
        raise OrderRejected(Reason.PRICE_NOT_POSITIVE)
    if price % instrument.tick_size:
        raise OrderRejected(Reason.PRICE_STEP, symbol=instrument.symbol, tick_size=instrument.tick_size)
    return price
