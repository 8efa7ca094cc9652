"""The orders of an account's session, as `/orders` shows them (ORD-4 … ORD-6), rendered for snapshots.

A trader's session can have thousands of orders, and each change of one makes all snapshots of the account anew. So a
process renders an order once for each version of its row.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from django.db import connection
from django.utils import translation

from accounts import bounded, known, rows
from accounts.models import Account
from marketdata.models import Instrument
from trading import instruments_of
from trading.bust_models import BustedExecution
from trading.models import Execution, Order
from trading.sessions_of import LEAST_SHOWN, LONGEST_CLOSURE_DAYS, ROUND_THE_CLOCK, next_start, session_start
from tvapi import renderers, wire

KEPT = 50_000
ACCOUNTS_KEPT = 50_000
LOOK_BACK_AGAIN = timedelta(hours=1)

# `xmin`, the transaction that wrote the row, is Postgres' own name for a version of it.
_CHOSEN = f"""
SELECT id, xmin::text, instrument_id, final_at
  FROM {Order._meta.db_table}
 WHERE account_id = %s AND (final_at IS NULL OR final_at >= %s)
 ORDER BY id DESC
"""  # noqa: S608

_ORDERS = f"SELECT {rows.columns_of(Order)} FROM {Order._meta.db_table} WHERE id = ANY(%s)"  # noqa: S608
_EXECUTIONS = f"""
SELECT {rows.columns_of(Execution)} FROM {Execution._meta.db_table} AS execution
 WHERE order_id = ANY(%s)
       AND NOT EXISTS (SELECT FROM {BustedExecution._meta.db_table} WHERE execution_id = execution.id)
 ORDER BY id
"""  # noqa: S608

# By order, the version of its row, language, and the version of the terms (currencies have decimals). Whatever changes
# what an order costs, a fill or a bust, changes its row too.
_Key = tuple[int, str, str, int]
_rendered: dict[_Key, msgspec.Raw] = {}

_looked_back: dict[int, tuple[datetime, frozenset[int]]] = {}  # by account: when, and what was found


def of_session(account: Account, now: datetime) -> tuple[list[msgspec.Raw], list[datetime]]:
    """What is live and what became final in the current session of its market, the latest first; and the moments at
    which one of them may leave.

    One statement chooses among both kinds: an order that becomes final between two would be in neither, and vanish for
    a moment.
    """
    day_ago = now - ROUND_THE_CLOCK
    starts = {pk: session_start(instrument, now) for pk, instrument in _instruments(account, _ended(account, now))}
    earliest = min([*starts.values(), day_ago])
    with connection.cursor() as cursor:
        chosen = cursor.execute(_CHOSEN, [account.pk, earliest]).fetchall()
    traded = dict(_instruments(account, {instrument_id for _pk, _writer, instrument_id, _final_at in chosen}))
    starts |= {pk: session_start(instrument, now) for pk, instrument in traded.items() if pk not in starts}

    shown = [
        (pk, writer)
        for pk, writer, instrument_id, final_at in chosen
        if final_at is None or final_at >= starts[instrument_id]
    ]
    ends = [final_at for _pk, _writer, _instrument_id, final_at in chosen if final_at is not None]
    moments = [moment for instrument in traded.values() for moment in next_start(instrument, now)]
    for shown_for in (LEAST_SHOWN, ROUND_THE_CLOCK):
        if oldest := min((end for end in ends if end > now - shown_for), default=None):
            moments.append(oldest + shown_for)
    return _render(account, shown), moments


def _ended(account: Account, now: datetime) -> frozenset[int]:
    """The instruments of orders that ended lately, any of which may belong to a session that goes on.

    It may lack what ended since the last look back, which is hardly ever more than an hour ago: all that ended in the
    last 24 hours is looked at anyway.
    """
    looked_at, found = _looked_back.get(account.pk, (None, frozenset()))
    if looked_at and timedelta(0) <= now - looked_at < LOOK_BACK_AGAIN:
        return found
    oldest = now - timedelta(days=LONGEST_CLOSURE_DAYS)
    ended = account.orders.filter(final_at__gte=oldest).order_by().values_list("instrument", flat=True).distinct()
    found = frozenset(ended)
    if not connection.in_atomic_block:
        bounded.keep(_looked_back, account.pk, (now, found), most=ACCOUNTS_KEPT)
    return found


def _instruments(account: Account, ids: Iterable[int]) -> Iterable[tuple[int, Instrument]]:
    return known.several(account, "instrument", set(ids), Instrument.objects.in_bulk).items()


def _render(account: Account, shown: Iterable[tuple[int, str]]) -> list[msgspec.Raw]:
    language, terms = translation.get_language(), account.terms or 0
    keys: dict[int, _Key] = {pk: (pk, writer, language, terms) for pk, writer in shown}
    # A transaction that changes a row twice gives both versions one name, and may be taken back.
    is_kept = not connection.in_atomic_block
    found = {pk: raw for pk, key in keys.items() if (raw := _rendered.get(key))} if is_kept else {}
    if missing := keys.keys() - found.keys():
        orders = rows.read(Order, _ORDERS, [[*missing]], using=Order.objects.db)
        filled = [order.pk for order in orders if order.filled_qty]
        executions = rows.read(Execution, _EXECUTIONS, [filled], using=Execution.objects.db) if filled else []
        for order in instruments_of.attach(account, orders):
            own = [execution for execution in executions if execution.order_id == order.pk]
            found[order.pk] = msgspec.Raw(renderers.encode(wire.order(order, own)))
            if is_kept:  # perhaps as of a later version, which is then the only one that others will ask for
                bounded.keep(_rendered, keys[order.pk], found[order.pk], most=KEPT)
    return [found[pk] for pk in keys]
