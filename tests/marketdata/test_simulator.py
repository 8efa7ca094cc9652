"""The demo's prices: plausible, repeatable, on the grid, and without a hole between past and present."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from backoffice import demo
from marketdata import bars, simulator
from marketdata.bars import Bar, WriteReport
from marketdata.chunks import from_unix
from marketdata.models import Instrument, OpenBar
from marketdata.profiles import PROFILES
from marketdata.simulator import Last, Market
from marketdata.ticklog import Tick
from tests import factories

MONDAY_MS = 1_795_392_000_000  # 2026-11-23 00:00 UTC
DAY = 86_400
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def market(symbol: str) -> Market:
    """As the demo has it."""
    fields = {name: value for name, value in demo.INSTRUMENTS[symbol].items() if name not in ("group", "exchange")}
    found = Market.of(Instrument(symbol=symbol, **fields))
    assert found is not None
    return found


def walk(of: Market, ticks: int, *, seed: int = 1) -> list[Tick]:
    """So many ticks, half a second apart."""
    last, made = simulator.beginning(of), []
    for number in range(ticks):
        made.append(simulator.next_tick(of, last, MONDAY_MS + number * 500, seed=seed))
        last = Last.of(made[-1])
    return made


def test_every_instrument_of_the_demo_can_be_played() -> None:
    assert PROFILES.keys() == demo.INSTRUMENTS.keys()


def test_the_same_seed_gives_the_same_ticks_and_another_seed_others() -> None:
    eurusd = market("EURUSD")
    assert walk(eurusd, 50) == walk(eurusd, 50)
    assert walk(eurusd, 50) != walk(eurusd, 50, seed=2)


@pytest.mark.parametrize("symbol", PROFILES)
def test_prices_lie_on_the_grid_with_a_spread_between_them(symbol: str) -> None:
    played = market(symbol)
    narrowest, widest = PROFILES[symbol].spread_ticks
    for tick in walk(played, 500):
        assert tick.bid % played.tick_size == 0
        assert narrowest <= (tick.ask - tick.bid) / played.tick_size <= widest


@pytest.mark.parametrize("symbol", PROFILES)
def test_ten_levels_lead_away_from_the_best_price(symbol: str) -> None:
    played = market(symbol)
    for tick in walk(played, 100):
        assert tick.bids[0] == (tick.bid, tick.bid_size)
        assert tick.asks[0] == (tick.ask, tick.ask_size)
        assert len(tick.bids) == len(tick.asks) == 10
        assert all(better > worse for (better, _), (worse, _) in pairwise(tick.bids))
        assert all(better < worse for (better, _), (worse, _) in pairwise(tick.asks))
        assert all(price % played.tick_size == 0 and qty % played.qty_step == 0 for price, qty in tick.bids + tick.asks)


@pytest.mark.parametrize("symbol", PROFILES)
def test_trades_happen_at_the_bid_or_the_ask_and_only_where_bars_are_made_of_them(symbol: str) -> None:
    played = market(symbol)
    trades = [tick for tick in walk(played, 500) if tick.last is not None]
    assert bool(trades) == played.has_trades
    for tick in trades:
        assert tick.last in (tick.bid, tick.ask)
        assert tick.last_size is not None
        assert 0 < tick.last_size <= max(tick.bid_size, tick.ask_size)
        assert tick.last_size % played.qty_step == 0


@pytest.mark.parametrize("symbol", PROFILES)
def test_an_hour_has_no_jump_and_stays_near_the_anchor(symbol: str) -> None:
    prices = [float(Last.of(tick).mid) for tick in walk(market(symbol), 7200)]
    assert max(abs(after / before - 1) for before, after in pairwise(prices)) < 0.002
    assert all(abs(price / PROFILES[symbol].anchor - 1) < 0.05 for price in prices)


@pytest.mark.parametrize("symbol", ["EURUSD", "GBPUSD", "USDJPY", "NZDUSD"])
def test_the_best_level_of_a_pair_takes_a_lot_and_its_whole_depth_less_than_the_largest_order(symbol: str) -> None:
    for tick in walk(market(symbol), 100):
        assert min(tick.bid_size, tick.ask_size) >= 100_000
        assert sum(qty for _, qty in tick.asks) < 2_000_000


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "BTCUSDT.P", "ETHUSDT.P"])
def test_the_best_level_of_a_coin_takes_one(symbol: str) -> None:
    assert all(min(tick.bid_size, tick.ask_size) >= 1 for tick in walk(market(symbol), 100))


def test_a_perpetual_is_drawn_to_its_spot() -> None:
    perpetual, spot = market("BTCUSDT.P"), Decimal(100_000)
    last = Last(Decimal(99_000), Decimal(99_001), MONDAY_MS)
    for number in range(1, 61):
        last = Last.of(simulator.next_tick(perpetual, last, MONDAY_MS + number * 500, leader=spot))
    assert abs(last.mid / spot - 1) < Decimal("0.0005")


def test_times_do_not_go_back() -> None:
    last = Last(Decimal("1.10000"), Decimal("1.10010"), MONDAY_MS)
    assert simulator.next_tick(market("EURUSD"), last, MONDAY_MS - 5).time_ms == MONDAY_MS


def test_prices_and_depth_stay_above_zero() -> None:
    tick = simulator.held_tick(market("EURUSD"), Decimal("0.00002"), Decimal("0.00003"), MONDAY_MS)
    assert all(price > 0 for price, _ in tick.bids)
    last = Last(Decimal("0.00001"), Decimal("0.00001"), MONDAY_MS)
    assert simulator.next_tick(market("EURUSD"), last, MONDAY_MS + 500).bid > 0


def test_a_held_tick_has_just_that_price_and_always_the_same_depth() -> None:
    coin, bid, ask = market("BTCUSDT"), Decimal("90000.00"), Decimal("90000.01")
    first, second = (simulator.held_tick(coin, bid, ask, MONDAY_MS + ms) for ms in (0, 400))
    assert (first.bid, first.ask, second.bid, second.ask) == (bid, ask, bid, ask)
    assert (first.bids, first.asks) == (second.bids, second.asks)


@pytest.mark.parametrize("symbol", PROFILES)
def test_bars_of_the_past_hang_together(symbol: str) -> None:
    played, anchor = market(symbol), PROFILES[symbol].anchor
    minutes = range(MONDAY_MS // 1000, MONDAY_MS // 1000 + DAY, 60)
    made = simulator.history_bars(played, anchor, minutes, leader={})
    assert [bar.time for bar in made] == list(minutes)
    assert made[0].o == simulator.beginning(played).bid
    assert all(before.c == after.o for before, after in pairwise(made))
    for bar in made:
        assert 0 < bar.l <= min(bar.o, bar.c) <= max(bar.o, bar.c) <= bar.h
        assert all(price % played.tick_size == 0 for price in bar[1:5])
        assert bar.v > 0
    assert any(bar.l < min(bar.o, bar.c) and bar.h > max(bar.o, bar.c) for bar in made)
    assert made == simulator.history_bars(played, anchor, minutes, leader={})


def test_open_minutes_are_those_of_the_session() -> None:
    session = session_of("0930-1600", "America/New_York")
    friday, tuesday = int(MIDNIGHT.timestamp()) - 3 * DAY, int(MIDNIGHT.timestamp()) + DAY
    minutes = list(simulator.open_minutes(session, friday, tuesday))
    assert len(minutes) == 2 * 390
    assert from_unix(minutes[0]) == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    assert from_unix(minutes[389]) == datetime(2026, 11, 20, 20, 59, tzinfo=UTC)
    assert from_unix(minutes[390]) == datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def session_of(text: str, timezone: str):
    return Instrument(session_regular=text, timezone=timezone).session


# --- backfill ---------------------------------------------------------------------------------------------------------


def stored(instrument: Instrument, until: datetime = MIDNIGHT) -> list[tuple[float, ...]]:
    """All minute bars up to this moment, as rows."""
    return list(zip(*bars.history(instrument, "1", 0, int(until.timestamp())), strict=True))


@pytest.mark.django_db
def test_thirty_days_are_filled_in_up_to_the_last_whole_minute() -> None:
    eurusd = factories.instrument("EURUSD")
    report = simulator.backfill(eurusd, until=MIDNIGHT + timedelta(seconds=30))
    assert report == WriteReport(added=30 * 1440)
    rows = stored(eurusd)
    assert from_unix(int(rows[0][0])) == MIDNIGHT - timedelta(days=30)
    assert from_unix(int(rows[-1][0])) == MIDNIGHT - timedelta(minutes=1)


@pytest.mark.django_db
def test_backfill_repeated_changes_nothing_and_later_closes_the_hole() -> None:
    eurusd = factories.instrument("EURUSD")
    simulator.backfill(eurusd, until=MIDNIGHT - timedelta(hours=8))
    before = stored(eurusd)
    assert simulator.backfill(eurusd, until=MIDNIGHT - timedelta(hours=8)) == WriteReport()
    assert simulator.backfill(eurusd, until=MIDNIGHT) == WriteReport(added=8 * 60)
    rows = stored(eurusd)
    assert rows[: len(before)] == before
    assert rows[len(before)][1] == before[-1][4]  # opens where the last one closed
    assert all(after[0] - earlier[0] == 60 for earlier, after in pairwise(rows))


@pytest.mark.django_db
def test_the_minute_in_progress_is_left_to_the_bar_builder() -> None:
    eurusd = factories.instrument("EURUSD")
    minute, price = MIDNIGHT - timedelta(minutes=10), Decimal("1.23456")
    OpenBar.objects.create(instrument=eurusd, minute=minute, o=price, h=price, l=price, c=price, v=7)
    assert simulator.backfill(eurusd, until=MIDNIGHT) == WriteReport(added=9)
    assert stored(eurusd)[0] == (int(minute.timestamp()), 1.23456, 1.23456, 1.23456, 1.23456, 7)
    assert stored(eurusd)[1][1] == 1.23456


@pytest.mark.django_db
def test_a_share_has_bars_in_its_sessions_only() -> None:
    aapl = factories.instrument("AAPL")
    simulator.backfill(aapl, until=MIDNIGHT)  # of a Monday: the last session was Friday's
    rows = stored(aapl)
    assert len(rows) % 390 == 0
    assert from_unix(int(rows[-1][0])) == datetime(2026, 11, 20, 20, 59, tzinfo=UTC)
    assert all(aapl.session.is_open(from_unix(int(row[0]))) for row in rows)


@pytest.mark.django_db
def test_the_past_of_a_perpetual_follows_its_spot() -> None:
    spot, perpetual = factories.instrument("BTCUSDT"), factories.instrument("BTCUSDT.P")
    for instrument in (spot, perpetual):
        simulator.backfill(instrument, until=MIDNIGHT)
    closes = zip(stored(spot), stored(perpetual), strict=True)
    assert all(abs(other[4] / row[4] - 1) < 0.001 for row, other in closes)


@pytest.mark.django_db
def test_an_instrument_that_cannot_be_played_gets_no_bars() -> None:
    assert simulator.backfill(factories.instrument("ACME"), until=MIDNIGHT) == WriteReport()


@pytest.mark.django_db
def test_the_last_close_is_the_newest_bar_s() -> None:
    eurusd = factories.instrument("EURUSD")
    assert simulator.last_close(eurusd, MIDNIGHT) is None
    price, time = Decimal("1.23456"), int(MIDNIGHT.timestamp()) - 120
    bars.write(eurusd, [Bar(time, price, price, price, price, Decimal(1))])
    assert simulator.last_close(eurusd, MIDNIGHT) == Last(price, price, time * 1000)
