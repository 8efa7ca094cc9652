"""The fence: nobody is shown polled answers from before the last commit (docs/decisions/poll-lane.md).

A writer raises the account's fence in Redis to its new version just before his COMMIT, and does not commit when he
cannot. A reader takes an answer made from version v only while v >= fence; otherwise he reads Postgres. What all
accounts depend on, the terms of trading, has a version and a fence like an account.

A Redis that was restarted, or took over from another, may have forgotten fences. So the keys have the server's own run
id in them: a reader never meets a fence or an answer that another server was told.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from django.db import OperationalError, transaction

from backoffice import redis_pools

if TYPE_CHECKING:
    from backoffice.postgres.base import DatabaseWrapper

TERMS = 0  # takes the place of an account's id
KEPT_SECONDS = 3600  # longer than any transaction: a fence must not be forgotten while its writer has yet to commit
TIMEOUT_SECONDS = 2.0  # a writer who waits holds the account
PROOF_SECONDS = 1.0  # how long a server that has taken a write counts as the master
PROOF = ("SET", "polled:proof", 1, "EX", 60)
LOGIN_ENDED_SECONDS = 10  # longer than anybody remembers a token

logger = logging.getLogger(__name__)

# Sets each fence to its version, never lower: an order that was sent long ago may arrive late.
_RAISE = """
for i = 1, #KEYS do
  local fence = redis.call('HGET', KEYS[i], 'f')
  if not fence or tonumber(fence) < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[i], 'f', ARGV[i + 1]) end
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
"""
_epochs: WeakKeyDictionary[redis.Connection, str] = WeakKeyDictionary()
_proven: WeakKeyDictionary[redis.Connection, float] = WeakKeyDictionary()  # monotonic seconds


class FenceUnreachable(OperationalError):
    """Redis did not take the fence, so the change may not be committed."""


def key(account_id: int, epoch: str) -> str:
    """The hash of the account's fence (field `f`), and of the answers made since (see `tvapi.snapshots`)."""
    return f"polled:{account_id}:{epoch}"


def epoch_in(server_info: str) -> str:
    """The run id of the server that gave this answer to `INFO server`."""
    found = re.search(r"^run_id:(\w+)", server_info, re.MULTILINE)
    if found is None:
        raise redis.ResponseError("Redis does not say its run id.")
    return found[1]


def before_commit(account_id: int, version: int, *, using: str | None = None) -> None:
    """Have the fence raised to the version with which the transaction leaves the account, or the terms (`TERMS`)."""
    connection = cast("DatabaseWrapper", transaction.get_connection(using))
    connection.before_commit(_raise, (account_id, version))


def is_rising(account_id: int) -> bool:
    """Whether the transaction in progress has changed the account, or the terms (`TERMS`)."""
    connection = cast("DatabaseWrapper", transaction.get_connection())
    return any(call is _raise and argument[0] == account_id for _, call, argument in connection.run_before_commit)


def _raise(changes: list[tuple[int, int]]) -> None:
    versions = dict(sorted(changes))  # the highest of each
    try:
        ask(_RAISE, versions, [KEPT_SECONDS, *versions.values()])
    except redis.RedisError as error:
        raise FenceUnreachable(f"Redis did not take the fence: {error}") from error


def ask(script: str, account_ids: Iterable[int], arguments: Sequence[str | bytes | int]) -> Any:
    """Run a script on the keys of these accounts. Raises `redis.RedisError`."""
    with _connection() as connection:
        if settings.REDIS_SENTINELS:
            _prove_master(connection)
        keys = [key(account_id, _epochs[connection]) for account_id in account_ids]
        connection.send_command("EVAL", script, len(keys), *keys, *arguments)
        return connection.read_response()


def _prove_master(connection: redis.Connection) -> None:
    """Raise `redis.RedisError` unless the server has taken a write within the last second.

    A master that is cut off from its replicas (`min-replicas-to-write`) takes none, long before another one takes its
    place and is told of changes that this one never hears of.
    """
    now = time.monotonic()
    if now - _proven.get(connection, -PROOF_SECONDS) < PROOF_SECONDS:
        return
    connection.send_command(*PROOF)
    connection.read_response()
    _proven[connection] = now


def login_key(digest: str) -> str:
    """The key that is there when a token has ended lately."""
    return f"ended:{digest}"


def end_login(digest: str) -> None:
    """Tell those who remember tokens that this one has ended; without Redis they find it out in two seconds."""
    try:
        with _connection() as connection:
            connection.send_command("SET", login_key(digest), 1, "EX", LOGIN_ENDED_SECONDS)
            connection.read_response()
    except redis.RedisError as error:
        logger.warning("The end of a token cannot be told: %s", error)


@contextlib.contextmanager
def _connection() -> Iterator[redis.Connection]:
    pool = _pool()
    connection = pool.get_connection()
    try:
        yield connection
    except redis.RedisError:
        connection.disconnect()  # an answer that comes late must not be taken for that of the next question
        raise
    finally:
        pool.release(connection)


@cache
def _pool() -> redis.ConnectionPool:
    return redis_pools.pool(
        redis_connect_func=_greet,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_keepalive=True,
        retry_on_error=[],
    )


def _greet(connection: redis.Connection) -> None:
    """Learn the epoch with each new connection: it ends when its server does."""
    connection.on_connect()
    _proven.pop(connection, None)
    connection.send_command("INFO", "server")
    answer = connection.read_response()
    _epochs[connection] = epoch_in(answer.decode() if isinstance(answer, bytes) else str(answer))
