"""The lists of what one person asks for and another decides on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from backoffice.admin import LogAdmin

COLOURS = {"requested": "warning", "approved": "success", "rejected": "danger", "cancelled": ""}


class RequestAdmin(LogAdmin):
    """The page of a request offers who asked and who decides what each may do. Asking has a page of its own."""

    ask_permission = ""
    ask_view: Callable[..., HttpResponse]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(self.ask_permission)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return self.ask_view(request)

    @display(description=_("state"), ordering="state", label=COLOURS)
    def shown_state(self, asked: Any) -> tuple[str, str]:
        return asked.state, asked.get_state_display()
