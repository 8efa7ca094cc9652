"""Statements written by hand that give rows of a model, where they are asked with every request or every order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connections, models

M = TypeVar("M", bound=models.Model)


def columns_of(model: type[models.Model], table: str = "") -> str:
    """The columns by name: a prepared `*` fails on every connection that is open while a column is added."""
    of_table = f"{table}." if table else ""
    return ", ".join(f"{of_table}{field.column}" for field in model._meta.concrete_fields)


def read(model: type[M], sql: str, params: Sequence[Any], *, using: str, extras: Sequence[str] = ()) -> list[M]:
    """The rows of a statement whose columns are `columns_of(model)` and then these, which become attributes.

    As `raw` does, which asks with every statement anew which column is which: that takes as long as the statement.
    """
    names, converters = _fields(model)
    count = len(names)
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows = cursor.fetchall()
    found = []
    for row in rows:
        values = list(row[:count])
        for index, convert, expression in converters:
            values[index] = convert(values[index], expression, connection)
        instance = model.from_db(using, names, values)
        for name, value in zip(extras, row[count:], strict=True):
            setattr(instance, name, value)
        found.append(instance)
    return found


@functools.cache
def _fields(model: type[models.Model]) -> tuple[list[str], list[tuple[int, Callable[..., Any], Any]]]:
    """The names of the model's columns, and what makes a field's value of a column's, by place."""
    fields = model._meta.concrete_fields
    converters = [
        (index, field.from_db_value, field.get_col(model._meta.db_table))
        for index, field in enumerate(fields)
        if hasattr(field, "from_db_value")
    ]
    return [field.attname for field in fields], converters
