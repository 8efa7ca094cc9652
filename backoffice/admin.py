"""What the admin's pages share: read-only pages, exact numbers, tables of related rows, search by index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator
from unfold.utils import display_for_field, display_for_value

from backoffice.audit import tracking
from backoffice.audit.models import Entry
from backoffice.fields import NumericField

NOTHING = "–"
PANEL_ROWS = 10
IN_CAPITALS = ("account__number", "instrument__symbol")  # so people may type them as they like
SHOWN_DIFFERENCE = 200  # characters, in lists

Text = str | Promise
Column = str | Callable[[Any], object]  # a field's name, or a function of the row with a `short_description`

admin.site.index_template = "backoffice/dashboard.html"
admin.site.index_title = _("Overview")


def number(value: Decimal | None) -> str:
    """An amount, price or quantity as people read it: all its digits, grouped, no idle zeros."""
    return NOTHING if value is None else number_format(value, force_grouping=True)


def link_to(row: models.Model, text: object = "") -> str:
    """The row's name, or another text, leading to its page where it has one."""
    try:
        url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])
    except NoReverseMatch:
        return str(text or row)
    return format_html('<a href="{}" class="text-link">{}</a>', url, text or row)


def list_url(model: type[models.Model], **lookups: object) -> str:
    """The address of the model's list, narrowed by these lookups."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(name, query={lookup: str(value) for lookup, value in lookups.items()} or None)


def may_view(request: HttpRequest, model: type[models.Model]) -> bool:
    return request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")


@cache
def _number_column(field: NumericField) -> Callable[[models.Model], str]:
    """A column showing the field; Django's own shows as many decimals as the database could keep."""

    @admin.display(description=field.verbose_name, ordering=field.name)
    def column(row: models.Model) -> str:
        return number(getattr(row, field.name))

    column.__name__ = field.name
    return column


@dataclass(frozen=True)
class Panel:
    """A table of related rows below a page's form: the first of them, and where to see all."""

    title: Text
    rows: models.QuerySet[Any]
    columns: Sequence[Column]
    empty: Text
    url: str = ""

    @property
    def table(self) -> dict[str, list[Any]]:
        """Headers and rows, as unfold's table component takes them. One query."""
        headers = [capfirst(str(_header(self.rows.model, column))) for column in self.columns]
        return {"headers": headers, "rows": [_cells(row, self.columns) for row in self.rows[:PANEL_ROWS]]}


def _header(model: type[models.Model], column: Column) -> object:
    if callable(column):
        return getattr(column, "short_description")  # noqa: B009 (a function has no such attribute for the type checker)
    return model._meta.get_field(column).verbose_name  # type: ignore[union-attr]


def _cells(row: models.Model, columns: Sequence[Column]) -> list[object]:
    """The first cell leads to the row's own page, others to those of the rows they name."""
    first, *others = (_value(row, column) for column in columns)
    return [link_to(row, first), *(link_to(value) if isinstance(value, models.Model) else value for value in others)]


def _value(row: models.Model, column: Column) -> object:
    if callable(column):
        value = column(row)
        return display_for_value(value, NOTHING) if isinstance(value, datetime) else value
    field = row._meta.get_field(column)
    value = getattr(row, column)
    if value is None or value == "":
        return NOTHING
    if isinstance(value, models.Model):
        return value
    return number(value) if isinstance(field, NumericField) else display_for_field(value, field, NOTHING)


