"""The list of busts and corrections."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from backoffice.admin import Panel
from backoffice.dealing.pages.busts import bust_new
from backoffice.four_eyes import RequestAdmin
from trading.admin import FILL_PRICE
from trading.models import Bust, Execution


@admin.register(Bust)
class BustAdmin(RequestAdmin):
    ask_permission = "trading.request_bust"
    ask_view = staticmethod(bust_new)
    list_display = ("id", "requested_at", "instrument", "fill_count", "price", "maker", "checker", "shown_state")
    list_select_related = ("instrument", "maker", "checker")
    list_filter = ("state", ("instrument", AutocompleteSelectFilter))
    fields = (
        ("instrument", "price", "state"),
        "reason",
        ("maker", "requested_at"),
        ("checker", "decided_at"),
        "decision",
    )
    search_lookup = "instrument__symbol"
    search_help_text = _("Symbol, or the number of a request")
    empty_text = _("No fill was ever taken back. Bad fills are chosen on their own pages, or by an interval here.")
    change_form_outer_before_template = "dealing/bust_actions.html"

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
