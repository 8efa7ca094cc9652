"""`manage.py replay_ticks`: recorded ticks through the log, the builder and history (DQ-1, DQ-3)."""

import threading
from collections.abc import Callable, Iterator
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from marketdata import bars, builder, ticklog
from marketdata.bars import Bar, Columns
from marketdata.builder import BarBuilder
from marketdata.models import BarChunk, Instrument, OpenBar
from marketdata.recordings import BAR_FORMATS, Recording, read_bars
from tests import factories
from tests.marketdata.ticks import build

pytestmark = pytest.mark.django_db
MAY_8 = 1_399_507_200  # 2014-05-08 00:00 UTC
TICKS = 167_466


@pytest.fixture
def eurusd() -> Instrument:
    return factories.instrument("EURUSD")


def replay(path: Path, *more: str) -> tuple[list[str], list[str]]:
    """The command's lines on standard output and standard error."""
    out, err = StringIO(), StringIO()
    arguments = ["--symbol", "EURUSD", "--format", "lean-forex-tick", "--date", "2014-05-08", "--speed", "max", *more]
    call_command("replay_ticks", str(path), *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def day_of(instrument: Instrument) -> Columns:
    return bars.history(instrument, "1", MAY_8, MAY_8 + 86_399)


@pytest.mark.proof
def test_recorded_ticks_give_the_recorders_own_minutes(eurusd: Instrument, market_data: Path) -> None:
    """To the last digit, though the builder changes in the middle; and a second replay changes nothing."""
    path = market_data / "forex" / "eurusd-tick-20140508.zip"
    reader = BarBuilder()
    assert replay(path, "--no-wait")[0] == [f"read {TICKS}, sent {TICKS}, skipped 0"]
    for _batch in range(7):
        reader.run_once()
    build()  # by a new builder: the first one is gone, in the middle of a minute
    once = day_of(eurusd)
    minutes = market_data / "forex" / "eurusd-minute-20140508.zip"
    recording = Recording(eurusd, date(2014, 5, 8))
    recorded = [bar for bar in read_bars(minutes, BAR_FORMATS["lean-forex-minute"], recording) if isinstance(bar, Bar)]
    assert len(recorded) == 1431
    assert once.t == [bar.time for bar in recorded]
    for built, name in zip(once[1:5], ("o", "h", "l", "c"), strict=True):
        assert built == [float(getattr(bar, name)) for bar in recorded]
    assert sum(once.v) == TICKS

    replay(path, "--no-wait")
    build()
    assert day_of(eurusd) == once
    assert (BarChunk.objects.count(), OpenBar.objects.count()) == (1, 1)


@pytest.fixture
def rows(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        path = tmp_path / "ticks.csv"
        path.write_text(text)
        return path

    return make


def test_malformed_ticks_are_reported_by_line_and_skipped(eurusd: Instrument, rows: Callable[[str], Path]) -> None:
    path = rows("0,1.1,1.2\n1,1.1\n2,x,1.2\n3,0,1.2\n1,1.1,1.2\n4,1.3,1.2\n2,1.1,1.2\n86400000,1.1,1.2\n")
    assert replay(path, "--no-wait") == (
        ["read 8, sent 3, skipped 5"],
        [
            "line 2: The row has 2 columns instead of 3.",
            "line 3: “x” is not a number.",
            "line 4: The price 0 is not above 0.",
            "line 7: Its time is before that of the row before.",
            "line 8: The time 86400000 lies outside the day.",
        ],
    )
    build()
    assert day_of(eurusd) == ([MAY_8], [1.1], [1.3], [1.1], [1.3], [3])


def test_strict_sends_nothing_of_a_file_with_a_malformed_row(eurusd: Instrument, rows: Callable[[str], Path]) -> None:
    with pytest.raises(CommandError, match=r"Nothing was written: line 2: The row has 2 columns instead of 3\."):
        replay(rows("0,1.1,1.2\n1,1.1\n"), "--no-wait", "--strict")
    assert ticklog.last_id() == builder.START
    assert replay(rows("0,1.1,1.2\n"), "--no-wait", "--strict")[0] == ["read 1, sent 1, skipped 0"]


def test_a_replay_whose_builder_does_not_run_says_so(eurusd: Instrument, rows: Callable[[str], Path]) -> None:
    with pytest.raises(CommandError, match="is the feed running"):
        replay(rows("0,1.1,1.2\n"), "--patience", "0.1")


def test_quotes_for_an_instrument_of_trades_are_replayed_with_a_warning(rows: Callable[[str], Path]) -> None:
    instrument = factories.instrument("EURUSD", bar_source="trade")
    assert replay(rows("0,1.1,1.2\n"), "--no-wait")[1] == [
        "Bars of EURUSD are made of trades, the file has quotes: it makes no bars."
    ]
    build()
    assert day_of(instrument).t == []


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_a_speed_is_max_or_a_number_above_zero(eurusd: Instrument, rows: Callable[[str], Path], speed: str) -> None:
    with pytest.raises(CommandError, match="is neither max nor a number above 0"):
        replay(rows("0,1.1,1.2\n"), "--no-wait", "--speed", speed)


def test_at_a_given_speed_all_ticks_come_in_their_order(eurusd: Instrument, rows: Callable[[str], Path]) -> None:
    replay(rows("".join(f"{n * 1000},1.{n + 1},2\n" for n in range(60))), "--no-wait", "--speed", "600")
    assert [entry.tick.seq for entry in ticklog.read(builder.START)] == list(range(1, 61))


@pytest.fixture
def feed() -> Iterator[None]:
    """A bar builder at work in a thread of its own."""
    stop = threading.Event()

    def work() -> None:
        reader = BarBuilder()
        while not stop.is_set():
            reader.run_once(block_ms=20)
        reader.close()
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_done_means_that_the_bars_are_there(feed: None, rows: Callable[[str], Path]) -> None:
    instrument = factories.instrument("EURUSD")
    total = 70_000
    assert replay(rows("1000,1.1,1.2\n" * total))[0] == [f"read {total}, sent {total}, skipped 0"]
    assert day_of(instrument).v == [total]
