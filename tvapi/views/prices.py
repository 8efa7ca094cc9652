"""Our prices for an account, as the ticket and the depth widget show them (QTE)."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from trading import tradables
from trading.prices import Prices
from tvapi import answers, forms
from tvapi.views.base import WireView, ok


class QuotesView(WireView):
    """One element for each symbol asked for, in that order (QTE-2); one without a price says so (QTE-3)."""

    def get(self, request: Request) -> Response:
        query = self.read_query(forms.QuotesQuery)
        account = self.account(query["accountId"])
        prices = Prices()
        prices.on_terms_of(account)
        return ok(answers.quotes(query["symbols"], account.currency_id, tradables.instruments(account), prices))


class DepthView(WireView):
    def get(self, request: Request) -> Response:
        query = self.read_query(forms.DepthQuery)
        account = self.account(query["accountId"])
        instrument = tradables.find(account, query["symbol"]).instrument
        return ok(answers.depth(query["symbol"], {instrument.symbol: instrument}, Prices()))
