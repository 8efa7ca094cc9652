"""`manage.py import_bars`: the recorded formats, what is wrong with a row, and --strict."""

import gzip
import zipfile
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from marketdata import bars, deep_import
from marketdata.models import BarChunk
from tests import factories

pytestmark = pytest.mark.django_db
MAY_8 = 1_399_507_200  # 2014-05-08 00:00 UTC
JUNE_5 = 1_401_926_400  # 2014-06-05 00:00 UTC
APRIL_5 = 1_522_886_400  # 2018-04-05 00:00 UTC
DAY = 86_400

Rows = Callable[[str], Path]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Makes a file of the text."""

    def make(text: str) -> Path:
        path = tmp_path / "rows.csv"
        path.write_text(text)
        return path

    return make


def run(path: Path, symbol: str, form: str, day: str | None = None, **options: object) -> tuple[list[str], list[str]]:
    """The command's lines on standard output and standard error."""
    out, err = StringIO(), StringIO()
    date = ["--date", day] if day else []
    call_command(
        "import_bars", str(path), "--symbol", symbol, "--format", form, *date, stdout=out, stderr=err, **options
    )
    return out.getvalue().splitlines(), err.getvalue().splitlines()


# --- recorded files ---------------------------------------------------------------------------------------------------


def test_minutes_of_a_pair_are_imported_once(market_data: Path) -> None:
    instrument = factories.instrument("EURUSD")
    path = market_data / "forex" / "eurusd-minute-20140508.zip"
    assert run(path, "EURUSD", "lean-forex-minute", "2014-05-08") == (
        ["read 1431, added 1431, unchanged 0, skipped 0"], [],
    )  # fmt: skip
    assert run(path, "EURUSD", "lean-forex-minute", "2014-05-08", strict=True) == (
        ["read 1431, added 0, unchanged 1431, skipped 0"], [],
    )  # fmt: skip
    columns = bars.history(instrument, "1", MAY_8, MAY_8 + DAY - 1)
    assert len(columns.t) == 1431
    assert [column[0] for column in columns] == [MAY_8, 1.39147, 1.39154, 1.39147, 1.39149, 1]
    assert [column[-1] for column in columns] == [MAY_8 + 86_340, 1.38383, 1.38393, 1.38371, 1.38371, 1]


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("ask", [1.39148, 1.39154, 1.39148, 1.39151]),
        ("mid", [1.391475, 1.39154, 1.391475, 1.3915]),
        ("trade", [1.39147, 1.39154, 1.39147, 1.39149]),
    ],
)
def test_quote_minutes_give_the_side_the_instrument_says(market_data: Path, source: str, first: list[float]) -> None:
    instrument = factories.instrument("EURUSD", bar_source=source)
    run(market_data / "forex" / "eurusd-minute-20140508.zip", "EURUSD", "lean-forex-minute", "2014-05-08")
    assert [column[0] for column in bars.history(instrument, "1", MAY_8, MAY_8)[1:5]] == first


def test_minutes_of_trades_keep_their_volume(market_data: Path) -> None:
    instrument = factories.instrument("BTCUSDT")
    path = market_data / "crypto" / "btcusd-trade-minute-20180405.zip"
    assert run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")[0][-1].startswith("read 1440, added 1440,")
    columns = bars.history(instrument, "1", APRIL_5, APRIL_5 + DAY - 1)
    assert [column[0] for column in columns] == [APRIL_5, 6791.68, 6791.68, 6778.01, 6778.01, 26.84379253]


def test_minutes_of_quotes_with_sizes_have_the_size_as_volume(market_data: Path) -> None:
    instrument = factories.instrument("BTCUSDT", bar_source="bid")
    path = market_data / "crypto" / "btcusd-quote-minute-20180405.zip"
    assert run(path, "BTCUSDT", "lean-crypto-quote-minute", "2018-04-05")[0][-1].startswith("read 1436, added 1436,")
    assert [column[0] for column in bars.history(instrument, "1", APRIL_5, APRIL_5)] == [
        APRIL_5, 6778, 6778, 6778, 6778, 0.00211,
    ]  # fmt: skip


