"""Mappings as files: in as drafts, out as they are."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminFileFieldWidget

from backoffice.admin import list_url
from backoffice.operations.forms import LARGEST_FILE
from backoffice.pages import page, render
from backoffice.workbench import tables
from marketdata import mappings
from marketdata.models import MappedInstrument

SHOWN_FAULTS = 100


class TableForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("File"),
        widget=UnfoldAdminFileFieldWidget,
        help_text=gettext_lazy("CSV (UTF-8) or JSON, up to 2 MB, with symbol and tradingview_symbol."),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_FILE:
            raise forms.ValidationError(_("The file is too large: 2 MB at most."))
        try:
            return tables.read(file.name, file.read())
        except tables.UnreadableTable as refusal:
            raise forms.ValidationError(str(refusal)) from refusal


@page("mappings/import/", title=gettext_lazy("Import mappings"), permission="marketdata.change_mappedinstrument")
def mapping_import(request: HttpRequest) -> HttpResponse:
    """Choose what a file says; nothing of it where one of its rows is wrong."""
    form = TableForm(request.POST or None, request.FILES or None)
    sentences = [_("What the file says becomes drafts; nothing changes at TradingView before they are published.")]
    if request.method == "POST" and form.is_valid():
        table: tables.Table = form.cleaned_data["file"]
        if not table.faults:
            count = mappings.choose(table.wishes)
            text = ngettext("%(count)s draft was made.", "%(count)s drafts were made.", count)
            messages.success(request, text % {"count": count})
            return redirect(list_url(MappedInstrument, mapping="draft"))
        sentences = [_("Nothing was stored: correct these rows, and import the file again."), *_sentences(table)]
    context = {"form": form, "sentences": sentences, "button": _("Import"), "back": list_url(MappedInstrument)}
    return render(request, "backoffice/form.html", _("Import mappings"), context)


def _sentences(table: tables.Table) -> list[str]:
    text = _("Row %(number)s: %(fault)s")
    return [text % {"number": number, "fault": fault} for number, fault in table.faults[:SHOWN_FAULTS]]


@page(
    "mappings/export/<str:extension>/",
    title=gettext_lazy("Export mappings"),
    permission="marketdata.view_mappedinstrument",
)
def mapping_export(request: HttpRequest, extension: str) -> HttpResponse:
    if extension not in tables.TYPES:
        raise Http404
    return HttpResponse(
        tables.written(extension),
        content_type=tables.TYPES[extension],
        headers={"Content-Disposition": f'attachment; filename="mappings.{extension}"'},
    )
