"""The feed: writes the prices of its sources and of the simulator into the tick log, and lets the bar builder read them
out of it.

Any number of feeds may run. One of them leads, by a lease; the others stand by and take over when it is gone. Should a
feed write although its lease has just ended, nothing is doubled: a tick whose predecessor is no longer the latest
quote is left out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random

import redis
from django import db
from django.db.models import QuerySet

from backoffice import health
from marketdata import builder, holds, simulator, ticklog
from marketdata.builder import BarBuilder
from marketdata.folding import MINUTE_MS
from marketdata.holds import Hold
from marketdata.lease import Lease
from marketdata.models import FeedRoute, Instrument
from marketdata.profiles import PROFILES
from marketdata.sessions import NeverOpens, Span
from marketdata.simulator import Last, Market
from marketdata.sources import Sources
from marketdata.ticklog import Entry, Tick

TICK_MS = (300, 600)  # between two ticks of a symbol
ROUND_SECONDS = 0.1  # between two looks at which symbols are due
REFRESH_MS = 10_000  # how long a new instrument goes unnoticed
LEASE_SECONDS = 4.0
PULSE_SECONDS = 0.5  # how often the lease is renewed and progress is looked at
PATIENCE_SECONDS = 10.0  # a loop that got nowhere for so long is not alive
SOURCES_SECONDS = 1.0  # how often the sources' rows are looked at
BAR_BLOCK_MS = 500
BAR_PAUSE_SECONDS = 0.25  # ticks are stored in batches: each one is a transaction
BACK_OFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

State = dict[str, tuple[Entry | None, Hold | None]]  # latest tick and hold by symbol

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Played:
    """A symbol that the simulator plays: when it trades, the price it comes from, and when its next tick is due."""

    instrument: Instrument
    market: Market
    last: Last
    span: Span
    due_ms: int = 0

    def is_open(self, at: datetime) -> bool:
        if at >= self.span.end:
            self.span = self.instrument.session.span(at)
        return self.span.start <= at


class Simulation:
    """The simulator's prices of all its symbols, in the rhythm of a market."""

    def __init__(self, seed: int = simulator.SEED) -> None:
        self._seed = seed
        self._rhythm = Random(seed)
        self._played: dict[str, Played] = {}
        self._refresh_at_ms = 0

    def step(self, now_ms: int | None = None) -> int:
        """Append the ticks that are due and return their number. Raises `redis.RedisError`, nothing appended."""
        if now_ms is None:
            now_ms = _now_ms()
        if now_ms >= self._refresh_at_ms:
            self._refresh_at_ms = now_ms + REFRESH_MS
            self._refresh(now_ms)
            self._show_closed(now_ms)
        due = self._due(now_ms)
        made, following = self._make(due, now_ms)
        appended = len(ticklog.append(made, following=following))
        for played in due:
            played.due_ms = now_ms + self._rhythm.randint(*TICK_MS)
        return appended

    def catch_up(self, now_ms: int) -> None:
        """Make up bars for the minutes in which nobody wrote prices, and go on from them: no holes (DQ-4).

        Instruments without any bars are left to the seeding. Raises `django.db.Error`; then call it again.
        """
        now = _moment(now_ms)
        for instrument in _instruments():
            if simulator.last_close(instrument, now):
                simulator.backfill(instrument, until=now)
        self._played, self._refresh_at_ms = {}, 0

    def _refresh(self, now_ms: int) -> None:
        """Take up instruments that are new or changed. Without the database it goes on with those it knows."""
        try:
            self._played = {played.market.symbol: played for played in self._found(_moment(now_ms))}
        except db.Error as error:
            db.close_old_connections()
            logger.warning("The instruments cannot be read, going on with those known: %s", error)

    def _found(self, now: datetime) -> Iterator[Played]:
        for instrument in _instruments():
            if (market := Market.of(instrument)) is None:
                continue
            try:
                span = instrument.session.span(now)
            except NeverOpens:
                continue
            known = self._played.get(market.symbol)
            last = known.last if known else simulator.last_close(instrument, now) or simulator.beginning(market)
            yield Played(instrument, market, last, span, known.due_ms if known else 0)

    def _show_closed(self, now_ms: int) -> None:
        """Give closed markets the quote of their last price where they have none, or one from before it."""
        now = _moment(now_ms)
        closed = [each for each in self._played.values() if each.last.time_ms and not each.is_open(now)]
        state = holds.state([each.market.symbol for each in closed])
        behind = {
            each.market.symbol: (simulator.closing_tick(each.market, each.last), _version(quote))
            for each, (quote, _hold) in zip(closed, state, strict=True)
            if quote is None or quote.tick.time_ms < each.last.time_ms
        }
        following = {symbol: version for symbol, (_tick, version) in behind.items()}
        ticklog.append([tick for tick, _version in behind.values()], following=following)

    def _due(self, now_ms: int) -> list[Played]:
        now = _moment(now_ms)
        return [played for played in self._played.values() if played.due_ms <= now_ms and played.is_open(now)]

    def _make(self, due: list[Played], now_ms: int) -> tuple[list[Tick], dict[str, str]]:
        """The next tick of each, and the versions of the quotes they come from."""
        symbols = {each.market.symbol for each in due} | {each.market.profile.follows for each in due} - {""}
        names = sorted(symbols)
        state = dict(zip(names, holds.state(names), strict=True))
        made = [self._next(each, state, now_ms) for each in due]
        return made, {tick.symbol: _version(state[tick.symbol][0]) for tick in made}

    def _next(self, played: Played, state: State, now_ms: int) -> Tick:
        market, (quote, hold) = played.market, state[played.market.symbol]
        # A quote from before a pause gives way to the bars that were made up for the pause.
        if quote and quote.tick.time_ms >= played.last.time_ms:
            played.last = Last.of(quote.tick)
        if hold:
            time_ms = max(now_ms, played.last.time_ms)
            return simulator.held_tick(market, hold.bid, hold.ask, time_ms, seed=self._seed)
        leader, _hold = state.get(market.profile.follows, (None, None))
        middle = Last.of(leader.tick).mid if leader else None
        return simulator.next_tick(market, played.last, now_ms, seed=self._seed, leader=middle)