def test_minutes_of_a_share_are_in_new_york_time_and_end_with_the_regular_session(market_data: Path) -> None:
    """SES-8: extended hours make no bars."""
    instrument = factories.instrument("AAPL")
    path = market_data / "equity" / "aapl-trade-minute-20140605.zip"
    assert run(path, "AAPL", "lean-equity-minute", "2014-06-05")[0] == [
        "296 rows outside the regular session make no bar.",
        "read 686, added 390, unchanged 0, skipped 296",
    ]
    columns = bars.history(instrument, "1", JUNE_5, JUNE_5 + DAY - 1)
    assert (columns.t[0], columns.t[-1]) == (JUNE_5 + 13 * 3600 + 1800, JUNE_5 + 19 * 3600 + 59 * 60)


def test_daily_bars_are_those_of_the_minutes(market_data: Path) -> None:
    """DT-18: a day's open is its first minute's; no --date is needed."""
    instrument = factories.instrument("AAPL", has_daily=True)
    path = market_data / "equity" / "aapl-daily.zip"
    assert run(path, "AAPL", "lean-equity-daily")[0][-1].startswith("read 5849, added 5849,")
    run(market_data / "equity" / "aapl-trade-minute-20140605.zip", "AAPL", "lean-equity-minute", "2014-06-05")
    day = bars.history(instrument, "1D", JUNE_5, JUNE_5)
    assert day.o == bars.history(instrument, "1", JUNE_5, JUNE_5 + DAY).o[:1]
    everything = bars.history(instrument, "1D", 0, JUNE_5 * 2)
    assert [column[0] for column in everything] == [883_699_200, 13.63, 16.25, 13.5, 16.25, 6_315_000]
    assert len(everything.t) == 5849


def test_a_generic_csv_is_imported(market_data: Path) -> None:
    instrument = factories.instrument("BTCUSDT.P")
    path = market_data / "crypto" / "btc-perp-1m-202201.csv.gz"
    assert run(path, "BTCUSDT.P", "csv")[0] == ["read 45031, added 45031, unchanged 0, skipped 0"]
    columns = bars.history(instrument, "1", 1_640_991_660, 1_640_991_660)
    assert [column[0] for column in columns] == [1_640_991_660, 46319, 46385, 46319, 46377, 2_300_413.7295]


# --- malformed rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("60000,1,1,1,1", "The row has 5 columns instead of 6."),
        ("60000,1,1,1,1,1,1", "The row has 7 columns instead of 6."),
        ("x,1,1,1,1,1", "“x” is not a time in milliseconds since midnight."),
        ("1e3,1,1,1,1,1", "“1e3” is not a time in milliseconds since midnight."),
        ("86400000,1,1,1,1,1", "The time 86400000 lies outside the day."),
        ("-60000,1,1,1,1,1", "The time -60000 lies outside the day."),
        (f"{'9' * 5000},1,1,1,1,1", f"The time {'9' * 5000} lies outside the day."),
        ("60001,1,1,1,1,1", "The time 60001 is not the start of a minute."),
        ("60000,1,1,1,x,1", "“x” is not a number."),
        ("60000,1,1,1,,1", "“” is not a number."),
        ("60000,1,1,1,NaN,1", "“NaN” is not a number."),
        ("60000,1,Infinity,1,1,1", "“Infinity” is not a number."),
        ("60000,1,1_0,1,1,1", "“1_0” is not a number."),
        ("60000,1,１,1,1,1", "“１” is not a number."),
        ("60000,0,1,0,1,1", "The price 0 is not above 0."),
        ("60000,1,1,-1,1,1", "The price -1 is not above 0."),
        ("60000,1.0000001,2,1,1,1", "The price 1.0000001 has more digits than can be stored."),
        ("60000,1e30,1e30,1,1,1", "The price 1E+30 has more digits than can be stored."),
        ("60000,1,1,2,1,1", "The high 1 is below the low 2."),
        ("60000,3,2,1,1,1", "Open or close lie outside of low 1 to high 2."),
        ("60000,1,2,1,3,1", "Open or close lie outside of low 1 to high 2."),
        ("60000,1,1,1,1,-1", "The size -1 is below 0 or too large."),
        ("60000,1,1,1,1,1e20", "The size 1e20 is below 0 or too large."),
        ("0,1,1,1,1,1", "Its time is not after that of the row before."),
    ],
)
def test_a_malformed_row_is_reported_by_line_and_skipped(rows: Rows, row: str, sentence: str) -> None:
    instrument = factories.instrument("BTCUSDT")
    path = rows(f"0,1,1,1,1,1\n{row}\n120000,1,1,1,1,1\n")
    assert run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05") == (
        ["read 3, added 2, unchanged 0, skipped 1"], [f"line 2: {sentence}"],
    )  # fmt: skip
    assert bars.history(instrument, "1", APRIL_5, APRIL_5 + DAY).t == [APRIL_5, APRIL_5 + 120]


