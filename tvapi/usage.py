"""How the API is used: requests, refusals and times by environment pair and endpoint, whoever answers them.

Each process counts what passes through its outermost layer, and adds it to Redis every second: by minute, for as long
as the monitor looks back, and in all, for who scrapes. What is lost with a process is its last second.
"""

from __future__ import annotations

import contextlib
import re
import time
from bisect import bisect_left
from collections import Counter as Counted
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import redis

from accounts import origins
from accounts.oauth_models import OAuthClient
from marketdata import ticklog
from tvapi.endless import Scope, Send

PREFIX = "/tv/"
NO_PAIR = "server"  # no page asked: TradingView's servers, or programs
UNKNOWN_PAIR = "unknown"  # a page whose origin belongs to no pair
KEPT_SECONDS = 2 * 3600
MINUTE = "answers:"  # and which, since 1970
TOTAL = "answers:total"
REFUSALS = "usage:refusals"  # of orders, by reason
POLLED = "usage:polled"  # by the lane, by outcome
EDGES_MS = (5, 10, 25, 50, 100, 150, 250, 500, 1000, 2500, 5000)  # upper ends; beyond them one more bucket
LONGEST_ORIGIN = 100  # characters: what strangers send is not kept at length

_OF_ACCOUNT = re.compile(
    r"accounts/.*?/(orders|positions|stream|previewOrder|trackLatency|instruments|state|balances|ordersHistory"
    r"|executions|getLeverage|previewLeverage|setLeverage)(/.*)?",
    re.DOTALL,
)
_PLAIN = frozenset(
    ("authorize", "logout", "oauth2/authorize", "oauth2/token", "config", "accounts", "quotes", "depth", "mapping")
) | {"groups", "permissions", "symbol_info", "history", "streaming", "ping"}
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "OPTIONS"))
# Responses without an end are counted, but their time is the reader's.
ENDLESS = frozenset(("GET streaming", "GET accounts/{id}/stream"))


@lru_cache(maxsize=8192)
def endpoint(method: str, path: str) -> str:
    """The endpoint's name, without what identifies anybody; there are few, whatever is asked for."""
    method = method if method in _METHODS else "OTHER"
    rest = path.removeprefix(PREFIX)
    if rest in _PLAIN:
        return f"{method} {rest}"
    if found := _OF_ACCOUNT.fullmatch(rest):
        has_id = found[2] and found[1] in ("orders", "positions")
        return f"{method} accounts/{{id}}/{found[1]}{'/{id}' if has_id else ''}"
    return "other"


@dataclass(slots=True)
class Tally:
    """What became of the requests of one kind. `errors` were answered by a failure, of ours or of the asker's."""

    statuses: Counted[int] = field(default_factory=Counted)  # failures of trading too are told with 200 (GEN-3)
    errors: int = 0
    cors_refused: int = 0
    total_ms: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))

    @property
    def requests(self) -> int:
        return self.statuses.total()

    def add(self, ms: int, status: int, *, is_error: bool, is_cors_refused: bool, is_timed: bool) -> None:
        self.statuses[status] += 1
        self.errors += is_error
        self.cors_refused += is_cors_refused
        if is_timed:
            self.total_ms += ms
            self.buckets[bisect_left(EDGES_MS, ms)] += 1

    def merge(self, other: Tally) -> None:
        self.statuses += other.statuses
        self.errors += other.errors
        self.cors_refused += other.cors_refused
        self.total_ms += other.total_ms
        self.buckets = [mine + more for mine, more in zip(self.buckets, other.buckets, strict=True)]

    def percentile(self, part: float) -> int | None:
        """The upper end in milliseconds of the bucket that this part of the times does not exceed; None: none timed.

        For the last bucket, which has no end, it is the end of the one before.
        """
        wanted, seen = part * sum(self.buckets), 0
        for edge, count in zip((*EDGES_MS, EDGES_MS[-1]), self.buckets, strict=True):
            seen += count
            if count and seen >= wanted:
                return edge
        return None


Key = tuple[str, str]  # origin or pair, endpoint
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Taken:
    """Counts of one process: of all requests, and of what the poll lane did with those that it took up."""

    tallies: Mapping[Key, Tally]
    polled: Mapping[str, int] = field(default_factory=dict)


