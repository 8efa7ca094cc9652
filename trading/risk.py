"""The arithmetic of trading, pure: numbers in, numbers out. Prices are in the instrument's quote currency."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from accounts.choices import CommissionKind

AVERAGE_STEP = Decimal("1E-12")  # finest step of a stored average price
MILLION = Decimal(1_000_000)


def turnover(qty: Decimal, price: Decimal, contract_size: Decimal) -> Decimal:
    return qty * price * contract_size


def profit(sign: int, qty: Decimal, entry: Decimal, exit_: Decimal, contract_size: Decimal) -> Decimal:
    """What closing brings: for a long position (sign +1) the exit above the entry, for a short one (-1) below it."""
    return sign * (exit_ - entry) * qty * contract_size


def average(qty: Decimal, price: Decimal, more_qty: Decimal, more_price: Decimal) -> Decimal:
    """The average price after more was added."""
    total = (qty * price + more_qty * more_price) / (qty + more_qty)
    return total.quantize(AVERAGE_STEP, rounding=ROUND_HALF_EVEN)


def commission(kind: str, rate: Decimal, qty: Decimal, price: Decimal, contract_size: Decimal) -> Decimal:
    """The commission of a fill in the quote currency, neither rounded nor raised to a minimum."""
    match CommissionKind(kind):
        case CommissionKind.PER_MILLION:
            return turnover(qty, price, contract_size) * rate / MILLION
        case CommissionKind.PERCENT:
            return turnover(qty, price, contract_size) * rate / 100
        case CommissionKind.PER_UNIT:
            return qty * rate
        case _:
            return Decimal(0)


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The part of an amount that belongs to a part of a quantity."""
    return amount * part / whole
