"""Instruments from files: new ones, those already there, and rows that cannot be right."""

from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from marketdata.choices import BarSource, InstrumentState, SymbolType
from marketdata.models import Instrument, MappingSuggestion, SymbolGroup, TradingViewSymbol
from tests import factories

pytestmark = pytest.mark.django_db

HEADER = (
    "symbol,description,type,base_currency,quote_currency,exchange,pricescale,minmovement2,min_qty,max_qty,qty_step,"
    "session_regular"
)
EURUSD = "EURUSD,Euro / US Dollar,forex,EUR,USD,DEMO,100000,10,1000,1000000,1000,1700-1700"
AAPL = "AAPL,Apple Inc.,stock,,USD,NASDAQ,100,0,1,100000,1,0930-1600"


def run(path: Path, *args: str, form: str = "csv") -> tuple[list[str], list[str]]:
    """The lines of both outputs; the time taken is cut off."""
    out, err = StringIO(), StringIO()
    call_command("import_instruments", str(path), "--format", form, *args, stdout=out, stderr=err)
    return [line.partition(" in ")[0] for line in out.getvalue().splitlines()], err.getvalue().splitlines()


def file(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "instruments.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_csv_file_names_the_fields_of_instruments(tmp_path: Path) -> None:
    group = factories.symbol_group("demo_forex")
    out, err = run(file(tmp_path, EURUSD), "--group", "demo_forex")
    assert (out, err) == (["added 1, updated 0, unchanged 0, skipped 0"], [])
    made = Instrument.objects.get()
    assert (made.symbol, made.description, made.type, made.symbol_group) == (
        "EURUSD", "Euro / US Dollar", SymbolType.FOREX, group,
    )  # fmt: skip
    assert (made.exchange_listed, made.exchange_traded, made.tick_size) == ("DEMO", "DEMO", Decimal("0.00001"))
    assert (made.min_qty, made.timezone, made.state) == (Decimal(1000), "Etc/UTC", InstrumentState.TRADING)


def test_importing_again_updates_what_the_file_says_and_leaves_the_rest(tmp_path: Path) -> None:
    run(file(tmp_path, EURUSD, AAPL))
    Instrument.objects.filter(symbol="EURUSD").update(state=InstrumentState.HALTED, isin="")
    assert run(file(tmp_path, EURUSD, AAPL))[0] == ["added 0, updated 0, unchanged 2, skipped 0"]
    renamed = AAPL.replace("Apple Inc.", "Apple").replace("0930-1600", "0930-1500")
    assert run(file(tmp_path, EURUSD, renamed))[0] == ["added 0, updated 1, unchanged 1, skipped 0"]
    aapl, eurusd = Instrument.objects.order_by("symbol")
    assert (aapl.description, aapl.session_regular) == ("Apple", "0930-1500")
    assert eurusd.state == InstrumentState.HALTED


def test_what_was_added_or_changed_is_suggested_for(tmp_path: Path) -> None:
    TradingViewSymbol.objects.create(full_name="NASDAQ:AAPL", code="AAPL", type="stock", currency="USD")
    apple = TradingViewSymbol.objects.create(full_name="NASDAQ:APC", code="APC", type="stock", currency="USD")
    run(file(tmp_path, EURUSD, AAPL))
    aapl = Instrument.objects.get(symbol="AAPL")
    assert list(MappingSuggestion.objects.values_list("instrument", "target__full_name")) == [(aapl.pk, "NASDAQ:AAPL")]
    TradingViewSymbol.objects.filter(full_name="NASDAQ:AAPL").delete()
    TradingViewSymbol.objects.filter(pk=apple.pk).update(words="computers")
    run(file(tmp_path, EURUSD, AAPL.replace("Apple Inc.", "Computers Inc.")))
    assert aapl.suggestion.target.full_name == "NASDAQ:APC"


def test_critical_changes_of_listed_symbols_are_named(tmp_path: Path) -> None:
    """SYM-1."""
    run(file(tmp_path, AAPL), "--group", "demo_stock")
    out, _err = run(file(tmp_path, AAPL.replace("0930-1600", "0930-1500")))
    assert out[0] == "TradingView must be told of changed sessions or price formats: AAPL."


def test_wrong_rows_are_reported_by_line_and_the_others_are_written(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        EURUSD,
        EURUSD,
        AAPL.replace("AAPL", "aapl"),
        AAPL.replace("100,0,1", "99,0,1"),
        AAPL.replace("0930-1600", "0930"),
        AAPL.replace(",1,100000,1,", ",5,1,1,"),
        AAPL.replace(",1,100000,1,", ",x,1,1,"),
        EURUSD.replace("EURUSD", "USDEUR"),
        AAPL,
    )
    out, err = run(path)
    assert out == ["added 2, updated 0, unchanged 0, skipped 7"]
    assert [line.partition(":")[0] for line in err] == [f"line {number}" for number in range(3, 10)]
    assert err[0] == "line 3: EURUSD is in line 2 already."
    assert err[1] == "line 4: symbol: Use capitals, digits, dots and underscores."
    assert "The price scale of decimal prices is a power of ten" in err[2]
    assert set(Instrument.objects.values_list("symbol", flat=True)) == {"EURUSD", "AAPL"}


def test_a_strict_import_writes_nothing_when_a_row_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Nothing was written: line 3: EURUSD is in line 2 already"):
        run(file(tmp_path, EURUSD, EURUSD), "--strict", "--group", "demo_new")
    assert not Instrument.objects.exists()
    assert not SymbolGroup.objects.exists()


def test_what_money_depends_on_never_changes(tmp_path: Path) -> None:
    run(file(tmp_path, AAPL))
    changed = AAPL.replace(",USD,", ",EUR,").replace("Apple Inc.", "Other")
    out, err = run(file(tmp_path, changed))
    assert out == ["added 0, updated 0, unchanged 0, skipped 1"]
    assert err == ["line 2: AAPL is there already, and these never change: quote_currency."]
    assert Instrument.objects.get().description == "Apple Inc."
    with pytest.raises(CommandError, match="these never change"):
        run(file(tmp_path, EURUSD, changed), "--strict")
    assert not Instrument.objects.filter(symbol="EURUSD").exists()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [("symbol,colour", "There are no fields colour."), ("name,type", "has no columns symbol.")],
)
def test_a_file_of_other_columns_is_refused(tmp_path: Path, header: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(file(tmp_path, "EURUSD,blue", header=header))


@pytest.mark.proof
def test_a_group_that_would_outgrow_its_limit_refuses_the_file(tmp_path: Path) -> None:
    rows = [AAPL.replace("AAPL", f"S{number}", 1) for number in range(10_001)]
    with pytest.raises(CommandError, match="demo_stock would have more than 10000 symbols"):
        run(file(tmp_path, *rows), "--group", "demo_stock")
    assert not Instrument.objects.exists()


def test_a_group_must_be_one_that_tradingview_takes(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Begin the name with demo_"):
        run(file(tmp_path, EURUSD), "--group", "other_forex")
    assert not Instrument.objects.exists()


@pytest.mark.proof
def test_ten_thousand_real_symbols(market_data: Path) -> None:
    path = market_data / "symbol-properties.csv"
    args = ("--group", "demo_many", "--exchange", "demo", "--limit", "10000")
    out, err = run(path, *args, form="lean-symbol-properties")
    assert out[0] == "The symbol group demo_many is new."
    assert out[1].startswith("added 10000, updated 0, unchanged 0, skipped ")
    assert "line 7: An instrument of type future needs what this format does not have." in err[0]
    everything = Instrument.objects.filter(symbol_group__name="demo_many", exchange_listed="DEMO")
    assert everything.count() == 10_000
    btc = Instrument.objects.get(symbol="BINANCE_BTCUSDT.P")
    assert (btc.base_currency, btc.quote_currency, btc.session_regular) == ("BTC", "USDT", "24x7")
    eurusd = Instrument.objects.get(symbol="FXCM_EURUSD")
    assert (eurusd.pip_size, eurusd.bar_source) == (Decimal("0.0001"), BarSource.BID)
    again, _err = run(path, *args, form="lean-symbol-properties")
    assert again[0].startswith("added 0, updated 0, unchanged 10000, ")
