"""Whoever asks is recorded with what his request changes, and in the admin also why."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from backoffice.audit import context

REASON_FIELD = "_reason"  # of the admin's forms


class AuditMiddleware:
    """Stands behind the middleware of logins. The user is looked at when something is written, not before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Only the admin's bodies are read here: the API reads its own, and in its own way.
        is_form = request.method == "POST" and request.path.startswith("/admin/")
        reason = request.POST.get(REASON_FIELD, "").strip() if is_form else ""
        current = context.Context(
            source=f"{request.method} {request.path}"[:200],
            reason=reason[: context.REASON_LIMIT],
            user=lambda: getattr(request, "user", None),
        )
        with context.using(current):
            return self.get_response(request)
