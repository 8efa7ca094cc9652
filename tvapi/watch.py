"""The continuous check of the stream (DQ-1, DT-26).

Bars are built from the outgoing lines, as TradingView builds them, and compared with `/history`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from django.db.models import F
from django.utils import timezone

from marketdata import bars
from marketdata.chunks import MINUTE_SECONDS, from_unix
from marketdata.models import Instrument, StreamComparison

SETTLE_SECONDS = 20  # after a minute, for its bar to be closed and stored

logger = logging.getLogger(__name__)

Prices = tuple[float, float, float, float]  # open, high, low, close; artificial trades say nothing about volume


class _Line(msgspec.Struct):
    """What a bar needs of a trade line; quotes, daily bars and heartbeats have another `f` or none."""

    f: str = ""
    id: str = ""
    p: float = 0.0
    t: float = 0.0


_decode = msgspec.json.Decoder(_Line).decode


class Difference(NamedTuple):
    minute: int
    streamed: Prices | None
    stored: Prices | None


class Watch:
    """One connection's lines. Minutes that were not seen from their first to their last second are not compared."""

    def __init__(self, connected_at: float) -> None:
        self._first_whole = (int(connected_at) // MINUTE_SECONDS + 1) * MINUTE_SECONDS
        self._minutes: dict[int, dict[str, Prices]] = defaultdict(dict)

    def read(self, line: bytes) -> None:
        """Add a line of the stream. Raises `msgspec.DecodeError` for what is no JSON."""
        trade = _decode(line)
        if trade.f != "t":
            return
        minute = int(trade.t) // MINUTE_SECONDS * MINUTE_SECONDS
        of_minute = self._minutes[minute]
        if known := of_minute.get(trade.id):
            o, h, low, _close = known
            of_minute[trade.id] = (o, max(h, trade.p), min(low, trade.p), trade.p)
        else:
            of_minute[trade.id] = (trade.p, trade.p, trade.p, trade.p)

    def settled(self, now: float) -> Iterator[tuple[int, dict[str, Prices]]]:
        """The whole minutes whose bars must be in the history by now, each once."""
        while self._first_whole + MINUTE_SECONDS + SETTLE_SECONDS <= now:
            yield self._first_whole, self._minutes.pop(self._first_whole, {})
            self._first_whole += MINUTE_SECONDS
        for minute in [minute for minute in self._minutes if minute < self._first_whole]:
            del self._minutes[minute]


def compare(minute: int, streamed: dict[str, Prices]) -> int:
    """Compare a minute's bars of all symbols, keep the outcome by symbol and hour, and return how many differ."""
    different = 0
    for instrument in Instrument.objects.exclude(symbol_group=None).order_by("symbol"):
        of_stream, stored = streamed.get(instrument.symbol), _stored(instrument, minute)
        if of_stream is None and stored is None:
            continue
        difference = None if of_stream == stored else Difference(minute, of_stream, stored)
        different += difference is not None
        _keep(instrument, minute, difference)
    return different


def _stored(instrument: Instrument, minute: int) -> Prices | None:
    found = bars.history(instrument, "1", minute, minute)
    return (found.o[0], found.h[0], found.l[0], found.c[0]) if found.t else None


def _keep(instrument: Instrument, minute: int, difference: Difference | None) -> None:
    hour = from_unix(minute).replace(minute=0, second=0)
    row, _is_new = StreamComparison.objects.get_or_create(instrument=instrument, hour=hour)
    changes = {"compared": F("compared") + 1, "updated_at": timezone.now()}
    if difference:
        changes |= {"different": F("different") + 1, "example": _sentence(difference)}
    StreamComparison.objects.filter(pk=row.pk).update(**changes)
    row.refresh_from_db()
    if difference and row.is_alarming:
        logger.error("The stream differs from the history: %s, %s of %s minutes", row, row.different, row.compared)


def _sentence(of: Difference) -> str:
    """Times and prices only: it reads the same in every language."""
    return f"{from_unix(of.minute):%H:%M} /streaming {_shown(of.streamed)} /history {_shown(of.stored)}"


def _shown(prices: Prices | None) -> str:
    return "–" if prices is None else " ".join(map(str, prices))
