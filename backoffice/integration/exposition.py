"""`/metrics`: the same numbers for Prometheus. They are everybody's: whichever process is asked, the answer is one."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import cast

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, F, Min
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from backoffice import health, replica
from backoffice.integration import alarms
from backoffice.quantiles import of_sorted
from backoffice.task_ids import SENT_AT
from marketdata import metrics, ticklog
from trading.alarms import Alarm
from trading.choices import DecisionKind, OrderType
from trading.models import MarginDecision, Order
from trading.states import OrderStatus
from tvapi import usage

LABELS = ("pair", "endpoint")
RECENT = timedelta(minutes=5)
QUANTILES = (0.5, 0.99)


@never_cache
def view(request: HttpRequest) -> HttpResponse:
    """For who knows METRICS_TOKEN (a bearer token); on a developer's machine for everybody."""
    if not _may_read(request):
        return HttpResponse("Send the bearer token of METRICS_TOKEN.\n", status=401, content_type="text/plain")
    registry = CollectorRegistry()
    registry.register(_Numbers())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_read(request: HttpRequest) -> bool:
    if not settings.METRICS_TOKEN:
        return bool(settings.IS_LOCAL)
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())


class _Numbers:
    """Read when they are asked for. What Postgres or Redis cannot tell at the moment is absent; the rest is told."""

    def collect(self) -> Iterator[Metric]:
        for numbers in (_parts, _requests, _polls, _streams, _engines, _queues, _orders, _trading, _bars, _replica):
            try:
                yield from list(numbers())
            except DatabaseError:
                connection.close()
            except redis.RedisError:
                continue


def _parts() -> Iterator[Metric]:
    alive = GaugeMetricFamily("part_alive", "1 for each part that gives signs of life.", labels=["part"])
    for part, state in health.report().items():
        alive.add_metric([part], state == "ok")
    yield alive


def _requests() -> Iterator[Metric]:
    requests = CounterMetricFamily("tv_requests", "Requests of the API.", labels=[*LABELS, "status"])
    errors = CounterMetricFamily("tv_failures", "Requests answered by a failure.", labels=LABELS)
    kept = CounterMetricFamily("tv_cors_refusals", "Answers that the page's browser may not show.", labels=LABELS)
    times = HistogramMetricFamily("tv_request_seconds", "Time to the first byte of the answer.", labels=LABELS)
    for labels, tally in usage.in_all().items():
        for status, count in sorted(tally.statuses.items()):
            requests.add_metric([*labels, str(status)], count)
        errors.add_metric(labels, tally.errors)
        kept.add_metric(labels, tally.cors_refused)
        times.add_metric(labels, _cumulated(tally.buckets), tally.total_ms / 1000)
    return iter((requests, errors, kept, times))


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    """Prometheus counts in each bucket those of the ones below as well."""
    edges = [*(str(edge / 1000) for edge in usage.EDGES_MS), "+Inf"]
    return [(edge, sum(buckets[: index + 1])) for index, edge in enumerate(edges)]


def _polls() -> Iterator[Metric]:
    polls = usage.polled()
    counted = CounterMetricFamily("tv_polls", "Polled requests, by who answered.", labels=["by"])
    counted.add_metric(["lane"], polls.get("answered", 0))
    counted.add_metric(["django"], polls.get("left", 0))
    yield counted
    text = "Answers that the lane had to make anew: something had changed, or nothing was kept."
    yield CounterMetricFamily("tv_fence_misses", text, value=polls.get("missed", 0))


def _streams() -> Iterator[Metric]:
    readers = GaugeMetricFamily("stream_readers", "Connections that read prices.", labels=["process"])
    dropped = GaugeMetricFamily("stream_dropped", "Readers dropped for being slow.", labels=["process"])
    late = GaugeMetricFamily("stream_lag_p99_seconds", "From the source's time to the socket.", labels=["process"])
    for each in metrics.told():
        readers.add_metric([each.process], each.connections)
        dropped.add_metric([each.process], each.dropped)
        late.add_metric([each.process], each.p99_ms / 1000)
    return iter((readers, dropped, late))


