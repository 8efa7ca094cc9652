"""A connection to Redis for the event loop: many questions are on their way at once, those of one turn in one write."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis
import redis
from redis.connection import parse_url

from accounts import fence

Words = tuple[Any, ...]  # str, bytes or int


class PipeClosed(ConnectionError):
    """The connection has ended; there will be no answer."""


class Pipe(asyncio.Protocol):
    """Made by `connect`. `epoch` names the run of the server at the other end, which lasts as long as the pipe."""

    epoch: str

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int]] = deque()
        self._replies: list[Any] = []
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def connect(cls, url: str) -> Pipe:
        """Raises OSError or `redis.RedisError`."""
        address = parse_url(url)
        is_local = "path" in address
        tls = True if issubclass(address.get("connection_class", object), redis.SSLConnection) else None
        loop = asyncio.get_running_loop()
        if is_local:
            _transport, pipe = await loop.create_unix_connection(cls, address["path"])
        else:
            host, port = address.get("host", "localhost"), address.get("port", 6379)
            _transport, pipe = await loop.create_connection(cls, host, port, ssl=tls)
        if password := address.get("password"):
            await pipe.ask(("AUTH", *filter(None, [address.get("username")]), password))
        await pipe.ask(("SELECT", address.get("db", 0)))
        [info] = await pipe.ask(("INFO", "server"))
        pipe.epoch = fence.epoch_in(info.decode())
        return pipe

    def ask(self, *commands: Words) -> asyncio.Future[list[Any]]:
        """The replies to these commands. It raises `redis.ResponseError` for an error among them, or PipeClosed."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.is_closed:
            future.set_exception(PipeClosed())
            return future
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        for words in commands:
            self._outgoing.append(hiredis.pack_command(words))
        self._waiting.append((future, len(commands)))
        return future

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport:
            self._transport.write(b"".join(outgoing))

    # --- called by the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._replies.append(reply)
            future, expected = self._waiting[0]
            if len(self._replies) == expected:
                self._waiting.popleft()
                replies, self._replies = self._replies, []
                _settle(future, replies)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        while self._waiting:
            future, _expected = self._waiting.popleft()
            if not future.done():
                future.set_exception(PipeClosed())
        if not self.closed.done():
            self.closed.set_result(None)


def _settle(future: asyncio.Future[list[Any]], replies: list[Any]) -> None:
    if future.done():  # whoever asked has gone
        return
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if error is None:
        future.set_result(replies)
    else:
        future.set_exception(redis.ResponseError(str(error)))
