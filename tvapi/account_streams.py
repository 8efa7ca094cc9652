"""`/tv/accounts/{id}/stream/…`: orders, state and positions as endless responses instead of polls (TSTR-1 … TSTR-9).

Each stream begins with what the polled endpoint returns, as a bare array, and goes on with every object that changed,
whole, each in a line of its own; between them come pings. Where the contract is open (UNK-2, UNK-3) see
docs/choices.md.

One task in each process looks after all of its streams: it asks Postgres for the versions of their accounts, in one
statement, and renders again only what may have changed, once for all streams of an account in the same language.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from django import db
from django.utils import translation

from accounts import tokens
from accounts.models import Account
from trading.prices import Prices
from tvapi import answers, cors, locales, snapshots
from tvapi.endless import HEADERS, Receive, Scope, Send, Subscription, bearer, disconnection, first_of, send_part
from tvapi.renderers import encode

LOOK_SECONDS = 0.25
PRICES_SECONDS = 1.0  # how often figures that live on prices are computed anew, as often as they would be polled
PING_SECONDS = 5.0
ADMIT_SECONDS = 10.0  # how long a token that has ended keeps its streams
LONGEST = 500  # streams of one process

PATH = re.compile(r"/tv/accounts/(.+)/stream/(orders|state|positions)", re.DOTALL)

logger = logging.getLogger(__name__)


class Topic(NamedTuple):
    """What several streams have in common, and is rendered once."""

    account_id: int
    kind: str
    language: str


class Identified(msgspec.Struct):
    id: str = ""


_identified = msgspec.json.Decoder(Identified).decode


@dataclass(slots=True)
class Rendered:
    """A topic's objects as they were last rendered: when, at which version of the account, the bytes of each by id."""

    version: int
    at: float
    objects: dict[str, bytes]


@dataclass(eq=False, slots=True)
class Reader(Subscription[bytes]):
    """One open stream. `sent` is what it was last told of each object; None before its snapshot."""

    topic: Topic
    token: str
    sent: dict[str, bytes] | None = None
    expelled: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        Subscription.__init__(self)

    def tell(self, objects: Mapping[str, bytes]) -> None:
        """The snapshot first (TSTR-4), later what is new or changed (TSTR-5, TSTR-7)."""
        if self.sent is None:
            self.offer(b"[" + b",".join(objects.values()) + b"]\n")
        else:
            changed = [body for key, body in objects.items() if self.sent.get(key) != body]
            if changed:
                self.offer(b"\n".join(changed) + b"\n")
        self.sent = dict(objects)


class Desk:
    """All open streams of the process, and the task that looks after them while there are any."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._rendered: dict[Topic, Rendered] = {}
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        # One thread, one connection to Postgres: however many streams there are, they cost no more at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="account-streams")

    @property
    def is_full(self) -> bool:
        return len(self._readers) >= LONGEST

    @contextlib.contextmanager
    def reader(self, topic: Topic, token: str) -> Iterator[Reader]:
        reader = Reader(topic, token)
        self._readers.add(reader)
        if self._task is None or self._task.done():
            self._woken = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._look_after())
        self._woken.set()
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def run(self, job: Callable[..., Any], *args: Any) -> Any:
        """Do something with the database, in the thread that has the connection."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _with_connection, job, *args)

    async def _look_after(self) -> None:
        ping_at = time.monotonic() + PING_SECONDS
        admit_at = time.monotonic() + ADMIT_SECONDS
        while self._readers:
            self._woken.clear()
            try:
                await self._look()
                if time.monotonic() >= admit_at:
                    admit_at = time.monotonic() + ADMIT_SECONDS
                    await self._expel()
            except Exception:
                logger.exception("The streams of accounts were interrupted")
            if time.monotonic() >= ping_at:
                ping_at = time.monotonic() + PING_SECONDS
                self._ping()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
        self._rendered.clear()

    async def _look(self) -> None:
        topics = {reader.topic for reader in self._readers}
        self._rendered = {topic: known for topic, known in self._rendered.items() if topic in topics}
        self._rendered |= await self.run(_render_changed, topics, dict(self._rendered))
        for reader in list(self._readers):
            if rendered := self._rendered.get(reader.topic):
                reader.tell(rendered.objects)

    async def _expel(self) -> None:
        """End the streams of tokens that no longer open their account."""
        readers = list(self._readers)
        for reader, is_admitted in zip(readers, await self.run(_are_admitted, readers), strict=True):
            if not is_admitted:
                reader.expelled.set()

    def _ping(self) -> None:
        line = encode({"P": int(time.time())}) + b"\n"
        for reader in self._readers:
            if reader.sent is not None:
                reader.offer(line)


