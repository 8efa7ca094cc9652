"""How the prices are: of each instrument that somebody may trade, how old its price is and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from marketdata import badticks
from marketdata.choices import Defect, InstrumentState
from marketdata.models import FeedRoute, Instrument
from marketdata.quotes import Quote
from trading.models import InstrumentTerms

FRESH = timedelta(seconds=30)  # as conditions take it unless they say otherwise


@dataclass(frozen=True, slots=True)
class Health:
    """`is_open`: its market is and nobody halted it, so that a price should come.

    `source` is the one listened to; empty: the simulator.
    """

    instrument: Instrument
    quote: Quote | None
    defect: Defect | None
    age: timedelta | None
    is_open: bool
    source: str

    @property
    def seconds(self) -> float:
        """How old the price is; without end where there was none."""
        return inf if self.age is None else self.age.total_seconds()

    @property
    def is_well(self) -> bool:
        is_fresh = self.age is not None and self.age <= FRESH
        return self.defect is None and (is_fresh or not self.is_open)


def look(now: datetime) -> list[Health]:
    """Those that are not well come first, the oldest price before others. Raises `redis.RedisError`."""
    tradable = InstrumentTerms.objects.in_force(now).offered()
    instruments = list(Instrument.objects.filter(pk__in=tradable.values("instrument")))
    sources = dict(FeedRoute.objects.filter(is_active=True).values_list("instrument", "source__name"))
    latest = badticks.latest([instrument.symbol for instrument in instruments])
    found = [_health(each, latest.get(each.symbol), sources.get(each.pk, ""), now) for each in instruments]
    return sorted(found, key=lambda each: (each.is_well, -each.seconds, each.instrument.symbol))


def _health(instrument: Instrument, found: tuple[Quote, Defect | None] | None, source: str, now: datetime) -> Health:
    quote, defect = found or (None, None)
    age = max(now - quote.time, timedelta(0)) if quote else None
    is_open = instrument.state != InstrumentState.HALTED and instrument.session.is_open(now)
    return Health(instrument, quote, defect, age, is_open, source)
