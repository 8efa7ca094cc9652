"""What endless responses have in common: who reads, what waits for him, and how a response ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Generic, TypeVar

HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # STRM-1: a proxy passes the chunks on as they come
]
LONGEST_QUEUE = 400  # chunks that a reader may be behind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Chunk = TypeVar("Chunk")


class Subscription(Generic[Chunk]):
    """The chunks that wait for one connection; `overrun` is set when it cannot keep up."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[Chunk] = asyncio.Queue(LONGEST_QUEUE)
        self.overrun = asyncio.Event()

    def offer(self, chunk: Chunk) -> None:
        try:
            self.chunks.put_nowait(chunk)
        except asyncio.QueueFull:
            self.overrun.set()

    async def take(self) -> list[Chunk]:
        """All that waits, at least one."""
        taken = [await self.chunks.get()]
        while not self.chunks.empty():
            taken.append(self.chunks.get_nowait())
        return taken


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one bearer token of a request."""
    given = [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]
    if len(given) != 1:
        return None
    scheme, _, token = given[0].strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_part(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def first_of(endings: Mapping[str, Awaitable[Any]]) -> set[str]:
    """Wait until one of them is over, end the others, and return the names of those that were over."""
    tasks = {asyncio.ensure_future(awaitable): name for name, awaitable in endings.items()}
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {tasks[task] for task in done}
