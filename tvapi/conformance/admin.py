"""Runs of the conformance tests: what was right, what was not, and the report of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from backoffice.admin import ReadOnlyAdmin
from tvapi.conformance import reports
from tvapi.conformance.framework import Status
from tvapi.conformance.models import ConformanceRun

WORDS = {
    Status.FAILED: _("Failed"),
    Status.WARNING: _("Warnings"),
    Status.PASSED: _("Passed"),
    Status.SKIPPED: _("Skipped"),
}
COLOURS = {Status.FAILED: "danger", Status.WARNING: "warning", Status.PASSED: "success", Status.SKIPPED: "default"}


@admin.register(ConformanceRun)
class ConformanceRunAdmin(ReadOnlyAdmin):
    """The list of runs; a run's page names what failed, its report has the evidence."""

    list_display = ("started_at", "base_url", "verdict", "passed", "warnings", "failed", "skipped", "duration")
    list_filter = ("has_passed", "base_url")
    search_fields = ("base_url",)
    date_hierarchy = "started_at"
    fields = ("base_url", "started_at", "outcome", ("passed", "warnings", "failed", "skipped"), "duration", "report")
    readonly_fields = ("outcome", "duration", "report")
    empty_text = _("No run yet: `manage.py conformance` makes one.")
    change_form_outer_after_template = "conformance/results.html"

    @display(description=_("result"), label={True: "success", False: "danger"}, ordering="has_passed")
    def verdict(self, run: ConformanceRun) -> tuple[bool, str]:
        return run.has_passed, self.outcome(run)

    @admin.display(description=_("result"))
    def outcome(self, run: ConformanceRun) -> str:
        return gettext("passed") if run.has_passed else gettext("not passed")

    @display(description=_("duration"), ordering="seconds")
    def duration(self, run: ConformanceRun) -> str:
        return f"{run.seconds:.0f} s"

    @display(description=_("report"))
    def report(self, run: ConformanceRun) -> str:
        url = reverse("admin:conformance_conformancerun_report", args=[run.pk])
        return format_html('<a href="{}" class="text-link">{}</a>', url, _("Open the report"))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The results by status, what failed first."""
        if obj:
            results = obj.document().results
            context["results"] = [
                (WORDS[status], COLOURS[status], found)
                for status in WORDS
                if (found := [result for result in results if result.status is status])
            ]
        return super().render_change_form(request, context, add, change, form_url, obj)

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
