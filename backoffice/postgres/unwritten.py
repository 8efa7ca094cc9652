"""Writes that wait for each other, to go to Postgres in one statement.

An order that is placed and filled writes into six tables, and nobody reads a row of them in between. Each statement of
its own costs a way there and back, and as much processor time here as there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

MOST_ROWS = 500  # of one statement, which has room for 65,535 values

Shape = tuple[tuple[str, str, tuple[str, ...], int], ...]  # of each part: key column ("" inserts), table, columns, rows


@dataclass(slots=True)
class _Row:
    """`key` is the column by which it is found, with `pk` in it; "" for a new row."""

    table: str
    key: str
    pk: object
    values: dict[str, Any]


class Unwritten:
    """What a transaction has put off. `execute` takes a statement and its parameters."""

    def __init__(self, execute: Callable[[str, list[Any]], object]) -> None:
        self._execute = execute
        self._rows: dict[Hashable, _Row] = {}
        self._afterwards: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._rows or self._afterwards)

    def insert(self, table: str, values: Mapping[str, Any], pk: object = None) -> None:
        """A new row. With its `pk`, which is among the values, what is changed of it later is inserted right away."""
        self._make_room()
        self._rows[(table, pk) if pk is not None else len(self._rows)] = _Row(table, "", pk, dict(values))

    def update(self, table: str, key: str, pk: object, values: Mapping[str, Any]) -> None:
        """Other values of a row that is there, or that is to be inserted."""
        self._make_room()
        row = self._rows.setdefault((table, pk), _Row(table, key, pk, {}))
        row.values.update(values)

    def _make_room(self) -> None:
        if len(self._rows) >= MOST_ROWS:
            self.write()

    def afterwards(self, call: Callable[[], object]) -> None:
        """Call it once the rows put off until now are written, if not rolled back before."""
        self._afterwards.append(call)

    def forget(self) -> None:
        self._rows, self._afterwards = {}, []

    def write(self) -> None:
        """Write the rows by one statement or a few, then do what was to follow, which may put off more. Raises
        `django.db.Error`."""
        while self:
            rows, self._rows = self._rows, {}
            afterwards, self._afterwards = self._afterwards, []
            for together in _parted(rows.values()):
                self._execute(*_statement(together))
            for call in afterwards:
                call()


def _parted(rows: Iterable[_Row]) -> list[list[_Row]]:
    """The rows in as few statements as may be: in each of them a table has new rows or changes, not both.

    The parts of a statement have no order, and a new row may only be there once another has changed: the position on
    the other side once the one before it is closed.
    """
    found: list[list[_Row]] = []
    kinds: dict[str, bool] = {}  # of the last one: whether the table's rows are new
    for row in rows:
        is_new = not row.key
        if not found or kinds.get(row.table, is_new) != is_new:
            found.append([])
            kinds = {}
        kinds[row.table] = is_new
        found[-1].append(row)
    return found


def _statement(rows: Iterable[_Row]) -> tuple[str, list[Any]]:
    """One statement for all of them: new rows of a table are one part of it, in the order in which they came."""
    parts: dict[Hashable, tuple[_Row, list[Any], int]] = {}
    for row in rows:
        place = (row.table, tuple(row.values), row.pk if row.key else None)
        first, params, count = parts.get(place, (row, [], 0))
        params += map(_as_text, row.values.values())
        if row.key:
            params.append(_as_text(row.pk))
        parts[place] = (first, params, count + 1)
    shape = tuple((row.key, row.table, tuple(row.values), count) for row, _params, count in parts.values())
    return _sql(shape), [param for _row, params, _count in parts.values() for param in params]


@functools.lru_cache(maxsize=1024)
def _sql(shape: Shape) -> str:
    parts = [_part(*part) for part in shape]
    if len(parts) == 1:
        return parts[0]
    named = ", ".join(f"w{number} AS ({part})" for number, part in enumerate(parts[:-1]))
    return f"WITH {named} {parts[-1]}"


def _part(key: str, table: str, columns: tuple[str, ...], count: int) -> str:
    if key:
        changes = ", ".join(f'"{column}" = %s' for column in columns)
        return f'UPDATE "{table}" SET {changes} WHERE "{key}" = %s'  # noqa: S608
    names = ", ".join(f'"{column}"' for column in columns)
    row = f"({', '.join('%s' for _column in columns)})"
    return f'INSERT INTO "{table}" ({names}) VALUES {", ".join([row] * count)}'  # noqa: S608


def _as_text(value: Any) -> Any:
    """As Postgres reads it in the place of any type.

    With types of their own, which depend on how large a number is and on what is missing, there would be a prepared
    statement for every mixture of them.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return value
