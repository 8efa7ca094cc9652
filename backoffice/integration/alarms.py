"""What TradingView would complain of: each alarm is a sentence, true at the moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from marketdata import metrics
from marketdata.metrics import Delays
from marketdata.models import StreamComparison
from tvapi import usage
from tvapi.usage import Key, Tally

MINUTES = 5  # that are looked at
LEAST_REQUESTS = 20  # a share of fewer says nothing
MOST_ERRORS_PERCENT = 10
SLOWEST_P95_MS = 1000
SLOWEST_LINE_MS = 1000  # STRM-6
MOST_TOKEN_FAILURES = 5
TOKENS = "POST oauth2/token"


def all_now() -> list[str]:
    """Raises `redis.RedisError`."""
    return [*of_requests(usage.of_minutes(MINUTES)), *of_streams(metrics.told()), *of_bars()]


def of_requests(tallies: Mapping[Key, Tally]) -> Iterator[str]:
    for (pair, endpoint), tally in tallies.items():
        words = {"pair": pair, "endpoint": endpoint, "minutes": MINUTES}
        if endpoint == TOKENS and tally.errors > MOST_TOKEN_FAILURES:
            yield _("%(pair)s: %(count)s tokens were refused in %(minutes)s minutes.") % {
                **words,
                "count": tally.errors,
            }
        if tally.cors_refused and pair != usage.UNKNOWN_PAIR:
            yield _("%(pair)s, %(endpoint)s: %(count)s answers were kept from the page (CORS).") % {
                **words,
                "count": tally.cors_refused,
            }
        if tally.requests < LEAST_REQUESTS:
            continue
        if tally.errors * 100 > MOST_ERRORS_PERCENT * tally.requests:
            percent = tally.errors * 100 // tally.requests
            yield _("%(pair)s, %(endpoint)s: %(percent)s %% failures.") % {**words, "percent": percent}
        if (p95 := tally.percentile(0.95)) is not None and p95 > SLOWEST_P95_MS:
            yield _("%(pair)s, %(endpoint)s: one in twenty takes longer than %(limit)s ms.") % {
                **words,
                "limit": SLOWEST_P95_MS,
            }


def of_streams(delays: Iterable[Delays]) -> Iterator[str]:
    for each in delays:
        if each.p99_ms > SLOWEST_LINE_MS:
            yield _("The stream of %(process)s is late: %(ms)s ms.") % {"process": each.process, "ms": each.p99_ms}


def of_bars() -> Iterator[str]:
    recent = StreamComparison.objects.filter(hour__gte=timezone.now() - timedelta(hours=24))
    alarming = [each for each in recent.filter(different__gt=0).select_related("instrument") if each.is_alarming]
    if alarming:
        symbols = ", ".join(sorted({each.instrument.symbol for each in alarming}))
        yield _("Bars of the stream and of the history differ: %(symbols)s.") % {"symbols": symbols}


def compared(hours: int = 24) -> tuple[int, int]:
    """Minutes compared, and those that differed."""
    recent = StreamComparison.objects.filter(hour__gte=timezone.now() - timedelta(hours=hours))
    sums = recent.aggregate(compared=Sum("compared"), different=Sum("different"))
    return sums["compared"] or 0, sums["different"] or 0
