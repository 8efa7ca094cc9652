"""The arithmetic of trading, pure: numbers in, numbers out. Prices are in the instrument's quote currency."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from accounts.choices import CommissionKind

AVERAGE_STEP = Decimal("1E-12")  # finest step of a stored average price
MILLION = Decimal(1_000_000)
LOT = Decimal(100_000)  # units of a lot, unless the conditions say otherwise
DAYS_OF_YEAR = 360  # money market's year


def turnover(qty: Decimal, price: Decimal, contract_size: Decimal) -> Decimal:
    return qty * price * contract_size


def profit(sign: int, qty: Decimal, entry: Decimal, exit_: Decimal, contract_size: Decimal) -> Decimal:
    """What closing brings: for a long position (sign +1) the exit above the entry, for a short one (-1) below it."""
    return sign * (exit_ - entry) * qty * contract_size


def average(qty: Decimal, price: Decimal, more_qty: Decimal, more_price: Decimal) -> Decimal:
    """The average price after more was added."""
    total = (qty * price + more_qty * more_price) / (qty + more_qty)
    return total.quantize(AVERAGE_STEP, rounding=ROUND_HALF_EVEN)


def banded(value: Decimal, bands: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    """The margin of a value by bands of (floor, rate), floors rising from 0: each part by the rate of its own band."""
    total = Decimal(0)
    for number, (floor, rate) in enumerate(bands):
        if value <= floor:
            break
        ceiling = bands[number + 1][0] if number + 1 < len(bands) else value
        total += (min(value, ceiling) - floor) * rate
    return total


def swap_points(qty: Decimal, points: Decimal, tick_size: Decimal, contract_size: Decimal, days: int) -> Decimal:
    """A swap in the quote currency: so many price steps for each unit and day."""
    return qty * contract_size * points * tick_size * days


def swap_percent(qty: Decimal, price: Decimal, percent: Decimal, contract_size: Decimal, days: int) -> Decimal:
    """A swap in the quote currency: a percentage of the position's value a year."""
    return turnover(qty, price, contract_size) * percent / 100 / DAYS_OF_YEAR * days


def funding(signed_qty: Decimal, mark: Decimal, rate: Decimal, contract_size: Decimal) -> Decimal:
    """What a position receives in the quote currency: at a rate above zero longs pay shorts."""
    return -turnover(signed_qty, mark, contract_size) * rate


def funding_rate(mark: Decimal, index: Decimal, interest: Decimal, limit: Decimal) -> Decimal:
    """The premium of the perpetual over its index, drawn towards the interest by at most `limit`."""
    premium = (mark - index) / index
    return premium + max(-limit, min(limit, interest - premium))


def commission(
    kind: str, rate: Decimal, qty: Decimal, price: Decimal, contract_size: Decimal, lot: Decimal = LOT
) -> Decimal:
    """The commission of a fill in the quote currency, neither rounded nor raised to a minimum."""
    match CommissionKind(kind):
        case CommissionKind.PER_MILLION:
            return turnover(qty, price, contract_size) * rate / MILLION
        case CommissionKind.PERCENT:
            return turnover(qty, price, contract_size) * rate / 100
        case CommissionKind.PER_UNIT:
            return qty * rate
        case CommissionKind.PER_LOT:
            return qty / lot * rate
        case _:
            return Decimal(0)


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount that belongs to a part of a quantity."""
    return amount * part / whole
