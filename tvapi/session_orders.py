"""The orders of an account's session, as `/orders` shows them (ORD-4 … ORD-6), rendered for snapshots.

A trader's session can have thousands of orders, and each change of one makes all snapshots of the account anew. Those
that have ended do not change, so a process renders each of them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from django.db.models import Prefetch
from django.utils import translation

from accounts import bounded, known
from accounts.models import Account
from marketdata.models import Instrument
from trading import instruments_of, states
from trading.models import Execution, Order
from trading.sessions_of import LEAST_SHOWN, LONGEST_CLOSURE_DAYS, ROUND_THE_CLOCK, next_start, session_start
from tvapi import renderers, wire

KEPT = 50_000

# By order, the moment of its last change, language, and the version of the terms (currencies have decimals). A bust
# changes an order that has ended, and with it that moment.
_Key = tuple[int, datetime, str, int]
_ended: dict[_Key, msgspec.Raw] = {}


def of_session(account: Account, now: datetime) -> tuple[list[msgspec.Raw], list[datetime]]:
    """What is live and what became final in the current session of its market, the latest first; and the moments at
    which one of them may leave.

    One statement chooses among both kinds: an order that becomes final between two would be in neither, and vanish for
    a moment.
    """
    starts: dict[int, datetime] = {}
    moments: list[datetime] = []
    oldest = now - timedelta(days=LONGEST_CLOSURE_DAYS)
    ended = account.orders.filter(final_at__gte=oldest).order_by().values_list("instrument", flat=True).distinct()
    for instrument in known.several(account, "instrument", set(ended), Instrument.objects.in_bulk).values():
        starts[instrument.pk] = session_start(instrument, now)
        moments += next_start(instrument, now)
    earliest = min([*starts.values(), now - ROUND_THE_CLOCK])
    columns = ("pk", "instrument_id", "final_at", "updated_at")
    shown: list[tuple[int, datetime]] = []
    for pk, instrument_id, final_at, updated_at in (
        account.orders.of_session(earliest).order_by("-pk").values_list(*columns)
    ):
        if final_at is None or final_at >= starts.get(instrument_id, earliest):
            shown.append((pk, updated_at))
        if final_at is not None:
            moments += [final_at + LEAST_SHOWN, final_at + ROUND_THE_CLOCK]
    return _rendered(account, shown), moments


def standing_executions() -> Prefetch[str]:
    """What `wire.order` takes the commission of an order from: a busted execution costs none."""
    return Prefetch("executions", Execution.objects.standing())


def _rendered(account: Account, shown: Iterable[tuple[int, datetime]]) -> list[msgspec.Raw]:
    language, terms = translation.get_language(), account.terms or 0
    keys: list[_Key] = [(pk, updated_at, language, terms) for pk, updated_at in shown]
    found = {key[0]: raw for key in keys if (raw := _ended.get(key))}
    missing = Order.objects.filter(pk__in=[key[0] for key in keys if key[0] not in found])
    for order in instruments_of.attach(account, missing.prefetch_related(standing_executions())):
        found[order.pk] = msgspec.Raw(renderers.encode(wire.order(order)))
        if order.status in states.FINAL:
            bounded.keep(_ended, (order.pk, order.updated_at, language, terms), found[order.pk], most=KEPT)
    return [found[key[0]] for key in keys]
