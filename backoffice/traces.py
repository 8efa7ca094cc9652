"""Traces, as an option: a request, its statements, the tasks that it led to, and each order that these work off.

On where OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, names a collector (OTLP over HTTP). What
the poll lane answers, from memory and with one question to Redis, makes no span.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from backoffice import logs

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SHARE = "OTEL_TRACES_SAMPLER_ARG"
# A process that stops begins no other try after the first, and the last takes the second: two seconds in all.
TRY_SECONDS = 1.0
STOP_SECONDS = 1.0
SILENT_SECONDS = 60.0  # a collector that is away is worth a line, not one with each batch
# Who somebody is, by his address or his browser, and queries, which may say it too.
HIDDEN = {
    "client.address", "http.client_ip", "http.user_agent", "net.peer.ip", "net.peer.port", "network.peer.address",
    "network.peer.port", "url.full", "url.query", "user_agent.original",
}  # fmt: skip
_tracer: Any = None
_stop: Callable[[], None] | None = None


def span(name: str, **attributes: str | int) -> contextlib.AbstractContextManager[Any]:
    """The block is a part of the trace of the request or task that it belongs to, or begins one."""
    if _tracer is None:
        return contextlib.nullcontext()
    started: contextlib.AbstractContextManager[Any] = _tracer.start_as_current_span(name, attributes=attributes)
    return started


def stop() -> None:
    """Tell the collector what it was not told yet, for two seconds at most. It is told nothing afterwards.

    Called at the end of each process, also of those that Python's own `atexit` does not know of.
    """
    if _stop is not None:
        _stop()


def set_up() -> None:
    """Once in each process. Raises ImproperlyConfigured: a collector is named, and the packages are not installed."""
    global _tracer, _stop
    if _tracer is not None or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.instrumentation import celery, django, psycopg
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter, end_soon = _exporter()
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{' or '.join(ENDPOINTS)} is set, and a package for traces is missing ({error.name}):"
            " install the extra 'traces', or take the variable away."
        ) from error
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "backoffice", "part": settings.PART}
    provider = TracerProvider(resource=Resource.create(named), sampler=_sampler(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))  # it begins anew in a process that was forked
    trace.set_tracer_provider(provider)
    django.DjangoInstrumentor().instrument(request_hook=_describe)
    celery.CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    psycopg.PsycopgInstrumentor().instrument()

    def stop_telling(**kwargs: Any) -> None:
        end_soon()
        provider.shutdown()

    def trace_id() -> str:
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""

    from celery.signals import worker_process_shutdown

    worker_process_shutdown.connect(stop_telling, weak=False)
    atexit.register(stop_telling)
    logs.SOURCES["trace_id"] = trace_id
    _tracer, _stop = trace.get_tracer("backoffice"), stop_telling


def _sampler() -> Sampler:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import sampling

    class WithoutLoneStatements(sampling.TraceIdRatioBased):
        """A statement that belongs to nothing is what a process asks by itself, again and again: no trace of it."""

        def should_sample(self, *args: Any, **kwargs: Any) -> sampling.SamplingResult:
            kind = kwargs.get("kind", args[3] if len(args) > 3 else None)
            if kind is trace.SpanKind.CLIENT:
                return sampling.SamplingResult(sampling.Decision.DROP)
            return super().should_sample(*args, **kwargs)

    text = os.environ.get(SHARE) or "1"
    try:
        return sampling.ParentBased(WithoutLoneStatements(float(text)))
    except ValueError as error:
        raise ImproperlyConfigured(f"{SHARE} is a share from 0 to 1, not {text!r}.") from error


def _exporter() -> tuple[SpanExporter, Callable[[], None]]:
    """The way to the collector, and what to call when it shall end soon."""
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    end_at = math.inf

    class Exporter(trace_exporter.OTLPSpanExporter):
        def export(self, spans: Any) -> Any:
            if time.monotonic() >= end_at:
                return SpanExportResult.FAILURE
            return super().export([_without_values(each) for each in spans])

    def end_soon() -> None:
        nonlocal end_at
        end_at = min(end_at, time.monotonic() + STOP_SECONDS)

    logging.getLogger(trace_exporter.__name__).addFilter(_Seldom())
    return Exporter(timeout=TRY_SECONDS), end_soon


def _without_values(span: ReadableSpan) -> ReadableSpan:
    """The span as it may leave: of an exception its class alone, because Postgres names values in its words."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Status

    events = [
        Event(each.name, {"exception.type": (each.attributes or {}).get("exception.type", "")}, each.timestamp)
        for each in span.events
    ]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name not in HIDDEN},
        events=events,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class _Seldom(logging.Filter):
    """Lets a line through, and then none for a while."""

    _silent_until = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        self._silent_until = time.monotonic() + SILENT_SECONDS
        return True


def _describe(of_request: Any, request: Any) -> None:
    """Name the request's id, by which the log has it, and leave out its query, which may say who somebody is."""
    if of_request.is_recording():
        of_request.set_attribute("request_id", logs.request_id())
        for name in ("http.url", "http.target"):
            of_request.set_attribute(name, request.path)
