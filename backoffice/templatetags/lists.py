"""The rows of an admin list as the theme draws them, for a fraction of its work.

The theme's own tag makes all headers anew for every row, finds out for every cell what shows it, and renders a template
for every checkbox, label and sign of yes and no. Here that is done once a page; the looks of cells are in admin.css.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.template import Context, Library
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from unfold.admin import checkbox
from unfold.templatetags.unfold_list import result_headers
from unfold.utils import display_for_field, display_for_label, display_for_value

register = Library()

Show = Callable[[models.Model], Any]
CHECKBOX = "action_checkbox"
PLACE = "ROW-NUMBER"
LINK = '<a href="{}{}" class="text-font-important-light dark:text-font-important-dark"{}>{}</a>'


@register.inclusion_tag("backoffice/rows.html", takes_context=True)
def list_rows(context: Context) -> dict[str, Any]:
    """The table of the list's page. What the theme can do beside it (sections, forms, sorting by hand) is not there."""
    cl = context["cl"]
    headers = list(result_headers(cl))
    return {
        "cl": cl,
        "result_headers": headers,
        "num_sorted_fields": sum(bool(header["sortable"] and header["sorted"]) for header in headers),
        "rows": list(_rows(cl, headers)),
        "has_add_permission": context["has_add_permission"],
    }


def _rows(cl: ChangeList, headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    if not cl.result_list:
        return
    cells = [
        _cell(cl, name, _("Select record") if name == CHECKBOX else header["text"])
        for name, header in zip(cl.list_display, headers, strict=True)
    ]
    for row in cl.result_list:
        yield mark_safe("".join(cell(row) for cell in cells))  # noqa: S308 (each is safe by itself)


def _cell(cl: ChangeList, name: Any, title: object) -> Callable[[models.Model], str]:
    """What draws this column's cell of a row. Those that lead to the row's page head it."""
    show, css = (_checkbox(), "action-checkbox") if name == CHECKBOX else _show(cl, name)
    tag = "td"
    if name in _link_columns(cl):
        tag, show = "th", _linked(cl, show)
    begin = format_html('<{} class="{}" data-label="{}">', tag, css, capfirst(str(title)))
    end = f"</{tag}>"
    return lambda row: begin + conditional_escape(show(row)) + end


def _link_columns(cl: ChangeList) -> list[Any]:
    if cl.list_display_links is None:
        return []
    return list(cl.list_display_links) or [name for name in cl.list_display if name != CHECKBOX][:1]


def _linked(cl: ChangeList, show: Show) -> Show:
    some_url = cl.url_for_result(cl.result_list[0])
    kept: Any = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
    query = add_preserved_filters(kept, some_url, cl.is_popup, cl.to_field)[len(some_url) :]
    attribute = str(cl.to_field or cl.pk_attname)

    def link(row: models.Model) -> str:
        opener = format_html(' data-popup-opener="{}"', row.serializable_value(attribute)) if cl.is_popup else ""
        return format_html(LINK, cl.url_for_result(row), query, opener, show(row))

    return link


def _checkbox() -> Show:
    """The box to select a row by: rendered once, with the number of each row put in."""
    before, after = map(mark_safe, checkbox.render(ACTION_CHECKBOX_NAME, PLACE).split(PLACE))
    return lambda row: before + conditional_escape(str(row.pk)) + after


def _show(cl: ChangeList, name: Any) -> tuple[Show, str]:
    """What shows the column's value, and the class of its cells. Found out from the first row."""
    empty = cl.model_admin.get_empty_value_display()
    field, attribute, _value = lookup_field(name, cl.result_list[0], cl.model_admin)
    if field is None:
        return _computed(cl, name, attribute, empty), f"field-{getattr(name, '__name__', name)}"
    is_short = isinstance(field, models.DateField | models.TimeField | models.ForeignKey)
    return _stored(field, empty), f"field-{field.name} nowrap" if is_short else f"field-{field.name}"


def _stored(field: Any, empty: str) -> Show:
    name = field.name
    if field.is_relation:

        def related(row: models.Model) -> object:
            other = getattr(row, name)
            return empty if other is None else other

        return related
    if field.flatchoices or isinstance(field, models.BooleanField):
        few = cache(lambda value: display_for_field(value, field, empty))
        return lambda row: few(getattr(row, name))
    return lambda row: display_for_field(getattr(row, name), field, empty)


def _computed(cl: ChangeList, name: Any, attribute: Any, empty: str) -> Show:
    get = _getter(cl, name)
    empty = getattr(attribute, "empty_value_display", empty)
    if label := getattr(attribute, "label", None):
        few = cache(lambda value: display_for_label(value, empty, label))
        return lambda row: few(get(row))
    if getattr(attribute, "boolean", False):
        few = cache(lambda value: display_for_value(value, empty, boolean=True))
        return lambda row: few(get(row))
    return lambda row: display_for_value(get(row), empty)


def _getter(cl: ChangeList, name: Any) -> Show:
    if callable(name):
        return name  # type: ignore[no-any-return]
    if name != "__str__" and hasattr(cl.model_admin, name):
        return getattr(cl.model_admin, name)  # type: ignore[no-any-return]
    return lambda row: lookup_field(name, row, cl.model_admin)[2]
