"""Price sources: Binance's protocol, connections that break or fall silent, and which source an instrument takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from marketdata import quotes, sources, ticklog
from marketdata.adapters.base import Unreadable
from marketdata.adapters.binance import Binance, PolledBinance
from marketdata.choices import FeedState
from marketdata.feed import Simulation
from marketdata.models import FeedRoute, FeedSource, Instrument
from marketdata.sources import Sources
from tests import factories
from tests.processes import eventually


def book(symbol: str, bid: str, ask: str) -> str:
    data = {"u": 400900217, "s": symbol, "b": bid, "B": "31.21000000", "a": ask, "A": "40.66000000"}
    return json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


def trade(symbol: str, price: str, qty: str, time_ms: int) -> str:
    data = {
        "e": "trade", "E": time_ms + 1, "s": symbol, "t": 12345, "p": price, "q": qty, "T": time_ms, "m": True,
    }  # fmt: skip
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_the_address_names_both_streams_of_every_symbol() -> None:
    assert Binance(["BTCUSDT", "ETHUSDT"]).address("wss://example.com/") == (
        "wss://example.com/stream?streams=btcusdt@bookTicker/btcusdt@trade/ethusdt@bookTicker/ethusdt@trade"
    )


def test_a_trade_comes_with_the_best_bid_and_ask_before_it() -> None:
    binance = Binance(["BTCUSDT"])
    assert list(binance.prices(trade("BTCUSDT", "1", "1", 1))) == []
    (quote,) = binance.prices(book("BTCUSDT", "92000.10000000", "92000.11000000"))
    assert (quote.bid, quote.ask, quote.bid_size, quote.last) == (
        Decimal("92000.10"), Decimal("92000.11"), Decimal("31.21"), None,
    )  # fmt: skip
    (traded,) = binance.prices(trade("BTCUSDT", "92000.11", "0.015", 1_795_424_400_250))
    assert (traded.time_ms, traded.last, traded.last_size, traded.bid) == (
        1_795_424_400_250, Decimal("92000.11"), Decimal("0.015"), Decimal("92000.10"),
    )  # fmt: skip


@pytest.mark.parametrize("message", ["", "[]", '{"data": {"s": 1}}', '{"data": {"s": "A", "b": "x"}}', b"\xff"])
def test_what_is_not_of_the_protocol_is_said(message: str | bytes) -> None:
    with pytest.raises(Unreadable):
        list(Binance(["A"]).prices(message))


def test_answers_to_requests_say_nothing_of_prices() -> None:
    assert list(Binance(["A"]).prices('{"result": null, "id": 1}')) == []


def test_over_http_the_address_names_every_symbol() -> None:
    assert PolledBinance(["BTCUSDT", "ETHUSDT"]).address("https://example.com/") == (
        "https://example.com/api/v3/ticker/bookTicker?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D"
    )


@pytest.mark.parametrize("message", ["", "{}", '[{"symbol": "A"}]', '{"code": -1121, "msg": "Invalid symbol."}'])
def test_over_http_what_is_not_of_the_protocol_is_said(message: str) -> None:
    with pytest.raises(Unreadable):
        list(PolledBinance(["A"]).prices(message))


# --- connections to a local exchange ----------------------------------------------------------------------------------


class Exchange:
    """A server that speaks the protocol: what it is told to say goes to everybody connected."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.paths: list[str] = []

    def handle(self, connection: ServerConnection) -> None:
        self.paths.append(connection.request.path if connection.request else "")
        self.connections.append(connection)
        for _message in connection:
            pass

    def say(self, message: str) -> None:
        for connection in list(self.connections):
            try:
                connection.send(message)
            except ConnectionClosed:
                self.connections.remove(connection)

    def hang_up(self) -> None:
        while self.connections:
            self.connections.pop().close()


@contextmanager
def exchange() -> Iterator[tuple[Exchange, str]]:
    made = Exchange()
    with serve(made.handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made, f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            made.hang_up()
            server.shutdown()
            thread.join()


@pytest.fixture
def coin(transactional_db: None) -> Instrument:
    return factories.instrument("BTCUSDT")


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    """Readers of the sources in the database, without long pauses."""
    monkeypatch.setattr(sources, "BACK_OFF_SECONDS", (0.05, 0.1))
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.02)
    made = Sources(lambda: True)
    yield made
    made.stop()


def source(
    name: str, url: str, coin: Instrument, priority: int = 1, stale: float = 30.0, kind: str = "binance"
) -> FeedSource:
    made = FeedSource.objects.create(name=name, kind=kind, url=url, stale_after_seconds=stale)
    FeedRoute.objects.create(instrument=coin, source=made, source_symbol="BTCUSDT", priority=priority)
    return made


def state_after_step(follow: Sources, row: FeedSource) -> str:
    follow.step()
    row.refresh_from_db()
    return row.state


def bid() -> Decimal | None:
    quote = quotes.get("BTCUSDT")
    return quote.bid if quote else None


def saying(made: Exchange, price: str) -> Callable[[], bool]:
    """Say it again until it is the latest price."""

    def is_heard() -> bool:
        made.say(book("BTCUSDT", price, "99999"))
        return bid() == Decimal(price)

    return is_heard


def test_prices_enter_the_tick_log_and_a_broken_connection_is_made_anew(coin: Instrument, follow: Sources) -> None:
    with exchange() as (made, url):
        row = source("main", url, coin)
        follow.step()
        eventually(saying(made, "92000"), "the price is there")
        assert made.paths == ["/stream?streams=btcusdt@bookTicker/btcusdt@trade"]
        made.say(trade("BTCUSDT", "92001", "0.5", 1_795_424_400_000))
        eventually(lambda: ticklog.read("0-0")[-1].tick.last == Decimal(92001), "the trade is there")
        made.hang_up()
        eventually(saying(made, "92002"), "the price is there again")
        follow.step()
        row.refresh_from_db()
        assert (row.state, row.connects, row.last_tick_at is not None) == (FeedState.LIVE, 2, True)
        assert row.last_error.startswith("ConnectionClosed")
        assert FeedRoute.objects.get().is_active