def _with_connection(job: Callable[..., Any], *args: Any) -> Any:
    db.close_old_connections()  # one that Postgres has closed meanwhile
    return job(*args)


def _render_changed(topics: Iterable[Topic], known: Mapping[Topic, Rendered]) -> dict[Topic, Rendered]:
    """The topics that are new, whose account has changed, or whose figures are due with the prices."""
    accounts = Account.objects.select_related("group", "currency", "client")
    by_id = accounts.in_bulk({topic.account_id for topic in topics})
    now = time.monotonic()
    rendered = {}
    for topic in topics:
        account, last = by_id.get(topic.account_id), known.get(topic)
        if account is None:
            continue
        is_due = topic.kind != "orders" and (last is None or now - last.at >= PRICES_SECONDS)
        if last is None or last.version != account.version or is_due:
            with translation.override(topic.language):
                objects = _objects(account, topic.kind)
            rendered[topic] = Rendered(account.version, now, objects)
    return rendered


def _objects(account: Account, kind: str) -> dict[str, bytes]:
    """What the polled endpoint says, object by object; a state has no id."""
    said = answers.OF_ACCOUNT[kind](snapshots.current(account.pk), Prices())
    bodies = [encode(each) for each in (said if isinstance(said, list) else [said])]
    return {_identified(body).id: body for body in bodies}


def _are_admitted(readers: Iterable[Reader]) -> list[bool]:
    return [_account_id(reader.token, account_id=reader.topic.account_id) is not None for reader in readers]


def _account_id(token: str, **lookup: Any) -> int | None:
    """The account, if the token's user may see it (ACC-3)."""
    if "account_id" in lookup:
        lookup = {"pk": lookup["account_id"]}
    user = tokens.user_of(token)
    if user is None:
        return None
    return Account.objects.of_user(user).filter(**lookup).values_list("pk", flat=True).first()


_desk = Desk()


async def handle(scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer a request for a stream of an account of one's own, and return True once the response is over.

    False, with nothing received or sent, for everything else: then it is Django's, which refuses it as it would the
    polled endpoint. The response ends when the client goes, cannot keep up or may no longer see the account, or when
    the `asyncio.Event` under `scope["stopping"]` is set.
    """
    match = PATH.fullmatch(scope["path"])
    token = bearer(scope["headers"])
    if match is None or scope["method"] != "GET" or token is None or _desk.is_full:
        return False
    try:
        account_id = await _desk.run(lambda: _account_id(token, number=match[1]))
    except (db.Error, ValueError):  # an id with a NUL, which Postgres does not take
        return False
    if account_id is None:
        return False
    language = locales.language_in(scope.get("query_string", b"").decode("latin-1"))
    headers = [*HEADERS, *await _desk.run(cors.headers_of, scope["headers"])]
    with _desk.reader(Topic(account_id, match[2], language), token) as reader:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        ends = {
            "gone": disconnection(receive),
            "written": _write(reader, send),
            "overrun": reader.overrun.wait(),
            "expelled": reader.expelled.wait(),
            "stopping": scope["stopping"].wait(),
        }
        ended = await first_of(ends)
    if ended & {"stopping", "expelled"}:
        await send_part(send, b"", is_last=True)
    return True


async def _write(reader: Reader, send: Send) -> None:
    while True:
        await send_part(send, b"".join(await reader.take()))
