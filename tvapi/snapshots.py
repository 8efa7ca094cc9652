"""What the polled endpoints say of an account at one moment. The streams say the same (TSTR-4)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from accounts import statements
from accounts.models import Account
from marketdata.models import Instrument
from trading import exposure, valuation
from trading.models import Execution, Order, Position
from trading.prices import Prices
from trading.sessions_of import LONGEST_CLOSURE_DAYS, ROUND_THE_CLOCK, session_start
from tvapi import account_manager, wire
from tvapi.account_manager import Figures


def orders(account: Account) -> list[dict[str, Any]]:
    return [wire.order(order) for order in _of_session(account)]


def positions(account: Account) -> list[dict[str, Any]]:
    """Open positions, and those just closed with quantity 0 (POS-6). A spot account has none."""
    if not account.profile.has_positions:
        return []
    opened = [wire.position(each.position, each.unrealized_pl) for each in valuation.value(account).positions]
    closed = [wire.position(position, Decimal(0)) for position in _just_closed(account)]
    return opened + closed


def state(account: Account) -> dict[str, Any]:
    figures = _figures(account)
    return {
        "balance": figures.balance,
        "unrealizedPl": figures.unrealized_pl,
        "equity": figures.equity,
        **account_manager.cells(account.profile, figures),
    }


def standing_executions() -> Prefetch[str]:
    """What `wire.order` takes the commission of an order from: a busted execution costs none."""
    return Prefetch("executions", Execution.objects.standing())


def _of_session(account: Account) -> list[Order]:
    """What `/orders` shows: what is live, and what became final in the current session of its market (ORD-4 … ORD-6).

    One statement reads both: an order that becomes final between two would be in neither, and vanish for a moment.
    """
    now = timezone.now()
    starts: dict[int, datetime] = {}
    oldest = now - timedelta(days=LONGEST_CLOSURE_DAYS)
    ended = account.orders.filter(final_at__gte=oldest).values("instrument")
    for instrument in Instrument.objects.filter(pk__in=ended):
        starts[instrument.pk] = session_start(instrument, now)
    earliest = min([*starts.values(), now - ROUND_THE_CLOCK])
    found = account.orders.of_session(earliest).select_related("instrument").prefetch_related(standing_executions())
    return [
        each
        for each in found.order_by("-pk")
        if each.final_at is None or each.final_at >= starts.get(each.instrument_id, earliest)
    ]


def _just_closed(account: Account) -> QuerySet[Position]:
    since = timezone.now() - timedelta(seconds=settings.SHOW_CLOSED_POSITIONS_SECONDS)
    return account.positions.filter(closed_at__gt=since).select_related("instrument").order_by("pk")


def _figures(account: Account) -> Figures:
    if not account.profile.has_positions:
        return account_manager.of_spot(account, valuation.spot(account))
    prices = Prices()
    value = valuation.value(account, prices)
    return account_manager.of_margin(account, value, exposure.shown(account, value, prices), statements.totals(account))
