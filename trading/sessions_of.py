"""Which orders count as the current session's (ORD-4 … ORD-6)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from marketdata.choices import SymbolType
from marketdata.models import Instrument
from marketdata.sessions import NeverOpens

ROUND_THE_CLOCK = timedelta(hours=24)
LEAST_SHOWN = timedelta(minutes=1)  # ORD-5
LONGEST_CLOSURE_DAYS = 14


def session_start(instrument: Instrument, now: datetime | None = None) -> datetime:
    """When the instrument's current session began.

    Forex and crypto, and whatever trades around the clock: 24 hours ago. Else the start of the current trading day, and
    between two days that of the last one; never less than a minute ago.
    """
    now = now or timezone.now()
    if instrument.type in (SymbolType.FOREX, SymbolType.CRYPTO) or instrument.session_regular == "24x7":
        return now - ROUND_THE_CLOCK
    day = now.date() + timedelta(days=1)  # a session that began this evening belongs to tomorrow (SES-3)
    for _back in range(LONGEST_CLOSURE_DAYS):
        span = instrument.session.span_of(day)
        if span and span.start <= now:
            return min(span.start, now - LEAST_SHOWN)
        day -= timedelta(days=1)
    return now - ROUND_THE_CLOCK


def next_start(instrument: Instrument, now: datetime) -> list[datetime]:
    """When the instrument's next session begins, as a list of one; empty when none comes, or there is but one."""
    if instrument.session_regular == "24x7":
        return []
    try:
        span = instrument.session.span(now)
        return [span.start if span.start > now else instrument.session.span(span.end).start]
    except NeverOpens:
        return []
