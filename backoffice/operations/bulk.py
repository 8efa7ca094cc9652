"""Tables in and out, as jobs: a dry run that shows what would change, the import itself, and exports."""

from __future__ import annotations

import html
import re
from typing import Any

import tablib
from django.db import transaction
from django.utils.translation import gettext as _
from import_export.results import RowResult

from backoffice.operations.jobs import Failed, Outcome, Progress, kind
from backoffice.operations.models import Job
from backoffice.operations.resources import RESOURCES, TableResource

MOST_ROWS = 20_000
SHOWN_ROWS = 500  # of differences and of errors, kept with the job
FORMATS = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@kind("dry run")
def dry_run(job: Job, progress: Progress) -> Outcome:
    """Import and take it back: the job keeps the difference table and the errors of the rows."""
    _resource, result = _import(job, progress, is_dry=True)
    table = _table(result)
    Job.objects.filter(pk=job.pk).update(arguments={**job.arguments, "table": table})
    counts = result.totals
    return Outcome(
        _("%(new)s new, %(changed)s changed, %(same)s as they are, %(wrong)s with errors. Nothing was stored yet.")
        % {
            "new": counts[RowResult.IMPORT_TYPE_NEW],
            "changed": counts[RowResult.IMPORT_TYPE_UPDATE],
            "same": counts[RowResult.IMPORT_TYPE_SKIP],
            "wrong": len(table["errors"]),
        }
    )


@kind("import")
def import_table(job: Job, progress: Progress) -> Outcome:
    """Import all rows, or none when one of them is wrong."""
    with transaction.atomic():
        resource, result = _import(job, progress, is_dry=False)
        if errors := _table(result)["errors"]:
            row, error = errors[0]
            raise Failed(_("Nothing was stored: row %(row)s: %(error)s") % {"row": row, "error": error})
    counts = result.totals
    done = _("%(new)s added, %(changed)s changed.") % {
        "new": counts[RowResult.IMPORT_TYPE_NEW],
        "changed": counts[RowResult.IMPORT_TYPE_UPDATE],
    }
    return Outcome(f"{done} {resource.remark()}".strip())


@kind("export")
def export_table(job: Job, progress: Progress) -> Outcome:
    """All rows as a file."""
    name, extension = job.arguments["table_name"], job.arguments["format"]
    resource = RESOURCES[name][0]()
    rows = resource.exported().order_by("pk")
    progress.begin(rows.count())
    dataset = tablib.Dataset(headers=resource.get_export_headers(selected_fields=resource.get_export_order()))
    for row in rows.iterator(chunk_size=1000):
        dataset.append([_harmless(cell) for cell in resource.export_resource(row)])
        progress.step()
    content = dataset.export(extension)
    return Outcome(
        _("%(count)s rows.") % {"count": len(dataset)},
        f"{name.replace(' ', '-')}.{extension}",
        FORMATS[extension],
        content.encode() if isinstance(content, str) else content,
    )


def _import(job: Job, progress: Progress, *, is_dry: bool) -> tuple[TableResource, Any]:
    dataset = read(job.upload.name, bytes(job.upload.content)) if job.upload else tablib.Dataset()
    resource = RESOURCES[job.arguments["table_name"]][0]()
    unknown = set(dataset.headers or ()) - {field.column_name for field in resource.get_import_fields()}
    if unknown or not dataset.headers:
        known = ", ".join(field.column_name for field in resource.get_import_fields())
        raise Failed(
            _("The first row must name columns among: %(known)s. Not known: %(unknown)s")
            % {"known": known, "unknown": ", ".join(map(str, sorted(unknown, key=str))) or "–"}
        )
    progress.begin(len(dataset))
    resource.progress = progress
    resource.prepare(job)
    return resource, resource.import_data(dataset, dry_run=is_dry, raise_errors=False, user=job.by)


def read(name: str, content: bytes) -> tablib.Dataset:
    """The table in a CSV or XLSX file. Raises Failed with a sentence."""
    extension = name.rsplit(".", 1)[-1].lower()
    if extension not in FORMATS:
        raise Failed(_("Upload a .csv or .xlsx file."))
    try:
        given: Any = content.decode("utf-8-sig") if extension == "csv" else content
        dataset = tablib.Dataset().load(given, format=extension)
    except Exception as error:  # whatever a broken file makes the readers raise
        raise Failed(_("The file cannot be read: save it as CSV (UTF-8) or XLSX again.")) from error
    if len(dataset) > MOST_ROWS:
        raise Failed(_("The file has more than %(count)s rows: split it.") % {"count": MOST_ROWS})
    return dataset


def _table(result: Any) -> dict[str, Any]:
    """{"headers", "rows": [what, cell …], "errors": [row number, sentence]} of the result."""
    errors = [[0, str(error.error)] for error in result.base_errors]
    rows = []
    for number, row in enumerate(result.rows, start=2):  # as a spreadsheet numbers them, below the headers
        errors += [[number, str(error.error)] for error in row.errors]
        if row.validation_error:
            errors.append([number, " ".join(row.validation_error.messages)])
        if row.diff and row.import_type in (RowResult.IMPORT_TYPE_NEW, RowResult.IMPORT_TYPE_UPDATE):
            rows.append([str(row.import_type), *map(_difference, row.diff)])
    errors += [[row.number + 1, " ".join(row.error.messages)] for row in result.invalid_rows]
    unique = sorted({(number, text) for number, text in errors})
    return {
        "headers": list(map(str, result.diff_headers or ())),
        "rows": rows[:SHOWN_ROWS],
        "errors": [list(each) for each in unique[:SHOWN_ROWS]],
        "hidden": max(0, len(rows) - SHOWN_ROWS),
    }


def _difference(cell: str) -> str:
    """One cell of the library's difference, which is HTML, as text: [-taken-] and [+put+]."""
    marked = re.sub(r"<del[^>]*>(.*?)</del>", r"[−\1]", cell)
    marked = re.sub(r"<ins[^>]*>(.*?)</ins>", r"[+\1]", marked)
    return html.unescape(re.sub(r"<[^>]+>", "", marked))


def _harmless(cell: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "@", "\t") else cell
