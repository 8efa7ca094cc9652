"""`manage.py set_quote`: all lines or none, and a sentence for each mistake."""

import io
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from marketdata import holds, quotes, ticklog
from marketdata.models import Instrument
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def instruments() -> list[Instrument]:
    return [factories.instrument("EURUSD"), factories.instrument("BTCUSDT"), factories.instrument("ESZ2026")]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put this on the standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def latest(symbol: str) -> tuple[Decimal, Decimal] | None:
    quote = quotes.get(symbol)
    return (quote.bid, quote.ask) if quote else None


def held(symbol: str) -> tuple[Decimal, Decimal] | None:
    _, hold = holds.state([symbol])[0]
    return (hold.bid, hold.ask) if hold else None


def test_the_price_is_the_latest_quote_and_held() -> None:
    call_command("set_quote", "EURUSD", "1.10000", "1.10012", "--hold", "3600")
    assert latest("EURUSD") == held("EURUSD") == (Decimal("1.10000"), Decimal("1.10012"))
    assert 3590 < ticklog.connection().ttl("hold:EURUSD") <= 3600


def test_a_hold_lasts_ten_seconds_unless_told() -> None:
    call_command("set_quote", "EURUSD", "1.1", "1.1")
    assert 5 <= ticklog.connection().ttl("hold:EURUSD") <= 10


def test_without_a_hold_an_earlier_one_ends() -> None:
    call_command("set_quote", "EURUSD", "1.1", "1.2", "--hold", "60")
    call_command("set_quote", "EURUSD", "1.3", "1.4", "--hold", "0")
    assert held("EURUSD") is None
    assert latest("EURUSD") == (Decimal("1.3"), Decimal("1.4"))


def test_it_replaces_a_quote_of_a_later_time() -> None:
    factories.quote("EURUSD", "1.5", "1.6", at_ms=4_000_000_000_000)
    call_command("set_quote", "EURUSD", "1.1", "1.2")
    assert latest("EURUSD") == (Decimal("1.1"), Decimal("1.2"))


def test_an_instrument_that_the_simulator_does_not_play_has_one_deep_level() -> None:
    acme = factories.instrument("ACME")
    call_command("set_quote", "ACME", "12.34", "12.35")
    quote = quotes.get("ACME")
    assert quote is not None
    assert (quote.bids, quote.asks) == (((Decimal("12.34"), acme.max_qty),), ((Decimal("12.35"), acme.max_qty),))


def test_many_lines_come_from_the_standard_input(given: Callable[[str], None]) -> None:
    given("EURUSD 1.1 1.2\n\n  BTCUSDT\t90000 90000.5\nEURUSD 1.3 1.4\n")
    call_command("set_quote", "--hold", "60")
    assert latest("BTCUSDT") == held("BTCUSDT") == (Decimal(90_000), Decimal("90000.5"))
    assert latest("EURUSD") == held("EURUSD") == (Decimal("1.3"), Decimal("1.4"))
    assert [entry.tick.symbol for entry in ticklog.read("0-0")] == ["EURUSD", "BTCUSDT", "EURUSD"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("EURUSD 1.1", "“EURUSD 1.1” is not a price. Write SYMBOL BID ASK."),
        ("EURUSD 1.1 1.2 1.3", "“EURUSD 1.1 1.2 1.3” is not a price. Write SYMBOL BID ASK."),
        ("GOLD 1.1 1.2", "There is no instrument GOLD."),
        ("EURUSD 1,1 1.2", "“1,1” is not a number."),
        ("EURUSD nan 1.2", "“nan” is not a number."),
        ("EURUSD 1.1 Infinity", "“Infinity” is not a number."),
        ("EURUSD 0 1.2", "The price 0 is not above zero."),
        ("EURUSD -1.1 1.2", "The price -1.1 is not above zero."),
        ("EURUSD 1.2 1.1", "The bid 1.2 is above the ask 1.1."),
        ("EURUSD 1.1 1e30", "1E+30 cannot be a price of EURUSD."),
        ("EURUSD 1.1 1.000001", "1.000001 is between two prices of EURUSD: its price step is 0.00001."),
        ("ESZ2026 6900.1 6900.25", "6900.1 is between two prices of ESZ2026: its price step is 0.25."),
    ],
)
def test_a_mistake_is_a_sentence_and_nothing_is_taken(line: str, sentence: str, given: Callable[[str], None]) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("set_quote", *line.split())
    assert str(refusal.value) == sentence
    given(f"BTCUSDT 90000 90001\n{line}\n")
    with pytest.raises(CommandError) as refusal:
        call_command("set_quote")
    assert str(refusal.value) == f"Line 2: {sentence}"
    assert ticklog.read("0-0") == []
    assert held("BTCUSDT") is None


@pytest.mark.parametrize("seconds", ["-1", "604801", "long", "nan"])
def test_a_hold_of_no_sensible_length_is_refused(seconds: str) -> None:
    with pytest.raises(CommandError):
        call_command("set_quote", "EURUSD", "1.1", "1.2", "--hold", seconds)
    assert latest("EURUSD") is None


def test_nothing_given_is_refused(given: Callable[[str], None]) -> None:
    given("\n")
    with pytest.raises(CommandError, match="No price was given"):
        call_command("set_quote")


def test_production_sets_no_prices_by_hand(settings: Settings) -> None:
    settings.IS_PRODUCTION = True
    with pytest.raises(CommandError, match="nothing in production"):
        call_command("set_quote", "EURUSD", "1.1", "1.2")
    assert latest("EURUSD") is None