class StaffAdmin(ModelAdmin):
    """The base of our pages. Name every page's fields: numbers that are only shown are found among them."""

    list_per_page = 50
    list_filter_submit = True
    list_fullwidth = True
    change_list_template: Any = "backoffice/list.html"
    change_form_after_template = "backoffice/reason.html"
    change_form_outer_after_template = "backoffice/panels.html"
    empty_text: Text = ""  # what an empty list says; where it is not said, unfold's own words

    def panels(self, request: HttpRequest, row: Any) -> Iterable[Panel]:
        """The tables below the form of this row; those of models the user may not see are left out."""
        return ()

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        panels = [*self.panels(request, obj), *_history(obj)] if obj else ()
        context["panels"] = [panel for panel in panels if may_view(request, panel.rows.model)]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        return [self._shown(column) for column in super().get_list_display(request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        return [self._shown(name) for name in super().get_readonly_fields(request, obj)]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        fixed = set(self.get_readonly_fields(request, obj))
        all_fixed = obj is not None and not self.has_change_permission(request, obj)

        def shown(column: Any) -> Any:
            if isinstance(column, tuple):
                return tuple(map(shown, column))  # fields that share a line
            replacement = self._shown(column)
            return replacement if all_fixed or replacement in fixed else column

        return [
            (title, {**options, "fields": [shown(column) for column in options["fields"]]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def _shown(self, column: Column) -> Column:
        """The same column; for an exact number one that shows it as it is."""
        fields = {field.name: field for field in self.opts.concrete_fields}
        field = fields.get(column) if isinstance(column, str) else None
        return _number_column(field) if isinstance(field, NumericField) else column

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was edited and no more: two people editing different fields of a row do not undo each other."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        names = {field.name for field in obj._meta.concrete_fields}
        edited = names.intersection(form.changed_data)
        automatic = {field.name for field in obj._meta.concrete_fields if getattr(field, "auto_now", False)}
        obj.save(update_fields=edited | automatic)


@admin.display(description=_("difference"))
def difference(entry: Entry) -> str:
    """The columns that changed, each with its value before and after; of a row added or deleted, what it said."""
    if entry.before and entry.after:
        text = ", ".join(f"{name}: {_short(before)} → {_short(after)}" for name, before, after in entry.changes)
    else:
        row = (entry.after or entry.before or {}).items()
        text = ", ".join(f"{name}: {_short(value)}" for name, value in row if value not in (None, "", []))
    return text if len(text) <= SHOWN_DIFFERENCE else f"{text[:SHOWN_DIFFERENCE]}…"


@admin.display(description=_("subject"))
def subject(entry: Entry) -> str:
    return entry.subject


def _short(value: object) -> str:
    text = NOTHING if value is None or value == "" else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _history(row: models.Model) -> Iterable[Panel]:
    """The row's part of the audit trail, where there is one."""
    if row._meta.db_table in tracking.tables():
        yield Panel(
            _("history"),
            Entry.objects.of(row),
            ("at", "action", "username", "source", "reason", difference),
            _("Nothing was changed since the trail began."),
            list_url(Entry, table_name__exact=row._meta.db_table, row_id__exact=row.pk),
        )


class ReadOnlyAdmin(StaffAdmin):
    """Rows that the services write: everybody only looks."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LogAdmin(ReadOnlyAdmin):
    """A table that grows for ever: neither counted nor sorted anew, and searched by what has an index."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_disable_select_all = True  # nobody knows how many that would be
    ordering = ("-id",)
    sortable_by = ("id",)
    search_fields = ("id",)  # shows the box; what is typed is looked up by `get_search_results`
    search_lookup = ""  # for what is typed, unless it is a number: that is the row's own

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page is planned for its filter: a plan kept for every one reads millions of rows for a rare one."""
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            return super().changelist_view(request, extra_context)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isascii() and term.isdecimal():
            return queryset.filter(pk=int(term)), False
        if self.search_lookup.endswith(IN_CAPITALS):
            term = term.upper()
        return queryset.filter(**{self.search_lookup: term}) if self.search_lookup else queryset.none(), False


@admin.register(LogEntry)
class LogEntryAdmin(LogAdmin):
    """What staff changed by hand in these pages."""

    list_display = ("action_time", "user", "action_flag", "content_type", "object_repr", "change_message_text")
    list_display_links = None
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag",)
    fields = ("action_time", "user", "action_flag", "content_type", "object_repr", "change_message_text")
    search_lookup = "user__username"
    search_help_text = _("Login")
    empty_text = _("Nobody has changed anything in these pages yet.")

    @admin.display(description=_("what"))
    def change_message_text(self, entry: LogEntry) -> str:
        return entry.get_change_message()