def test_strict_stops_at_the_first_malformed_row_and_writes_nothing(rows: Rows) -> None:
    factories.instrument("BTCUSDT")
    path = rows("0,1,1,1,1,1\n60000,1,1,1,1\n120000,1,x,1,1,1\n")
    with pytest.raises(CommandError) as refusal:
        run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05", strict=True)
    assert str(refusal.value) == "Nothing was written: line 2: The row has 5 columns instead of 6."
    assert not BarChunk.objects.exists()


def test_bytes_that_are_no_text_are_a_malformed_row(tmp_path: Path) -> None:
    factories.instrument("BTCUSDT")
    path = tmp_path / "rows.csv"
    path.write_bytes(b"0,1,1,1,1,1\n\xff\xfe\x00\x01\n60000,1,1,1,\xff,1\n")
    out, err = run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")
    assert out == ["read 3, added 1, unchanged 0, skipped 2"]
    assert [line.partition(":")[0] for line in err] == ["line 2", "line 3"]


def test_many_malformed_rows_are_only_counted(rows: Rows) -> None:
    factories.instrument("BTCUSDT")
    out, err = run(rows("nonsense\n" * 500), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")
    assert out == ["read 500, added 0, unchanged 0, skipped 500"]
    assert len(err) == 101
    assert err[-1] == "Further malformed rows are only counted."


def test_windows_lines_and_empty_ones_are_no_faults(rows: Rows) -> None:
    factories.instrument("BTCUSDT")
    path = rows("0,1,1,1,1,1\r\n\r\n60000,1,1,1,1,1\r\n\n")
    assert run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05", strict=True) == (
        ["read 2, added 2, unchanged 0, skipped 0"], [],
    )  # fmt: skip


def test_minutes_without_trades_make_no_bar(rows: Rows) -> None:
    """BAR-9."""
    instrument = factories.instrument("BTCUSDT")
    assert run(rows("0,1,1,1,1,0\n60000,1,1,1,1,2\n"), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")[0] == [
        "1 rows without trades make no bar.",
        "read 2, added 1, unchanged 0, skipped 1",
    ]
    assert bars.history(instrument, "1", APRIL_5, APRIL_5 + DAY).t == [APRIL_5 + 60]


