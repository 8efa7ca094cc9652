"""Finding an answer: the sender's login, the fences and the snapshot in Redis, prices from memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import redis
from django import db
from django.conf import settings
from django.utils import translation

from accounts import bounded, fence, origins, tokens
from accounts.models import Account
from accounts.tokens import OwnAccount
from backoffice import redis_pools
from trading.errors import OrderRejected
from tvapi import answers, renderers, snapshots, usage
from tvapi.exceptions import Refused
from tvapi.lane import catalogue
from tvapi.lane.catalogue import Catalogue
from tvapi.lane.logins import Logins
from tvapi.lane.market import LivePrices, Market, NotKnown
from tvapi.lane.pipe import Pipe
from tvapi.lane.requests import Asked
from tvapi.snapshots import Snapshot

T = TypeVar("T")

KEPT_SNAPSHOTS = 20_000
RENEW_CATALOGUE_SECONDS = snapshots.MAX_AGE_SECONDS / 2
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Lane:
    """The lane of one process. It works from the first request on; what it needs follows changes in the background."""

    def __init__(self) -> None:
        self._market = Market()
        self._logins = Logins()
        self._catalogue: Catalogue | None = None
        self.origins: tuple[str, ...] | None = None  # patterns of those whose pages may read answers
        self._stale_catalogue = asyncio.Event()
        self._pipe: Pipe | None = None
        self._snapshots: dict[tuple[int, str], tuple[bytes, Snapshot]] = {}  # with their heads
        self._making: dict[tuple[int, str], asyncio.Future[Snapshot]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lane")  # for the database, in the background
        self._makers = ThreadPoolExecutor(settings.LANE_THREADS, thread_name_prefix="lane-maker")

    async def answer(self, asked: Asked, digest: str) -> bytes | None:
        """The body that Django would send; None when that is not sure."""
        if not self._background:
            self._start()
        pipe = self._pipe
        if pipe is None or self._catalogue is None:
            return None
        login = await self._logins.find(digest)
        if login is None or login.expires_at <= time.time():
            return None
        if (account := login.accounts.get(asked.number)) is None or not self._market.is_live:
            return None
        try:
            return await self._answer(pipe, asked, digest, account, login.user_id)
        except (OSError, redis.RedisError, db.Error, Account.DoesNotExist):
            return None

    async def _answer(self, pipe: Pipe, asked: Asked, digest: str, account: OwnAccount, user_id: int) -> bytes | None:
        key, language, known = fence.key(account.id, pipe.epoch), asked.language, self._catalogue
        (account_fence, head), terms_fence, has_ended = await pipe.ask(
            ("HMGET", key, "f", snapshots.head_field(language)),
            ("HGET", fence.key(fence.TERMS, pipe.epoch), "f"),
            ("EXISTS", fence.login_key(digest)),
        )
        if has_ended:
            self._logins.forget(digest)
            return None
        if known is None or not self._is_current(known, terms_fence):
            return None
        if asked.answer not in answers.OF_ACCOUNT:
            return self._prices_of(asked, account, known)
        snapshot = await self._snapshot(pipe, key, account, language, head)
        if snapshot is None or not snapshots.is_valid(snapshot, account_fence, terms_fence, time.time()):
            snapshot = await self._made_since(account, language, account_fence, terms_fence)
        if snapshot.user_id != user_id or snapshot.is_closed:
            return None
        return self._of_account(asked, snapshot, known)

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await _in(self._thread, db.connections.close_all)
        met = threading.Barrier(settings.LANE_THREADS)  # so that each thread closes its own

        def close() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait(CLOSE_SECONDS)
            db.connections.close_all()

        await asyncio.gather(*(_in(self._makers, close) for _thread in range(settings.LANE_THREADS)))
        self._thread.shutdown()
        self._makers.shutdown()

    # --- answers ------------------------------------------------------------------------------------------------------

    def _of_account(self, asked: Asked, snapshot: Snapshot, known: Catalogue) -> bytes | None:
        make, prices = answers.OF_ACCOUNT[asked.answer], LivePrices(self._market, known.pairs)
        language = asked.language if asked.answer in answers.WRITTEN_NUMBERS else None
        return _body(lambda: make(snapshot, prices), language=language)

    def _prices_of(self, asked: Asked, account: OwnAccount, known: Catalogue) -> bytes | None:
        if (offered := known.offered.get(account.group_id)) is None:
            return None
        prices = LivePrices(self._market, known.pairs)
        if asked.answer == "depth":
            return _body(lambda: answers.depth(asked.symbols[0], offered, prices))
        return _body(lambda: answers.quotes(asked.symbols, account.currency, offered, prices))

    async def _snapshot(
        self, pipe: Pipe, key: str, account: OwnAccount, language: str, head: bytes | None
    ) -> Snapshot | None:
        """The snapshot with this head: from memory, or from Redis when it was made by another process."""
        if head is None:
            return None
        place = (account.id, language)
        if (held := self._snapshots.get(place)) and held[0] == head:
            return held[1]
        [body] = await pipe.ask(("HGET", key, snapshots.body_field(language)))
        if body is None:
            return None
        snapshot = snapshots.decode(body)
        if (snapshot.account_id, snapshot.language, snapshot.head) != (account.id, language, head):
            return None
        bounded.keep(self._snapshots, place, (head, snapshot), most=KEPT_SNAPSHOTS)
        return snapshot

    async def _made_since(
        self, account: OwnAccount, language: str, account_fence: bytes | None, terms_fence: bytes | None
    ) -> Snapshot:
        """What Django would make: what has been made, if these fences let it pass, else what is begun after them, by
        one poll for all."""
        place = (account.id, language)
        if begun_before := self._making.get(place):
            with contextlib.suppress(OSError, redis.RedisError, db.Error):
                await asyncio.shield(begun_before)
        if held := self._snapshots.get(place):
            _head, snapshot = held
            if snapshots.is_valid(snapshot, account_fence, terms_fence, time.time()):
                return snapshot
        if (making := self._making.get(place)) is None:
            making = self._making[place] = asyncio.ensure_future(self._made_now(account, language))
            making.add_done_callback(lambda _made: self._making.pop(place))
        return await asyncio.shield(making)

    async def _made_now(self, account: OwnAccount, language: str) -> Snapshot:
        def make() -> Snapshot:
            with translation.override(language):
                return snapshots.made(account.id)

        usage.counter.polled("missed")
        snapshot = await _in(self._makers, make)
        bounded.keep(self._snapshots, (account.id, language), (snapshot.head, snapshot), most=KEPT_SNAPSHOTS)
        return snapshot

    def _is_current(self, known: Catalogue, terms_fence: bytes | None) -> bool:
        if terms_fence is not None and known.version >= int(terms_fence) and time.time() < known.until:
            return True
        self._stale_catalogue.set()
        return False

    # --- in the background --------------------------------------------------------------------------------------------

    def _start(self) -> None:
        work = (self._keep_pipe, self._keep_market, self._keep_logins, self._keep_catalogue, self._keep_origins)
        self._background = [asyncio.create_task(self._forever(each)) for each in work]

    async def _forever(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except (OSError, redis.RedisError, db.Error) as error:
                logger.warning("The poll lane leaves its work to Django for a moment: %s", error)
            except Exception:
                logger.exception("The poll lane was interrupted")
            await asyncio.sleep(RETRY_SECONDS)

    async def _keep_pipe(self) -> None:
        pipe = await Pipe.connect(await asyncio.to_thread(redis_pools.current_url))
        try:
            while settings.REDIS_SENTINELS and not pipe.is_closed:
                async with asyncio.timeout(fence.PROOF_SECONDS):  # else it may be the master no more
                    await pipe.ask(fence.PROOF)
                self._pipe = pipe
                await asyncio.sleep(fence.PROOF_SECONDS / 2)
            self._pipe = pipe
            await pipe.closed
        finally:
            self._pipe = None
            pipe.close()

    async def _keep_market(self) -> None:
        url = await asyncio.to_thread(redis_pools.current_url)
        pipe = await Pipe.connect(url)  # one of its own: it waits for ticks
        try:
            await self._market.follow(pipe)
        finally:
            pipe.close()

    async def _keep_logins(self) -> None:
        await self._logins.follow(lambda digests: self._in_thread(lambda: tokens.logins(digests)))

    async def _keep_catalogue(self) -> None:
        while True:
            self._stale_catalogue.clear()
            self._catalogue = await self._in_thread(catalogue.read)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_CATALOGUE_SECONDS):  # Python 3.11's `wait_for` may miss a cancel
                    await self._stale_catalogue.wait()

    async def _keep_origins(self) -> None:
        while True:
            self.origins = await self._in_thread(lambda: tuple(origins.in_force()))
            await asyncio.sleep(origins.KEPT_SECONDS)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await _in(self._thread, work)


async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    def run() -> T:
        db.close_old_connections()  # one that Postgres has closed meanwhile; a request of Django's begins so too
        return work()

    return await asyncio.get_running_loop().run_in_executor(threads, run)


def _body(make: Callable[[], object], *, language: str | None = None) -> bytes | None:
    """The answer, in this language if it is one that differs by it; to choose one takes as long as to read Redis.

    None for a refusal, which Django puts into words, and when something is missing.
    """
    try:
        with translation.override(language) if language else contextlib.nullcontext():
            return renderers.encode({"s": "ok", "d": make()})
    except (Refused, OrderRejected, NotKnown):
        return None
