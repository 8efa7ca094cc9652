"""The margin level of an account, and what follows from it: pure, from inputs that can be stored and read again.

The level is equity as a percentage of the margin to be kept: of each position its maintenance margin where its group or
instrument has maintenance rates, else the margin it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from trading import risk
from trading.choices import DecisionKind

LEVEL_STEP = Decimal("0.0001")  # of a percent


class Holding(msgspec.Struct, frozen=True):
    """One open position as a decision sees it.

    `price` is the one it would close at, `rate` turns the profit into the account's currency and `margin_rate` its
    value. `bands` are its maintenance rates by floors of that value, `contract` the maintenance of a contract; without
    either `margin`, what it holds, is to be kept. `closable`: its market is open. `closing` is how much of it market
    orders are closing already.
    """

    position: int
    symbol: str
    sign: int
    qty: Decimal
    entry: Decimal
    price: Decimal
    contract_size: Decimal
    rate: Decimal
    margin: Decimal
    margin_rate: Decimal = Decimal(1)
    bands: tuple[tuple[Decimal, Decimal], ...] = ()
    contract: Decimal | None = None
    closable: bool = True
    closing: Decimal = Decimal(0)
    book: str = ""


class Inputs(msgspec.Struct, frozen=True):
    """All that a decision about an account is made of. `decimals` are those its currency is settled in.

    `pending` orders may open positions. `warned` and `stopping` tell what was decided last: that the account stands
    below its margin call, and that its orders were cancelled for that.
    """

    balance: Decimal
    decimals: int
    call_level: Decimal
    stop_out_level: Decimal
    holdings: tuple[Holding, ...]
    pending: int = 0
    warned: bool = False
    stopping: bool = False
    protects: bool = False


class Figures(msgspec.Struct, frozen=True):
    equity: Decimal
    margin: Decimal
    level: Decimal | None


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done now. `position` is the one to close."""

    kind: DecisionKind | None
    position: int | None = None


def dump(inputs: Inputs) -> dict[str, Any]:
    """As it is stored: decimals as text."""
    return msgspec.to_builtins(inputs)  # type: ignore[no-any-return]


def load(stored: dict[str, Any]) -> Inputs:
    return msgspec.convert(stored, Inputs)


def profit(holding: Holding, decimals: int) -> Decimal:
    """What closing the position would bring, in the account's currency, to the step it is settled in."""
    amount = risk.profit(holding.sign, holding.qty, holding.entry, holding.price, holding.contract_size)
    return _round(amount * holding.rate, decimals)


def maintenance(holding: Holding, decimals: int) -> Decimal:
    """The margin that must be kept for the position."""
    if holding.contract is not None:
        return _round(holding.qty * holding.contract * holding.margin_rate, decimals)
    if not holding.bands:
        return holding.margin
    value = risk.turnover(holding.qty, holding.price, holding.contract_size) * holding.margin_rate
    return _round(risk.banded(value, holding.bands), decimals)


def figures(inputs: Inputs) -> Figures:
    """Equity, margin to be kept, and the level; no level where nothing is open."""
    equity = inputs.balance + sum((profit(each, inputs.decimals) for each in inputs.holdings), Decimal(0))
    margin = sum((maintenance(each, inputs.decimals) for each in inputs.holdings), Decimal(0))
    level = (equity / margin * 100).quantize(LEVEL_STEP) if margin else None
    return Figures(equity, margin, level)


def verdict(inputs: Inputs) -> Verdict:
    """The one next step: cancel what is pending, then close the worst position, then again until the level is restored.

    While a position is being closed in an open market nothing else is closed: its result may restore the level.
    """
    found = figures(inputs)
    if not inputs.holdings:
        if inputs.protects and inputs.balance < 0 and not inputs.pending:
            return Verdict(DecisionKind.PROTECTED)
        return Verdict(DecisionKind.RESTORED if inputs.warned else None)
    if found.level is None:
        return Verdict(None)
    if inputs.stop_out_level and found.level <= inputs.stop_out_level:
        if inputs.pending and not inputs.stopping:  # orders placed since do not put the closing off
            return Verdict(DecisionKind.CANCEL_ORDERS)
        if any(each.closing and each.closable for each in inputs.holdings):
            return Verdict(None)
        position = worst(inputs)
        return Verdict(DecisionKind.CLOSE, position) if position else Verdict(None)
    if inputs.call_level and found.level <= inputs.call_level:
        return Verdict(None if inputs.warned else DecisionKind.CALL)
    return Verdict(DecisionKind.RESTORED if inputs.warned else None)


def worst(inputs: Inputs) -> int | None:
    """The closable position with the greatest loss; of equal ones the older."""
    closable = [each for each in inputs.holdings if each.closable]
    return min(closable, key=lambda each: (profit(each, inputs.decimals), each.position)).position if closable else None


def bands_of(base: Decimal, tiers: Sequence[tuple[Decimal, Decimal]]) -> tuple[tuple[Decimal, Decimal], ...]:
    """The usual rate from zero on and the tiers above it, none of them cheaper than it."""
    return ((Decimal(0), base), *((floor, max(base, rate)) for floor, rate in tiers))


def _round(amount: Decimal, decimals: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
