"""The engine: follows the tick log and queues the orders that a price reaches.

It keeps nothing that could be lost. Orders are Postgres's: read at the start, again when a message says one changed,
and compared every few seconds in case a message was missed. How far it has read the log is stored, so that after a stop
it goes on where it was; an order placed meanwhile is not moved by a price from before it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import redis
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from backoffice import health
from marketdata import ticklog
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

READER = "engine"
COMPARE_SECONDS = 5.0
SAVE_SECONDS = 1.0
RATCHET_SECONDS = 0.25  # trailing stops that move with every price are stored this often
BLOCK_MS = 500
BATCH = 5000
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)


class Engine:
    """One engine over all instruments. `run_once` is a step of it; `run` goes on until told to stop."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._ticks = ""
        self._changes = ""
        self._compare_at = 0.0
        self._save_at = 0.0
        self._ratchet_at = 0.0
        self._instruments: dict[str, Instrument] = {}
        self._quality = Quality()

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
            self._save()

    def start(self) -> None:
        """Take up all working orders, and the log where the last run left it."""
        self._changes = ticklog.last_id(dispatch.CHANGES)
        stored = LogPosition.objects.filter(reader=READER).values_list("entry_id", flat=True).first()
        newest = ticklog.last_id()
        # A log younger than the stored position was begun anew (Redis lost it): all of it is unread.
        self._ticks = newest if stored is None else stored if _after(newest, stored) or newest == stored else "0-0"
        self._reload()

    def run_once(self, block_ms: int | None = BLOCK_MS) -> int:
        """Read what is new, queue what it reaches, and say how many orders were queued. None: wait for nothing."""
        entries, changed = self._read(block_ms)
        if changed:
            self._refresh(changed)
        queued = self._follow(entries)
        now = time.monotonic()
        if now >= self._compare_at:
            self._compare()
        if now >= self._ratchet_at:
            self._ratchet()
        if now >= self._save_at:
            self._save()
        health.beat("engine")
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
            newest[tick.symbol] = tick.time_ms
            if self._quality.judge(entry):
                continue
            if not self._is_tradable(tick.symbol):
                continue
            quote = Quote.of(entry)
            for order_id, stop_price in self.watch.take(quote, _milliseconds(entry.id)).items():
                touched[order_id] = Touch(quote, stop_price)
        queued = triggers.trigger(touched) if touched else []
        for _order_id, account_id in queued:
            dispatch.after_commit(account_id=account_id, order_ids=[], drain=True)
        if entries:
            self._ticks = entries[-1].id
            self._quality.publish()
        return len(queued)

    def _is_tradable(self, symbol: str) -> bool:
        """A halted or closed market moves no orders; the drain would only put them back."""
        instrument = self._instruments.get(symbol)
        return (
            instrument is not None
            and instrument.state != InstrumentState.HALTED
            and instrument.session.is_open(timezone.now())
        )

    def _refresh(self, order_ids: list[int]) -> None:
        self._ratchet()
        for order in Order.objects.filter(pk__in=order_ids).select_related("instrument"):
            self.watch.put(order)
            self._instruments.setdefault(order.instrument.symbol, order.instrument)

    def _reload(self) -> None:
        self.watch.replace(_working().select_related("instrument").iterator())
        self._load_instruments()
        self._compare_at = time.monotonic() + COMPARE_SECONDS
        log.info("the engine watches %s orders", len(self.watch))

    def _load_instruments(self) -> None:
        self._instruments = {each.symbol: each for each in Instrument.objects.filter(symbol__in=self.watch.symbols())}

    def _compare(self) -> None:
        """Hold what is watched against the database, in case a message was missed."""
        truth = dict(_working().values_list("pk", "revision"))
        watched = self.watch.state()
        for order_id in watched.keys() - truth.keys():
            self.watch.drop(order_id)
        missed = [order_id for order_id, revision in truth.items() if watched.get(order_id) != revision]
        self._refresh(missed)
        self._load_instruments()
        self._compare_at = time.monotonic() + COMPARE_SECONDS

    def _ratchet(self) -> None:
        """Store the trailing stops that moved."""
        moves = {order_id: Move(each.stop, each.moved_ms) for order_id, each in self.watch.moved.items()}
        if moves:
            triggers.ratchet(moves)
        self.watch.moved.clear()
        self._ratchet_at = time.monotonic() + RATCHET_SECONDS

    def _save(self) -> None:
        self._ratchet()  # whoever goes on from here does not see again the prices that moved them
        with transaction.atomic():
            LogPosition.objects.update_or_create(reader=READER, defaults={"entry_id": self._ticks})
            self._quality.store_counts()
        self._save_at = time.monotonic() + SAVE_SECONDS


def _working() -> OrderQuerySet:
    return Order.objects.all().filter(status=OrderStatus.WORKING, queued=False, venue=venue.INTERNAL)


def _milliseconds(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _after(entry_id: str, other: str) -> bool:
    return tuple(map(int, entry_id.split("-"))) > tuple(map(int, other.split("-")))