def _instruments() -> QuerySet[Instrument]:
    """Those that can be played and have no real source; by symbol, so that a spot comes before the perpetual that
    follows it."""
    real = FeedRoute.objects.filter(source__is_enabled=True).values("instrument")
    return Instrument.objects.filter(symbol__in=PROFILES).exclude(pk__in=real).order_by("symbol")


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _version(quote: Entry | None) -> str:
    return quote.id if quote else ticklog.NONE


class Loop(threading.Thread):
    """Repeats a step until told to stop, through restarts of Redis and Postgres.

    A step returns the seconds to wait before the next one. `failed` says that a fault of ours has ended the loop.
    """

    def __init__(self, name: str, step: Callable[[], float], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.failed = False
        self._step = step
        self._stop_event = stop
        self._progress_at = time.monotonic()

    @property
    def is_progressing(self) -> bool:
        return time.monotonic() - self._progress_at < PATIENCE_SECONDS

    def run(self) -> None:
        failures = 0
        try:
            while not self._stop_event.is_set():
                try:
                    pause = self._step()
                    self._progress_at = time.monotonic()
                    failures = 0
                except (redis.RedisError, db.Error) as error:
                    db.close_old_connections()
                    pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                    failures += 1
                    logger.warning("%s waits %s s and tries again: %s", self.name, pause, error)
                self._stop_event.wait(pause)
        except Exception:
            logger.exception("%s has failed", self.name)
            self.failed = True
            self._stop_event.set()
        finally:
            db.connections.close_all()


class Feed:
    """One feed process: bar builder, sources and, unless told otherwise, simulation, in threads, under one lease."""

    def __init__(self, *, seed: int = simulator.SEED, simulates: bool = True) -> None:
        self._lease = Lease("feed", LEASE_SECONDS)
        self._simulation = Simulation(seed) if simulates else None
        self._has_caught_up = False
        self._builder = BarBuilder()
        self._sources = Sources(lambda: self._lease.is_held)
        self._led = False

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set. False when a fault of ours ended it."""
        loops = [Loop("The bar builder", self._build, stop), Loop("The sources", self._read_sources, stop)]
        if self._simulation:
            loops.append(Loop("The simulator", partial(self._simulate, self._simulation), stop))
        self._lead()
        for loop in loops:
            loop.start()
        while not stop.wait(PULSE_SECONDS):
            self._lead()
            if all(loop.is_progressing for loop in loops):
                health.beat("feed")
        for loop in loops:
            loop.join(PATIENCE_SECONDS)
        self._sources.stop()
        self._retire()
        return not any(loop.failed for loop in loops)

    def _simulate(self, simulation: Simulation) -> float:
        if not self._lease.is_held:
            self._has_caught_up = False
        elif self._has_caught_up:
            simulation.step()
        elif builder.has_passed(ticklog.last_id()):  # else bars were made up for minutes whose ticks are still unread
            now_ms = _now_ms()
            simulation.catch_up(now_ms)
            if _now_ms() // MINUTE_MS == now_ms // MINUTE_MS:
                simulation.step(now_ms)  # this minute has no made-up bar, and may be over before the next round
                self._has_caught_up = True
        return ROUND_SECONDS

    def _build(self) -> float:
        if not self._lease.is_held:
            return PULSE_SECONDS
        return 0.0 if self._builder.run_once(BAR_BLOCK_MS) == builder.BATCH else BAR_PAUSE_SECONDS

    def _read_sources(self) -> float:
        if self._lease.is_held:
            self._sources.step()
        else:
            self._sources.stop()
        return SOURCES_SECONDS

    def _lead(self) -> None:
        try:
            leads = self._lease.take()
        except redis.RedisError as error:
            logger.warning("The lease cannot be renewed: %s", error)
            leads = False
        if leads != self._led:
            logger.info("This feed writes the prices now." if leads else "This feed stands by.")
            self._led = leads

    def _retire(self) -> None:
        self._builder.close()
        try:
            self._lease.give_back()
        except redis.RedisError as error:
            logger.warning("The lease is left to end by itself: %s", error)
