"""Pages of the audit trail: who changed what, when and why."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter

from backoffice.admin import NOTHING, LogAdmin, difference, subject
from backoffice.audit import tracking
from backoffice.audit.models import Entry
from backoffice.replica import may_lag

EXPORTED = (
    "seq",
    "at",
    "action",
    "table_name",
    "row_id",
    "user_id",
    "username",
    "source",
    "db_user",
    "reason",
    "before",
    "after",
    "hash",
)


class TableFilter(admin.SimpleListFilter):
    """Narrow the trail to one kind of row; the address names its table."""

    title = _("subject")
    parameter_name = "table_name__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        named = [(model._meta.db_table, capfirst(str(model._meta.verbose_name))) for model in tracking.tracked_models()]
        return sorted(named, key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Entry]) -> models.QuerySet[Entry]:
        return queryset.filter(table_name=self.value()) if self.value() else queryset


class Echo:
    """A file for csv.writer that gives each line back."""

    def write(self, line: str) -> str:
        return line


@admin.register(Entry)
class EntryAdmin(LogAdmin):
    """Compliance reads the trail here; `manage.py verify_audit` proves that nobody has edited it."""

    list_display = ("id", "at", "action", subject, "username", "source", "reason", difference)
    list_filter = (TableFilter, "action", ("at", RangeDateTimeFilter))
    list_before_template = "audit/export_link.html"
    fields = (
        ("seq", "at"),
        ("action", subject),
        ("username", "user_id", "db_user"),
        ("source", "reason"),
        "changes_table",
        "hash",
    )
    readonly_fields = (subject, "changes_table")
    search_lookup = "username"
    search_help_text = _("Login of who made the change, or the number of an entry")
    empty_text = _("Nothing has been changed yet.")

    def get_urls(self) -> list[URLPattern]:
        own = path("export/", may_lag(self.admin_site.admin_view(self.export)), name="audit_entry_export")
        return [own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Entry]:
        """Changes of rows that the user may see: the trail is no way around the other pages."""
        entries: models.QuerySet[Entry] = super().get_queryset(request)
        hidden = [model._meta.db_table for model in tracking.tracked_models() if not _may_see(request, model)]
        return entries.exclude(table_name__in=hidden) if hidden else entries

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("table_name__exact", "row_id__exact") or super().lookup_allowed(lookup, value, request)

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """The entries that the list shows with these filters, as CSV, however many they are."""
        if not request.user.has_perm("audit.export_entry"):
            raise PermissionDenied
        entries = self.get_changelist_instance(request).get_queryset(request).order_by("id")
        entries = entries.using(entries.db)  # decided here: the lines are read when the request is over
        return StreamingHttpResponse(
            self._lines(entries),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit-trail.csv"'},
        )

    def _lines(self, entries: models.QuerySet[Entry]) -> Iterator[str]:
        writer = csv.writer(Echo())
        yield writer.writerow(EXPORTED)
        for entry in entries.iterator(chunk_size=2000):
            yield writer.writerow([_cell(getattr(entry, name)) for name in EXPORTED])

    @admin.display(description=_("difference"))
    def changes_table(self, entry: Entry) -> SafeString:
        rows = format_html_join(
            "",
            '<tr><td class="pr-6 py-1">{}</td><td class="pr-6 py-1">{}</td><td class="py-1">{}</td></tr>',
            ((name, _shown(before), _shown(after)) for name, before, after in entry.changes),
        )
        head = format_html(
            '<tr class="font-semibold text-left"><th class="pr-6">{}</th><th class="pr-6">{}</th><th>{}</th></tr>',
            _("Column"),
            _("Before"),
            _("After"),
        )
        return format_html('<table class="break-all">{}{}</table>', head, rows)


def _may_see(request: HttpRequest, model: type[models.Model]) -> bool:
    """A table of pairs belongs to the model that has them."""
    owner = cast(type[models.Model], model._meta.auto_created or model)
    return bool(request.user.has_perm(f"{owner._meta.app_label}.{get_permission_codename('view', owner._meta)}"))


def _shown(value: object) -> object:
    return NOTHING if value is None or value == "" else value


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    # A spreadsheet would run a text that begins like a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
