"""Pages of long work: tables in and out, and how far it is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from backoffice.operations import jobs
from backoffice.operations.bulk import FORMATS
from backoffice.operations.choices import JobState
from backoffice.operations.forms import LARGEST_FILE
from backoffice.operations.models import Attachment, Job
from backoffice.operations.pages.cash import user_of
from backoffice.operations.resources import RESOURCES
from backoffice.pages import page, render

TITLES = {
    "clients": gettext_lazy("Clients"),
    "accounts": gettext_lazy("Accounts"),
    "group instruments": gettext_lazy("Instruments of groups"),
}
WORDS = {"dry run": gettext_lazy("Try out"), "import": gettext_lazy("Import"), "export": gettext_lazy("Export")}


class UploadForm(forms.Form):
    table_name = forms.ChoiceField(
        label=gettext_lazy("Table"), choices=list(TITLES.items()), widget=UnfoldAdminSelectWidget
    )
    file = forms.FileField(
        label=gettext_lazy("File"),
        widget=UnfoldAdminFileFieldWidget,
        help_text=gettext_lazy("CSV (UTF-8) or XLSX, up to 2 MB; the first row names the columns as the export does."),
    )

    effective_from = forms.DateTimeField(
        label=gettext_lazy("Instruments of groups: in force from (UTC)"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text=gettext_lazy(
            "They become drafts of conditions, which somebody else approves. Empty: from the next midnight."
        ),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_FILE:
            raise forms.ValidationError(_("The file is too large: 2 MB at most."))
        return file


class ExportForm(forms.Form):
    table_name = forms.ChoiceField(
        label=gettext_lazy("Table"), choices=list(TITLES.items()), widget=UnfoldAdminSelectWidget
    )
    format = forms.ChoiceField(
        label=gettext_lazy("Format"), choices=[(each, each.upper()) for each in FORMATS], widget=UnfoldAdminSelectWidget
    )


@page("bulk/import/", title=gettext_lazy("Import"), permission="operations.add_job", section="bulk", icon="upload")
def bulk_import(request: HttpRequest) -> HttpResponse:
    """Upload a table. First it is only tried out; its page then shows the differences, and imports."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        name, file, user = form.cleaned_data["table_name"], form.cleaned_data["file"], user_of(request)
        _check_may_import(request, name)
        kept = Attachment.keep(file.name, "application/octet-stream", file.read(), by=user)
        moment = form.cleaned_data["effective_from"]
        job = jobs.start(
            "dry run",
            f"{WORDS['dry run']}: {TITLES[name]}",
            by=user,
            upload=kept,
            table_name=name,
            effective_from=moment.isoformat() if moment else "",
        )
        return redirect("page:job", job.pk)
    return render(
        request,
        "backoffice/form.html",
        _("Import"),
        {
            "form": form,
            "sentences": [_("First it is tried out: you see every difference and every error, and nothing is stored.")],
            "button": _("Try it out"),
            "back": "/admin/",
        },
    )


def _check_may_import(request: HttpRequest, name: str) -> None:
    if not request.user.has_perms(RESOURCES[name][1]):
        raise PermissionDenied


@page("bulk/export/", title=gettext_lazy("Export"), permission="operations.view_job", section="bulk", icon="download")
def bulk_export(request: HttpRequest) -> HttpResponse:
    form = ExportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        title = f"{WORDS['export']}: {TITLES[given['table_name']]}"
        job = jobs.start("export", title, by=user_of(request), **given)
        return redirect("page:job", job.pk)
    return render(
        request,
        "backoffice/form.html",
        _("Export"),
        {"form": form, "sentences": [], "button": _("Export"), "back": "/admin/"},
    )


@page("jobs/<int:pk>/", title=gettext_lazy("Job"), permission="operations.view_job")
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """How far it is; renewed by itself until it is over."""
    asked = get_object_or_404(Job.objects.select_related("by", "result"), pk=pk)
    done, total = jobs.progress_of(asked)
    table = asked.arguments.get("table", {})
    may_apply = (
        asked.kind == "dry run"
        and asked.state == JobState.FINISHED
        and table.get("rows")
        and not table.get("errors")
        and request.user.has_perm("operations.add_job")
    )
    return render(
        request,
        "operations/job.html",
        asked.title,
        {
            "job": asked,
            "done": done,
            "total": total,
            "percent": 100 * done // total if total else 0,
            "silent": jobs.is_silent(asked),
            "differences": {"headers": [_("What"), *table.get("headers", ())], "rows": table.get("rows", ())},
            "errors": {"headers": [_("Row"), _("Error")], "rows": table.get("errors", ())},
            "hidden": table.get("hidden", 0),
            "may_apply": may_apply,
            "may_cancel": not asked.is_over and _may_stop(request, asked),
        },
    )


def _may_stop(request: HttpRequest, asked: Job) -> bool:
    return asked.by_id == request.user.pk or request.user.has_perm("operations.add_job")


@page("jobs/<int:pk>/apply/", title=gettext_lazy("Import the file"), permission="operations.add_job")
@require_POST
def job_apply(request: HttpRequest, pk: int) -> HttpResponse:
    """Import what was tried out."""
    tried = get_object_or_404(Job.objects.select_related("upload"), pk=pk, kind="dry run", state=JobState.FINISHED)
    name = tried.arguments["table_name"]
    _check_may_import(request, name)
    title = f"{WORDS['import']}: {TITLES[name]}"
    moment = tried.arguments.get("effective_from", "")
    begun = jobs.start(
        "import", title, by=user_of(request), upload=tried.upload, table_name=name, effective_from=moment
    )
    return redirect("page:job", begun.pk)


@page("jobs/<int:pk>/cancel/", title=gettext_lazy("Cancel the job"), permission="operations.view_job")
@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(Job, pk=pk)
    if not _may_stop(request, asked):
        raise PermissionDenied
    jobs.cancel(pk)
    return redirect("page:job", pk)


@page("jobs/<int:pk>/result/", title=gettext_lazy("Result"), permission="operations.view_job")
def job_result(request: HttpRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(Job.objects.select_related("result"), pk=pk, result__isnull=False)
    assert asked.result is not None
    return HttpResponse(
        bytes(asked.result.content),
        content_type=asked.result.content_type,
        headers={"Content-Disposition": f'attachment; filename="{asked.result.name}"'},
    )
