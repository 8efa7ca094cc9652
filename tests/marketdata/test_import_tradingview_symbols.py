"""`manage.py import_tradingview_symbols`: TradingView's list, by line, whole or not at all."""

import json
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from marketdata.models import MappingSuggestion, TradingViewSymbol
from tests import factories

pytestmark = pytest.mark.django_db

APPLE = {"symbol-fullname": "NASDAQ:AAPL", "type": "stock", "currency": "USD", "description": "Apple Inc."}
BITCOIN = {"symbol-fullname": "BINANCE:BTCUSDT", "type": "spot", "currency": "USDT", "description": "Bitcoin / Tether"}


def run(tmp_path: Path, text: str, *arguments: str) -> tuple[str, str]:
    """What the command says on standard output and on standard error."""
    file = tmp_path / "symbols.json"
    file.write_text(text)
    out, err = StringIO(), StringIO()
    call_command("import_tradingview_symbols", str(file), *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def names() -> list[str]:
    return list(TradingViewSymbol.objects.values_list("full_name", flat=True))


def test_symbols_are_added_with_type_currency_description_and_tick(tmp_path):
    factories.instrument("AAPL")
    out, err = run(tmp_path, json.dumps([{**APPLE, "minmovement": 1, "pricescale": 100}, BITCOIN], indent=1))
    assert err == ""
    assert "added 2, updated 0, unchanged 0, skipped 0" in out
    assert "1 symbols are suggested for instruments." in out
    apple = TradingViewSymbol.objects.get(full_name="NASDAQ:AAPL")
    assert (apple.type, apple.currency, apple.description) == ("stock", "USD", "Apple Inc.")
    assert (apple.code, apple.words, apple.tick_size) == ("AAPL", "apple", Decimal("0.01"))
    assert TradingViewSymbol.objects.get(full_name="BINANCE:BTCUSDT").type == "crypto"
    assert MappingSuggestion.objects.get().target == apple


def test_importing_again_updates(tmp_path):
    run(tmp_path, json.dumps([APPLE, BITCOIN]))
    out, _err = run(tmp_path, json.dumps([{**APPLE, "currency": "EUR"}, BITCOIN]))
    assert "added 0, updated 1, unchanged 1, skipped 0" in out
    assert TradingViewSymbol.objects.get(full_name="NASDAQ:AAPL").currency == "EUR"


@pytest.mark.parametrize(
    ("arguments", "left"), [((), ["BINANCE:BTCUSDT", "NASDAQ:AAPL"]), (("--whole",), ["NASDAQ:AAPL"])]
)
def test_what_a_whole_list_lacks_has_gone(tmp_path, arguments, left):
    run(tmp_path, json.dumps([APPLE, BITCOIN]))
    run(tmp_path, json.dumps([APPLE]), *arguments)
    assert names() == left


def test_wrong_rows_are_named_by_line_and_left_out(tmp_path):
    wrong = [
        '{"symbol-fullname": "AAPL", "type": "stock"}',
        '{"symbol-fullname": 5, "type": "stock"}',
        '{"type": "stock"}',
        '"NASDAQ:MSFT"',
        '{"symbol-fullname": "NASDAQ:MSFT", "type": "stock", "pricescale": 0}',
        json.dumps(APPLE),
        '{"symbol-fullname": "NASDAQ:TSLA"}',
    ]
    out, err = run(tmp_path, "[\n" + ",\n".join([json.dumps(APPLE), *wrong]) + "\n]")
    assert names() == ["NASDAQ:AAPL"]
    assert "added 1, updated 0, unchanged 0, skipped 7" in out
    assert err.splitlines() == [
        "line 3: full_name: Write the full name with its exchange, as NASDAQ:AAPL.",
        "line 4: These must be texts: symbol-fullname.",
        "line 5: full_name: This field cannot be blank.",
        "line 6: Each symbol is an object with its “symbol-fullname”.",
        "line 7: Price scale and min. movement are whole numbers above 0.",
        "line 8: NASDAQ:AAPL is in line 2 already.",
        "line 9: type: This field cannot be blank.",
    ]


def test_strict_stops_at_the_first_wrong_row_with_nothing_written(tmp_path):
    with pytest.raises(CommandError, match="Nothing was written: line 2"):
        run(tmp_path, f'[{json.dumps(APPLE)},\n{{"symbol-fullname": "AAPL"}}]', "--strict")
    assert names() == []


@pytest.mark.parametrize("text", ["", "{}", "[{]", '[{"symbol-fullname": "A:B"} 5 x]', "NASDAQ:AAPL"])
def test_a_file_that_is_no_array_is_refused(tmp_path, text):
    with pytest.raises(CommandError, match=r"symbols\.json"):
        run(tmp_path, text)
    assert names() == []
