"""The events of orders long ended, taken out of the database into files (docs/decisions/partitions.md)."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from django.db import DatabaseError, connection, transaction

from backoffice import partitions
from backoffice.partitions import Partition
from trading.models import Order, OrderEvent

TABLE = OrderEvent._meta.db_table
SHOWN = 5  # orders named in a refusal


class NotArchivedError(Exception):
    """A month stays where it is; the message is a sentence for the person at the terminal."""


@dataclass(frozen=True)
class Archived:
    """A month that is in `path` and no more in the database; its checksum lies beside it, for `sha256sum -c`."""

    partition: Partition
    path: Path
    rows: int


def archive(before: date, directory: Path) -> Iterator[Archived]:
    """Archive the months before this one, the oldest first, each in a transaction of its own.

    A month is either in the database or, read back and on the disk, in its file. Raises NotArchivedError for one that
    is not closed: when it is not over, or when an order that had events in it has not ended.
    """
    if before > partitions.this_month():
        raise NotArchivedError(f"{before:%Y-%m} has not begun: months are archived when they are over.")
    directory.mkdir(parents=True, exist_ok=True)
    for partition in partitions.months(TABLE):
        if partition.begins < before:
            yield _archive(partition, directory)


def _archive(partition: Partition, directory: Path) -> Archived:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [partitions.PATIENCE])
            cursor.execute(f'LOCK TABLE "{partition.name}" IN SHARE MODE')  # nothing joins it from here on
            _check_closed(partition)
            archived = _write(partition, directory)
            cursor.execute(f'ALTER TABLE "{partition.table}" DETACH PARTITION "{partition.name}"')
            cursor.execute(f'DROP TABLE "{partition.name}"')
    except DatabaseError as error:
        raise NotArchivedError(f"{partition.name} stays: {error}") from error
    return archived


def _check_closed(partition: Partition) -> None:
    since, until = partitions.midnight(partition.begins), partitions.midnight(partition.ends)
    within = OrderEvent.objects.filter(at__gte=since, at__lt=until)
    alive = Order.objects.filter(final_at=None, pk__in=within.values("order")).order_by("pk")
    if numbers := [str(order.pk) for order in alive[: SHOWN + 1]]:
        named = ", ".join(numbers[:SHOWN]) + (" and others" if len(numbers) > SHOWN else "")
        raise NotArchivedError(
            f"{partition.name} stays: of the orders with events in it these have not ended: {named}."
        )


def _write(partition: Partition, directory: Path) -> Archived:
    """The rows as CSV, put in its place once it was read back whole."""
    path = directory / f"{partition.name}.csv.gz"
    descriptor, name = tempfile.mkstemp(dir=directory, prefix="unfinished-")
    draft = Path(name)
    try:
        with open(descriptor, "wb") as file:
            _copy_out(partition, file)
            file.flush()
            os.fsync(file.fileno())
        rows = _count(draft)
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT count(*) FROM "{partition.name}"')  # noqa: S608
            (wanted,) = cursor.fetchone()
        if rows != wanted:
            raise NotArchivedError(f"{partition.name} stays: {rows} of its {wanted} rows could be read back.")
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()
        (directory / f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
        draft.rename(path)
        _sync(directory)
    finally:
        draft.unlink(missing_ok=True)
    return Archived(partition, path, rows)


def _copy_out(partition: Partition, file: object) -> None:
    query = f'COPY (SELECT * FROM "{partition.name}" ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)'  # noqa: S608
    with gzip.open(file, "wb") as packed, connection.cursor() as cursor, cursor.copy(query) as rows:  # type: ignore[call-overload]
        for block in rows:
            packed.write(block)


def _count(path: Path) -> int:
    with gzip.open(path, "rt", newline="") as file:
        return sum(1 for _row in csv.reader(file)) - 1


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
