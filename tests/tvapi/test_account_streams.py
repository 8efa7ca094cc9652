"""The streams of an account's orders, state and positions: TSTR-1 … TSTR-7."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from jsonschema import Draft202012Validator

from accounts import tokens
from accounts.models import Account
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import DOCUMENT, ORIGIN, TradingView, refused
from trading import orders
from tvapi import account_streams

MESSAGE = Draft202012Validator({"$ref": "#/components/schemas/StreamOrdersMessage", **DOCUMENT})
PATIENCE_SECONDS = 30.0


class Connection:
    """A client of a stream as the server presents it."""

    def __init__(self, token: str | None, kind: str, account: str = "FX", query: bytes = b"locale=en") -> None:
        headers = [(b"origin", ORIGIN.encode())]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        self.stopping = asyncio.Event()
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": f"/tv/accounts/{account}/stream/{kind}",
            "query_string": query,
            "headers": headers,
            "stopping": self.stopping,
        }
        self.gone = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def handle(self) -> bool:
        return await account_streams.handle(self.scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def messages(self) -> list[Any]:
        """All but the pings; each in a line of its own, and compact (TSTR-3)."""
        body = b"".join(message.get("body", b"") for message in self.sent)
        assert not body or body.endswith(b"\n")
        lines = [json.loads(line, parse_float=Decimal) for line in body.splitlines()]
        return [line for line in lines if not (isinstance(line, dict) and line.keys() == {"P"})]

    @property
    def pings(self) -> int:
        return sum(message.get("body", b"").count(b'{"P":') for message in self.sent)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(*opened: Connection) -> AsyncIterator[None]:
    """Open streams that have their snapshots; their tasks end with the block."""
    async with asyncio.TaskGroup() as tasks:
        for connection in opened:
            tasks.create_task(connection.handle())
        await until(lambda: all(connection.messages for connection in opened))
        yield
        for connection in opened:
            connection.gone.set()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own, and close the database connections that it left in threads."""

    async def all_of_it() -> None:
        try:
            await scenario
        finally:
            await sync_to_async(connections.close_all)()
            await account_streams._desk.run(connections.close_all)

    asyncio.run(all_of_it())


@pytest.fixture
def account(transactional_db: None) -> Account:
    owner = factories.user("streamer")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(owner=owner, number="FX")


@pytest.fixture
def token(account: Account) -> str:
    return factories.token(account.client.user)


def trade(account: Account, *args: str, **fields: Any) -> Any:
    return sync_to_async(desk.fill)(account, *args, **fields)


def test_orders_begin_with_the_snapshot_that_a_poll_returns(account: Account, token: str) -> None:
    """TSTR-4."""
    desk.fill(account, "buy", "10000", limit="1.09", sl="1.08")
    polled = TradingView(token).d("/accounts/FX/orders", locale="en")

    async def scenario() -> None:
        stream = Connection(token, "orders")
        async with connected(stream):
            assert stream.messages == [polled]
            MESSAGE.validate(stream.messages[0])
            assert stream.headers[b"access-control-allow-origin"] == ORIGIN.encode()
            assert stream.headers[b"vary"] == b"origin"

    run(scenario())


