"""The tick log: the one door by which prices enter, live and recorded alike.

A Redis Stream, capped by time. From it, and from nothing else, come the latest quotes, the lines of `/tv/streaming`,
the triggers of the engine and the bars; so what one shows never contradicts the other (DQ-1).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, cast

import msgspec
import redis
from django.conf import settings

from backoffice import redis_pools

STREAM = "ticks"
QUOTES = "quotes"
QUOTE_TIMES = "quotes:time"

Level = tuple[Decimal, Decimal]  # price, quantity
Raw = tuple[bytes, dict[bytes, bytes]]  # an entry as Redis has it: id, fields


class Tick(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A change of a symbol's prices at one instant of its source.

    `time_ms` is the source's Unix time in milliseconds. Sizes are in units. `last` and `last_size` are given when the
    tick is a trade. `bids` and `asks` hold the depth, best first, when the source has it. `lane` names a replay of
    recorded prices, and `seq` numbers its ticks from 1, so that a tick that comes again is known; live prices have
    neither.
    """

    symbol: str
    time_ms: int
    bid: Decimal
    ask: Decimal
    bid_size: Decimal = Decimal(0)
    ask_size: Decimal = Decimal(0)
    last: Decimal | None = None
    last_size: Decimal | None = None
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    lane: str = ""
    seq: int = 0


class Entry(msgspec.Struct, frozen=True):
    """A tick and its place in the log (Redis Stream id)."""

    id: str
    tick: Tick


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Tick)

# Appends each tick, and makes it its symbol's latest quote unless it is older than the one there: recorded prices pass
# through the log without becoming today's. The quote carries the id of its entry, which is the version of the book.
# A tick that must follow a certain quote is left out when the latest quote is another one.
_APPEND = """
local floor = ARGV[1]
local ids = {}
for i = 2, #ARGV, 4 do
  local symbol, ms, body, follows = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  if follows == '*' or follows == string.match(redis.call('HGET', KEYS[2], symbol) or '', '^%S*') then
    local id = redis.call('XADD', KEYS[1], 'MINID', '~', floor, '*', 't', body)
    local known = redis.call('HGET', KEYS[3], symbol)
    if not known or tonumber(known) <= ms then
      redis.call('HSET', KEYS[3], symbol, ms)
      redis.call('HSET', KEYS[2], symbol, id .. ' ' .. body)
    end
    ids[#ids + 1] = id
  end
end
return ids
"""
ANY = "*"  # whatever the latest quote is
NONE = ""  # the version of a symbol without a quote


@cache
def connection() -> redis.Redis:
    """The process's connection pool to Redis."""
    return redis_pools.client(health_check_interval=30, socket_keepalive=True)


def append(ticks: Sequence[Tick], *, following: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Add the ticks to the log, in order and as one step, and return the ids of those added.

    `following` names, by symbol, the version of the quote that a tick was made from (`NONE`: there was none). If it is
    no longer the latest one, the tick is left out: somebody else has given the symbol a price in the meantime.
    Raises `redis.RedisError`, nothing added.
    """
    if not ticks:
        return []
    floor_ms = int((time.time() - settings.TICK_LOG_SECONDS) * 1000)
    args: list[str | bytes | int] = [f"{floor_ms}-0"]
    for tick in ticks:
        args += [tick.symbol, tick.time_ms, _encode(tick), following.get(tick.symbol, ANY)]
    ids = connection().register_script(_APPEND)(keys=[STREAM, QUOTES, QUOTE_TIMES], args=args)
    return [id_.decode() for id_ in cast("list[bytes]", ids)]


def read(after: str, *, count: int = 5000, block_ms: int | None = None) -> list[Entry]:
    """The next entries after the id `after`; with `block_ms`, waits that long for the first one."""
    found = read_streams({STREAM: after}, count=count, block_ms=block_ms)
    return [decode_entry(id_, fields) for id_, fields in found.get(STREAM, [])]


def read_streams(after: Mapping[str, str], *, count: int, block_ms: int | None = None) -> dict[str, list[Raw]]:
    """What several Redis Streams hold after these ids, by stream; those with nothing new are missing."""
    found = cast("list[tuple[bytes, list[Raw]]]", connection().xread(cast("Any", after), count=count, block=block_ms))
    return {name.decode(): entries for name, entries in found}


def last_id(stream: str = STREAM) -> str:
    """The id of the newest entry of the log, or of another stream; "0-0" when it is empty."""
    newest = cast("list[Raw]", connection().xrevrange(stream, count=1))
    return newest[0][0].decode() if newest else "0-0"


def quote_times() -> dict[str, int]:
    """The time of each symbol's latest quote, in Unix milliseconds."""
    times = cast("dict[bytes, bytes]", connection().hgetall(QUOTE_TIMES))
    return {symbol.decode(): int(time_ms) for symbol, time_ms in times.items()}


def decode_entry(id_: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(id_.decode(), _decoder.decode(fields[b"t"]))


def decode_quote(value: bytes) -> Entry:
    """The latest tick of a symbol, as the hash of quotes holds it."""
    id_, _, body = value.partition(b" ")
    return Entry(id_.decode(), _decoder.decode(body))


def batches(ticks: Iterable[Tick], size: int = 1000) -> Iterator[list[Tick]]:
    """Cut a long run of ticks into pieces fit for `append`."""
    batch: list[Tick] = []
    for tick in ticks:
        batch.append(tick)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
