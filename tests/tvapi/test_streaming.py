"""The stream of prices: STRM-1 … STRM-15."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone
from jsonschema import Draft202012Validator
from pytest_django import Settings

from accounts import tokens
from accounts.choices import Profile
from accounts.entitlement_models import DataSubscription, DataTariff
from accounts.models import AccessToken, User
from accounts.oauth_models import OAuthClient, RenewalToken
from backoffice import embedded
from backoffice.processes import LOOPBACK, free_port, spawn, stop
from marketdata import bars, ticklog
from marketdata.builder import BarBuilder
from marketdata.choices import SymbolType
from marketdata.models import Instrument
from marketdata.ticklog import Entry, Tick
from tests import factories
from tests.processes import eventually, running
from tests.tvapi.contract import DOCUMENT
from tvapi import endless, streaming, visibility
from tvapi.lines import Chunk, Lines
from tvapi.visibility import Visibility

MESSAGE = Draft202012Validator({"$ref": "#/components/schemas/StreamingMessage", **DOCUMENT})
NOW_MS = 1_795_424_400_250
LIVE_SECONDS = 30.0


@pytest.fixture
def eurusd() -> Instrument:
    return factories.instrument("EURUSD")


@pytest.fixture
def btcusdt() -> Instrument:
    return factories.instrument("BTCUSDT")


def parsed(chunk: bytes) -> list[dict[str, Any]]:
    """The messages of whole lines, each checked against the contract (STRM-2)."""
    assert not chunk or chunk.endswith(b"\n")
    messages = [json.loads(line) for line in chunk.splitlines()]
    for message in messages:
        MESSAGE.validate(message)
    return messages


# --- lines ------------------------------------------------------------------------------------------------------------


def lines(*ticks: Tick, since: dict[str, int] | None = None) -> list[dict[str, Any]]:
    return parsed(Lines(since or {}).of(Entry("1-0", tick) for tick in ticks).data)


def tick(symbol: str, bid: str, ask: str, ms: int = 0, **fields: Any) -> Tick:
    sizes = {"bid_size": Decimal(3), "ask_size": Decimal(4)}
    return Tick(symbol, NOW_MS + ms, Decimal(bid), Decimal(ask), **{**sizes, **fields})


@pytest.mark.django_db
def test_a_quote_has_both_sides_and_milliseconds(btcusdt: Instrument) -> None:
    assert lines(tick("BTCUSDT", "90000.5", "90001")) == [
        {"f": "q", "id": "BTCUSDT", "t": 1795424400.25, "bp": 90000.5, "bs": 3, "ap": 90001, "as": 4}
    ]


@pytest.mark.django_db
def test_a_trade_comes_as_it_was(btcusdt: Instrument) -> None:
    traded = tick("BTCUSDT", "90000", "90001", last=Decimal(90001), last_size=Decimal("0.025"))
    assert lines(traded)[0] == {"f": "t", "id": "BTCUSDT", "t": 1795424400.25, "p": 90001, "s": 0.025}


@pytest.mark.django_db
def test_prices_arrive_to_the_last_digit(eurusd: Instrument) -> None:
    chunk = Lines({}).of([Entry("1-0", tick("EURUSD", "1.10010", "1.10020"))])
    assert b'"p":1.10010,' in chunk.data


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("source", "kind", "price", "size"),
    [
        ("bid", SymbolType.FOREX, 1.2, 0),
        ("ask", SymbolType.FOREX, 1.4, 0),
        ("mid", SymbolType.FOREX, 1.3, 0),
        ("bid", SymbolType.INDEX, 1.2, 1),  # what it adds to the volume, not what is bid
    ],
)
def test_an_artificial_trade_has_the_price_that_bars_are_made_of(
    source: str, kind: SymbolType, price: float, size: float
) -> None:
    """STRM-8, STRM-15."""
    factories.instrument("SOME", type=kind, bar_source=source, symbol_group="demo_some")
    assert lines(tick("SOME", "1.2", "1.4"))[0] == {"f": "t", "id": "SOME", "t": 1795424400.25, "p": price, "s": size}


@pytest.mark.django_db
def test_a_source_without_sizes_gives_artificial_trades_of_one(eurusd: Instrument) -> None:
    """STRM-9: a size is above zero, and the volume of such a bar is the number of its ticks."""
    factories.instrument("INDEX", type=SymbolType.INDEX, bar_source="bid", symbol_group="demo_some")
    assert lines(tick("INDEX", "1.2", "1.4", bid_size=Decimal(0)))[0]["s"] == 1


@pytest.mark.django_db
def test_a_tick_outside_the_session_makes_no_trade_because_it_makes_no_bar() -> None:
    factories.instrument("AAPL", symbol_group="demo_some")
    before_opening = tick("AAPL", "270", "271", last=Decimal(270), last_size=Decimal(1))
    assert [line["f"] for line in lines(before_opening)] == ["q"]


@pytest.mark.django_db
def test_only_symbols_of_a_group_are_in_the_stream(eurusd: Instrument) -> None:
    factories.instrument("AAPL")
    assert {line["id"] for line in lines(tick("AAPL", "1", "2"), tick("NEW", "1", "2"), tick("EURUSD", "1", "2"))} == {
        "EURUSD"
    }


@pytest.mark.django_db
def test_times_do_not_go_back_and_late_ticks_count_while_their_minute_is_open(
    eurusd: Instrument, btcusdt: Instrument
) -> None:
    """STRM-13, STRM-15: the bar builder takes a late tick of the open minute, and none of an earlier one."""
    sent = lines(
        tick("EURUSD", "1.1", "1.2", 100),
        tick("EURUSD", "1.3", "1.4", 99),
        tick("BTCUSDT", "1.5", "1.6", 50),
        tick("EURUSD", "1.7", "1.8", 100),
        tick("EURUSD", "1.9", "2.0", -60_000),
    )
    assert [(line["id"], line["bp"], line["t"]) for line in sent if line["f"] == "q"] == [
        ("EURUSD", 1.1, 1795424400.35),
        ("EURUSD", 1.3, 1795424400.35),
        ("BTCUSDT", 1.5, 1795424400.3),
        ("EURUSD", 1.7, 1795424400.35),
    ]


@pytest.mark.django_db
def test_recorded_prices_do_not_come_between_those_of_today(eurusd: Instrument) -> None:
    assert lines(tick("EURUSD", "1.1", "1.2", lane="a day of 2014", seq=1), since={"EURUSD": NOW_MS + 1}) == []


@pytest.mark.django_db
def test_a_time_far_ahead_is_left_out_and_does_not_silence_the_symbol(eurusd: Instrument) -> None:
    ahead = tick("EURUSD", "1.1", "1.2", 10**12)
    assert [line["t"] for line in lines(ahead, tick("EURUSD", "1.1", "1.2")) if line["f"] == "q"] == [1795424400.25]


# --- connections, in this process -------------------------------------------------------------------------------------


class Connection:
    """A client of the stream as the server presents it: what was sent to it, and the means to go."""

    def __init__(self, token: str | None, *, method: str = "GET", path: str = streaming.PATH) -> None:
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        self.stopping = asyncio.Event()
        self.scope = {"type": "http", "method": method, "path": path, "headers": headers, "stopping": self.stopping}
        self.gone = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()
        self.sent: list[dict[str, Any]] = []

    async def handle(self) -> bool:
        return await streaming.handle(self.scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body"):
            await self.readable.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def prices(self) -> list[dict[str, Any]]:
        return [message for message in parsed(self.body) if "heartbeat" not in message]

    async def has(self, count: int) -> None:
        """Wait until so many prices have come."""
        async with asyncio.timeout(LIVE_SECONDS):
            while len(self.prices) < count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(token: str, number: int = 1) -> AsyncIterator[list[Connection]]:
    """So many open streams that have begun; their tasks end with the block."""
    opened = [Connection(token) for _ in range(number)]
    async with asyncio.TaskGroup() as tasks:
        for connection in opened:
            tasks.create_task(connection.handle())
        await asyncio.sleep(0)
        while not all(connection.sent for connection in opened):
            await asyncio.sleep(0.01)
        yield opened
        for connection in opened:
            connection.gone.set()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own, and close the database connections that it left in threads."""

    async def all_of_it() -> None:
        try:
            async with asyncio.timeout(LIVE_SECONDS):
                await scenario
        finally:
            await sync_to_async(connections.close_all)()
            while any(thread.name == "stream" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)

    asyncio.run(all_of_it())


