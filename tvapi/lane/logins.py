"""The tokens in use and what they stand for, looked up again every second: all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from accounts.tokens import Login

REMEMBERED_SECONDS = 2.0
REFRESH_SECONDS = 1.0
WAIT_SECONDS = 2.0  # for a round; then Django answers
MOST_NEW = 1000  # of one round: unknown tokens cost no more than this

LookUp = Callable[[list[str]], Awaitable[dict[str, Login]]]


class Logins:
    """By the token's hash. A token that is not known, or no longer, waits for the next round of looking up.

    Django would answer that poll as well, at twenty times the cost: when all is busy and a round takes longer than
    tokens are remembered, it would get them all, and there would be even less time for the next round.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Login, float]] = {}
        self._asked: set[str] = set()
        self._new = asyncio.Event()
        self._round: asyncio.Future[Mapping[str, Login]] | None = None  # the one to come, if somebody waits for it

    async def find(self, digest: str) -> Login | None:
        """What the token stands for; None for one that does not work, and when that cannot be told."""
        known = self._known.get(digest)
        if known is None and len(self._asked) >= MOST_NEW + len(self._known):
            return None
        self._asked.add(digest)
        if known and time.monotonic() < known[1]:
            return known[0]
        self._new.set()
        self._round = self._round or asyncio.get_running_loop().create_future()
        found, _waiting = await asyncio.wait([self._round], timeout=WAIT_SECONDS)
        # A round that began after the question is as good an answer as Django's, however long it took.
        return next(iter(found)).result().get(digest) if found else None

    def forget(self, digest: str) -> None:
        self._known.pop(digest, None)

    async def follow(self, look_up: LookUp) -> None:
        """Look up what was asked for since the last round, and forget the rest. Raises what `look_up` raises."""
        while True:
            self._new.clear()
            asked, self._asked = self._asked, set()
            waited_for, self._round = self._round, None
            until = time.monotonic() + REMEMBERED_SECONDS
            found: dict[str, Login] = {}
            try:
                found = await look_up(list(asked)) if asked else {}
            finally:
                if waited_for:
                    waited_for.set_result(found)
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
