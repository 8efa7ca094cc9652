"""Ticks of other recorders: Binance's trades, TrueFX, and files whose columns are named."""

from decimal import Decimal
from pathlib import Path

import pytest

from marketdata.recordings import TICK_FORMATS, Fault, Recording, read_ticks
from marketdata.ticklog import Tick
from tests import factories

pytestmark = pytest.mark.django_db


def read(tmp_path: Path, form: str, symbol: str, text: str, columns: str | None = None) -> list[Tick | Fault]:
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    layout = TICK_FORMATS[form].layout
    recording = Recording(factories.instrument(symbol), layout=layout(path, columns) if layout else None)
    return list(read_ticks(path, form, recording))


@pytest.mark.parametrize("time", ["1640995200123", "1640995200123456"])
@pytest.mark.parametrize("header", ["", "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"])
def test_trades_of_binance(tmp_path: Path, time: str, header: str) -> None:
    row = f"1212,46216.93000000,0.00150000,69.32,{time},True,True\n"
    (tick,) = read(tmp_path, "binance-trades", "BTCUSDT", header + row)
    assert isinstance(tick, Tick)
    assert (tick.time_ms, tick.last, tick.last_size, tick.bid, tick.ask) == (
        1_640_995_200_123, Decimal("46216.93"), Decimal("0.0015"), Decimal("46216.93"), Decimal("46216.93"),
    )  # fmt: skip
    assert tick.lane == "binance-trades BTCUSDT ticks.csv"


def test_ticks_of_truefx(tmp_path: Path) -> None:
    rows = "EUR/USD,20140508 00:00:00.123,1.39123,1.39125\nEUR/USD,2014-05-08,1,2\n"
    tick, fault = read(tmp_path, "truefx", "EURUSD", rows)
    assert isinstance(tick, Tick)
    assert (tick.time_ms, tick.bid, tick.ask) == (1_399_507_200_123, Decimal("1.39123"), Decimal("1.39125"))
    assert fault == Fault(2, "“2014-05-08” is not a time like 20140508 00:00:00.123.")


def test_ticks_with_named_columns(tmp_path: Path) -> None:
    columns = "timestamp=when,bid=b,ask=a,last=p,last_size=n"
    rows = "when,b,a,p,n\n2014-05-08 00:00:01.500,1.1,1.2,,\n2014-05-08T00:00:02Z,1.1,1.2,1.15,3\n1399507200,1,1,,\n"
    quote, trade, fault = read(tmp_path, "csv", "EURUSD", rows, columns)
    assert isinstance(quote, Tick)
    assert isinstance(trade, Tick)
    assert (quote.time_ms, quote.last, trade.time_ms, trade.last, trade.last_size) == (
        1_399_507_201_500, None, 1_399_507_202_000, Decimal("1.15"), Decimal(3),
    )  # fmt: skip
    assert fault == Fault(4, "Its time is before that of the row before.")