@pytest.fixture
def token(transactional_db: None) -> str:
    return factories.token(factories.user(is_data_client=True))


def test_all_connections_get_the_same_lines_from_when_they_came(token: str, eurusd: Instrument) -> None:
    async def scenario() -> None:
        factories.quote("EURUSD", "1.00000", "1.00010")  # nothing old (STRM-3)
        async with connected(token, 2) as (first, second):
            for number in range(20):
                factories.quote("EURUSD", f"1.1{number:04}", "1.20000")
                await asyncio.sleep(0.01)
            await first.has(40)
            await second.has(40)
            assert first.prices == second.prices
            assert [line["bp"] for line in first.prices if line["f"] == "q"] == [
                float(f"1.1{number:04}") for number in range(20)
            ]

    run(scenario())


def test_the_response_says_what_it_is(token: str) -> None:
    async def scenario() -> None:
        async with connected(token) as (connection,):
            start = connection.sent[0]
            assert (start["type"], start["status"]) == ("http.response.start", 200)
            headers = dict(start["headers"])
            assert headers[b"content-type"] == b"application/json"
            assert b"content-length" not in headers

    run(scenario())


def test_whoever_has_no_good_token_is_left_to_django(token: str) -> None:
    async def scenario() -> None:
        others = [
            Connection(None),
            Connection("wrong"),
            Connection(token, method="POST"),
            Connection(token, path="/tv/quotes"),
        ]
        for connection in others:
            assert await connection.handle() is False
            assert connection.sent == []

    run(scenario())