def test_known_bars_with_other_values_stay_and_are_counted(rows: Rows) -> None:
    instrument = factories.instrument("BTCUSDT")
    run(rows("0,1,1,1,1,1\n"), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")
    assert run(rows("0,2,2,2,2,1\n60000,2,2,2,2,1\n"), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")[0] == [
        "1 bars are there already with other values, and stay as they are.",
        "read 2, added 1, unchanged 0, skipped 1",
    ]
    assert bars.history(instrument, "1", APRIL_5, APRIL_5 + DAY).o == [1, 2]


@pytest.mark.parametrize(
    ("stamp", "sentence"),
    [
        ("yesterday", "“yesterday” is not a time like 2022-01-31 23:59:00."),
        ("2022-02-30 00:00:00", "“2022-02-30 00:00:00” is not a time like 2022-01-31 23:59:00."),
        ("2022-01-01 00:01:30", "The time 2022-01-01 00:01:30 is not the start of a minute."),
    ],
)
def test_a_csv_says_its_times_itself(rows: Rows, stamp: str, sentence: str) -> None:
    instrument = factories.instrument("BTCUSDT")
    header = "timestamp,open,high,low,close,volume"
    path = rows(f"{header}\n2022-01-01 00:00:00,1,1,1,1,1\n{stamp},1,1,1,1,1\n2022-01-01T01:02:00+01:00,1,1,1,1,1\n")
    assert run(path, "BTCUSDT", "csv")[1] == [f"line 3: {sentence}"]
    assert bars.history(instrument, "1", 1_640_995_200, 1_640_995_400).t == [1_640_995_200, 1_640_995_320]


# --- files and arguments ----------------------------------------------------------------------------------------------


def test_plain_gz_and_zip_are_read(tmp_path: Path) -> None:
    factories.instrument("BTCUSDT")
    text = b"0,1,1,1,1,1\n"
    plain, gz, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz", tmp_path / "a.zip"
    plain.write_bytes(text)
    gz.write_bytes(gzip.compress(text))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", text)
    for path in (plain, gz, packed):
        assert run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")[0][-1].startswith("read 1,")


def _no_file(directory: Path) -> Path:
    return directory / "absent.csv"


def _a_directory(directory: Path) -> Path:
    return directory


def _no_zip(directory: Path) -> Path:
    path = directory / "a.zip"
    path.write_bytes(b"no zip")
    return path


def _two_in_a_zip(directory: Path) -> Path:
    path = directory / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "")
        archive.writestr("b", "")
    return path


def _cut_off(directory: Path) -> Path:
    path = directory / "a.gz"
    path.write_bytes(gzip.compress(b"0,1,1,1,1,1\n" * 1000)[:-20])
    return path