def test_every_change_of_an_order_comes_as_the_whole_order(account: Account, token: str) -> None:
    """TSTR-5, TSTR-7."""

    async def scenario() -> None:
        stream = Connection(token, "orders")
        async with connected(stream):
            assert stream.messages == [[]]
            order = await trade(account, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
            await until(lambda: len(stream.messages) >= 4)
            await sync_to_async(orders.cancel)(account.pk, order.pk)
            await until(lambda: sum(each.get("status") == "cancelled" for each in stream.messages[1:]) == 3)
            by_id = {each["id"]: each for each in stream.messages[1:]}
            polled = await sync_to_async(TradingView(token).d)("/accounts/FX/orders", locale="en")
            assert by_id == {each["id"]: each for each in polled}
            for message in stream.messages[1:]:
                MESSAGE.validate(message)

    run(scenario())


def test_nothing_is_sent_when_nothing_changes_but_pings(account: Account, token: str, monkeypatch) -> None:
    monkeypatch.setattr(account_streams, "PING_SECONDS", 0.3)
    desk.fill(account, "buy", "10000", limit="1.09")

    async def scenario() -> None:
        stream = Connection(token, "orders")
        async with connected(stream):
            await until(lambda: stream.pings >= 3)
            assert len(stream.messages) == 1

    run(scenario())


def test_positions_and_state_follow_the_prices(account: Account, token: str) -> None:
    desk.fill(account, "buy", "10000")

    async def scenario() -> None:
        positions, state = Connection(token, "positions"), Connection(token, "state")
        async with connected(positions, state):
            assert positions.messages[0][0]["unrealizedPl"] == -1
            await sync_to_async(factories.quote)("EURUSD", "1.11010", "1.11020")
            await until(lambda: len(positions.messages) > 1 and len(state.messages) > 1)
            assert positions.messages[-1]["unrealizedPl"] == 100
            assert (state.messages[-1]["unrealizedPl"], state.messages[-1]["equity"]) == (100, 100100)
            await trade(account, "sell", "10000")
            await until(lambda: positions.messages[-1]["qty"] == 0)
            await until(lambda: state.messages[-1]["balance"] == 100100)

    run(scenario())


def test_each_stream_speaks_its_own_language(account: Account, token: str) -> None:
    desk.fill(account, "buy", "10000")

    async def scenario() -> None:
        english, german = Connection(token, "state"), Connection(token, "state", query=b"locale=de_DE")
        async with connected(english, german):
            assert english.messages[0][0]["accountSummaryRowData"][-1] == "99,999.00"
            assert german.messages[0][0]["accountSummaryRowData"][-1] == "99.999,00"

    run(scenario())


def test_whoever_may_not_poll_is_left_to_django_and_refused_by_it(account: Account, token: str) -> None:
    factories.account(number="OTHERS")

    async def scenario() -> None:
        for stream in [
            Connection(None, "orders"),
            Connection("wrong", "orders"),
            Connection(token, "orders", account="OTHERS"),
            Connection(token, "orders", account="\x00"),
            Connection(token, "orders", account="NONE/x"),
            Connection(token, "netPositions"),
        ]:
            assert await stream.handle() is False
            assert stream.sent == []

    run(scenario())
    assert TradingView().send("GET", "/accounts/FX/stream/orders")[0] == 401
    client = TradingView(token)
    for number in ("OTHERS", "NONE", "%00", quote("a/b", safe="")):
        assert refused(client.get(f"/accounts/{number}/stream/orders")) == "There is no such account."


def test_beyond_the_limit_a_stream_is_refused(account: Account, token: str, monkeypatch) -> None:
    monkeypatch.setattr(account_streams, "LONGEST", 1)

    async def scenario() -> None:
        async with connected(Connection(token, "orders")):
            assert await Connection(token, "orders").handle() is False

    run(scenario())
    answer = TradingView(token).get("/accounts/FX/stream/orders")
    assert refused(answer) == "This stream is not available at the moment."


def test_a_token_that_ended_ends_its_streams(account: Account, token: str, monkeypatch) -> None:
    monkeypatch.setattr(account_streams, "ADMIT_SECONDS", 0.1)
    other = factories.token(account.client.user)

    async def scenario() -> None:
        ended, going_on = Connection(token, "orders"), Connection(other, "orders")
        async with connected(ended, going_on):
            await sync_to_async(tokens.revoke)(token)
            await until(lambda: ended.sent[-1].get("more_body") is False)
            assert going_on.sent[-1]["more_body"] is True

    run(scenario())


def test_a_stream_ends_completely_when_the_server_stops(account: Account, token: str) -> None:
    async def scenario() -> None:
        stream = Connection(token, "orders")
        async with connected(stream):
            stream.stopping.set()
            await until(lambda: stream.sent[-1].get("more_body") is False)

    run(scenario())


def test_many_streams_of_an_account_are_rendered_once(account: Account, token: str, monkeypatch) -> None:
    rendered: list[int] = []
    plain = account_streams._objects

    def counting(of: Account, kind: str) -> dict[str, bytes]:
        rendered.append(of.version)
        return plain(of, kind)

    monkeypatch.setattr(account_streams, "_objects", counting)

    async def scenario() -> None:
        streams = [Connection(token, "orders") for _ in range(20)]
        async with connected(*streams):
            await trade(account, "buy", "10000", limit="1.09")
            await until(lambda: all(len(stream.messages) > 1 for stream in streams))
            assert len(rendered) == len(set(rendered)), "at most once for a version of the account"

    run(scenario())


def test_the_streams_are_served_before_django() -> None:
    assert "tvapi.account_streams.handle" in settings.ASGI_HANDLERS
