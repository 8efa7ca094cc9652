"""Orders of an account: shown, placed, modified, cancelled."""

from __future__ import annotations

from uuid import uuid4

from rest_framework.request import Request
from rest_framework.response import Response

from trading import orders
from trading.errors import OrderRejected, Reason
from tvapi import forms, wire
from tvapi.views.base import WireView, ok, row_id


class OrdersView(WireView):
    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("orders", account_id)

    def post(self, request: Request, account_id: str) -> Response:
        """Place an order. A `requestId` that comes again answers with the order of its first time (ORD-16)."""
        account = self.account(account_id)
        values = self.read_form(forms.PlaceForm)
        order = orders.place(
            account.pk,
            forms.ticket(values),
            request_id=request_id(self),
            by=self.user,
            seen_bid=values.get("currentBid"),
            seen_ask=values.get("currentAsk"),
        )
        return ok({"orderId": str(order.pk)})


class OrderView(WireView):
    def put(self, request: Request, account_id: str, order_id: str) -> Response:
        """Give the order a new quantity and price; a price not sent stays (ORD-19)."""
        account, order = self.account(account_id), _order_id(order_id)
        values = self.read_form(forms.OrderForm)
        orders.modify(
            account.pk,
            order,
            qty=values["qty"],
            limit_price=values.get("limitPrice"),
            stop_price=values.get("stopPrice"),
            by=self.user,
        )
        return ok()

    def delete(self, request: Request, account_id: str, order_id: str) -> Response:
        account, order = self.account(account_id), _order_id(order_id)
        orders.cancel(account.pk, order, by=self.user)
        return ok()


class OrdersHistoryView(WireView):
    """Final orders, the latest first (ORD-9)."""

    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        most = self.read_query(forms.LatestQuery).get("maxCount")
        final = account.orders.final().select_related("instrument").order_by("-final_at", "-pk")
        return ok([wire.order(order) for order in final[:most]])


def request_id(view: WireView) -> str:
    """The client's name for this attempt, or a new one when it has none."""
    return view.read_query(forms.RequestQuery).get("requestId") or uuid4().hex


def _order_id(text: str) -> int:
    if (order := row_id(text)) is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    return order
