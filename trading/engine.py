"""The engine: follows the tick log and queues the orders that a price reaches.

It keeps nothing that could be lost. Orders are Postgres's: read at the start, again when a message says one changed,
and compared every few seconds in case a message was missed. How far it has read the log is stored, so that after a stop
it goes on where it was; an order placed meanwhile is not moved by a price from before it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable

import redis
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Mod
from django.utils import timezone

from backoffice import health, traces
from marketdata import metrics, ticklog
from marketdata.badticks import Quality
from marketdata.choices import InstrumentState
from marketdata.models import Instrument, LogPosition
from marketdata.quotes import Quote
from trading import dispatch, triggers, venue
from trading.models import Order, OrderQuerySet
from trading.states import OrderStatus
from trading.triggers import Move, Touch
from trading.watch import Watch

log = logging.getLogger(__name__)

PART = "engine"  # its first shard; the others are numbered
COMPARE_SECONDS = 5.0
SAVE_SECONDS = 1.0
RATCHET_SECONDS = 0.25  # trailing stops that move with every price are stored this often
BLOCK_MS = 500
BATCH = 5000
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)


class Engine:
    """The engine of one shard: the instruments whose number divided by `shards` leaves `shard`.

    `run_once` is a step of it; `run` goes on until told to stop.
    """

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        self.part = part(shard)
        self.watch = Watch()
        self._shard = shard
        self._shards = shards
        self._own: dict[str, bool] = {}  # symbol: whether it is of this shard
        self._ticks = ""
        self._changes = ""
        self._compare_at = 0.0
        self._save_at = 0.0
        self._ratchet_at = 0.0
        self._instruments: dict[str, Instrument] = {}
        self._quality = Quality()
        self._steps, self._lags = metrics.Meter(self.part), metrics.Meter(self.part)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until `stopping()`; through restarts of Postgres and Redis it waits, and starts afresh after them."""
        failures = 0
        while not stopping():
            try:
                self.start()
                while not stopping():
                    self.run_once()
                    failures = 0
            except (OperationalError, redis.RedisError) as error:
                connection.close()
                pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures += 1
                log.warning("the engine pauses for %s s: %s", pause, error)
                time.sleep(pause)
        if self._ticks:
            with contextlib.suppress(OperationalError, redis.RedisError):  # whoever goes on reads the last second again
                self._save()

    def start(self) -> None:
        """Take up all working orders, and the log where the last run left it."""
        self._changes = ticklog.last_id(dispatch.CHANGES)
        stored = self._stored_position()
        newest = ticklog.last_id()
        # A log younger than the stored position was begun anew (Redis lost it): all of it is unread.
        self._ticks = newest if stored is None else stored if _after(newest, stored) or newest == stored else "0-0"
        self._reload()

    def _stored_position(self) -> str | None:
        """Where this shard was; for a new one where the last of the others was, so that no price is missed."""
        stored = dict(LogPosition.objects.filter(reader__startswith=PART).values_list("reader", "entry_id"))
        return stored.get(self.part) or min(stored.values(), key=_in_order, default=None)

    def run_once(self, block_ms: int | None = BLOCK_MS) -> int:
        """Read what is new, queue what it reaches, and say how many orders were queued. None: wait for nothing."""
        entries, changed = self._read(block_ms)
        if changed:
            self._refresh(changed)
        began = time.monotonic()
        queued = self._follow(entries)
        now = time.monotonic()
        if entries:
            self._steps.took(math.ceil((now - began) * 1000))
            self._lags.sent([_milliseconds(entries[0].id)])
        if now >= self._compare_at:
            self._compare()
        if now >= self._ratchet_at:
            self._ratchet()
        if now >= self._save_at:
            self._save()
        health.beat(self.part)
        return queued

    def _read(self, block_ms: int | None) -> tuple[list[ticklog.Entry], list[int]]:
        """The next ticks, and the orders that changed."""
        found = ticklog.read_streams(
            {ticklog.STREAM: self._ticks, dispatch.CHANGES: self._changes}, count=BATCH, block_ms=block_ms
        )
        changes = found.get(dispatch.CHANGES, [])
        if changes:
            self._changes = changes[-1][0].decode()
        entries = [ticklog.decode_entry(id_, fields) for id_, fields in found.get(ticklog.STREAM, [])]
        return entries, [int(fields[b"id"]) for _, fields in changes]

    def _follow(self, entries: list[ticklog.Entry]) -> int:
        """Queue the orders that the ticks reach. The place in the log moves only after the orders are queued."""
        touched: dict[int, Touch] = {}
        newest: dict[str, int] = {}
        for entry in entries:
            tick = entry.tick
            if tick.lane or tick.time_ms < newest.get(tick.symbol, 0):
                continue  # recorded prices, replayed, are no prices of today
            if not self._is_own(tick.symbol):
                continue
            newest[tick.symbol] = tick.time_ms
            if self._quality.judge(entry):
                continue
            if not self._is_tradable(tick.symbol):
                continue
            quote = Quote.of(entry)
            touched |= self.watch.take(quote, _milliseconds(entry.id))
        queued = self._queue(touched) if touched else []
        if entries:
            self._ticks = entries[-1].id
            self._quality.publish()
        return len(queued)

    def _queue(self, touched: dict[int, Touch]) -> list[tuple[int, int]]:
        with traces.span("queue the orders that a price reached", count=len(touched)):
            queued = triggers.trigger(touched)
            if len(queued) < len(touched):
                self._compare_at = 0.0  # who was passed over, and his partner, are watched again, at what is true now
            for order_id, account_id in queued:
                log.info("order %s is reached by the price", order_id, extra={"order_id": str(order_id)})
                dispatch.after_commit(account_id=account_id, order_ids=[], drain=True)
        return queued

    def _is_own(self, symbol: str) -> bool:
        if self._shards == 1:
            return True
        if symbol not in self._own:
            number = Instrument.objects.filter(symbol=symbol).values_list("pk", flat=True).first()
            if number is None:
                return False
            self._own[symbol] = number % self._shards == self._shard
        return self._own[symbol]

    def _is_tradable(self, symbol: str) -> bool:
        """A halted or closed market moves no orders; the drain would only put them back."""
        instrument = self._instruments.get(symbol)
        return (
            instrument is not None
            and instrument.state != InstrumentState.HALTED
            and instrument.session.is_open(timezone.now())
        )

    def _orders(self) -> OrderQuerySet:
        """The orders of this shard."""
        every = Order.objects.all()
        if self._shards == 1:
            return every
        return every.alias(shard=Mod(F("instrument_id"), self._shards)).filter(shard=self._shard)

    def _working(self) -> OrderQuerySet:
        return self._orders().filter(status=OrderStatus.WORKING, queued=False, venue=venue.INTERNAL)

    def _refresh(self, order_ids: list[int]) -> None:
        self._ratchet()
        for order in self._orders().filter(pk__in=order_ids).select_related("instrument"):
            self.watch.put(order)
            self._instruments.setdefault(order.instrument.symbol, order.instrument)

    def _reload(self) -> None:
        self.watch.replace(self._working().select_related("instrument").iterator())
        self._load_instruments()
        self._compare_at = time.monotonic() + COMPARE_SECONDS
        log.info("the engine watches %s orders", len(self.watch))

    def _load_instruments(self) -> None:
        self._instruments = {each.symbol: each for each in Instrument.objects.filter(symbol__in=self.watch.symbols())}

    def _compare(self) -> None:
        """Hold what is watched against the database, in case a message was missed."""
        truth = dict(self._working().values_list("pk", "revision"))
        watched = self.watch.state()
        for order_id in watched.keys() - truth.keys():
            self.watch.drop(order_id)
        missed = [order_id for order_id, revision in truth.items() if watched.get(order_id) != revision]
        self._refresh(missed)
        self._load_instruments()
        self._compare_at = time.monotonic() + COMPARE_SECONDS

    def _ratchet(self) -> None:
        """Store the trailing stops that moved."""
        moves = {order_id: Move(each.stop, each.moved_ms, each.pips) for order_id, each in self.watch.moved.items()}
        if moves:
            triggers.ratchet(moves)
        self.watch.moved.clear()
        self._ratchet_at = time.monotonic() + RATCHET_SECONDS

    def _save(self) -> None:
        self._ratchet()  # whoever goes on from here does not see again the prices that moved them
        with transaction.atomic():
            LogPosition.objects.update_or_create(reader=self.part, defaults={"entry_id": self._ticks})
            self._quality.store_counts()
        metrics.tell(self._steps.read(), of=metrics.ENGINE_STEP)
        metrics.tell(self._lags.read(), of=metrics.ENGINE_LAG)
        self._save_at = time.monotonic() + SAVE_SECONDS


def part(shard: int) -> str:
    """The name of a shard's engine: of its lease, of its place in the log, and of its sign of life."""
    return f"{PART}-{shard}" if shard else PART


def _milliseconds(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _in_order(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


def _after(entry_id: str, other: str) -> bool:
    return _in_order(entry_id) > _in_order(other)
