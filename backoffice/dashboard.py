"""The admin's first page: the few numbers that matter, and whether every part of the system is alive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from accounts.choices import AccountState
from accounts.models import Account
from backoffice import health
from backoffice.admin import Panel, Text, list_url, may_view
from trading.models import Order, Position
from trading.states import OrderStatus

RECENT = timedelta(hours=24)


class Figure(NamedTuple):
    """A number of the overview, and the list behind it."""

    title: Text
    value: str
    url: str
    hint: Text = ""


class Part(NamedTuple):
    name: str
    state: str
    is_well: bool


def add_numbers(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Complete the page's context. Everybody sees the numbers of what he may look at."""
    context["figures"] = _figures(request)
    context["parts"] = [Part(name, state, state == "ok") for name, state in health.report().items()]
    context["panels"] = [_latest_orders()] if may_view(request, Order) else []
    return context


def _figures(request: HttpRequest) -> list[Figure]:
    figures = []
    if may_view(request, Order):
        figures += _order_figures()
    if may_view(request, Position):
        figures.append(
            Figure(
                _("Open positions"),
                _count(Position.objects.open().count()),
                list_url(Position, closed_at__isempty=1),
            )
        )
    if may_view(request, Account):
        active = Account.objects.filter(state=AccountState.ACTIVE).count()
        url = list_url(Account, state__exact=AccountState.ACTIVE.value)
        figures.append(Figure(_("Active accounts"), _count(active), url))
    return figures


def _order_figures() -> list[Figure]:
    recent = Order.objects.filter(created_at__gte=timezone.now() - RECENT).count()
    working = Order.objects.filter(status=OrderStatus.WORKING).count()
    return [
        Figure(_("Working orders"), _count(working), list_url(Order, status__exact=OrderStatus.WORKING.value)),
        Figure(
            _("Waiting for the venue"),
            _count(Order.objects.queued().count()),
            list_url(Order, queued__exact=1),
            _("More than a few for long: look at the worker."),
        ),
        Figure(_("Orders in 24 hours"), _count(recent), list_url(Order)),
    ]


def _count(value: int) -> str:
    return number_format(value, force_grouping=True)


def _latest_orders() -> Panel:
    return Panel(
        _("Latest orders"),
        Order.objects.select_related("account", "instrument").order_by("-pk"),
        ("id", "account", "instrument", "side", "type", "qty", "filled_qty", "status", "created_at"),
        _("No order has been placed yet."),
        list_url(Order),
    )