def test_an_instrument_takes_the_first_source_that_is_not_stale(coin: Instrument, follow: Sources) -> None:
    with exchange() as (first, first_url), exchange() as (second, second_url):
        main = source("main", first_url, coin, priority=1, stale=0.5)
        source("spare", second_url, coin, priority=2)
        follow.step()
        eventually(saying(first, "100"), "the first source's price is there")
        second.say(book("BTCUSDT", "200", "99999"))
        eventually(saying(first, "101"), "the first source's price is there")
        assert Decimal(200) not in {entry.tick.bid for entry in ticklog.read("0-0")}
        eventually(saying(second, "201"), "the spare takes over when the first is silent")
        follow.step()
        assert FeedRoute.objects.get(is_active=True).source.name == "spare"
        eventually(lambda: state_after_step(follow, main) == FeedState.STALE, "the silence of the first is in its row")
        eventually(saying(first, "102"), "the first is taken again as soon as it has prices")


def test_rows_that_staff_changes_are_followed(coin: Instrument, follow: Sources) -> None:
    with exchange() as (made, url):
        row = source("main", url, coin)
        follow.step()
        eventually(saying(made, "92000"), "the price is there")
        FeedSource.objects.update(is_enabled=False)
        follow.step()
        row.refresh_from_db()
        assert row.state == FeedState.OFF
        assert not FeedRoute.objects.get().is_active


def test_a_server_that_is_not_there_is_said_and_tried_again(coin: Instrument, follow: Sources) -> None:
    row = source("main", "ws://127.0.0.1:9", coin)
    follow.step()

    def has_failed() -> bool:
        follow.step()
        row.refresh_from_db()
        return row.state == FeedState.FAILED and "refused" in row.last_error

    eventually(has_failed, "the failure is in the row")


def test_a_feed_that_may_not_write_writes_nothing(coin: Instrument) -> None:
    router = sources.Router(lambda: False)
    row = source("main", "ws://127.0.0.1:9", coin)
    router.load(FeedRoute.objects.select_related("instrument", "source"))
    assert router.take(row.pk, Binance(["BTCUSDT"]).prices(book("BTCUSDT", "1", "2"))) == 0
    assert bid() is None


def test_the_simulator_leaves_symbols_with_a_source_alone(coin: Instrument) -> None:
    factories.instrument("ETHUSDT")
    source("main", "ws://127.0.0.1:9", coin)
    simulation = Simulation()
    simulation.step()
    assert set(simulation._played) == {"ETHUSDT"}


def test_prices_that_cannot_be_stored_do_not_count(coin: Instrument) -> None:
    router = sources.Router(lambda: True)
    row = source("main", "ws://127.0.0.1:9", coin)
    router.load(FeedRoute.objects.select_related("instrument", "source"))
    binance: Any = Binance(["BTCUSDT"])
    assert router.take(row.pk, binance.prices(book("BTCUSDT", "0.000000001", "2"))) == 0
    assert router.take(row.pk, binance.prices(book("OTHER", "1", "2"))) == 0
    assert router.take(row.pk, binance.prices(book("BTCUSDT", "1", "2"))) == 1


# --- an exchange that is asked ----------------------------------------------------------------------------------------


class Asked(BaseHTTPRequestHandler):
    """Answers as Binance's REST interface does: the prices of the symbols that were asked for, or an error."""

    prices: dict[str, tuple[str, str]]
    status = 200

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        symbols = json.loads(parse_qs(address.query)["symbols"][0])
        names = ("symbol", "bidPrice", "bidQty", "askPrice", "askQty")
        rows = [
            dict(zip(names, (each, self.prices[each][0], "31.21", self.prices[each][1], "40.66"), strict=True))
            for each in symbols
        ]
        self.send_response(self.status if address.path == "/api/v3/ticker/bookTicker" else 404)
        self.end_headers()
        self.wfile.write(json.dumps(rows).encode())

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def asked_exchange() -> Iterator[tuple[type[Asked], str]]:
    handler = type("Handler", (Asked,), {"prices": {"BTCUSDT": ("92000", "99999")}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_exchange_is_asked_again_and_again_also_after_it_failed(
    coin: Instrument, follow: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PolledBinance, "poll_seconds", 0.02)
    with asked_exchange() as (made, url):
        row = source("main", url, coin, kind="binance_http")
        follow.step()
        eventually(lambda: bid() == Decimal(92000), "the price is there")
        assert state_after_step(follow, row) == FeedState.LIVE
        made.status = 429
        eventually(lambda: state_after_step(follow, row) == FeedState.FAILED, "the failure is in the row")
        assert "429" in row.last_error
        made.prices = {"BTCUSDT": ("92001", "99999")}
        made.status = 200
        eventually(lambda: bid() == Decimal(92001), "the price is there again")


def test_an_exchange_that_answers_without_prices_is_stale(
    coin: Instrument, follow: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PolledBinance, "poll_seconds", 0.02)
    with asked_exchange() as (made, url):
        row = source("main", url, coin, stale=0.5, kind="binance_http")
        follow.step()
        eventually(lambda: bid() == Decimal(92000), "the price is there")
        made.prices = {"BTCUSDT": ("0", "0")}
        eventually(lambda: state_after_step(follow, row) == FeedState.STALE, "the silence is in the row")
