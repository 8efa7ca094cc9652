"""The list of busts and corrections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from backoffice.admin import LogAdmin, Panel
from backoffice.dealing.pages.busts import bust_new
from trading.admin import FILL_PRICE
from trading.choices import BustState
from trading.models import Bust, Execution


@admin.register(Bust)
class BustAdmin(LogAdmin):
    """Who asks and who decides are two: the page of a request offers each of them what he may do."""

    list_display = ("id", "requested_at", "instrument", "fill_count", "price", "maker", "checker", "shown_state")
    list_select_related = ("instrument", "maker", "checker")
    list_filter = ("state", ("instrument", AutocompleteSelectFilter))
    fields = (
        ("instrument", "price", "shown_state"),
        "reason",
        ("maker", "requested_at"),
        ("checker", "decided_at"),
        "decision",
    )
    readonly_fields = ("shown_state",)
    search_lookup = "instrument__symbol"
    search_help_text = _("Symbol, or the number of a request")
    empty_text = _("No fill was ever taken back. Bad fills are chosen on their own pages, or by an interval here.")
    change_form_outer_before_template = "dealing/bust_actions.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("trading.request_bust")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return bust_new(request)

    @display(
        description=_("state"),
        ordering="state",
        label={
            BustState.REQUESTED: "warning",
            BustState.APPROVED: "success",
            BustState.REJECTED: "danger",
            BustState.CANCELLED: "",
        },
    )
    def shown_state(self, bust: Bust) -> tuple[str, str]:
        return bust.state, bust.get_state_display()

    @admin.display(description=_("fills"))
    def fill_count(self, bust: Bust) -> int:
        return len(bust.executions)

    def panels(self, request: HttpRequest, bust: Bust) -> Iterable[Panel]:
        columns = ("id", "at", "account", "order", "side", "qty", FILL_PRICE, "commission", "commission_currency")
        related = ("account", "instrument", "order__instrument", "commission_currency")
        chosen = Execution.objects.filter(pk__in=bust.executions)
        yield Panel(_("the fills"), chosen.select_related(*related).order_by("pk"), columns, "")
        if bust.price is not None:
            again = Execution.objects.filter(replaces__bust=bust)
            yield Panel(
                _("booked again as"),
                again.select_related(*related).order_by("pk"),
                columns,
                _("Nothing yet: it waits for a decision, or was not approved."),
            )
