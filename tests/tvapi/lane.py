"""A poll lane for tests: in an event loop of its own, asked like a server, beside Django answering the same request."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.test import Client

from marketdata import ticklog
from tests.processes import eventually
from tvapi import lane
from tvapi.lane import Lane


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Poller:
    """Asks one lane, from any thread."""

    def __init__(self) -> None:
        self.lane = Lane()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def get(self, target: str, token: str, **headers: str) -> Answer | None:
        """The lane's answer to `GET /tv…`; None when it leaves the request to Django."""
        return asyncio.run_coroutine_threadsafe(self._get(target, token, headers), self._loop).result(60)

    async def _get(self, target: str, token: str, headers: dict[str, str]) -> Answer | None:
        path, _, query = target.partition("?")
        given = {"host": "testserver", "authorization": f"Bearer {token}", **headers}
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": f"/tv{path}",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        if not await lane.handle(scope, _nothing_to_receive, send):
            assert sent == []
            return None
        start, body = sent
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, body["body"])

    def catch_up(self) -> None:
        """Wait until the lane knows the latest prices."""
        eventually(
            lambda: self.lane._market.is_live and self.lane._market.position.decode() == ticklog.last_id(),
            "the lane knows the prices",
        )

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.lane.close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def polling(monkeypatch: Any) -> Iterator[Poller]:
    poller = Poller()
    monkeypatch.setattr(lane, "_lane", poller.lane)
    try:
        yield poller
    finally:
        poller.close()


def primed(poller: Poller, target: str, token: str) -> Answer:
    """What the lane answers once Django has been asked and the token is known."""

    def asked() -> Answer | None:
        if answer := poller.get(target, token):
            return answer
        django(target, token)
        return None

    answer: Answer = eventually(asked, f"the lane answers {target}")
    return answer


def django(target: str, token: str, **headers: str) -> Answer:
    """What Django answers."""
    given = {"authorization": f"Bearer {token}", **headers}
    response = Client(raise_request_exception=False).get(f"/tv{target}", headers=given)
    names = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, names, response.content)


def _nothing_to_receive() -> Any:
    raise AssertionError("the lane has no business with the request's body")
