"""The polled answers, made from a snapshot of an account and prices alone: the same for Django and the poll lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from django.utils.translation import gettext_lazy as _

from accounts.choices import Profile
from marketdata.models import Instrument
from trading import exposure, valuation
from trading.errors import OrderRejected, Reason
from trading.prices import Prices
from tvapi import account_manager, pips, renderers, wire
from tvapi.account_manager import Figures
from tvapi.exceptions import Refused
from tvapi.snapshots import Snapshot


def orders(snapshot: Snapshot, prices: Prices) -> object:
    """`/orders`: nothing in it moves with prices."""
    return snapshot.orders


def positions(snapshot: Snapshot, prices: Prices) -> object:
    """Open positions, and those just closed with quantity 0 (POS-6). A spot account has none."""
    if snapshot.portfolio is None:
        return []
    profits = valuation.appraise(snapshot.portfolio, snapshot.currency, prices).profits
    opened = zip(snapshot.positions, profits, strict=True)
    return [*(_with(fixed, wire.profit(profit)) for fixed, profit in opened), *snapshot.closed]


def state(snapshot: Snapshot, prices: Prices) -> object:
    figures = _figures(snapshot, prices)
    return {
        "balance": figures.balance,
        "unrealizedPl": figures.unrealized_pl,
        "equity": figures.equity,
        **account_manager.cells(Profile(snapshot.profile), figures),
    }


def balances(snapshot: Snapshot, prices: Prices) -> object:
    """The assets of a spot account (ACC-6)."""
    if snapshot.portfolio is not None:
        raise Refused(_("This account holds its money in one currency and has no balances by asset."))
    assets = zip(snapshot.balances, snapshot.assets, strict=True)
    currency = snapshot.currency
    return [_with(fixed, wire.worth(valuation.appraise_asset(asset, currency, prices))) for fixed, asset in assets]


OF_ACCOUNT: Mapping[str, Callable[[Snapshot, Prices], object]] = {
    "orders": orders,
    "positions": positions,
    "state": state,
    "balances": balances,
}

# Those of them that say something in the language of the moment; the others are numbers, and what a snapshot has said.
WRITTEN_NUMBERS = frozenset(("state",))


def quotes(symbols: Sequence[str], currency: str, offered: Mapping[str, Instrument], prices: Prices) -> object:
    """One element for each symbol, in that order (QTE-2); one without a price says so (QTE-3).

    `offered` has the instruments of the account's group by symbol, `currency` is the account's.
    """
    asked = [offered[symbol] for symbol in dict.fromkeys(symbols) if symbol in offered]
    prices.load(instrument.symbol for instrument in asked)
    # In the account's own currency a pip is worth the same at every price.
    foreign = [instrument for instrument in asked if instrument.quote_currency != currency]
    values = pips.values(currency, foreign, prices) if foreign else {}
    return [_element(symbol, offered, prices, values) for symbol in symbols]


def depth(symbol: str, offered: Mapping[str, Instrument], prices: Prices) -> object:
    """Raises OrderRejected: an instrument of another group, or one without a price."""
    if symbol not in offered:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    if (quote := prices.quote(symbol)) is None:
        raise OrderRejected(Reason.NO_PRICE, symbol=symbol)
    return wire.depth(quote)


def _figures(snapshot: Snapshot, prices: Prices) -> Figures:
    currency = snapshot.currency
    if snapshot.portfolio is not None:
        value = valuation.appraise(snapshot.portfolio, currency, prices)
        kept = exposure.shown(snapshot.portfolio, snapshot.kept, currency, prices)
        return account_manager.of_margin(currency, value, kept, snapshot.financing, snapshot.commission)
    assets = [valuation.appraise_asset(asset, currency, prices) for asset in snapshot.assets]
    return account_manager.of_spot(currency, assets)


def _with(fixed: msgspec.Raw, live: dict[str, Any]) -> msgspec.Raw:
    """The object with further members, as if they had been encoded together."""
    return msgspec.Raw(bytes(fixed)[:-1] + b"," + renderers.encode(live)[1:]) if live else fixed


def _element(
    symbol: str, offered: Mapping[str, Instrument], prices: Prices, pip_values: Mapping[str, Decimal]
) -> dict[str, Any]:
    instrument = offered.get(symbol)
    quote = prices.quote(symbol) if instrument else None
    if instrument is None or quote is None:
        return wire.no_quote(symbol)
    return wire.quote(instrument, quote, pip_values.get(symbol))