def test_a_reader_that_falls_behind_is_dropped_and_the_others_are_not(token: str) -> None:
    async def scenario() -> None:
        slow, quick = Connection(token), Connection(token)
        slow.readable.clear()
        tasks = [asyncio.create_task(connection.handle()) for connection in (slow, quick)]
        while not (slow.sent and quick.sent):
            await asyncio.sleep(0.01)
        for number in range(endless.LONGEST_QUEUE + 2):
            streaming._hub._publish(Chunk(b'{"heartbeat":%d}\n' % number))
            await asyncio.sleep(0)
        assert await tasks[0] is True
        assert not tasks[1].done()
        assert len(parsed(quick.body)) == endless.LONGEST_QUEUE + 2
        quick.gone.set()
        await tasks[1]

    run(scenario())


def test_what_comes_after_the_beginning_of_the_answer_is_not_missed(
    token: str, eurusd: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the first reader's thread takes to find its place in the log."""
    last_id = ticklog.last_id

    def slowly() -> str:
        time.sleep(0.3)
        return last_id()

    monkeypatch.setattr(ticklog, "last_id", slowly)

    async def scenario() -> None:
        async with connected(token) as (connection,):
            await sync_to_async(factories.quote)("EURUSD", "1.1", "1.2")
            await connection.has(2)

    run(scenario())


def test_a_stream_ends_completely_when_the_server_stops(token: str) -> None:
    async def scenario() -> None:
        async with connected(token) as (connection,):
            connection.stopping.set()
            while connection.sent[-1].get("more_body") is not False:
                await asyncio.sleep(0.01)

    run(scenario())


@pytest.mark.django_db(transaction=True)
def test_a_restricted_data_server_gets_the_lines_of_its_groups_alone(eurusd: Instrument, btcusdt: Instrument) -> None:
    server = factories.user("restricted", is_data_client=True)
    tariff = DataTariff.objects.create(name="Pairs", groups=["demo_forex"])
    DataSubscription.objects.create(user=server, tariff=tariff)
    token = factories.token(server)

    async def scenario() -> None:
        async with connected(token) as (connection,):
            await sync_to_async(factories.quote)("BTCUSDT", "60000", "60001")
            await sync_to_async(factories.quote)("EURUSD", "1.1", "1.2")
            await connection.has(2)
        assert {line["id"] for line in connection.prices} == {"EURUSD"}

    run(scenario())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "end",
    [
        lambda: User.objects.filter(username="server").update(is_active=False),
        lambda: OAuthClient.objects.update(is_active=False),
        lambda: tokens.revoke_access(AccessToken.objects.all()),
        lambda: tokens.revoke_rows(RenewalToken.objects.all()),
    ],
    ids=["login switched off", "client switched off", "token ended", "login ended"],
)
def test_a_stream_ends_when_somebody_ends_it(end: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvapi.visibility.REFRESH_SECONDS", 0.05)
    server = factories.user("server", is_data_client=True)
    client, token = factories.oauth_client(), tokens.new()
    renewal = tokens.keep_renewal(tokens.new(), server, client, family=uuid4())
    tokens.keep(token, server, lifetime_seconds=60, client=client, renewal=renewal)

    async def scenario() -> None:
        connection = Connection(token)
        task = asyncio.create_task(connection.handle())
        while not connection.sent:
            await asyncio.sleep(0.01)
        await sync_to_async(end)()
        assert await task
        assert connection.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    run(scenario())


@pytest.mark.django_db(transaction=True)
def test_a_stream_goes_on_when_its_token_is_renewed_and_ends_with_the_login() -> None:
    """Where the new token is ended, the login that all of them came from is."""
    server = factories.user("server", is_data_client=True)
    client, old, new, family = factories.oauth_client(), tokens.new(), tokens.new(), uuid4()
    renewal = tokens.keep_renewal(tokens.new(), server, client, family=family)
    tokens.keep(old, server, lifetime_seconds=60, client=client, renewal=renewal)
    visibility = Visibility(old, server, client.pk)
    assert visibility.refresh()
    renewed = tokens.keep_renewal(tokens.new(), server, client, family=family, replaces=renewal)
    tokens.keep(new, server, lifetime_seconds=60, client=client, renewal=renewed)
    assert tokens.user_of(new) == server
    assert tokens.user_of(old) is None
    assert visibility.refresh()
    tokens.revoke(new)
    assert not visibility.refresh()


def test_the_log_is_read_only_while_somebody_listens(token: str, eurusd: Instrument) -> None:
    async def scenario() -> None:
        for _ in range(2):  # and a hub that has stopped can start again
            async with connected(token) as (connection,):
                factories.quote("EURUSD", "1.1", "1.2")
                await connection.has(2)
            while any(thread.name == "stream" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)

    run(scenario())


# --- a real server ----------------------------------------------------------------------------------------------------


class Stream:
    """A connection over HTTP; a thread reads it as it comes."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=LIVE_SECONDS)
        self._connection.request("GET", streaming.PATH, headers={"Authorization": f"Bearer {token}"})
        self.response = self._connection.getresponse()
        self.lines: list[bytes] = []
        self.is_complete = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while line := self.response.readline():
            self.lines.append(line)
        self.is_complete = self.response.isclosed()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return parsed(b"".join(self.lines))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("f") == kind]

    def join(self) -> None:
        self._thread.join(LIVE_SECONDS)


@contextlib.contextmanager
def server() -> Iterator[tuple[Any, int]]:
    port = free_port()
    argv = ("-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--port", str(port), "--workers", "1")
    with running(*argv, "backoffice.asgi:application", PART="stream") as process:
        eventually(lambda: _status(port, None) == 401, "the server answers")
        yield process, port


def _status(port: int, token: str | None) -> int | None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=LIVE_SECONDS)
    try:
        connection.request("GET", streaming.PATH, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.fixture
def redis_that_restarts(tmp_path: Path, settings: Settings) -> Iterator[Callable[[], None]]:
    """A Redis of the test's own; calling it kills the server and starts it again on the same port and data."""
    layout = embedded.lay(tmp_path)
    program = embedded.valkey_program(tmp_path, layout)
    processes: list[Any] = []

    def restart() -> None:
        for process in processes:
            process.kill()
            process.wait()
        processes.append(spawn(program))
        embedded.await_answer(program, processes[-1], embedded.valkey_answers, layout)

    restart()
    settings.REDIS_URL = f"redis://:{layout.valkey_password}@{LOOPBACK}:{layout.valkey_port}/0"
    ticklog.connection.cache_clear()
    try:
        yield restart
    finally:
        ticklog.connection.cache_clear()
        stop([(processes[-1], signal.SIGTERM)], seconds=10)


def test_a_real_server_streams_what_history_has_through_a_restart_of_redis_and_ends_cleanly(
    token: str, redis_that_restarts: Callable[[], None]
) -> None:
    eurusd = factories.instrument("EURUSD")
    with server() as (process, port):
        assert _status(port, "wrong") == 401
        stream, other = Stream(port, token), Stream(port, token)
        assert stream.response.status == 200
        assert stream.response.headers["Transfer-Encoding"] == "chunked"
        assert stream.response.headers["Content-Type"] == "application/json"
        assert stream.response.headers["Content-Length"] is None
        eventually(lambda: stream.messages, "a heartbeat comes when there are no prices")
        assert abs(stream.messages[0]["heartbeat"] - time.time()) < 10

        for number in range(50):
            factories.quote("EURUSD", f"1.1{number * 7 % 50:04}", "1.20000")
        eventually(lambda: len(stream.of("t")) == 50, "the prices come")
        redis_that_restarts()
        eventually(lambda: _quoted("1.15000"), "Redis takes prices again")
        eventually(lambda: stream.of("t")[-1]["p"] == 1.15, "the same connection has prices after the restart")
        eventually(lambda: other.messages[-1] == stream.messages[-1], "the other connection has them too")

        for kind in "tq":
            times = [message["t"] for message in stream.of(kind)]
            assert all(before <= after for before, after in pairwise(times))
        assert stream.of("t") == other.of("t")
        assert _bars_of(stream) == _history(eurusd)

        process.send_signal(signal.SIGTERM)
        stream.join()
        assert stream.is_complete
        assert process.wait(timeout=LIVE_SECONDS) == 0
        other.join()


def _quoted(bid: str) -> bool:
    try:
        factories.quote("EURUSD", bid, "1.20000")
    except redis.ConnectionError:
        return False
    return True


def _bars_of(stream: Stream) -> dict[int, tuple[float, ...]]:
    """Minutes as TradingView builds them from the trades (DT-26): open, high, low, close by time."""
    minutes: dict[int, list[float]] = {}
    for message in stream.of("t"):
        minutes.setdefault(int(message["t"]) // 60 * 60, []).append(message["p"])
    return {time: (found[0], max(found), min(found), found[-1]) for time, found in minutes.items()}


def _history(instrument: Instrument) -> dict[int, tuple[float, ...]]:
    builder = BarBuilder()
    while builder.run_once():
        pass
    columns = bars.history(instrument, "1", 0, int(time.time()))
    return {row[0]: row[1:5] for row in zip(*columns, strict=True)}


class Asking:
    """Requests to a real server with one token."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    def __call__(self, path: str, **query: object) -> dict[str, Any]:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=LIVE_SECONDS)
        address = f"/tv{path}?{urlencode(query)}"
        connection.request("GET", address, headers={"Authorization": f"Bearer {self._token}"})
        return dict(json.loads(connection.getresponse().read()))

    def data(self) -> dict[str, bool]:
        """Where in the data half bitcoins are to be had."""
        history = {"resolution": "1", "from": 0, "to": 1}
        return {
            "permissions": "demo_crypto" in self("/permissions")["d"]["groups"],
            "groups": {"id": "demo_crypto"} in self("/groups")["d"]["groups"],
            "symbol_info": "BTCUSDT" in self("/symbol_info")["symbol"],
            "history": self("/history", symbol="BTCUSDT", **history)["s"] == "ok",
        }

    def of_account(self, number: str) -> dict[str, bool]:
        """And where in an account."""
        [quote] = self("/quotes", accountId=number, symbols="BTCUSDT")["d"]
        return {
            "instruments": "BTCUSDT" in [each["name"] for each in self(f"/accounts/{number}/instruments")["d"]],
            "quotes": quote["s"] == "ok",
            "depth": self("/depth", accountId=number, symbol="BTCUSDT")["s"] == "ok",
        }


@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_what_a_login_loses_is_gone_within_seconds_everywhere_and_comes_back(
    eurusd: Instrument, btcusdt: Instrument
) -> None:
    """An open stream looks every four seconds; each request asks anew."""
    reader, trader = factories.user("restricted", is_data_client=True), factories.user("trader")
    subscribed = [
        DataSubscription.objects.create(user=reader, tariff=DataTariff.objects.create(name=name, groups=[name]))
        for name in ("demo_forex", "demo_crypto")
    ]
    account = factories.account(Profile.SPOT, owner=trader, number="A", symbols=["BTCUSDT"])
    prices = count(1)

    def streamed() -> bool:
        """Whether a price of bitcoin that comes now is in the stream: one of another symbol, told after it, is."""
        number, before = next(prices), len(stream.lines)
        factories.quote("BTCUSDT", str(60000 + number), "70000")
        factories.quote("EURUSD", f"1.1{number:04}", "1.2")
        eventually(lambda: stream.of("t")[-1:] and stream.of("t")[-1]["p"] == float(f"1.1{number:04}"), "a price comes")
        return any(message.get("id") == "BTCUSDT" for message in parsed(b"".join(stream.lines[before:])))

    with server() as (process, port):
        stream = Stream(port, factories.token(reader))
        data, trading = Asking(port, factories.token(reader)), Asking(port, factories.token(trader))
        eventually(lambda: stream.messages, "a heartbeat comes")
        assert streamed()
        assert all(data.data().values())
        assert all(trading.of_account("A").values())

        DataSubscription.objects.filter(pk=subscribed[1].pk).update(ends_at=timezone.now())
        factories.set_terms(account.group, "BTCUSDT", is_offered=False)
        assert not any(data.data().values())
        assert not any(trading.of_account("A").values())
        eventually(lambda: not streamed(), "the stream has no more of it")
        assert not any(streamed() for _ in range(20))

        DataSubscription.objects.filter(pk=subscribed[1].pk).update(ends_at=None)
        factories.set_terms(account.group, "BTCUSDT", is_offered=True)
        assert all(data.data().values())
        assert all(trading.of_account("A").values())
        eventually(streamed, "the stream has it again")
        assert all(streamed() for _ in range(20))
        process.send_signal(signal.SIGTERM)  # killed, it would leave its worker behind
        stream.join()
        process.wait(timeout=LIVE_SECONDS)


def test_an_open_stream_looks_as_often_as_promised() -> None:
    assert visibility.REFRESH_SECONDS < 5
