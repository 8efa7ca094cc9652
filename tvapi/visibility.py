"""Whose stream shows what: the lines that a login may have, looked up anew every few seconds (PRM-1)."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from asgiref.sync import sync_to_async
from django import db

from accounts import entitlements, tokens
from accounts.models import User
from accounts.oauth_models import OAuthClient
from marketdata.models import Instrument, SymbolGroup

REFRESH_SECONDS = 4.0

logger = logging.getLogger(__name__)


class _Line(msgspec.Struct):
    """What of a line says whose it is; a heartbeat is nobody's."""

    id: str = ""


_symbol_of = msgspec.json.Decoder(_Line).decode


class Visibility:
    """What one connection may see. `client_id` is the key of the OAuth client that its token was given to, if any."""

    def __init__(self, token: str, user: User, client_id: int | None) -> None:
        self._token, self._user, self._client_id = token, user, client_id
        self._hidden: frozenset[str] = frozenset()

    def of(self, chunk: bytes) -> bytes:
        """The lines of the chunk that are to be seen: mostly all, and then the same bytes as for everybody (STRM-5)."""
        if not self._hidden:
            return chunk
        return b"".join(line for line in chunk.splitlines(keepends=True) if _symbol_of(line).id not in self._hidden)

    async def end(self) -> None:
        """Keep up with what the login may see, and return when it was ended, or its client switched off."""
        while await sync_to_async(self.refresh)():
            await asyncio.sleep(REFRESH_SECONDS)

    def refresh(self) -> bool:
        """Whether the login may go on. Without the database it may, with what is known."""
        db.close_old_connections()
        try:
            if not self._is_admitted():
                return False
            existing = set(SymbolGroup.objects.values_list("name", flat=True))
            hidden = existing.difference(entitlements.groups_of(self._user, existing))
            symbols = Instrument.objects.filter(symbol_group__name__in=hidden) if hidden else Instrument.objects.none()
            self._hidden = frozenset(symbols.values_list("symbol", flat=True))
        except db.Error as error:
            logger.warning("What a reader of the stream may see cannot be read, it stays as it was: %s", error)
        return True

    def _is_admitted(self) -> bool:
        """Not whether its token is still good: that ends by time and by renewal, and the stream goes on (STRM-4)."""
        if tokens.was_ended(self._token):
            return False
        if not User.objects.filter(pk=self._user.pk, is_active=True).exists():
            return False
        return self._client_id is None or OAuthClient.objects.filter(pk=self._client_id, is_active=True).exists()
