"""Tables in monthly partitions (docs/decisions/partitions.md). Knows no app: Postgres says which tables these are.

Each has a column of time that says a row's month, a partition `table_2026_11` for every month, and `table_default` for
rows whose month has none, where nothing should ever be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

MONTHS_AHEAD = 3
PATIENCE = "2s"  # whoever waits for a lock on a table holds up all who come after him


@dataclass(frozen=True)
class Partition:
    """One month of a table. `begins` is the first day of the month, `ends` that of the next one."""

    table: str
    begins: date

    @property
    def name(self) -> str:
        return f"{self.table}_{self.begins:%Y_%m}"

    @property
    def ends(self) -> date:
        return following(self.begins)


def following(month: date, count: int = 1) -> date:
    """The first day of the month that comes so many after this one."""
    number = month.year * 12 + month.month - 1 + count
    return date(number // 12, number % 12 + 1, 1)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def this_month() -> date:
    return datetime.now(UTC).date().replace(day=1)


def tables() -> dict[str, str]:
    """The tables in partitions, each with its column of time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partrelid::regclass::text, attname FROM pg_partitioned_table"
            " JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0] ORDER BY 1"
        )
        return dict(cursor.fetchall())


def months(table: str) -> list[Partition]:
    """The partitions of the table that are there, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        found = [re.fullmatch(r".+_(\d{4})_(\d{2})", name) for (name,) in cursor.fetchall()]
    begins = sorted(date(int(each[1]), int(each[2]), 1) for each in found if each)
    return [Partition(table, each) for each in begins]


def begins(table: str) -> datetime:
    """From when on the table has its rows: what was before is archived, or never was."""
    return midnight(months(table)[0].begins)


def astray(table: str) -> int:
    """How many rows lie in no month's partition."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}_default"')  # noqa: S608
        return int(cursor.fetchone()[0])


def make_ahead(today: date | None = None, ahead: int = MONTHS_AHEAD) -> list[str]:
    """Make the partitions of this month and those ahead that are not there, and name them.

    So is one made for a month that has passed without, when rows of it are astray. Raises `django.db.Error` when a
    table is busy; what was made until then is made.
    """
    first = (today or this_month()).replace(day=1)
    made: list[str] = []
    for table, column in tables().items():
        there = months(table)
        wanted = {following(first, count) for count in range(ahead + 1)}
        wanted |= {each for each in _months_astray(table, column) if there[0].begins < each < first}
        for month in sorted(wanted - {each.begins for each in there}):
            make(Partition(table, month), column)
            made.append(Partition(table, month).name)
    return made


def _months_astray(table: str, column: str) -> set[date]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT date_trunc('month', \"{column}\", 'UTC')::date FROM \"{table}_default\"")  # noqa: S608
        return {month for (month,) in cursor.fetchall()}


def make(partition: Partition, column: str) -> None:
    """Make it apart and then attach it, so that nobody who reads or writes the table is held up by more than that.

    Rows of the month that are astray move in. Indexes, foreign keys and triggers of rows come with the attaching;
    triggers of statements do not.
    """
    table, name = partition.table, partition.name
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
        cursor.execute(f'CREATE TABLE "{name}" (LIKE "{table}" INCLUDING DEFAULTS INCLUDING CONSTRAINTS)')
        if partition.begins in _months_astray(table, column):
            cursor.execute(f'ALTER TABLE "{table}_default" DISABLE TRIGGER USER')  # they refuse that a row leaves
            cursor.execute(
                f'WITH moved AS (DELETE FROM "{table}_default" WHERE "{column}" >= \'{partition.begins} 00:00+00\''  # noqa: S608
                f' AND "{column}" < \'{partition.ends} 00:00+00\' RETURNING *) INSERT INTO "{name}" SELECT * FROM moved'
            )
            cursor.execute(f'ALTER TABLE "{table}_default" ENABLE TRIGGER USER')
        cursor.execute(
            f'ALTER TABLE "{table}" ATTACH PARTITION "{name}"'
            f" FOR VALUES FROM ('{partition.begins} 00:00+00') TO ('{partition.ends} 00:00+00')"
        )
        _copy_statement_triggers(cursor, table, name)


def _copy_statement_triggers(cursor: Any, table: str, partition: str) -> None:
    """Those that refuse TRUNCATE: one of a partition alone is none of the table's."""
    cursor.execute(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgtype & 1 = 0",
        [table],
    )
    for (definition,) in cursor.fetchall():
        cursor.execute(re.sub(rf' ON (\w+\.)?"?{table}"? ', f' ON "{partition}" ', definition, count=1))


class PartitionByMonth(Operation):
    """Put a model's table into monthly partitions, by a column of time; rows that are there already move along.

    The model stays as it is. In the database its primary key is (id, column) from then on, as partitions want it: `id`
    stays unique because the table's own counter gives it.
    """

    reversible = False

    def __init__(self, model_name: str, column: str) -> None:
        self.model_name = model_name
        self.column = column

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (type(self).__name__, [self.model_name, self.column], {})

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Nothing that Django knows of changes."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        with schema_editor.connection.cursor() as cursor:
            definitions = _definitions(cursor, table)
            cursor.execute(f"SELECT date_trunc('month', min(\"{self.column}\"), 'UTC')::date FROM \"{table}\"")  # noqa: S608
            first = cursor.fetchone()[0] or this_month()
            cursor.execute(f'ALTER TABLE "{table}" RENAME TO "{table}_old"')
            cursor.execute(
                f'CREATE TABLE "{table}" (LIKE "{table}_old" INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
                f' INCLUDING IDENTITY) PARTITION BY RANGE ("{self.column}")'
            )
            cursor.execute(f'CREATE TABLE "{table}_default" PARTITION OF "{table}" DEFAULT')
            while first <= following(this_month(), MONTHS_AHEAD):
                make(Partition(table, first), self.column)
                first = following(first)
            cursor.execute(f'INSERT INTO "{table}" SELECT * FROM "{table}_old"')  # noqa: S608
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(1, max(id)), max(id) > 0) FROM \"{table}\"",  # noqa: S608
                [table],
            )
            cursor.execute(f'DROP TABLE "{table}_old"')
            cursor.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_pkey" PRIMARY KEY (id, "{self.column}")')
            for definition in definitions:
                cursor.execute(definition)
            for partition in (f"{table}_default", *(each.name for each in months(table))):
                _copy_statement_triggers(cursor, table, partition)

    def database_backwards(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def describe(self) -> str:
        return f"Put {self.model_name} into monthly partitions"


def _definitions(cursor: Any, table: str) -> list[str]:
    """Its foreign keys, indexes and triggers, each as a statement that makes it again."""
    cursor.execute(
        "SELECT format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', relname, conname, pg_get_constraintdef(c.oid))"
        " FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid WHERE t.oid = %s::regclass AND contype = 'f'"
        " UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary"
        " UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal",
        [table, table, table],
    )
    return [definition for (definition,) in cursor.fetchall()]
