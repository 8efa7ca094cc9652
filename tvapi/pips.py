"""What a pip is worth in an account's currency (INS-2, INS-3)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from marketdata.models import Instrument
from trading.errors import OrderRejected
from trading.prices import Prices

# `/instruments` has to say something before the first price: the ticket then shows no risk, rather than a wrong one.
UNKNOWN = Decimal(0)


def values(currency: str, instruments: Iterable[Instrument], prices: Prices | None = None) -> dict[str, Decimal]:
    """The worth of one pip of one unit, by symbol; instruments whose currency has no rate at the moment are missing.

    Risk is what may be lost, so it is converted at the rate for paying.
    """
    prices = prices or Prices()
    rates: dict[str, Decimal | None] = {}
    worth = {}
    for instrument in instruments:
        source = instrument.quote_currency
        if source not in rates:
            rates[source] = _rate(prices, source, currency)
        if (rate := rates[source]) is not None:
            worth[instrument.symbol] = instrument.pip_size * instrument.contract_size * rate
    return worth


def _rate(prices: Prices, source: str, target: str) -> Decimal | None:
    try:
        return prices.rate(source, target, receives=False)
    except OrderRejected:
        return None