class Counter:
    """One process' counts since they were last taken; for one thread."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = defaultdict(Tally)
        self._polled: Counted[str] = Counted()

    def polled(self, outcome: str) -> None:
        """Of the poll lane: `answered`, `left` to Django, and `missed`, where it made anew what the fence forbade."""
        self._polled[outcome] += 1

    def watch(self, scope: Scope, send: Send) -> Send:
        """A `send` that counts the request by its answer."""
        path: str = scope["path"]
        if not path.startswith(PREFIX):
            return send
        began = time.monotonic()
        name = endpoint(scope["method"], path)
        origin = _header(scope["headers"], b"origin")[:LONGEST_ORIGIN]
        head: Any = None
        ms = 0

        async def counted(message: Any) -> None:
            nonlocal head, ms
            if message["type"] == "http.response.start":
                head, ms = message, round((time.monotonic() - began) * 1000)
            elif head:
                self._count((origin, name), ms, head["status"], head["headers"], message.get("body", b""))
                head = None
            await send(message)

        return counted

    def _count(self, key: Key, ms: int, status: int, headers: Headers, body: bytes) -> None:
        """Count by status, headers and the beginning of the body: failures are told with 200 (GEN-3)."""
        self._tallies[key].add(
            ms,
            status,
            is_error=status >= 400 or body[:20].replace(b" ", b"").startswith(b'{"s":"error"'),
            is_cors_refused=bool(key[0]) and not _header(headers, b"access-control-allow-origin"),
            is_timed=key[1] not in ENDLESS,
        )

    def take(self) -> Taken:
        """What was counted since the last time."""
        taken = Taken(dict(self._tallies), self._polled)
        self._tallies, self._polled = defaultdict(Tally), Counted()
        return taken


def _header(headers: Headers, wanted: bytes) -> str:
    for name, value in headers:
        if name.lower() == wanted:
            return value.decode("latin-1")
    return ""


# --- Redis ------------------------------------------------------------------------------------------------------------


def tell(taken: Taken) -> None:
    """Add these counts to everybody's. Raises `redis.RedisError`."""
    if not taken.tallies and not taken.polled:  # a poll is noted before its answer is counted
        return
    pairs = _pairs()
    minute = f"{MINUTE}{int(time.time()) // 60}"
    pipeline = ticklog.connection().pipeline(transaction=False)
    for outcome, count in taken.polled.items():
        pipeline.hincrby(POLLED, outcome, count)
    for (origin, name), tally in taken.tallies.items():
        for kind, amount in _fields(tally):
            for key in (minute, TOTAL):
                pipeline.hincrby(key, f"{_pair(origin, pairs)}|{name}|{kind}", amount)
    pipeline.expire(minute, KEPT_SECONDS)
    pipeline.execute()


def refused(reason: str) -> None:
    """Count a refusal of trading. Where Redis is away it is not counted: the refusal is what matters."""
    with contextlib.suppress(redis.RedisError):
        ticklog.connection().hincrby(REFUSALS, reason, 1)


def refusals() -> dict[str, int]:
    """How often trading was refused, by reason, since Redis began. Raises `redis.RedisError`."""
    return _counts(REFUSALS)


def polled() -> dict[str, int]:
    """What the poll lanes did with the requests that they took up, since Redis began. Raises `redis.RedisError`."""
    return _counts(POLLED)


def _counts(key: str) -> dict[str, int]:
    told = cast("dict[bytes, bytes]", ticklog.connection().hgetall(key))
    return {name.decode(): int(count) for name, count in sorted(told.items())}


def of_minutes(count: int) -> dict[Key, Tally]:
    """What was counted in the last so many minutes, this one included, by pair and endpoint. Raises `RedisError`."""
    this = int(time.time()) // 60
    pipeline = ticklog.connection().pipeline(transaction=False)
    for minute in range(this - count + 1, this + 1):
        pipeline.hgetall(f"{MINUTE}{minute}")
    found: dict[Key, Tally] = {}
    for told in pipeline.execute():
        for key, tally in _read(told).items():
            found.setdefault(key, Tally()).merge(tally)
    return dict(sorted(found.items()))


def in_all() -> dict[Key, Tally]:
    """What was ever counted, since Redis began. Raises `redis.RedisError`."""
    return dict(sorted(_read(cast("dict[bytes, bytes]", ticklog.connection().hgetall(TOTAL))).items()))


def _fields(tally: Tally) -> Iterable[tuple[str, int]]:
    named = {"e": tally.errors, "c": tally.cors_refused, "ms": tally.total_ms}
    statuses = {f"s{status}": count for status, count in tally.statuses.items()}
    buckets = {f"b{index}": count for index, count in enumerate(tally.buckets)}
    return ((kind, amount) for kind, amount in {**named, **statuses, **buckets}.items() if amount)


def _read(told: Mapping[bytes, bytes]) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for name, amount in told.items():
        pair, endpoint_name, kind = name.decode().split("|")
        tally, count = found.setdefault((pair, endpoint_name), Tally()), int(amount)
        match kind:
            case "e":
                tally.errors = count
            case "c":
                tally.cors_refused = count
            case "ms":
                tally.total_ms = count
            case _ if kind.startswith("s"):
                tally.statuses[int(kind[1:])] = count
            case _:
                tally.buckets[int(kind[1:])] = count
    return found


def _pairs() -> list[tuple[str, str]]:
    """The patterns of the environment pairs' origins, each with its pair."""
    clients = OAuthClient.objects.here().order_by("pair").values_list("pair", "origins")
    return [(pattern, pair) for pair, patterns in clients for pattern in patterns]


def _pair(origin: str, pairs: Iterable[tuple[str, str]]) -> str:
    if not origin:
        return NO_PAIR
    return next((pair for pattern, pair in pairs if origins.fits(origin, pattern)), UNKNOWN_PAIR)


counter = Counter()
