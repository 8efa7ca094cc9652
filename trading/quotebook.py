"""The book an order is worked with: the one that triggered it, else the latest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from marketdata.quotes import Quote
from trading.models import Order
from trading.prices import Prices


def dump(quote: Quote) -> dict[str, Any]:
    """The quote as it is kept with an order; decimals as text."""
    return msgspec.to_builtins(quote)  # type: ignore[no-any-return]


def load(stored: dict[str, Any]) -> Quote:
    return msgspec.convert(stored, Quote)


def of(order: Order, prices: Prices, now: datetime, max_age_seconds: int) -> Quote | None:
    """The book that triggered the order while it is fresh, else the latest one; None when that is stale or missing."""
    oldest = now - timedelta(seconds=max_age_seconds)
    candidates = [load(order.book) if order.book else None, prices.sound(order.instrument.symbol)]
    return next((quote for quote in candidates if quote and quote.time >= oldest), None)
