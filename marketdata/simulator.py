"""The demo's price source: ticks and bars that look like a market's, from a seed.

A tick is a pure function of the seed, the symbol, the price before it and its time, so a run can be repeated exactly.
Bars of the past end where the live walk begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import msgspec

from marketdata import bars
from marketdata.bars import Bar, WriteReport
from marketdata.choices import BarSource
from marketdata.chunks import MINUTE_SECONDS, from_unix, unix
from marketdata.models import Instrument
from marketdata.profiles import PROFILES, Profile
from marketdata.sessions import NeverOpens, Session
from marketdata.ticklog import Level, Tick

SEED = 1
LEVELS = 10  # of depth, on each side
LEVEL_VARIATION = 0.4  # how much more than its least size a level may hold, as a part of it
TRADES_A_TICK = 0.7
TICKS_A_MINUTE = 130  # what the feed's rhythm comes to
LONGEST_STEP_SECONDS = 60.0  # after a longer silence the price moves as if it had been this long: no jumps
BACKFILL = timedelta(days=30)
HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Last:
    """The price that the next one comes from, and its Unix time in milliseconds."""

    bid: Decimal
    ask: Decimal
    time_ms: int

    @classmethod
    def of(cls, tick: Tick) -> Last:
        return cls(tick.bid, tick.ask, tick.time_ms)

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Market:
    """What the simulator has to know of an instrument."""

    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    has_trades: bool
    profile: Profile

    @classmethod
    def of(cls, instrument: Instrument) -> Market | None:
        """The market of an instrument, None for one that the simulator cannot play."""
        if (profile := PROFILES.get(instrument.symbol)) is None:
            return None
        has_trades = instrument.bar_source == BarSource.TRADE
        return cls(instrument.symbol, instrument.tick_size, instrument.qty_step, has_trades, profile)

    def price(self, ticks: int) -> Decimal:
        return ticks * self.tick_size

    def qty(self, units: float) -> Decimal:
        """The quantity on the instrument's step, at least one step."""
        return max(1, round(units / float(self.qty_step))) * self.qty_step


@dataclass(frozen=True, slots=True)
class Walk:
    """An Ornstein-Uhlenbeck process over a fixed time: `pull` is the part of the distance to the anchor that goes by,
    `deviation` the standard deviation of the change, as a part of the price."""

    pull: float
    deviation: float

    @classmethod
    def over(cls, profile: Profile, seconds: float) -> Walk:
        rate = math.log(2) / profile.half_life_seconds
        volatility = profile.hourly_volatility / math.sqrt(HOUR_SECONDS)
        deviation = volatility * math.sqrt(-math.expm1(-2 * rate * seconds) / (2 * rate))
        return cls(-math.expm1(-rate * seconds), deviation)

    def step(self, price: float, anchor: float, random: Random) -> float:
        return price + (anchor - price) * self.pull + random.gauss(0.0, 1.0) * self.deviation * price


def beginning(market: Market) -> Last:
    """Where the walk begins when the symbol never had a price."""
    anchor = market.price(round(market.profile.anchor / float(market.tick_size)))
    return Last(anchor, anchor, 0)


# --- ticks ------------------------------------------------------------------------------------------------------------


def next_tick(market: Market, last: Last, time_ms: int, *, seed: int = SEED, leader: Decimal | None = None) -> Tick:
    """The tick after `last`. `leader` is the middle price of the symbol that this one follows, if it has one now.

    The time is `time_ms`, or that of `last` if that is later: times do not go back (STRM-13).
    """
    time_ms = max(time_ms, last.time_ms)
    random = Random(f"{seed} {market.symbol} {last.time_ms} {time_ms}")
    walk = Walk.over(market.profile, min((time_ms - last.time_ms) / 1000, LONGEST_STEP_SECONDS))
    anchor = market.profile.anchor if leader is None else float(leader)
    middle = walk.step(float(last.mid), anchor, random) / float(market.tick_size)
    spread = random.randint(*market.profile.spread_ticks)
    # Rounded up as often as the fraction says: a price between two ticks is neither held up nor drawn to one of them.
    bid = max(1, math.floor(middle - spread / 2 + random.random()))
    return _tick(market, market.price(bid), market.price(bid + spread), time_ms, trades=random, book=random)


def held_tick(market: Market, bid: Decimal, ask: Decimal, time_ms: int, *, seed: int = SEED) -> Tick:
    """A tick at just this bid and ask, always with the same depth behind them."""
    trades = Random(f"{seed} {market.symbol} {time_ms}")
    return _tick(market, bid, ask, time_ms, trades=trades, book=Random(market.symbol))


