"""Which answers a browser may show to which page (CORS-1 … CORS-7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from accounts import origins


def allows(sender: Any, request: HttpRequest, **kwargs: Any) -> bool:
    """Whether the page's origin may have this answer; a receiver of corsheaders' signal. The admin's are its own."""
    return not request.path_info.startswith("/admin/") and origins.is_allowed(request.headers.get("Origin", ""))


def headers_of(given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers for an answer that does not pass through Django's middleware (CORS-4)."""
    sent = [value for name, value in given if name.lower() == b"origin"]
    if len(sent) == 1 and origins.is_allowed(sent[0].decode("latin-1")):
        return [(b"vary", b"origin"), (b"access-control-allow-origin", sent[0])]
    return [(b"vary", b"origin")]