def _engines() -> Iterator[Metric]:
    for name, of, text in (
        ("engine_tick_p99_seconds", metrics.ENGINE_STEP, "From the reading of ticks to the orders queued."),
        ("engine_lag_p99_seconds", metrics.ENGINE_LAG, "From a tick's logging to the orders queued that it reached."),
    ):
        late = GaugeMetricFamily(name, text, labels=["engine"])
        for each in metrics.told(of):
            late.add_metric([each.process], each.p99_ms / 1000)
        yield late


def _queues() -> Iterator[Metric]:
    """Celery's. A message from before times were sent along has no age."""
    length = GaugeMetricFamily("task_queue_length", "Tasks that wait for a worker.", labels=["queue"])
    age = GaugeMetricFamily("task_queue_seconds", "How long the one that waits longest does.", labels=["queue"])
    for queue in settings.CELERY_TASK_QUEUES:
        length.add_metric([queue.name], ticklog.connection().llen(queue.name))
        if (oldest := cast("bytes | None", ticklog.connection().lindex(queue.name, -1))) is None:
            age.add_metric([queue.name], 0.0)
        elif sent_at := json.loads(oldest)["headers"].get(SENT_AT):
            age.add_metric([queue.name], max(0.0, time.time() - sent_at))
    return iter((length, age))


def _orders() -> Iterator[Metric]:
    now = timezone.now()
    queued = Order.objects.queued().aggregate(count=Count("pk"), oldest=Min("updated_at"))
    waits = now - (queued["oldest"] or now)
    yield _gauge("orders_queued", "Orders that wait for the venue's drain.", queued["count"])
    yield _gauge("orders_queued_seconds", "How long the one that waits longest does.", waits.total_seconds())
    yield _booked(now)


def _trading() -> Iterator[Metric]:
    now = timezone.now()
    yield _gauge("alarms_open", "Alarms of trading that are open.", Alarm.objects.open().count())
    steps = MarginDecision.objects.filter(kind__in=[DecisionKind.CANCEL_ORDERS, DecisionKind.CLOSE])
    yield _gauge("stop_outs", "Steps of stop-outs in an hour.", steps.filter(at__gte=now - timedelta(hours=1)).count())
    refusals = CounterMetricFamily("order_refusals", "Refusals of trading over the API.", labels=["reason"])
    for reason, count in usage.refusals().items():
        refusals.add_metric([reason], count)
    yield refusals
    if last_ms := int(ticklog.last_id().partition("-")[0]):
        yield _gauge("ticks_age_seconds", "Since the last price.", max(0.0, now.timestamp() - last_ms / 1000))


def _bars() -> Iterator[Metric]:
    compared, different = alarms.compared()
    yield _gauge("bars_compared", "Minutes of stream and history compared in 24 hours.", compared)
    yield _gauge("bars_different", "Minutes of stream and history that differed in 24 hours.", different)


def _replica() -> Iterator[Metric]:
    if (lag := replica.lag_seconds()) is not None:
        yield _gauge("replica_lag_seconds", "How far the replica is behind; infinite where it does not answer.", lag)


def _booked(now: datetime) -> Metric:
    """From the click to the books, of the market orders of the last minutes; absent where there were none.

    Those that were filled as they were accepted have one moment for both, and their request's time says how long it
    took (`tv_request_seconds`).
    """
    filled = Order.objects.filter(
        type=OrderType.MARKET, status=OrderStatus.FILLED, created_at__gte=now - RECENT, final_at__gt=F("created_at")
    )
    times = sorted(took.total_seconds() for took in filled.values_list(F("final_at") - F("created_at"), flat=True))
    text = "From the click to the books of orders that are filled after their answer, in 5 minutes."
    found = GaugeMetricFamily("order_booked_seconds", text, labels=["quantile"])
    for quantile in QUANTILES if times else ():
        found.add_metric([str(quantile)], of_sorted(times, quantile))
    return found


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
