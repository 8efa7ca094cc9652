"""Traces, as an option: a request, its statements, the tasks that it led to, and each order that these work off.

On where OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, names a collector (OTLP over HTTP). What
the poll lane answers, from memory and with one question to Redis, makes no span.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from backoffice import logs

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORT_SECONDS = 2.0  # a collector that is away keeps a process that stops no longer than this
_tracer: Any = None


def span(name: str, **attributes: str | int) -> contextlib.AbstractContextManager[Any]:
    """The block is a part of the trace of the request or task that it belongs to, or begins one."""
    if _tracer is None:
        return contextlib.nullcontext()
    started: contextlib.AbstractContextManager[Any] = _tracer.start_as_current_span(name, attributes=attributes)
    return started


def set_up() -> None:
    """Once in each process. Raises ImproperlyConfigured: a collector is named, and the packages are not installed."""
    global _tracer
    if _tracer is not None or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation import celery, django, psycopg
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider, sampling
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{' or '.join(ENDPOINTS)} is set, and a package for traces is missing ({error.name}):"
            " install the extra 'traces', or take the variable away."
        ) from error

    class WithoutLoneStatements(sampling.TraceIdRatioBased):
        """A statement that belongs to nothing is what a process asks by itself, again and again: no trace of it."""

        def should_sample(self, *args: Any, **kwargs: Any) -> sampling.SamplingResult:
            kind = kwargs.get("kind", args[3] if len(args) > 3 else None)
            if kind is trace.SpanKind.CLIENT:
                return sampling.SamplingResult(sampling.Decision.DROP)
            return super().should_sample(*args, **kwargs)

    share = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 1)
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "backoffice", "part": settings.PART}
    provider = TracerProvider(
        resource=Resource.create(named), sampler=sampling.ParentBased(WithoutLoneStatements(share))
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_SECONDS)))
    trace.set_tracer_provider(provider)
    django.DjangoInstrumentor().instrument(request_hook=_describe)
    celery.CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    psycopg.PsycopgInstrumentor().instrument()
    _tracer = trace.get_tracer("backoffice")


def _describe(of_request: Any, request: Any) -> None:
    """Name the request's id, by which the log has it, and leave out its query, which may say who somebody is."""
    if of_request.is_recording():
        of_request.set_attribute("request_id", logs.request_id())
        for name in ("http.url", "http.target"):
            of_request.set_attribute(name, request.path)
