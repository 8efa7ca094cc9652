"""A WSGI application in threads, behind an asynchronous server."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, cast

from a2wsgi.wsgi import Body, build_environ

from tvapi.endless import Receive, Scope, Send

Message = MutableMapping[str, Any]
Environ = dict[str, Any]


class ClientGone(OSError):
    """The client has left before it sent all of its request."""


class WsgiThreads:
    """Answers by the application in so many threads.

    A body of at most `most_ahead` bytes is received before a thread takes the request, and the answer is sent when the
    thread is done: no slow client holds a thread, and there is one hop to it and one back. Of a longer body a thread
    asks for each piece, and answers that are made while they are sent (`streaming`) are sent piece by piece.

    A body that ends before its length reaches no view as if it were whole: the first half of `qty=1000` says something
    else.
    """

    def __init__(self, application: Callable[[Environ, Any], Any], *, threads: int, most_ahead: int) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._most_ahead = most_ahead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            return message

        length = _length(scope)
        if length <= self._most_ahead:
            try:
                body: Any = BytesIO(await _body(received, length))
            except ClientGone:
                return
        else:
            body = Body(loop, cast(Any, received))

        def send_from_thread(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(cast(Any, send(message)), loop).result()

        environ = cast(Environ, build_environ(cast(Any, scope), body))
        context = contextvars.copy_context()  # what the request sets in its thread is gone with it

        def answer() -> list[Message]:
            return context.run(self._answer, environ, send_from_thread)

        for message in await loop.run_in_executor(self._threads, answer):
            await send(message)

    def _answer(self, environ: Environ, send: Callable[[Message], None]) -> list[Message]:
        """In a thread: what is to be sent when it is done; what is made while it is sent, it sends itself."""
        start: Message = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            start["status"] = int(status.partition(" ")[0])
            start["headers"] = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

        response = self._application(environ, start_response)
        try:
            if not getattr(response, "streaming", False):
                return [start, _piece(b"".join(response), is_last=True)]
            send(start)
            for piece in response:
                send(_piece(piece))
            return [_piece(b"", is_last=True)]
        finally:
            if hasattr(response, "close"):
                response.close()


def _length(scope: Scope) -> int:
    """Of the body as its header tells; 0 where none does: WSGI knows no body without a length."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


async def _body(receive: Receive, length: int) -> bytes:
    body = b""
    while len(body) < length:
        body += (await receive())["body"]
    return body


def _piece(body: bytes, *, is_last: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": not is_last}
