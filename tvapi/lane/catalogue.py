"""What each group may trade, and the pairs that join currencies, in the memory of the process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils import timezone

from accounts.models import Terms, TradingConditions
from marketdata.models import Instrument
from trading.models import InstrumentTerms
from trading.prices import pairs_by_currency
from tvapi.snapshots import MAX_AGE_SECONDS


@dataclass(frozen=True, slots=True)
class Catalogue:
    """At one version of the terms. `until` (Unix seconds) is when conditions change by the clock, a minute at most."""

    version: int
    until: float
    pairs: Mapping[str, list[Instrument]]
    offered: Mapping[int, Mapping[str, Instrument]]  # by group, by symbol; groups without conditions are missing


def read() -> Catalogue:
    """From the database; the version first, as with snapshots."""
    version = Terms.objects.values_list("version", flat=True).first() or 0
    now = timezone.now()
    until = time.time() + MAX_AGE_SECONDS
    coming = TradingConditions.objects.approved().filter(effective_from__gt=now).order_by("effective_from")
    if next_change := coming.values_list("effective_from", flat=True).first():
        until = min(until, next_change.timestamp())
    groups = dict(TradingConditions.objects.latest_begun(now).values_list("pk", "group_id"))
    instruments = Instrument.objects.in_bulk()
    offered: dict[int, dict[str, Instrument]] = defaultdict(dict)
    rows = InstrumentTerms.objects.offered().filter(conditions__in=groups)
    for version_id, instrument_id in rows.values_list("conditions_id", "instrument_id"):
        if instrument := instruments.get(instrument_id):
            offered[groups[version_id]][instrument.symbol] = instrument
    return Catalogue(version, until, pairs_by_currency(), dict(offered))
