"""A WSGI application in threads: what it is given, and what becomes of its answers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from backoffice.wsgi_threads import ClientGone, Environ, WsgiThreads

MOST_AHEAD = 10
PIECES = [b"one ", b"two ", b"three"]


class Recorded:
    """An application that answers with what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", 0)))
        self.bodies.append(body)
        start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"])])
        return [b"got ", body]


class Streamed:
    streaming = True

    def __init__(self, sent: list[Any]) -> None:
        self._sent = sent
        self.sent_before: list[int] = []
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in PIECES:
            self.sent_before.append(len(self._sent))
            yield piece

    def close(self) -> None:
        self.is_closed = True


def asked(application: Any, pieces: list[bytes], *, length: int, sent: list[Any] | None = None) -> list[Any]:
    """What is sent when these pieces of a body come, and then no more."""
    sent = [] if sent is None else sent
    coming = iter(pieces)
    headers = [(b"content-length", str(length).encode())] if length else []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": headers,
    }

    async def receive() -> Any:
        piece = next(coming, None)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(WsgiThreads(application, threads=1, most_ahead=MOST_AHEAD)(scope, receive, send))
    return sent


@pytest.mark.parametrize("body", [b"", b"qty=1000", b"qty=1000&side=sell"])
def test_a_body_comes_whole_however_it_was_cut(body: bytes) -> None:
    for size in (1, 3, 100):
        application = Recorded()
        start, answer = asked(application, [body[at : at + size] for at in range(0, len(body), size)], length=len(body))
        assert application.bodies == [body]
        assert (start["status"], start["headers"]) == (200, [(b"x-method", b"POST")])
        assert (answer["body"], answer["more_body"]) == (b"got " + body, False)


def test_of_a_client_who_leaves_within_a_short_body_nothing_is_heard() -> None:
    application = Recorded()
    assert asked(application, [b"qty=1"], length=8) == []
    assert application.bodies == []


def test_of_a_client_who_leaves_within_a_long_body_reading_fails() -> None:
    application = Recorded()
    with pytest.raises(ClientGone):
        asked(application, [b"qty=1000&side=b"], length=17)
    assert application.bodies == []


def test_an_answer_made_while_it_is_sent_is_sent_piece_by_piece_and_closed() -> None:
    sent: list[Any] = []
    response = Streamed(sent)

    def application(environ: Environ, start_response: Any) -> Streamed:
        start_response("200 OK", [])
        return response

    asked(application, [], length=0, sent=sent)
    assert response.sent_before == [1, 2, 3]
    assert [(message["body"], message["more_body"]) for message in sent[1:]] == [
        *((piece, True) for piece in PIECES),
        (b"", False),
    ]
    assert response.is_closed
