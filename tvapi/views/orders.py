"""Orders of an account: shown, placed, modified, cancelled."""

from __future__ import annotations

import logging
from uuid import uuid4

from django.db.models import Prefetch
from rest_framework.request import Request
from rest_framework.response import Response

from trading import orders, previews, tradables
from trading.errors import OrderRejected, Reason
from trading.models import Execution, LatencyReport
from tvapi import forms, wire
from tvapi.views.base import WireView, ok, row_id

logger = logging.getLogger(__name__)


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
            confirm_id=confirm_id(self),
            by=self.user,
            seen_bid=values.get("currentBid"),
            seen_ask=values.get("currentAsk"),
            at_once=True,
        )
        logger.info("order %s of account %s is accepted", order.pk, account.pk, extra={"order_id": str(order.pk)})
        return ok({"orderId": str(order.pk), "transactionId": transaction_id()})


class OrderView(WireView):
    def put(self, request: Request, account_id: str, order_id: str) -> Response:
        """Give the order its whole new state: a price not sent stays, a bracket not sent is removed (ORD-19)."""
        account, order = self.account(account_id), order_id_of(order_id)
        values = self.read_form(forms.OrderForm)
        orders.modify(account.pk, order, **forms.change(values), confirm_id=confirm_id(self), by=self.user)
        return accepted()

    def delete(self, request: Request, account_id: str, order_id: str) -> Response:
        account, order = self.account(account_id), order_id_of(order_id)
        orders.cancel(account.pk, order, by=self.user)
        return accepted()


class PreviewView(WireView):
    """What an order would mean, placed or changed; nothing is stored or reserved (PRV-4)."""

    def post(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        values = self.read_form(forms.PreviewForm)
        if "id" in values:
            preview = previews.of_change(account, order_id_of(values["id"]), **forms.change(values))
        else:
            preview = previews.of_ticket(account, forms.ticket(values))
        return ok(wire.preview(preview))


class LatencyView(WireView):
    def post(self, request: Request, account_id: str) -> Response:
        """Keep what the page measured; a report that comes twice is stored once (LAT-2)."""
        account = self.account(account_id)
        values = self.read_form(forms.LatencyForm)
        LatencyReport.objects.get_or_create(
            account=account,
            transaction_id=values["transactionId"],
            defaults={
                "kind": values["transactionType"],
                "instrument": tradables.find(account, values["instrument"]).instrument,
                "side": values["side"],
                "qty": values.get("qty"),
                "bid": values["bid"],
                "ask": values["ask"],
                "quoted_ms": values["timestamp"],
                "round_trip_ms": values["roundTripDuration"],
            },
        )
        return ok()


class OrdersHistoryView(WireView):
    """Final orders, the latest first (ORD-9)."""

    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        most = self.read_query(forms.LatestQuery).get("maxCount")
        standing = Prefetch("executions", Execution.objects.standing())
        final = account.orders.final().prefetch_related("instrument", standing).order_by("-final_at", "-pk")
        return ok([wire.order(order, order.executions.all()) for order in final[:most]])


def request_id(view: WireView) -> str:
    """The client's name for this attempt, or a new one when it has none."""
    return view.read_query(forms.RequestQuery).get("requestId") or uuid4().hex


def confirm_id(view: WireView) -> str:
    """That of the preview which the user confirmed (ORD-18), if he did."""
    return view.read_query(forms.ConfirmQuery).get("confirmId") or ""


def accepted() -> Response:
    """The answer to a trading request that says no more than that it was accepted (LAT-1)."""
    return ok({"transactionId": transaction_id()})


def transaction_id() -> str:
    return uuid4().hex


def order_id_of(text: str) -> int:
    if (order := row_id(text)) is None:
        raise OrderRejected(Reason.UNKNOWN_ORDER)
    return order
