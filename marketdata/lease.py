"""The right to do a thing alone for a while, given by Redis."""

from __future__ import annotations

import secrets
import time

from marketdata import ticklog

# Takes the key when it is free or ours, for ARGV[2] milliseconds.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """One holder at a time. A holder that dies loses it after `seconds`; one that is frozen for longer wakes without
    it.

    It lives where the prices are written: whoever cannot reach Redis can write no prices either, and needs no lease.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._key = f"lease:{name}"
        self._seconds = seconds
        self._holder = secrets.token_hex(16)
        self._until = 0.0

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._until

    def take(self) -> bool:
        """Take it, or keep it for another while. False when somebody else has it. Raises `redis.RedisError`."""
        asked_at = time.monotonic()
        script = ticklog.connection().register_script(_TAKE)
        taken = bool(script(keys=[self._key], args=[self._holder, int(self._seconds * 1000)]))
        self._until = asked_at + self._seconds if taken else 0.0
        return taken

    def give_back(self) -> None:
        """Let the next one have it at once. Raises `redis.RedisError`; the lease then ends by itself."""
        self._until = 0.0
        ticklog.connection().register_script(_GIVE_BACK)(keys=[self._key], args=[self._holder])
