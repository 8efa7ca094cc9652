"""Connections to Redis: to the server of REDIS_URL, or to whichever the sentinels name as the master now.

With sentinels, login, password and number of the database are still those of REDIS_URL. Knows no app.
"""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from redis.connection import parse_url
from redis.sentinel import Sentinel, SentinelConnectionPool

ASK_SECONDS = 1.0  # how long a sentinel may take to answer before another one is asked


def pool(**options: Any) -> redis.ConnectionPool:
    """A pool of its own; its connections, when they are made anew, follow the master."""
    if not settings.REDIS_SENTINELS:
        return redis.ConnectionPool.from_url(settings.REDIS_URL, **options)
    known = parse_url(settings.REDIS_URL)
    address = {name: known[name] for name in ("username", "password", "db") if name in known}
    is_tls = issubclass(known.get("connection_class", object), redis.SSLConnection)
    return SentinelConnectionPool(settings.REDIS_SENTINEL_MASTER, _sentinel(), ssl=is_tls, **{**address, **options})


def client(**options: Any) -> redis.Redis:
    return redis.Redis(connection_pool=pool(**options))


class CachePool:
    """What Django's cache takes for a class of pools."""

    @staticmethod
    def from_url(url: str, **options: Any) -> redis.ConnectionPool:
        return pool(**options)


def current_url() -> str:
    """REDIS_URL, with the master of this moment in it. Asks the sentinels; raises `redis.RedisError`."""
    if not settings.REDIS_SENTINELS:
        return settings.REDIS_URL
    host, port = _sentinel().discover_master(settings.REDIS_SENTINEL_MASTER)
    parts = urlsplit(settings.REDIS_URL)
    login, at, _address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}{host}:{port}").geturl()


@functools.cache
def _sentinel() -> Sentinel:
    return Sentinel(
        [(host, int(port)) for host, _, port in (each.rpartition(":") for each in settings.REDIS_SENTINELS)],
        sentinel_kwargs={
            "password": settings.REDIS_SENTINEL_PASSWORD or None,
            "socket_timeout": ASK_SECONDS,
            "socket_connect_timeout": ASK_SECONDS,
        },
    )
