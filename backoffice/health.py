"""Who is alive. Every part writes a key that expires; whoever asks looks at the keys. Knows no app."""

import functools
import logging
import time
from collections.abc import Callable, Sequence

import redis
from django.db import DatabaseError, connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from backoffice import redis_pools

BEAT_SECONDS = 1
EXPIRY_SECONDS = 15
PARTS = ("worker", "feed", "engine", "stream")

logger = logging.getLogger(__name__)
_last_beat: dict[str, float] = {}  # part: monotonic seconds
_optional: dict[str, Callable[[], bool]] = {}  # part: whether it is wanted at the moment


@functools.cache
def _redis() -> redis.Redis:
    """The connection of the health checks: short patience, because a silent Redis is an answer too."""
    once = Retry(NoBackoff(), retries=0)
    return redis_pools.client(socket_connect_timeout=2, socket_timeout=2, retry=once)


def beat(part: str) -> None:
    """Say that the part's main loop is alive. Call it as often as you like: it writes at most once a second.

    A Redis that does not answer is logged and otherwise ignored; the missing key then says it to whoever asks.
    """
    now = time.monotonic()
    if now - _last_beat.get(part, float("-inf")) < BEAT_SECONDS:
        return
    _last_beat[part] = now
    try:
        _redis().set(f"alive:{part}", int(time.time()), ex=EXPIRY_SECONDS)
    except redis.RedisError as error:
        logger.warning("The sign of life of %s was not written: %s", part, error)


def expect(part: str, is_wanted: Callable[[], bool]) -> None:
    """Report on this part too, while it is wanted: not every installation runs it."""
    _optional[part] = is_wanted


def report() -> dict[str, str]:
    """Each part's name with "ok" or what is wrong with it, in words fit for strangers (no hosts, no internals)."""
    database = _database()
    optional = [part for part, is_wanted in _optional.items() if database == "ok" and is_wanted()]
    return {"database": database, **_redis_and_parts([*PARTS, *optional])}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        logger.exception("The database does not answer")
        return "does not answer"
    return "ok"


def _redis_and_parts(parts: Sequence[str]) -> dict[str, str]:
    try:
        signs = _redis().mget([f"alive:{part}" for part in parts])
    except redis.RedisError:
        logger.exception("Redis does not answer")
        return {"redis": "does not answer", **dict.fromkeys(parts, "unknown while redis does not answer")}
    silent = f"no sign of life for {EXPIRY_SECONDS} s"
    return {"redis": "ok", **{part: "ok" if sign else silent for part, sign in zip(parts, signs, strict=True)}}
