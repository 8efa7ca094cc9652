"""The poll lane: the polled answers, given before Django is asked, from memory and one question to Redis.

It gives an answer only when it knows that Django would give the same one. Everything else goes on to Django: whoever it
does not know, what is to be refused, and every trouble. See docs/decisions/poll-lane.md.
"""

from __future__ import annotations

import logging

from django.conf import settings

from tvapi import usage
from tvapi.endless import Receive, Scope, Send
from tvapi.lane import requests
from tvapi.lane.lane import Lane

__all__ = ["Lane", "handle"]

logger = logging.getLogger(__name__)
_lane = Lane()


async def handle(scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer a polled GET and return True; False, with nothing received or sent, when it is Django's."""
    if not settings.POLL_LANE or scope["method"] != "GET":
        return False
    if (asked := requests.asked(scope["path"], scope["query_string"])) is None:
        return False
    if (sender := requests.sender(scope["headers"], scope["scheme"])) is None:
        return False
    try:
        body = await _lane.answer(asked, sender.digest)
    except Exception:
        logger.exception("The poll lane met a fault; Django answers", extra={"request_id": scope.get("request_id", "")})
        return False
    if body is None or _lane.origins is None:
        usage.counter.polled("left")
        return False
    usage.counter.polled("answered")
    headers = requests.headers(asked.answer, asked.language, sender.origin, sender.is_secure, _lane.origins)
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    return True
