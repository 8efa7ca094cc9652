"""`manage.py check_bars` finds what it is for, and nothing in good bars."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata import bars, days
from marketdata.bars import Bar
from marketdata.choices import Resolution
from marketdata.chunks import unix, unix_of_day
from marketdata.models import Instrument
from tests import factories

pytestmark = pytest.mark.django_db
DAY = date(2024, 11, 25)
OPEN = unix(datetime(2024, 11, 25, 14, 30, tzinfo=UTC))


def minutes(*, without: range = range(0), spike: int = -1, silent: int = -1) -> list[Bar]:
    """The 390 minutes of a day in New York, quiet but for what is said."""
    made = []
    for number in range(390):
        if number not in without:
            low = Decimal("10.00") + Decimal(number % 7).scaleb(-2)
            high = low + (Decimal(3) if number == spike else Decimal("0.02"))
            made.append(Bar(OPEN + 60 * number, low, high, low, low, Decimal(number != silent)))
    return made


@pytest.fixture
def aapl() -> Instrument:
    return factories.instrument("AAPL", has_daily=True)


def findings() -> list[str]:
    out = StringIO()
    try:
        call_command("check_bars", "--from", "2024-11-25", "--to", "2024-11-25", stdout=out)
    except CommandError as error:
        return [*out.getvalue().splitlines(), str(error)]
    return out.getvalue().splitlines()


def test_good_bars_have_no_findings(aapl: Instrument) -> None:
    bars.write(aapl, minutes(without=range(100, 104)))  # quiet minutes
    span = aapl.session.span_of(DAY)
    assert span
    assert days.close(aapl, span)
    assert findings() == ["Nothing is wrong."]


def test_holes_are_found_in_the_session_and_at_both_its_ends(aapl: Instrument) -> None:
    bars.write(aapl, minutes(without=range(100, 105)))
    assert findings() == ["AAPL 2024-11-25 16:10 gap: 5 minutes", "1 findings"]


def test_holes_at_the_ends_of_the_session_are_found(aapl: Instrument) -> None:
    bars.write(aapl, minutes()[10:380])
    assert findings()[:2] == ["AAPL 2024-11-25 14:30 gap: 10 minutes", "AAPL 2024-11-25 20:50 gap: 10 minutes"]


def test_a_jump_and_back_is_found(aapl: Instrument) -> None:
    bars.write(aapl, minutes(spike=200))
    assert findings()[0].startswith("AAPL 2024-11-25 17:50 spike: 2.9")


def test_minutes_without_volume_are_found(aapl: Instrument) -> None:
    bars.write(aapl, minutes(silent=200))
    assert findings() == ["AAPL 2024-11-25 17:50 no volume: 0", "1 findings"]


def test_a_day_unlike_its_minutes_is_found(aapl: Instrument) -> None:
    """DT-18."""
    bars.write(aapl, minutes())
    price = Decimal("10.50")
    bars.write(aapl, [Bar(unix_of_day(DAY), price, price, price, price, Decimal(1))], Resolution.DAY)
    assert findings() == [
        "AAPL 2024-11-25 00:00 day differs: opens 10.50, closes 10.50; its minutes 10.00, 10.04", "1 findings",
    ]  # fmt: skip


def test_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(CommandError, match=r"There is no instrument NOPE\."):
        call_command("check_bars", "--symbol", "NOPE")
