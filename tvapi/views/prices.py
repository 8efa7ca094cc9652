"""Our prices for an account, as the ticket and the depth widget show them (QTE)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from marketdata.models import Instrument
from trading import tradables
from trading.errors import OrderRejected, Reason
from trading.prices import Prices
from tvapi import forms, pips, wire
from tvapi.views.base import WireView, ok


class QuotesView(WireView):
    """One element for each symbol asked for, in that order (QTE-2); one without a price says so (QTE-3)."""

    def get(self, request: Request) -> Response:
        query = self.read_query(forms.QuotesQuery)
        account = self.account(query["accountId"])
        wanted = set(query["symbols"])
        offered = {each.instrument.symbol: each.instrument for each in tradables.of_account(account)}
        asked = [instrument for symbol, instrument in offered.items() if symbol in wanted]
        prices = Prices(instrument.symbol for instrument in asked)
        values = _pip_values(account, asked, prices)
        return ok([_element(symbol, offered, prices, values) for symbol in query["symbols"]])


class DepthView(WireView):
    def get(self, request: Request) -> Response:
        query = self.read_query(forms.DepthQuery)
        account = self.account(query["accountId"])
        symbol = tradables.find(account, query["symbol"]).instrument.symbol
        if (quote := Prices([symbol]).quote(symbol)) is None:
            raise OrderRejected(Reason.NO_PRICE, symbol=symbol)
        return ok(wire.depth(quote))


def _pip_values(account: Account, instruments: list[Instrument], prices: Prices) -> dict[str, Decimal]:
    """By symbol, for instruments in other currencies than the account's: for them alone it moves."""
    foreign = [instrument for instrument in instruments if instrument.quote_currency != account.currency_id]
    return pips.values(account.currency_id, foreign, prices) if foreign else {}


def _element(
    symbol: str, offered: Mapping[str, Instrument], prices: Prices, pip_values: Mapping[str, Decimal]
) -> dict[str, Any]:
    instrument = offered.get(symbol)
    quote = prices.quote(symbol) if instrument else None
    if instrument is None or quote is None:
        return wire.no_quote(symbol)
    return wire.quote(instrument, quote, pip_values.get(symbol))
