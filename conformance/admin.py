"""Runs of the conformance tests: what was right, what was not, and the report of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from backoffice.admin import ReadOnlyAdmin
from conformance import reports
from conformance.framework import Status
from conformance.models import ConformanceRun

COLOURS = {
    Status.PASSED: "success",
    Status.WARNING: "warning",
    Status.FAILED: "danger",
    Status.SKIPPED: "",
}


@admin.register(ConformanceRun)
class ConformanceRunAdmin(ReadOnlyAdmin):
    """The list of runs; a run's page names what failed, its report has the evidence."""

    list_display = ("started_at", "base_url", "verdict", "passed", "warnings", "failed", "skipped", "duration")
    list_filter = ("has_passed", "base_url")
    search_fields = ("base_url",)
    date_hierarchy = "started_at"
    fields = ("base_url", "started_at", "verdict", ("passed", "warnings", "failed", "skipped"), "duration", "report")
    readonly_fields = fields_shown = ("verdict", "duration", "report")
    empty_text = _("No run yet: `manage.py conformance` makes one.")
    change_form_after_template = "conformance/results.html"

    @display(description=_("result"), label={True: "success", False: "danger"}, ordering="has_passed")
    def verdict(self, run: ConformanceRun) -> tuple[bool, Any]:
        return run.has_passed, _("passed") if run.has_passed else _("not passed")

    @display(description=_("duration"), ordering="seconds")
    def duration(self, run: ConformanceRun) -> str:
        return f"{run.seconds:.0f} s"

    @display(description=_("report"))
    def report(self, run: ConformanceRun) -> str:
        url = reverse("admin:conformance_conformancerun_report", args=[run.pk])
        return format_html('<a href="{}" class="text-link">{}</a>', url, _("Open the report"))

    def get_urls(self) -> list[URLPattern]:
        report = path(
            "<int:pk>/report/", self.admin_site.admin_view(self.report_view), name="conformance_conformancerun_report"
        )
        return [report, *super().get_urls()]

    def report_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The run as the page that `--report` writes."""
        run = self.get_object(request, str(pk))
        if run is None or not self.has_view_permission(request, run):
            return HttpResponse(status=404)
        return HttpResponse(reports.html(run.document()))
