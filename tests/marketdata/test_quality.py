"""Which ticks nobody trades on, and that they are counted."""

from decimal import Decimal

import pytest

from marketdata import quality
from marketdata.choices import Defect
from marketdata.models import BadQuotes
from marketdata.quality import Quality
from marketdata.ticklog import Entry, Tick
from tests import factories

D = Decimal
START = 1_700_000_040_000  # a whole minute


def tick(bid: str, ask: str, after_ms: int = 0, *, late_ms: int = 0) -> Entry:
    at_ms = START + after_ms
    return Entry(f"{at_ms + late_ms}-0", Tick("EURUSD", at_ms, D(bid), D(ask)))


@pytest.fixture
def judge() -> Quality:
    """A judge that has seen EURUSD at 1.1000 with hardly a move."""
    made = Quality()
    assert made.judge(tick("1.1000", "1.1002")) is None
    return made


@pytest.mark.parametrize(
    ("bid", "ask", "defect"),
    [
        ("1.1003", "1.1001", Defect.CROSSED),
        ("0", "1.1002", Defect.ZERO),
        ("1.1000", "0", Defect.ZERO),
        ("-1", "1.1002", Defect.ZERO),
        ("1.1001", "1.1001", None),
        ("1.1109", "1.1111", None),  # 1 % is no jump
        ("1.0889", "1.0891", None),
        ("1.1300", "1.1302", Defect.JUMP),
        ("1.0700", "1.0702", Defect.JUMP),
    ],
)
def test_defects(judge: Quality, bid: str, ask: str, defect: Defect | None) -> None:
    assert judge.judge(tick(bid, ask, 500)) is defect


def test_an_older_tick_and_one_that_comes_late_are_stale(judge: Quality) -> None:
    assert judge.judge(tick("1.1", "1.1002", 1000)) is None
    assert judge.judge(tick("1.1", "1.1002", 999)) is Defect.STALE
    assert judge.judge(tick("1.1", "1.1002", 2000, late_ms=30_001)) is Defect.STALE


def test_a_jump_that_stays_is_a_new_price_after_two_seconds(judge: Quality) -> None:
    seen = [judge.judge(tick("1.2000", "1.2002", after_ms)) for after_ms in (500, 1000, 1500, 2000, 2500, 3000)]
    assert seen == [Defect.JUMP] * 4 + [None, None]
    assert judge.judge(tick("1.1000", "1.1002", 3500)) is Defect.JUMP


def test_a_spike_that_goes_is_forgotten(judge: Quality) -> None:
    assert judge.judge(tick("1.2000", "1.2002", 500)) is Defect.JUMP
    assert judge.judge(tick("1.1000", "1.1002", 1000)) is None
    assert judge.judge(tick("1.2000", "1.2002", 2600)) is Defect.JUMP  # the first one does not count for it
    assert judge.judge(tick("1.1000", "1.1002", 3000)) is None


def test_after_a_silence_the_price_may_lie_anywhere(judge: Quality) -> None:
    assert judge.judge(tick("1.3000", "1.3002", 60_001)) is None


def test_a_market_that_moves_a_lot_may_jump_further(settings) -> None:
    settings.QUOTE_JUMP_RANGES = 4
    judge = Quality()
    for minute in range(3):  # a range of 0.02 in each
        assert judge.judge(tick("1.1000", "1.1000", minute * 60_000)) is None
        assert judge.judge(tick("1.1200", "1.1200", minute * 60_000 + 30_000)) is None
    assert judge.judge(tick("1.1900", "1.1900", 180_000)) is None  # 0.07, and 4 × 0.02 allowed
    assert judge.judge(tick("1.3100", "1.3100", 180_500)) is Defect.JUMP


@pytest.mark.django_db
def test_what_was_left_out_is_counted_by_symbol_defect_and_day(judge: Quality) -> None:
    factories.instrument("EURUSD")
    for after_ms, (bid, ask) in enumerate([("1.2", "1.1"), ("1.3", "1.1"), ("0", "1.1")], start=1):
        judge.judge(tick(bid, ask, after_ms))
    judge.store_counts()
    judge.judge(tick("1.4", "1.1", 10))
    judge.store_counts()
    judge.store_counts()
    rows = BadQuotes.objects.order_by("defect").values_list("defect", "count", "last_bid", "day")
    day = rows[0][3]
    assert f"{day}" == "2023-11-14"
    assert list(rows) == [("crossed", 3, D("1.4"), day), ("zero", 1, D(0), day)]


@pytest.mark.django_db
def test_whoever_reads_the_latest_quote_judges_by_the_published_reference() -> None:
    judge = Quality()
    factories.quote("EURUSD", "1.1000", "1.1002", at_ms=START)
    judge.judge(tick("1.1000", "1.1002"))
    assert quality.latest(["EURUSD", "GBPUSD"])["EURUSD"][1] is None
    judge.publish()
    factories.quote("EURUSD", "1.1500", "1.1502", at_ms=START + 100)
    quote, defect = quality.latest(["EURUSD"])["EURUSD"]
    assert (quote.bid, defect) == (D("1.15"), Defect.JUMP)
