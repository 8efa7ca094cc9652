"""Instruments and currencies of orders and positions, from what is known: a join would make them anew for every row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from accounts import known
from accounts.models import Account, Currency
from marketdata.models import Instrument
from trading.models import Order, Position

Row = TypeVar("Row", Order, Position)


def attach(account: Account, rows: Iterable[Row]) -> list[Row]:
    """The account's orders or positions with their instruments at hand."""
    found = list(rows)
    instruments = known.several(account, "instrument", {row.instrument_id for row in found}, Instrument.objects.in_bulk)
    for row in found:
        row.instrument = instruments[row.instrument_id]
    return found


def attach_to_orders(account: Account, orders: Iterable[Order]) -> list[Order]:
    """The same for orders, with the currency that each holds."""
    found = attach(account, orders)
    held = known.several(account, "currency", {order.held_currency_id for order in found}, Currency.objects.in_bulk)
    for order in found:
        order.held_currency = held[order.held_currency_id]
    return found
