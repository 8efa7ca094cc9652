"""Positions of an account and the fills that made them."""

from __future__ import annotations

from django.db.models import Prefetch
from rest_framework.request import Request
from rest_framework.response import Response

from trading import positions, tradables
from trading.choices import Side
from trading.errors import OrderRejected, Reason
from trading.models import PositionFill
from tvapi import forms, wire
from tvapi.views.base import WireView, ok, row_id
from tvapi.views.orders import accepted, request_id


class PositionsView(WireView):
    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("positions", account_id)


class PositionView(WireView):
    def put(self, request: Request, account_id: str, position_id: str) -> Response:
        """Set the position's brackets, a bracket not sent is removed (BRK-17); or with `side` reverse it (POS-5)."""
        account, position = self.account(account_id), _position_id(position_id)
        values = self.read_form(forms.PositionForm)
        if side := values.get("side"):
            positions.reverse(account.pk, position, Side(side), request_id=request_id(self), by=self.user, at_once=True)
        else:
            positions.protect(account.pk, position, forms.brackets(values), by=self.user)
        return accepted()

    def delete(self, request: Request, account_id: str, position_id: str) -> Response:
        """Close at the market, wholly or by `amount` (POS-3, POS-4)."""
        account, position = self.account(account_id), _position_id(position_id)
        amount = self.read_form(forms.CloseForm).get("amount")
        positions.close(account.pk, position, amount=amount, request_id=request_id(self), by=self.user, at_once=True)
        return accepted()


class ExecutionsView(WireView):
    """Fills of one instrument for the chart, the latest first (POS-8); of one no longer offered too.

    A fill that was taken back is not among them, a corrected one is there as it was booked again.
    """

    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        query = self.read_query(forms.ExecutionsQuery)
        fills = account.executions.filter(instrument__symbol=query["instrument"])
        if not fills.exists():
            tradables.find(account, query["instrument"])
        shown = fills.standing().select_related("instrument").prefetch_related(standing_fills()).order_by("-pk")
        return ok([wire.execution(execution) for execution in shown[: query.get("maxCount")]])


def standing_fills() -> Prefetch[str]:
    return Prefetch("position_fills", PositionFill.objects.standing())


def _position_id(text: str) -> int:
    if (position := row_id(text)) is None:
        raise OrderRejected(Reason.UNKNOWN_POSITION)
    return position