def closing_tick(market: Market, last: Last) -> Tick:
    """The quote that a closed market shows: its last price, at the end of that price's minute.

    That is the end of the session when the price is the session's last: outside of it, so no bar is made of it.
    """
    narrowest = market.profile.spread_ticks[0] * market.tick_size
    ask = max(last.ask, last.bid + narrowest)  # of a bar only its close is known
    time_ms = (last.time_ms // (MINUTE_SECONDS * 1000) + 1) * MINUTE_SECONDS * 1000
    return msgspec.structs.replace(held_tick(market, last.bid, ask, time_ms), last=None, last_size=None)


def _tick(market: Market, bid: Decimal, ask: Decimal, time_ms: int, *, trades: Random, book: Random) -> Tick:
    bids = _ladder(market, bid, -market.tick_size, book)
    asks = _ladder(market, ask, market.tick_size, book)
    last, last_size = None, None
    if market.has_trades and trades.random() < TRADES_A_TICK:
        last, available = trades.choice((bids[0], asks[0]))
        last_size = min(market.qty(trades.expovariate(1 / market.profile.trade_size)), available)
    return Tick(
        symbol=market.symbol,
        time_ms=time_ms,
        bid=bid,
        ask=ask,
        bid_size=bids[0][1],
        ask_size=asks[0][1],
        last=last,
        last_size=last_size,
        bids=bids,
        asks=asks,
    )


def _ladder(market: Market, best: Decimal, step: Decimal, random: Random) -> tuple[Level, ...]:
    """The levels of one side from the best one away from the middle; `step` is signed. Prices stay above zero."""
    widest_gap = max(1, market.profile.spread_ticks[0] // 2)
    levels: list[Level] = []
    price = best
    while len(levels) < LEVELS and price > 0:
        size = market.profile.level_size * (1 + LEVEL_VARIATION * random.random())
        levels.append((price, market.qty(size)))
        price += step * random.randint(1, widest_gap)
    return tuple(levels)


# --- bars of the past -------------------------------------------------------------------------------------------------


def backfill(instrument: Instrument, until: datetime) -> WriteReport:
    """Write minute bars from where the stored ones end, thirty days back at most, to the last whole minute before
    `until`.

    The minute in progress when the prices stopped is stored as far as it went, and left so (BAR-10). Repeated, it adds
    what has become due since. An instrument that the simulator cannot play gets none.
    """
    if (market := Market.of(instrument)) is None:
        return WriteReport()
    end = unix(until) // MINUTE_SECONDS * MINUTE_SECONDS
    start = unix(until - BACKFILL) // MINUTE_SECONDS * MINUTE_SECONDS
    stored = last_close(instrument, until)
    if stored:
        start = max(start, stored.time_ms // 1000 + MINUTE_SECONDS)
    if start >= end:
        return WriteReport()
    leader = _closes(market.profile.follows, start, end)
    price = float(stored.mid) if stored else next(iter(leader.values()), market.profile.anchor)
    minutes = list(open_minutes(instrument.session, start, end))
    return bars.write(instrument, history_bars(market, price, minutes, leader=leader))


def last_close(instrument: Instrument, until: datetime) -> Last | None:
    """The close of the newest minute bar up to this moment, the one in progress included; its time is the bar's."""
    columns = bars.history(instrument, "1", 0, unix(until), countback=1)
    if not columns.t:
        return None
    close = instrument.round_price(Decimal(columns.c[0]))
    return Last(close, close, columns.t[0] * 1000)


def _closes(symbol: str, start: int, end: int) -> Mapping[int, float]:
    """The closes by minute of the symbol that another one follows; none where there is no such symbol."""
    instrument = Instrument.objects.filter(symbol=symbol).first() if symbol else None
    if instrument is None:
        return {}
    columns = bars.history(instrument, "1", start, end)
    return dict(zip(columns.t, columns.c, strict=True))


def open_minutes(session: Session, start: int, end: int) -> Iterator[int]:
    """The minutes in which the session is open, from `start` to before `end` (Unix seconds, whole minutes)."""
    while start < end:
        try:
            span = session.span(from_unix(start))
        except NeverOpens:
            return
        yield from range(max(start, unix(span.start)), min(end, unix(span.end)), MINUTE_SECONDS)
        start = unix(span.end)


def history_bars(
    market: Market, price: float, minutes: Sequence[int], *, leader: Mapping[int, float], seed: int = SEED
) -> list[Bar]:
    """A bar for each of the minutes (Unix seconds, rising), the first one opening at `price`, each at the close before
    it.

    `leader` has the closes of the symbol that this one follows, by minute.
    """
    if not minutes:
        return []
    random = Random(f"{seed} {market.symbol} {minutes[0]}")
    grid, walk = float(market.tick_size), Walk.over(market.profile, MINUTE_SECONDS)
    made: list[Bar] = []
    decimals: dict[int, Decimal] = {}  # making a Decimal costs more than all the rest, and prices come again and again
    for minute in minutes:
        moved = max(walk.step(price, leader.get(minute, market.profile.anchor), random), grid)
        wiggle = walk.deviation * price
        o, c = round(price / grid), round(moved / grid)
        h = max(o, c, round(_extreme(price, moved, wiggle, random) / grid))
        l = max(1, min(o, c, round(_extreme(price, moved, -wiggle, random) / grid)))  # noqa: E741
        for ticks in (o, h, l, c):
            if ticks not in decimals:
                decimals[ticks] = market.price(ticks)
        made.append(Bar(minute, decimals[o], decimals[h], decimals[l], decimals[c], _volume(market, random)))
        price = c * grid
    return made


def _extreme(start: float, end: float, wiggle: float, random: Random) -> float:
    """The highest point of a random walk between two prices; with `wiggle`, its standard deviation, negative the
    lowest."""
    log = math.log(1.0 - random.random())
    return (start + end + math.copysign(math.sqrt((end - start) ** 2 - 2 * wiggle**2 * log), wiggle)) / 2


def _volume(market: Market, random: Random) -> Decimal:
    """What a minute's ticks add up to: the sizes of its trades, or the number of its quotes."""
    busy = TICKS_A_MINUTE * random.uniform(0.9, 1.1)
    if market.has_trades:
        return market.qty(busy * TRADES_A_TICK * market.profile.trade_size * random.uniform(0.6, 1.4))
    return Decimal(round(busy))
