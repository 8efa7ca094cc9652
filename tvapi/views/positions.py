"""Positions of an account and the fills that made them."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from trading import positions, tradables
from trading.errors import OrderRejected, Reason
from tvapi import forms, wire
from tvapi.exceptions import Refused
from tvapi.views.base import WireView, ok, row_id
from tvapi.views.orders import request_id


class PositionsView(WireView):
    """Open positions, and those just closed with quantity 0 (POS-6). A spot account has none."""

    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("positions", account_id)


class PositionView(WireView):
    def put(self, request: Request, account_id: str, position_id: str) -> Response:
        """Refused: no account has brackets of positions or reverses them natively (its flags say so)."""
        account, position = self.account(account_id), _position_id(position_id)
        if not account.positions.open().filter(pk=position).exists():
            raise OrderRejected(Reason.UNKNOWN_POSITION)
        if "side" in self.form:
            raise Refused(_("To reverse a position, place an order of twice its quantity on the other side."))
        raise OrderRejected(Reason.BRACKETS)

    def delete(self, request: Request, account_id: str, position_id: str) -> Response:
        """Close at the market, wholly or by `amount` (POS-3, POS-4)."""
        account, position = self.account(account_id), _position_id(position_id)
        amount = self.read_form(forms.CloseForm).get("amount")
        positions.close(account.pk, position, amount=amount, request_id=request_id(self), by=self.user)
        return ok()


class ExecutionsView(WireView):
    """Fills of one instrument for the chart, the latest first (POS-8); of one no longer offered too."""

    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        query = self.read_query(forms.ExecutionsQuery)
        fills = account.executions.filter(instrument__symbol=query["instrument"])
        if not fills.exists():
            tradables.find(account, query["instrument"])
        shown = fills.select_related("instrument").prefetch_related("position_fills").order_by("-pk")
        return ok([wire.execution(execution) for execution in shown[: query.get("maxCount")]])


def _position_id(text: str) -> int:
    if (position := row_id(text)) is None:
        raise OrderRejected(Reason.UNKNOWN_POSITION)
    return position
