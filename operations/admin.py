"""Lists of the operations desk: cash requests and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from backoffice.admin import NOTHING, LogAdmin, StaffAdmin
from operations import pages
from operations.choices import RequestState
from operations.models import CashLimit, CashRequest


class WaitingFilter(admin.SimpleListFilter):
    title = _("waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("me", _("for me")), ("others", _("asked for by me"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> models.QuerySet[CashRequest]:
        if self.value() == "me":
            return queryset.waiting_for(request.user)
        return queryset.waiting().filter(maker=request.user) if self.value() == "others" else queryset


@admin.register(CashRequest)
class CashRequestAdmin(LogAdmin):
    """Who asks and who decides are two: the page of a request offers each of them what he may do."""

    list_display = (
        "id",
        "requested_at",
        "kind",
        "account",
        "to_account",
        "amount",
        "currency",
        "maker",
        "checker",
        "shown_state",
    )
    list_select_related = ("account", "to_account", "currency", "maker", "checker")
    list_filter = (WaitingFilter, "state", "kind", ("account", AutocompleteSelectFilter))
    fields = (
        ("kind", "shown_state"),
        ("account", "to_account"),
        ("amount", "currency"),
        "reason",
        "paper",
        ("maker", "requested_at"),
        ("checker", "decided_at"),
        "decision",
        "transfer",
    )
    readonly_fields = ("shown_state", "paper")
    search_lookup = "account__number"
    search_help_text = _("Number of an account, or of a request")
    empty_text = _("Nobody has asked for cash yet.")
    change_form_outer_before_template = "operations/cash_actions.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("operations.request_cashrequest")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return pages.cash_new(request)

    @display(
        description=_("state"),
        ordering="state",
        label={
            RequestState.REQUESTED: "warning",
            RequestState.APPROVED: "success",
            RequestState.REJECTED: "danger",
            RequestState.CANCELLED: "",
        },
    )
    def shown_state(self, asked: CashRequest) -> tuple[str, str]:
        return asked.state, asked.get_state_display()

    @admin.display(description=_("attachment"))
    def paper(self, asked: CashRequest) -> str:
        if asked.attachment_id is None:
            return NOTHING
        url = reverse("page:attachment", args=[asked.attachment_id])
        return format_html('<a class="text-link" href="{}">{}</a>', url, asked.attachment)


@admin.register(CashLimit)
class CashLimitAdmin(StaffAdmin):
    list_display = ("role", "currency", "request_limit", "approve_limit")
    list_filter = ("role",)
    fields = (("role", "currency"), ("request_limit", "approve_limit"))
    empty_text = _("There are no limits: every role that may ask or approve may do so for any amount.")

    def get_readonly_fields(self, request: HttpRequest, obj: CashLimit | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("role", "currency") if obj else ())]
