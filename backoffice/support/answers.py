"""What TradingView receives of an account: now from the endpoints themselves, in the past from the records."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.core.handlers.wsgi import WSGIRequest
from django.urls import resolve
from django.utils import translation
from django.utils.translation import gettext as _

from accounts.models import Account
from backoffice.support import past
from tvapi import locales, renderers, wire

HISTORY = 50  # final orders


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint with its query, and the JSON it gives. `note` says what of it is not exactly so."""

    address: str
    body: str
    milliseconds: int | None = None
    note: str = ""


def now(account: Account, locale: str) -> list[Answer]:
    """The answers of this moment: each view is asked as TradingView asks it, as the client, in his language."""
    own = f"accounts/{account.number}"
    asked: list[tuple[str, dict[str, Any]]] = [
        ("accounts", {}),
        (f"{own}/state", {}),
        (f"{own}/orders", {}),
        (f"{own}/positions" if account.profile.has_positions else f"{own}/balances", {}),
        (f"{own}/ordersHistory", {"maxCount": HISTORY}),
        *((f"{own}/executions", {"instrument": symbol}) for symbol in past.symbols(account)),
        (f"{own}/instruments", {}),
        ("permissions", {}),
        ("config", {}),
    ]
    if symbols := past.symbols(account):
        asked.insert(4, ("quotes", {"accountId": account.number, "symbols": ",".join(symbols)}))
    return [_ask(account, path, {"locale": locale, **query}) for path, query in asked]


def _ask(account: Account, path: str, query: dict[str, Any]) -> Answer:
    began = time.monotonic()
    address = f"/tv/{path}"
    request = WSGIRequest(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": address,
            "QUERY_STRING": urlencode(query),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(),
        }
    )
    request._force_auth_user = account.client.user  # type: ignore[attr-defined]  # instead of a token (REST framework)
    match = resolve(address)
    answer = match.func(request, *match.args, **match.kwargs)
    body = pretty(answer.content)
    return Answer(f"GET {address}?{urlencode(query)}", body, round((time.monotonic() - began) * 1000))


def then(account: Account, locale: str, moment: datetime) -> list[Answer]:
    """What the books say it was at that moment."""
    own = f"/tv/accounts/{account.number}"
    with translation.override(locales.language(locale)):
        orders = [wire.order(order, order.executions.all()) for order in past.orders(account, moment)]
        positions = [
            wire.position(position) | wire.profit(profit) for position, profit in past.positions(account, moment)
        ]
        state = past.state(account, moment)
        bodies = [pretty(renderers.encode({"s": "ok", "d": each})) for each in (state, orders, positions)]
    of_minute = _("The balance is that of the books; what depends on prices is valued at the last bar before.")
    as_now = _("A trailing stop is shown where it moved to last, and what protects an order as it is tied now.")
    shown = zip(("state", "orders", "positions"), bodies, (of_minute, as_now, of_minute), strict=True)
    return [Answer(f"GET {own}/{name}", body, note=note) for name, body, note in shown]


def pretty(content: bytes) -> str:
    """The same JSON, a field a line; numbers stay as they were written."""
    return msgspec.json.format(content, indent=2).decode()
