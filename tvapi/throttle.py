"""Who asks too much is told to wait, before Django is asked; and data servers are not his neighbours (ENV-5).

Requests are counted for each token, and for each address, so that new tokens buy nothing. Data servers are not held
back, and what they ask for is worked off by threads of their own: they go on while traders, or who pretends to be one,
ask for more than can be answered. By `DATA_SERVER_NETWORKS` they are known; where none are named, by what they ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

from django import db
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from accounts import bounded, networks, origins, tokens
from tvapi import exceptions, locales, renderers
from tvapi.endless import Receive, Scope, Send

DATA_PATHS = frozenset(f"/tv/{name}" for name in ("groups", "symbol_info", "history", "streaming"))
BURST_SECONDS = 4.0  # of requests at the usual rate may come at once
ADDRESS_FACTOR = 10  # as many tokens may share an address
MOST_SENDERS = 100_000


class Buckets:
    """How much each sender may still ask for: a bucket that fills at a rate, up to a burst. Times are monotonic."""

    def __init__(self, rate: float) -> None:
        self._rate, self._size = rate, rate * BURST_SECONDS
        self._filled: dict[str, tuple[float, float]] = {}  # what was left, and when

    def take(self, sender: str, now: float) -> bool:
        """Whether he may have one more answer."""
        left, at = self._filled.get(sender, (self._size, now))
        left = min(self._size, left + (now - at) * self._rate)
        # Those who ask are put in anew, so the idle ones leave first.
        bounded.keep(self._filled, sender, (left - 1 if left >= 1 else left, now), most=MOST_SENDERS)
        return left >= 1


_by_token = Buckets(settings.REQUESTS_A_SECOND)
_by_address = Buckets(settings.REQUESTS_A_SECOND * ADDRESS_FACTOR)


async def handle(scope: Scope, receive: Receive, send: Send) -> bool:
    """Refuse a request of the API with 429 when its sender has asked too much, and return True (GEN-17)."""
    if not settings.REQUESTS_A_SECOND or not scope["path"].startswith("/tv/") or is_of_data_server(scope):
        return False
    headers = dict(scope["headers"])
    now, token = monotonic(), headers.get(b"authorization", b"")
    may_ask = _by_address.take(networks.address_of_scope(scope), now)
    if may_ask and (not token or _by_token.take(tokens.digest(token.decode("latin-1")), now)):
        return False
    await _refuse(scope, headers, send)
    return True


def is_of_data_server(scope: Scope) -> bool:
    """Whether a data server asks, or what only data servers ask for is asked, where their networks are not known."""
    if known := settings.DATA_SERVER_NETWORKS:
        return networks.is_inside(networks.address_of_scope(scope), known)
    return scope["path"] in DATA_PATHS


async def _refuse(scope: Scope, given: Mapping[bytes, bytes], send: Send) -> None:
    """With a preflight the browser is let on to the request itself, whose refusal the page can read (CORS-4)."""
    with translation.override(locales.language_in(scope.get("query_string", b"").decode("latin-1"))):
        body = renderers.encode(exceptions.failure(_("There were too many requests. Please wait a moment.")))
    status, sent = 429, {"content-type": "application/json", "cache-control": "no-store", "retry-after": "1"}
    origin = given.get(b"origin", b"").decode("latin-1")
    is_allowed = await asyncio.to_thread(_is_allowed, origin)
    if is_allowed and scope["method"] == "OPTIONS" and b"access-control-request-method" in given:
        status, body = 200, b""
        sent = {
            "access-control-allow-methods": ", ".join(settings.CORS_ALLOW_METHODS),
            "access-control-allow-headers": ", ".join(settings.CORS_ALLOW_HEADERS),
            "access-control-max-age": str(settings.CORS_PREFLIGHT_MAX_AGE),
        }
    sent["vary"] = "origin"
    if is_allowed:
        sent["access-control-allow-origin"] = origin
    headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _is_allowed(origin: str) -> bool:
    db.close_old_connections()  # one that Postgres has closed meanwhile; a request of Django's begins so too
    return origins.is_allowed(origin)
