"""`/tv/streaming`: the prices of all our symbols, as one endless response for each of TradingView's data servers.

One thread in each process follows the tick log, while anybody listens. It writes the lines of a batch once, and every
connection gets the same bytes (STRM-5). A reader that falls behind is dropped; he costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import redis
from asgiref.sync import sync_to_async
from django import db

from accounts import networks, tokens
from accounts.models import User
from marketdata import follow, metrics, ticklog
from marketdata.metrics import Meter
from tvapi import cors
from tvapi.endless import (
    HEADERS,
    LONGEST_QUEUE,
    Receive,
    Scope,
    Send,
    Subscription,
    bearer,
    disconnection,
    first_of,
    send_part,
)
from tvapi.lines import Chunk, Lines, heartbeat
from tvapi.visibility import Visibility

PATH = "/tv/streaming"
BATCH_SECONDS = 0.05
HEARTBEAT_SECONDS = 5  # STRM-14
RETRY_SECONDS = 1.0  # after a fault
LISTENS_SECONDS = 1.0

logger = logging.getLogger(__name__)


# --- distribution -----------------------------------------------------------------------------------------------------


class Hub:
    """Gives every subscription the same chunks. Works from the first subscription to the end of the last one."""

    def __init__(self) -> None:
        self.meter = Meter()
        self._subscriptions: set[Subscription[Chunk]] = set()
        self._end = threading.Event()
        self._listens = asyncio.Event()
        self._heartbeats: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def subscription(self) -> Iterator[Subscription[Chunk]]:
        """What is published from now on (STRM-3)."""
        subscription: Subscription[Chunk] = Subscription()
        if not self._subscriptions:
            self._start()
        self._subscriptions.add(subscription)
        self.meter.connections = len(self._subscriptions)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self.meter.connections = len(self._subscriptions)
            if not self._subscriptions:
                self._stop()

    async def listens(self) -> None:
        """Wait until no price that comes from now on is missed; where Redis is away, no longer than a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENS_SECONDS):
                await self._listens.wait()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        end = self._end = threading.Event()
        self._listens = asyncio.Event()

        def in_loop(call: Callable[..., object], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody listens any more
                loop.call_soon_threadsafe(call, *args)

        calls = (partial(in_loop, self._publish_unless, end), partial(in_loop, self._listens.set))
        threading.Thread(target=_read_log, args=(end, *calls), name="stream", daemon=True).start()
        self._heartbeats = loop.create_task(self._beat())

    def _stop(self) -> None:
        self._end.set()
        if self._heartbeats:
            self._heartbeats.cancel()

    def _publish_unless(self, end: threading.Event, chunk: Chunk) -> None:
        """A reader that was told to stop may have had a batch in hand, which its successor sends too."""
        if not end.is_set():
            self._publish(chunk)

    def _publish(self, chunk: Chunk) -> None:
        for subscription in self._subscriptions:
            subscription.offer(chunk)

    async def _beat(self) -> None:
        """Heartbeats at the same moments in all processes, so that all connections get the same ones (STRM-5)."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS - time.time() % HEARTBEAT_SECONDS)
            self._publish(heartbeat(time.time()))
            await asyncio.to_thread(_tell, self.meter.read())


def _tell(delays: metrics.Delays) -> None:
    try:
        metrics.tell(delays)
    except redis.RedisError as error:
        logger.warning("The delays of the stream are not told: %s", error)


def _read_log(end: threading.Event, publish: Callable[[Chunk], None], listening: Callable[[], None]) -> None:
    """The thread of a hub. Whatever happens it goes on: a stream that is silent looks alive to its readers."""
    try:
        while not end.is_set():
            try:
                lines = Lines(ticklog.quote_times())
                for entries in follow.live(end, pause_seconds=BATCH_SECONDS, listening=listening):
                    if (chunk := lines.of(entries)).data:
                        publish(chunk)
            except Exception:
                logger.exception("The stream of prices was interrupted")
                end.wait(RETRY_SECONDS)
    finally:
        db.connections.close_all()


# --- connections ------------------------------------------------------------------------------------------------------

_hub = Hub()


async def handle(scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer `GET /tv/streaming` of somebody with a good token, and return True once the response is over.

    False, with nothing received or sent, for everything else: then it is Django's, which knows how to refuse. The
    response ends when the client goes, when it cannot keep up, when its token is ended by somebody, its login or
    its client switched off, or when the `asyncio.Event` under `scope["stopping"]` is set.
    """
    if scope["path"] != PATH or scope["method"] != "GET" or (reader := await _reader(scope)) is None:
        return False
    visibility = Visibility(*reader)
    if not await sync_to_async(visibility.refresh)():
        return False
    headers = [*HEADERS, *await sync_to_async(cors.headers_of)(scope["headers"])]
    with _hub.subscription() as subscription:
        await _hub.listens()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send_part(send, b"")
        ends = {
            "gone": disconnection(receive),
            "written": _write(subscription, send, _hub.meter, visibility),
            "over": visibility.end(),
            "overrun": subscription.overrun.wait(),
            "stopping": scope["stopping"].wait(),
        }
        ended = await first_of(ends)
    extra = {"request_id": scope.get("request_id", "")}
    if "written" in ended:
        logger.info("A reader of the stream has gone in the middle of a line.", extra=extra)
    elif "overrun" in ended:
        _hub.meter.dropped += 1
        logger.warning("A reader of the stream was dropped: it is %s batches behind.", LONGEST_QUEUE, extra=extra)
    elif ended & {"stopping", "over"}:
        await send_part(send, b"", is_last=True)
    return True


async def _reader(scope: Scope) -> tuple[str, User, int | None] | None:
    """The bearer token, whose it is, and the client it was given to.

    None unless there is one, it is good, and comes from where it may come from.
    """
    token = bearer(scope["headers"])
    if token is None or (reader := await sync_to_async(_reader_of)(token)) is None:
        return None
    return reader if networks.address_may_serve_data(networks.address_of_scope(scope), reader[1]) else None


def _reader_of(token: str) -> tuple[str, User, int | None] | None:
    db.close_old_connections()  # one that Postgres has closed meanwhile; a request of Django's begins so too
    try:
        user = tokens.user_of(token)
        return None if user is None else (token, user, tokens.client_of(token))
    except db.Error:
        return None  # Django will meet the same fault, and knows what to say


async def _write(subscription: Subscription[Chunk], send: Send, meter: Meter, visibility: Visibility) -> None:
    while True:
        chunks = await subscription.take()
        if body := visibility.of(b"".join(chunk.data for chunk in chunks)):
            await send_part(send, body)
        for chunk in chunks:
            meter.sent(chunk.times_ms)
