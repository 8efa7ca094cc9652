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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django import db

from accounts import networks, tokens
from accounts.models import User
from marketdata import follow, ticklog
from marketdata.choices import BarSource, SymbolType
from marketdata.chunks import MINUTE_SECONDS
from marketdata.folding import FUTURE_MS, MINUTE_MS, Source
from marketdata.models import Instrument
from marketdata.ticklog import Entry, Tick
from tvapi import cors
from tvapi.visibility import Visibility

PATH = "/tv/streaming"
HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # STRM-1: a proxy passes the chunks on as they come
]
BATCH_SECONDS = 0.05
HEARTBEAT_SECONDS = 5  # STRM-14
REFRESH_SECONDS = 5.0  # how long a changed instrument goes unnoticed
RETRY_SECONDS = 1.0  # after a fault
LONGEST_QUEUE = 400  # batches that a reader may be behind: 20 s at least

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)


# --- lines ------------------------------------------------------------------------------------------------------------


class TradeLine(msgspec.Struct, tag_field="f", tag="t"):
    """A trade, or what stands for one where there are none (STRM-8). `t` is in Unix seconds, to the millisecond."""

    id: str
    p: Decimal
    s: Decimal
    t: float


class QuoteLine(msgspec.Struct, tag_field="f", tag="q", rename={"as_": "as"}):
    """Both sides of the market (STRM-10)."""

    id: str
    t: float
    ap: Decimal
    as_: Decimal
    bp: Decimal
    bs: Decimal


class HeartbeatLine(msgspec.Struct):
    """It keeps TradingView subscribed when nothing is traded; `heartbeat` is the Unix time in whole seconds
    (STRM-14)."""

    heartbeat: int


_encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines


class Lines:
    """Writes ticks as lines. For one thread; reads the instruments from the database every few seconds.

    `sent_ms` has the time of each symbol's latest price in Unix milliseconds: lines do not go back behind it.
    """

    def __init__(self, sent_ms: Mapping[str, int]) -> None:
        self._sources: dict[str, Source] = {}
        self._refresh_at = 0.0
        self._sent_ms = dict(sent_ms)

    def of(self, entries: Iterable[Entry]) -> bytes:
        """The lines of these ticks; none for those of unknown symbols, and for those that come too late or too
        early."""
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            self._refresh()
        horizon_ms = int(time.time() * 1000) + FUTURE_MS
        lines: list[msgspec.Struct] = []
        for entry in entries:
            tick = entry.tick
            source = self._sources.get(tick.symbol)
            # STRM-13. Recorded prices, replayed, come too late where there are prices of today.
            if source and self._sent_ms.get(tick.symbol, 0) <= tick.time_ms < horizon_ms:
                self._sent_ms[tick.symbol] = tick.time_ms
                lines += _lines_of(tick, source)
        return _encode_lines(lines)

    def _refresh(self) -> None:
        """Read which symbols `/symbol_info` has (STRM-12). Without the database it goes on with those it knows."""
        try:
            instruments = Instrument.objects.exclude(symbol_group=None)
            self._sources = {instrument.symbol: Source(instrument) for instrument in instruments}
        except db.Error as error:
            db.close_old_connections()
            logger.warning("The instruments cannot be read, going on with those known: %s", error)


def _lines_of(tick: Tick, source: Source) -> list[msgspec.Struct]:
    seconds = tick.time_ms / 1000
    lines: list[msgspec.Struct] = []
    if trade := _trade(tick, source):
        price, size = trade
        lines.append(TradeLine(tick.symbol, price, size, seconds))
    lines.append(QuoteLine(tick.symbol, seconds, tick.ask, tick.ask_size, tick.bid, tick.bid_size))
    return lines


def _trade(tick: Tick, source: Source) -> tuple[Decimal, Decimal] | None:
    """Price and size of the tick's trade line; None when it makes no bar either.

    STRM-8 asks for artificial trades at the bid, of forex at the middle price with size 0. We send them at the price
    that our bars are made of, which `/symbol_info` declares as `bar-source`: bars built from the trades, those built
    from the quotes, and those of `/history` are then the same (STRM-15). For forex the size is 0, otherwise that of
    the bid.
    """
    if (priced := source.price_and_size(tick)) is None or not _is_open(source, tick):
        return None
    price, size = priced
    if source.instrument.bar_source == BarSource.TRADE:
        return price, size
    if source.instrument.type == SymbolType.FOREX:
        return price, Decimal(0)
    return price, tick.bid_size or size


