"""Rows of a model by statements that are put together once, where they are asked with every request or every order.

A queryset, and a row that saves itself, put theirs together each time, which takes longer than the database takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connections, models, router
from django.db.models.expressions import DatabaseDefault

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


def insert(instance: M) -> M:
    """Store a new row, as `create` does: what the database gives it, its id and defaults, is at hand afterwards.

    Nobody is told (`post_save`).
    """
    meta = instance._meta
    given = tuple(
        field.attname
        for field in meta.concrete_fields
        if not isinstance(value := getattr(instance, field.attname), DatabaseDefault)
        and (value is not None or not field.primary_key)
    )
    sql, fields, returned = _insert(type(instance), given)
    using = router.db_for_write(type(instance), instance=instance)
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(sql, _values(instance, fields, connection))
        if returned:
            for name, value in zip(returned, cursor.fetchone(), strict=True):
                setattr(instance, name, value)
    instance._state.adding, instance._state.db = False, using
    return instance


def update(instance: models.Model, names: Sequence[str] = ()) -> None:
    """Store these fields of a row that is there, by the names of their attributes; all of them when none is named.

    The caller has it locked. Nobody is told (`post_save`).
    """
    sql, fields = _update(type(instance), tuple(names))
    connection = connections[router.db_for_write(type(instance), instance=instance)]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*_values(instance, fields, connection), instance.pk])


def _values(instance: models.Model, fields: Sequence[Any], connection: Any) -> list[Any]:
    return [field.get_db_prep_save(getattr(instance, field.attname), connection) for field in fields]


@functools.cache
def _insert(model: type[models.Model], given: tuple[str, ...]) -> tuple[str, list[Any], list[str]]:
    """The statement for a row of which these are given, the fields it stores, and the names of what it gives."""
    fields = [field for field in model._meta.concrete_fields if field.attname in given]
    others = [field for field in model._meta.concrete_fields if field.attname not in given]
    columns, values = ", ".join(f'"{field.column}"' for field in fields), ", ".join("%s" for _field in fields)
    returning = f" RETURNING {', '.join(str(field.column) for field in others)}" if others else ""
    sql = f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({values}){returning}'  # noqa: S608
    return sql, fields, [field.attname for field in others]


@functools.cache
def _update(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[Any]]:
    fields = [
        field
        for field in model._meta.concrete_fields
        if not field.primary_key and (not names or field.attname in names)
    ]
    columns = ", ".join(f'"{field.column}" = %s' for field in fields)
    return f'UPDATE "{model._meta.db_table}" SET {columns} WHERE {model._meta.pk.column} = %s', fields  # noqa: S608


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