@pytest.mark.parametrize("make", [_no_file, _a_directory, _no_zip, _two_in_a_zip, _cut_off])
def test_a_file_that_cannot_be_read_is_refused_and_nothing_written(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    factories.instrument("BTCUSDT")
    path = make(tmp_path)
    with pytest.raises(CommandError) as refusal:
        run(path, "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")
    assert str(refusal.value).startswith(str(path))
    assert not BarChunk.objects.exists()


def test_a_csv_without_its_header_is_refused(rows: Rows) -> None:
    factories.instrument("BTCUSDT")
    with pytest.raises(
        CommandError, match="does not say which columns are timestamp, open, high, low, close: name them"
    ):
        run(rows("2022-01-01 00:00:00,1,1,1,1,1\n"), "BTCUSDT", "csv")


def test_an_unknown_symbol_and_a_missing_date_are_refused(rows: Rows) -> None:
    with pytest.raises(CommandError, match="There is no instrument NOBODY"):
        run(rows(""), "NOBODY", "csv")
    factories.instrument("BTCUSDT")
    with pytest.raises(CommandError, match="give their --date"):
        run(rows(""), "BTCUSDT", "lean-crypto-trade-minute")


def test_a_date_that_is_none_is_refused(rows: Rows) -> None:
    with pytest.raises(CommandError, match=r"8\.5\.2014 is not a day like 2014-05-08"):
        run(rows(""), "BTCUSDT", "csv", "8.5.2014")


def test_volume_of_float_sums_is_rounded_to_what_can_be_traded(rows: Rows) -> None:
    instrument = factories.instrument("BTCUSDT")
    run(rows("0,1,1,1,1,33.35399601000002\n"), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05")
    assert bars.history(instrument, "1", APRIL_5, APRIL_5).v == [float(Decimal("33.35399601"))]


def test_the_progress_bar_counts_the_rows(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    factories.instrument("BTCUSDT")
    run(rows("0,1,1,1,1,1\n60000,1,1,1,1,1\n"), "BTCUSDT", "lean-crypto-trade-minute", "2018-04-05", progress=True)
    assert "2/2" in capsys.readouterr().err


# --- deep history and other layouts -----------------------------------------------------------------------------------

OPEN_2022 = 1_640_995_200  # 2022-01-01 00:00 UTC


def minute_rows(*numbers: int) -> str:
    return "".join(f"{OPEN_2022 + 60 * number},{100 + number}.5,{101 + number},{99},{100 + number},{number + 1}.25\n"
                   for number in numbers)  # fmt: skip


def test_the_quick_way_and_the_careful_way_write_the_same(
    market_data: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = market_data / "crypto" / "btc-perp-1m-202201.csv.gz"
    quick, careful = factories.instrument("BTCUSDT"), factories.instrument("ETHUSDT")
    copied = run(path, "BTCUSDT", "csv")
    monkeypatch.setattr(deep_import._Importer, "read", needs_care)
    assert run(path, "ETHUSDT", "csv") == copied
    columns = ("start", "price_scale", "t", "o", "h", "l", "c", "v")
    one, other = (
        list(BarChunk.objects.filter(instrument=each).order_by("start").values_list(*columns))
        for each in (quick, careful)
    )
    assert one == other
    assert len(one) == 33


def needs_care(*_args: object) -> None:
    raise deep_import.NeedsCare


PLAIN = st.one_of(
    st.decimals(0, 3, places=2).map(str),
    st.sampled_from(
        ["1", "2.5", "2.50000", ".5", "1.", "3.12345", "0.000001", "12345678901.25", "0.1234567", "9999999999999"]
    ),
)
VOLUMES = st.one_of(PLAIN, st.sampled_from(["0", "7", "0.30000000000000004", "92233720368.5", "1e1"]))
ODD = st.sampled_from(["", ".", "-1", "1e1", " 1", "1_0", "1.2.3", "٣", "9" * 30])


@st.composite
def bar_rows(draw: st.DrawFn) -> str:
    """Rows of times, prices and volumes, in all the ways that numbers are written; one cell may be no number."""
    rows, time = [], OPEN_2022
    for _row in range(draw(st.integers(1, 6))):
        time += 60 * 500 * draw(st.sampled_from([1, 1, 1, 2, 0]))  # some files take more than a day
        low, open_, close, high = sorted(draw(st.lists(PLAIN, min_size=4, max_size=4)), key=Decimal)
        rows.append([str(time), open_, high, low, close, draw(VOLUMES)])
    if draw(st.booleans()):
        draw(st.sampled_from(rows))[draw(st.integers(1, 5))] = draw(ODD)
    return "".join(f"{','.join(cells)}\n" for cells in rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(bar_rows())
@example(f"{OPEN_2022},1,1,1,1,\n")
@example(f"{OPEN_2022},1,1,1,1,.\n")
@example(f"{OPEN_2022},1.2.34,1.2.34,1.2.34,1.2.34,1\n")
def test_whatever_a_file_says_both_ways_make_the_same_of_it(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    columns = "timestamp=1,open=2,high=3,low=4,close=5,volume=6"
    found = []
    for symbol in ("QUICK", "CAREFUL"):
        with transaction.atomic(), monkeypatch.context() as patch:
            if symbol == "CAREFUL":
                patch.setattr(deep_import._Importer, "read", needs_care)
            factories.instrument(symbol)
            said = run(rows(lines), symbol, "csv", columns=columns)
            chunks = BarChunk.objects.filter(instrument__symbol=symbol).order_by("start")
            found.append((said, list(chunks.values_list("start", "price_scale", "t", "o", "h", "l", "c", "v"))))
            transaction.set_rollback(True)
    assert found[0] == found[1]


def test_days_that_have_bars_are_merged_and_the_others_copied(rows: Rows) -> None:
    factories.instrument("BTCUSDT")
    columns = {"columns": "timestamp=1,open=2,high=3,low=4,close=5,volume=6"}
    assert run(rows(minute_rows(0, 1)), "BTCUSDT", "csv", **columns)[0] == [
        "read 2, added 2, unchanged 0, skipped 0"
    ]  # fmt: skip
    assert run(rows(minute_rows(1, 2, 1440, 1441)), "BTCUSDT", "csv", **columns)[0] == [
        "read 4, added 3, unchanged 1, skipped 0"
    ]  # fmt: skip
    assert [chunk.t for chunk in BarChunk.objects.order_by("start")] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize(
    "wrong",
    [
        f"{OPEN_2022 + 120},1,2\n",
        f"{OPEN_2022 + 120},1,x,1,1,1\n",
        f"{OPEN_2022 + 120},1,1,2,1,1\n",
        f"{OPEN_2022 + 120},3,2,1,1,1\n",
        f"{OPEN_2022 + 120},1,1,0,1,1\n",
        f"{OPEN_2022 + 120},1,1,1,1,-1\n",
        f"{OPEN_2022 + 120},1,nan,1,1,1\n",
        f"{OPEN_2022 + 120},1_0,10,10,10,1\n",
        f"{OPEN_2022 + 121},1,1,1,1,1\n",
        f"{OPEN_2022},1,1,1,1,1\n",
        f"{OPEN_2022 + 120},1.00000001,2,1,1,1\n",
    ],
)
def test_one_wrong_row_is_reported_by_line_however_quick(rows: Rows, wrong: str) -> None:
    factories.instrument("BTCUSDT")
    columns = "timestamp=1,open=2,high=3,low=4,close=5,volume=6"
    out, err = run(rows(minute_rows(0, 1) + wrong + minute_rows(4)), "BTCUSDT", "csv", columns=columns)
    assert out == ["read 4, added 3, unchanged 0, skipped 1"]
    assert [line.partition(":")[0] for line in err] == ["line 3"]


def test_quick_rows_outside_the_session_or_without_trades_make_no_bar(rows: Rows) -> None:
    factories.instrument("AAPL")
    opening = OPEN_2022 + 2 * DAY + 14 * 3600 + 1800  # Monday 09:30 in New York
    text = "".join(
        f"{opening + 60 * number},1,1,1,1,{volume}\n" for number, volume in ((-1, 5), (0, 5), (1, 0), (2, 5))
    )
    assert run(rows(text), "AAPL", "csv", columns="timestamp=1,open=2,high=3,low=4,close=5,volume=6")[0] == [
        "1 rows outside the regular session make no bar.",
        "1 rows without trades make no bar.",
        "read 4, added 2, unchanged 0, skipped 2",
    ]


def test_columns_are_named_by_header_or_number(rows: Rows) -> None:
    instrument = factories.instrument("BTCUSDT")
    path = rows(f"Last,Date,First,Top,Bottom\n11,{OPEN_2022 * 1000},10,12,9\n")
    assert run(path, "BTCUSDT", "csv", columns="timestamp=date,open=First,high=4,low=bottom,close=last")[0] == [
        "1 rows without trades make no bar.",
        "read 1, added 0, unchanged 0, skipped 1",
    ]
    factories.instrument("ETHUSDT", has_no_volume=True)
    run(path, "ETHUSDT", "csv", columns="timestamp=date,open=First,high=4,low=bottom,close=last")
    columns = bars.history(factories.instrument("ETHUSDT"), "1", OPEN_2022, OPEN_2022)
    assert [column[0] for column in columns] == [OPEN_2022, 10, 12, 9, 11, 1]
    assert bars.history(instrument, "1", OPEN_2022, OPEN_2022).t == []


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("time=1", "“time=1” is not a column"),
        ("timestamp", "“timestamp” is not a column"),
        ("timestamp=0", "“timestamp=0” is not a column"),
        ("timestamp=1,open=2", "does not say which columns are high, low, close"),
    ],
)
def test_columns_that_name_nothing_are_refused(rows: Rows, columns: str, sentence: str) -> None:
    factories.instrument("BTCUSDT")
    with pytest.raises(CommandError, match=sentence):
        run(rows(minute_rows(0)), "BTCUSDT", "csv", columns=columns)


@pytest.mark.parametrize("unit", [1000, 1_000_000])
@pytest.mark.parametrize("header", ["", "open_time,open,high,low,close,volume,close_time,x,x,x,x,ignore\n"])
def test_klines_of_binance_in_milliseconds_or_microseconds(rows: Rows, unit: int, header: str) -> None:
    instrument = factories.instrument("BTCUSDT")
    row = f"{OPEN_2022 * unit},46216.93000000,46271.08000000,46208.37000000,46250.00000000,40.57574000,1,2,3,4,5,0\n"
    assert run(rows(header + row), "BTCUSDT", "binance-klines")[0][-1] == "read 1, added 1, unchanged 0, skipped 0"
    columns = bars.history(instrument, "1", OPEN_2022, OPEN_2022)
    assert [column[0] for column in columns] == [OPEN_2022, 46216.93, 46271.08, 46208.37, 46250, 40.57574]
