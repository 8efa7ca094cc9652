"""How the demo's prices behave: one line for each symbol that the simulator can play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The behaviour of one symbol's prices.

    They walk at random and are drawn back to `anchor`: half of a distance is gone after `half_life_seconds`. A symbol
    that `follows` another is drawn to that one's price instead. `hourly_volatility` is the standard deviation of an
    hour's change, as a part of the price. `spread_ticks` are the narrowest and the widest spread. Each of the depth's
    levels holds at least `level_size` units. Trades have `trade_size` units on average.
    """

    anchor: float
    hourly_volatility: float
    spread_ticks: tuple[int, int]
    level_size: float
    trade_size: float = 0.0
    half_life_seconds: float = 5 * DAY_SECONDS
    follows: str = ""


# A best level takes a standard lot of currency, or one coin, whole. Ten of them hold less than what the margin of a
# demo account can buy of most CFDs, so that a very large order is filled in parts.
PROFILES: Mapping[str, Profile] = {
    "EURUSD": Profile(1.1650, 0.0009, (6, 10), level_size=125_000),
    "GBPUSD": Profile(1.3300, 0.0010, (8, 13), level_size=125_000),
    "USDJPY": Profile(152.00, 0.0011, (6, 11), level_size=125_000),
    "NZDUSD": Profile(0.5750, 0.0012, (10, 16), level_size=125_000),
    "XAUUSD": Profile(4100.0, 0.0020, (18, 32), level_size=40),
    "US500": Profile(6850.0, 0.0019, (4, 6), level_size=25),
    "BTCUSDT": Profile(92_000.0, 0.0045, (20, 120), level_size=1.5, trade_size=0.05),
    "ETHUSDT": Profile(3_100.0, 0.0058, (2, 12), level_size=1.5, trade_size=0.8),
    "BTCUSDT.P": Profile(
        92_000.0, 0.0015, (10, 60), level_size=2.0, trade_size=0.12, half_life_seconds=2.0, follows="BTCUSDT"
    ),
    "ETHUSDT.P": Profile(
        3_100.0, 0.0015, (1, 8), level_size=10.0, trade_size=2.0, half_life_seconds=2.0, follows="ETHUSDT"
    ),
    "AAPL": Profile(270.0, 0.0055, (1, 3), level_size=200, trade_size=120),
    "MSFT": Profile(500.0, 0.0050, (2, 6), level_size=150, trade_size=80),
    "SPY": Profile(683.0, 0.0035, (1, 2), level_size=1000, trade_size=250),
    "ESZ2026": Profile(6_860.0, 0.0019, (1, 1), level_size=25, trade_size=3),
}
