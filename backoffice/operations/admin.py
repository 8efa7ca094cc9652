"""Lists of the operations desk: cash requests and limits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.choices import LedgerKind
from backoffice.admin import NOTHING, LogAdmin, StaffAdmin, number
from backoffice.four_eyes import RequestAdmin
from backoffice.operations.models import CashLimit, CashRequest, ClientDocument, DayEnd, Job
from backoffice.operations.pages.cash import cash_new


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
class CashRequestAdmin(RequestAdmin):
    ask_permission = "operations.request_cashrequest"
    ask_view = staticmethod(cash_new)
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
        ("kind", "state"),
        ("account", "to_account"),
        ("amount", "currency"),
        "reason",
        "paper",
        ("maker", "requested_at"),
        ("checker", "decided_at"),
        "decision",
        "transfer",
    )
    readonly_fields = ("paper",)
    search_lookup = "account__number"
    search_help_text = _("Number of an account, or of a request")
    empty_text = _("Nobody has asked for cash yet.")
    change_form_outer_before_template = "operations/cash_actions.html"

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


@admin.register(ClientDocument)
class ClientDocumentAdmin(LogAdmin):
    """Papers of clients; they are added on the page of the client."""

    list_display = ("id", "client", "kind", "paper", "handed_in")
    list_select_related = ("client", "attachment")
    list_filter = ("kind",)
    fields = ("client", "kind", "paper", "handed_in")
    readonly_fields = ("paper", "handed_in")
    search_lookup = "client__user__username"
    search_help_text = _("The client's login, or the number of a document")
    empty_text = _("No paper was handed in yet.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ClientDocument]:
        return super().get_queryset(request).defer("attachment__content")

    @admin.display(description=_("file"))
    def paper(self, document: ClientDocument) -> str:
        url = reverse("page:attachment", args=[document.attachment_id])
        return format_html('<a class="text-link" href="{}">{}</a>', url, document.attachment)

    @admin.display(description=_("handed in"))
    def handed_in(self, document: ClientDocument) -> Any:
        return document.attachment.created_at


@admin.register(Job)
class JobAdmin(LogAdmin):
    """Long work that was asked for; each has a page of its own with its progress and result."""

    list_display = ("id", "created_at", "page_link", "by", "state", "done", "total", "finished_at")
    list_display_links = None
    list_select_related = ("by",)
    list_filter = ("state", "kind")
    fields = (("title", "kind"), ("state", "message"), ("done", "total"), ("created_at", "started_at", "finished_at"))
    search_lookup = "by__username"
    search_help_text = _("Login, or the number of a job")
    empty_text = _("No long work was asked for yet.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Job]:
        return super().get_queryset(request).defer("arguments")

    @admin.display(description=_("job"))
    def page_link(self, job: Job) -> str:
        return format_html('<a class="text-link" href="{}">{}</a>', reverse("page:job", args=[job.pk]), job.title)


@admin.register(DayEnd)
class DayEndAdmin(LogAdmin):
    """Reports of the nights: the worker makes them, or somebody on a button."""

    list_display = ("day", "made_at", "well", "accounts", "orders", "transfers")
    fields = (("day", "made_at"), "well", "figures_table", "totals_table", "faults_text", "audit_head")
    readonly_fields = ("well", "figures_table", "totals_table", "faults_text")
    ordering = ("-day",)
    sortable_by = ("day",)
    list_before_template = "operations/day_end_action.html"
    empty_text = _("No day was closed yet. The worker does it every night.")

    @admin.display(description=_("all well"), boolean=True)
    def well(self, report: DayEnd) -> bool:
        return report.is_well

    @admin.display(description=_("accounts"))
    def accounts(self, report: DayEnd) -> int:
        return report.figures["accounts"]

    @admin.display(description=_("orders"))
    def orders(self, report: DayEnd) -> int:
        return report.figures["orders"]

    @admin.display(description=_("transfers"))
    def transfers(self, report: DayEnd) -> int:
        return report.figures["transfers"]

    @admin.display(description=_("figures"))
    def figures_table(self, report: DayEnd) -> str:
        pairs = ((name.replace("_", " "), value) for name, value in report.figures.items())
        return format_html_join(", ", "{}: {}", pairs)

    @admin.display(description=_("trial balance"))
    def totals_table(self, report: DayEnd) -> str:
        kinds = dict(LedgerKind.choices)
        rows = (
            (row["currency"], kinds.get(row["kind"], row["kind"]), number(Decimal(row["total"])))
            for row in report.totals
        )
        return format_html_join("", "<div>{} · {}: {}</div>", rows)

    @admin.display(description=_("faults"))
    def faults_text(self, report: DayEnd) -> str:
        faults = [(fault,) for fault in (*report.faults, *report.audit_faults)]
        return format_html_join("", "<div>{}</div>", faults) if faults else NOTHING
