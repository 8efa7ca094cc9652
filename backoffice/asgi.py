"""One application for everything: streams in the event loop, all the rest in threads through Django's WSGI application.

Django's own ASGI handler would send every synchronous view and middleware through a thread hop of its own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils.module_loading import import_string

from backoffice import departure, health, logs, traces
from backoffice.departure import Departure
from backoffice.wsgi import application as django_application
from backoffice.wsgi_threads import Environ, Message, WsgiThreads
from tvapi import throttle, usage
from tvapi.endless import Receive, Scope, Send

# Answers the request and returns True, or returns False and has neither received nor sent anything.
Handler = Callable[[Scope, Receive, Send], Awaitable[bool]]

logger = logging.getLogger(__name__)

_ASCII = bytes(range(0x80)).decode()


class Application:
    """Asks each asynchronous handler in turn; what none of them takes is Django's.

    A handler finds an `asyncio.Event` under `scope["stopping"]`: once it is set, endless responses end themselves, so
    that the server can leave at once and every client sees a complete response.
    """

    def __init__(
        self, handlers: Sequence[Handler], *, part: str, threads: int, data_threads: int, notice_seconds: float = 0.0
    ) -> None:
        self._handlers = handlers
        self._part = part
        most_ahead = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        self._django = WsgiThreads(_with_request_id, threads=threads, most_ahead=most_ahead)
        # Threads of their own for data servers, whom a flood of other requests must not keep waiting (ENV-5).
        self._django_for_data = WsgiThreads(_with_request_id, threads=data_threads, most_ahead=most_ahead)
        self._departure = Departure(notice_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        scope["stopping"] = self._departure.due
        if scope["type"] == "http":
            if scope["path"] == departure.PATH:
                await self._departure.answer(send)
                return
            scope["request_id"] = logs.id_of(scope["headers"])
            send = self._with_headers(scope["request_id"], usage.counter.watch(scope, send))
        for handle in self._handlers if scope["type"] == "http" else ():
            if await handle(scope, receive, send):
                return
        django = self._django_for_data if throttle.is_of_data_server(scope) else self._django
        await django(_ascii_query(scope), receive, send)

    def _with_headers(self, request_id: str, send: Send) -> Send:
        """A `send` that tells the request's id, and closes the connection of a process that is leaving."""
        headers = [(logs.HEADER, request_id.encode())]
        if self._departure.is_announced:
            headers.append((b"connection", b"close"))

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        return sent

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._departure.await_signals()
        pulse = asyncio.create_task(self._beat())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        pulse.cancel()
        await asyncio.to_thread(traces.stop)  # the server leaves without what Python does at its end
        await send({"type": "lifespan.shutdown.complete"})

    async def _beat(self) -> None:
        while True:
            await asyncio.to_thread(health.beat, self._part)
            await asyncio.to_thread(_tell_usage, usage.counter.take())
            await asyncio.sleep(health.BEAT_SECONDS)


def _with_request_id(environ: Environ, start_response: Any) -> Any:
    """Django in its thread: what it logs, and the tasks it sends, belong to the request."""
    with logs.of_request(environ["asgi.scope"]["request_id"]):
        return django_application(environ, start_response)


def _tell_usage(taken: usage.Taken) -> None:
    """What cannot be told is lost: serving goes on."""
    try:
        usage.tell(taken)
    except (redis.RedisError, DatabaseError) as error:
        logger.warning("The counts of the last requests are lost: %s", error)
        connection.close()


def _ascii_query(scope: Scope) -> Scope:
    """The scope with the raw bytes of its query percent-encoded: WSGI knows only ASCII there, browsers send more."""
    query = scope.get("query_string", b"")
    return scope if query.isascii() else {**scope, "query_string": quote_from_bytes(query, safe=_ASCII).encode()}


application = Application(
    [import_string(path) for path in settings.ASGI_HANDLERS],
    part=settings.PART,
    threads=settings.WEB_THREADS,
    data_threads=settings.DATA_THREADS,
    notice_seconds=settings.LEAVE_NOTICE_SECONDS,
)
