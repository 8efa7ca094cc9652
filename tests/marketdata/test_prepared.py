"""Whole days as JSON (HIST-2): the same numbers, at the same times, as bar by bar."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from marketdata import bars, corrections, prepared
from marketdata.bars import Bar
from marketdata.choices import Resolution
from marketdata.models import Instrument, OpenBar
from tests import factories

DAY = 1_640_995_200  # 2022-01-01 00:00 UTC
END = DAY + 86_399


@given(st.lists(st.integers(1, 10**14), min_size=1, max_size=30), st.integers(0, 12))
@example([99_999, 100_000], 2)
@example([7, 8, 9], 3)
@example([123, 456, 789], 2)
@example([123, 456, 789], 3)
def test_prices_are_the_numbers_their_digits_say(digits: list[int], scale: int) -> None:
    text = prepared._prices(f"{{{','.join(map(str, digits))}}}", len(digits), scale)
    assert json.loads(f"[{text}]") == [number / 10**scale for number in digits]


@given(st.lists(st.one_of(st.integers(0, 10**9).map(lambda n: n * 10**8), st.integers(1, 10**17)), min_size=1))
def test_volumes_are_the_numbers_their_digits_say(digits: list[int]) -> None:
    text = prepared._volumes(f"{{{','.join(map(str, digits))}}}", len(digits))
    assert json.loads(f"[{text}]") == [number / 10**8 for number in digits]


def minute(number: int, price: str = "1.5", volume: str = "1") -> Bar:
    at = Decimal(price)
    return Bar(DAY + number * 60, at, at, at, at, Decimal(volume))


@dataclass
class Days:
    instrument: Instrument

    def columns(self, from_: int = DAY, to: int = END) -> dict[str, list[float]] | None:
        if (found := bars.whole_days(self.instrument.pk, "1", from_, to)) is None:
            return None
        return {name: json.loads(f"[{text}]") for name, text in found.items()}


@pytest.fixture
def days(db: None) -> Days:
    return Days(factories.instrument("BTCUSDT"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2999), st.decimals("0.01", "200", places=2)), min_size=1, max_size=20))
def test_days_are_those_made_bar_by_bar(days: Days, made: list[tuple[int, Decimal]]) -> None:
    """One after the other adds to what the database has, so its days become fuller and of mixed digits."""
    bars.write(days.instrument, [minute(number, str(price), str(price / 2)) for number, price in dict(made).items()])
    for to in (END, END + 86_400, END + 2 * 86_400):
        columns = bars.history(days.instrument, "1", DAY, to)
        assert days.columns(to=to) == (columns._asdict() if columns.t else None)


def test_a_part_of_a_day_is_for_the_other_way(days: Days) -> None:
    bars.write(days.instrument, [minute(0), minute(1439)])
    assert days.columns() is not None
    assert days.columns(from_=DAY + 1) is None
    assert days.columns(to=END - 60) is None
    assert bars.whole_days(days.instrument.pk, "1D", DAY, END) is None
    assert bars.whole_days(days.instrument.pk, "1", -(10**12), END) is None


def test_a_day_with_a_minute_in_progress_is_for_the_other_way(days: Days) -> None:
    bars.write(days.instrument, [minute(0)])
    price = {name: Decimal(1) for name in "ohlcv"}
    OpenBar.objects.create(instrument=days.instrument, minute=datetime(2022, 1, 1, 0, 1, tzinfo=UTC), **price)
    assert days.columns() is None
    assert bars.history(days.instrument, "1", DAY, END).t == [DAY, DAY + 60]


def test_a_day_with_a_minute_taken_out_is_for_the_other_way(days: Days) -> None:
    """HIST-7."""
    bars.write(days.instrument, [minute(0), minute(1)])
    corrections.correct(
        days.instrument, Resolution.MINUTE, minute(1, volume="0"), reason="never traded", by=factories.user("staff")
    )
    assert days.columns() is None
    assert bars.history(days.instrument, "1", DAY, END).t == [DAY]
