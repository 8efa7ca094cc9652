"""The past of a row, read back from the trail."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any, TypeVar

from django.db import models

from backoffice.audit.models import Action, Entry

Row = TypeVar("Row", bound=models.Model)


def row_at(row: Row, at: datetime) -> Row | None:
    """A copy of the row as it was at that moment; None when it did not exist yet. What is stored stays as it is.

    Changes from before the trail began cannot be taken back: such a row is as the earliest entry leaves it.
    """
    past = copy.copy(row)
    for entry in Entry.objects.of(row).filter(at__gt=at):
        if entry.action == Action.INSERT:
            return None
        _restore(past, entry.before or {})
    return past


def rows_at(model: type[Row], at: datetime, **columns: Any) -> list[Row]:
    """The rows with these columns' values at that moment, those deleted since among them."""
    rows = [past for row in model._default_manager.filter(**columns) if (past := row_at(row, at))]
    deleted = Entry.objects.filter(table_name=model._meta.db_table, action=Action.DELETE, at__gt=at)
    for entry in deleted.filter(**{f"before__{name}": value for name, value in columns.items()}):
        gone = model(pk=entry.row_id)
        _restore(gone, entry.before or {})
        if past := row_at(gone, at):
            rows.append(past)
    return rows


def _restore(row: models.Model, values: dict[str, Any]) -> None:
    """Put a trail's values back into the row, each as its field understands it."""
    fields = {field.column: field for field in row._meta.concrete_fields}
    for column, value in values.items():
        if field := fields.get(column):
            setattr(row, field.attname, field.to_python(value))