def _is_open(source: Source, tick: Tick) -> bool:
    """Whether the tick counts for a bar (SES-8); without the database it does in doubt."""
    try:
        return source.is_open(tick.time_ms // MINUTE_MS * MINUTE_SECONDS)
    except db.Error:
        return True


# --- distribution -----------------------------------------------------------------------------------------------------


class Subscription:
    """The chunks that wait for one connection; `overrun` is set when it cannot keep up."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue(LONGEST_QUEUE)
        self.overrun = asyncio.Event()

    def offer(self, chunk: bytes) -> None:
        try:
            self.chunks.put_nowait(chunk)
        except asyncio.QueueFull:
            self.overrun.set()


class Hub:
    """Gives every subscription the same chunks. Works from the first subscription to the end of the last one."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._end = threading.Event()
        self._heartbeats: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def subscription(self) -> Iterator[Subscription]:
        """What is published from now on (STRM-3)."""
        subscription = Subscription()
        if not self._subscriptions:
            self._start()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                self._stop()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        end = self._end = threading.Event()

        def publish(chunk: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody listens any more
                loop.call_soon_threadsafe(self._publish_unless, end, chunk)

        threading.Thread(target=_read_log, args=(end, publish), name="stream", daemon=True).start()
        self._heartbeats = loop.create_task(self._beat())

    def _stop(self) -> None:
        self._end.set()
        if self._heartbeats:
            self._heartbeats.cancel()

    def _publish_unless(self, end: threading.Event, chunk: bytes) -> None:
        """A reader that was told to stop may have had a batch in hand, which its successor sends too."""
        if not end.is_set():
            self._publish(chunk)

    def _publish(self, chunk: bytes) -> None:
        for subscription in self._subscriptions:
            subscription.offer(chunk)

    async def _beat(self) -> None:
        """Heartbeats at the same moments in all processes, so that all connections get the same ones (STRM-5)."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS - time.time() % HEARTBEAT_SECONDS)
            self._publish(_encode_lines([HeartbeatLine(round(time.time()))]))


def _read_log(end: threading.Event, publish: Callable[[bytes], None]) -> None:
    """The thread of a hub. Whatever happens it goes on: a stream that is silent looks alive to its readers."""
    try:
        while not end.is_set():
            try:
                lines = Lines(ticklog.quote_times())
                for entries in follow.live(end, pause_seconds=BATCH_SECONDS):
                    if chunk := lines.of(entries):
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
    response ends when the client goes, when it cannot keep up, when its login is switched off, or when the
    `asyncio.Event` under `scope["stopping"]` is set.
    """
    if scope["path"] != PATH or scope["method"] != "GET" or (user := await _user(scope)) is None:
        return False
    visibility = Visibility(user)
    if not await sync_to_async(visibility.refresh)():
        return False
    headers = [*HEADERS, *await sync_to_async(cors.headers_of)(scope["headers"])]
    with _hub.subscription() as subscription:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        ends = {
            "gone": _disconnection(receive),
            "written": _write(subscription, send, visibility),
            "over": visibility.end(),
            "overrun": subscription.overrun.wait(),
            "stopping": scope["stopping"].wait(),
        }
        ended = await _first_of(ends)
    if "written" in ended:
        logger.info("A reader of the stream has gone in the middle of a line.")
    elif "overrun" in ended:
        logger.warning("A reader of the stream was dropped: it is %s batches behind.", LONGEST_QUEUE)
    elif ended & {"stopping", "over"}:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _user(scope: Scope) -> User | None:
    """Whose bearer token it is; None unless there is one, it is good, and comes from where it may come from."""
    given = _header(scope, b"authorization")
    scheme, _, token = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or (user := await sync_to_async(_user_of)(token.strip())) is None:
        return None
    address = networks.address_of((scope.get("client") or ("",))[0], ",".join(_header(scope, b"x-forwarded-for")))
    return user if networks.address_may_serve_data(address, user) else None


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in scope["headers"] if each.lower() == name]


def _user_of(token: str) -> User | None:
    db.close_old_connections()  # one that Postgres has closed meanwhile; a request of Django's begins so too
    try:
        return tokens.user_of(token)
    except db.Error:
        return None  # Django will meet the same fault, and knows what to say


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(subscription: Subscription, send: Send, visibility: Visibility) -> None:
    while True:
        chunk = await subscription.chunks.get()
        while not subscription.chunks.empty():
            chunk += subscription.chunks.get_nowait()
        if chunk := visibility.of(chunk):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _first_of(endings: Mapping[str, Awaitable[Any]]) -> set[str]:
    """Wait until one of them is over, end the others, and return the names of those that were over."""
    tasks = {asyncio.ensure_future(awaitable): name for name, awaitable in endings.items()}
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {tasks[task] for task in done}
