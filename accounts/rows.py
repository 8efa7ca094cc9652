"""Rows of a model by statements that are put together once, where they are asked with every request or every order.

A queryset, and a row that saves itself, put theirs together each time, which takes longer than the database takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.expressions import DatabaseDefault
from django.db.transaction import TransactionManagementError

if TYPE_CHECKING:
    from backoffice.postgres.base import DatabaseWrapper

M = TypeVar("M", bound=models.Model)
_PLAIN = frozenset((type(None), bool, int, str, Decimal, datetime))  # exactly these: others stand for something
Drawn = dict[type[models.Model], int]  # ids from the sequences of these models, for rows to come


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


def insert(instance: M, drawn: Drawn) -> M:
    """Store a new row, as `create` does: what the database gives it, its id and defaults, is at hand afterwards.

    With an id drawn for it, it is stored later (`insert_later`). Nobody is told (`post_save`).
    """
    if pk := drawn.pop(type(instance), None):
        instance.pk = pk
        return insert_later(instance)
    columns = _given(instance)
    sql, returned = _insert(type(instance), tuple(column.attname for column in columns))
    connection = _writer()
    with connection.cursor() as cursor:
        cursor.execute(sql, [column.value(instance, connection) for column in columns])
        if returned:
            for name, value in zip(returned, cursor.fetchone(), strict=True):
                setattr(instance, name, value)
    instance._state.adding, instance._state.db = False, connection.alias
    return instance


def insert_later(instance: M) -> M:
    """Store a new row together with others, at the latest before whatever is asked next (see `Unwritten`).

    What the database gives it is not at hand; it has an id only if it was given one. Needs a transaction.
    """
    connection = _writer(later=True)
    values = {column.name: column.value(instance, connection) for column in _given(instance)}
    connection.unwritten.insert(instance._meta.db_table, values, instance.pk)
    instance._state.adding, instance._state.db = False, connection.alias
    return instance


def update_later(instance: models.Model, names: Sequence[str] = ()) -> None:
    """Store these fields of a row, by the names of their attributes, all of them when none is named; as `insert_later`.

    The caller has the row locked. Nobody is told (`post_save`).
    """
    connection = _writer(later=True)
    columns = [column for column in _given(instance) if not column.is_key and (column.attname in names or not names)]
    values = {column.name: column.value(instance, connection) for column in columns}
    meta = instance._meta
    connection.unwritten.update(meta.db_table, str(meta.pk.column), instance.pk, values)


def afterwards(call: Callable[[], object]) -> None:
    """Call it once what was put off is written; it may write by itself. Needs a transaction."""
    _writer(later=True).unwritten.afterwards(call)


def _writer(*, later: bool = False) -> DatabaseWrapper:
    """The connection to the primary, which takes all writes (see `backoffice.replica`)."""
    connection = cast("DatabaseWrapper", connections[DEFAULT_DB_ALIAS])
    if later and not connection.in_atomic_block:
        raise TransactionManagementError("What is written later needs a transaction.")
    return connection


@dataclass(frozen=True, slots=True)
class _Column:
    """`may_be_given`: the database has a value for it. Values of `plain` types are stored as they are."""

    attname: str
    name: str
    is_key: bool
    may_be_given: bool
    plain: frozenset[type]
    prepare: Callable[[Any, Any], Any]

    @classmethod
    def of(cls, field: Any) -> _Column:
        plain = frozenset((type(None),)) if isinstance(field, models.JSONField) else _PLAIN
        may_be_given = field.db_default is not models.NOT_PROVIDED
        return cls(field.attname, field.column, field.primary_key, may_be_given, plain, field.get_db_prep_save)

    def value(self, instance: models.Model, connection: DatabaseWrapper) -> Any:
        """What the database is given: a field need not be asked for most, and asking is what takes longest."""
        value = instance.__dict__[self.attname]
        return value if type(value) in self.plain else self.prepare(value, connection)


@functools.cache
def _columns(model: type[models.Model]) -> list[_Column]:
    return [_Column.of(field) for field in model._meta.concrete_fields]


def _given(instance: models.Model) -> list[_Column]:
    """The columns whose values do not come from the database: an id, or a default, that nobody has read yet."""
    there = instance.__dict__
    return [
        column
        for column in _columns(type(instance))
        if not (column.is_key and there[column.attname] is None)
        and not (column.may_be_given and isinstance(there[column.attname], DatabaseDefault))
    ]


@functools.cache
def _insert(model: type[models.Model], given: tuple[str, ...]) -> tuple[str, list[str]]:
    """The statement for a row of which these are given, and the names of what the database gives it."""
    columns = [column.name for column in _columns(model) if column.attname in given]
    others = [column for column in _columns(model) if column.attname not in given]
    names, values = ", ".join(f'"{name}"' for name in columns), ", ".join("%s" for _name in columns)
    returning = f" RETURNING {', '.join(column.name for column in others)}" if others else ""
    sql = f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ({values}){returning}'  # noqa: S608
    return sql, [column.attname for column in others]


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
