"""The tokens in use and what they stand for, looked up again every second: all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from accounts.tokens import Login

REMEMBERED_SECONDS = 2.0
REFRESH_SECONDS = 1.0
MOST_NEW = 1000  # of one round: unknown tokens cost no more than this

LookUp = Callable[[list[str]], Awaitable[dict[str, Login]]]


class Logins:
    """By the token's hash. A token that is not known yet is looked up for the next time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Login, float]] = {}
        self._asked: set[str] = set()
        self._new = asyncio.Event()

    def get(self, digest: str) -> Login | None:
        known = self._known.get(digest)
        if known is not None:
            self._asked.add(digest)
            if time.monotonic() < known[1]:
                return known[0]
        elif len(self._asked) < MOST_NEW + len(self._known):
            self._asked.add(digest)
            self._new.set()
        return None

    def forget(self, digest: str) -> None:
        self._known.pop(digest, None)

    async def follow(self, look_up: LookUp) -> None:
        """Look up what was asked for since the last round, and forget the rest. Raises what `look_up` raises."""
        while True:
            self._new.clear()
            asked, self._asked = self._asked, set()
            until = time.monotonic() + REMEMBERED_SECONDS
            found = await look_up(list(asked)) if asked else {}
            still_good = {digest: known for digest, known in self._known.items() if time.monotonic() < known[1]}
            self._known = {**still_good, **{digest: (login, until) for digest, login in found.items()}}
            for ended in asked - found.keys():
                self._known.pop(ended, None)
            await self._next_round()

    async def _next_round(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._new.wait()
        except TimeoutError:
            return
        await asyncio.sleep(0.005)  # those who log in together are looked up together
