"""What clients ask for: a ticket, and the brackets that go with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from trading.choices import DurationType, OrderType, Side


@dataclass(frozen=True, slots=True)
class Brackets:
    """The protection asked for (BRK-2): prices in the instrument's quote currency, the trailing distance in pips.

    A trailing distance turns the stop loss into a trailing stop, whatever price it has (BRK-20).
    """

    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_pips: Decimal | None = None

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def count(self) -> int:
        has_stop = self.stop_loss is not None or self.trailing_pips is not None
        return has_stop + (self.take_profit is not None)


NO_BRACKETS = Brackets()


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client asks for. `qty` is in units, prices are in the instrument's quote currency.

    `good_till` is the moment that the duration GTD names.
    """

    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    duration: DurationType = DurationType.GTC
    good_till: datetime | None = None
    brackets: Brackets = field(default=NO_BRACKETS)

    @property
    def own_price(self) -> Decimal | None:
        """The price it names: the limit where it has one; None for a market order."""
        return self.limit_price if self.limit_price is not None else self.stop_price
