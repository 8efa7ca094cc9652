"""Proving the trail: every entry is hashed again, here and not in the database, and compared with what is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection, transaction

from backoffice.audit import tracking
from backoffice.audit.functions import CONTENT
from backoffice.audit.models import Entry, Head

BATCH = 5000


@dataclass
class Verdict:
    """`faults` is empty when the trail is whole. `head` is where it ends, to be kept elsewhere and asked for later."""

    faults: list[str] = field(default_factory=list)
    count: int = 0
    head: str = "0:"


def verify(*, expected: str = "") -> Verdict:
    """Walk the whole chain and say what does not agree.

    `expected` is an earlier verdict's head ("seq:hash"): a chain that was cut off or written anew does not contain it.
    """
    verdict = Verdict()
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_outermost:  # one moment of the database: work may go on meanwhile
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        verdict.faults += _chain(verdict, expected)
        verdict.faults += [f"entry id {pk} was written past the chain" for pk in _unsealed()]
    for table, names in tracking.missing().items():
        verdict.faults.append(f"table {table} is not recorded: {', '.join(names)} is missing or switched off")
    return verdict


def _chain(verdict: Verdict, expected: str) -> Iterator[str]:
    previous, seq, seen_expected = "", 0, not expected or expected == "0:"
    for row_seq, stored, content, what in _rows():
        if row_seq != seq + 1:
            missing = f"entry {seq + 1} is" if row_seq == seq + 2 else f"entries {seq + 1} to {row_seq - 1} are"
            yield f"{missing} missing before entry {row_seq} ({what})"
        elif hashlib.sha256((previous + content).encode()).hexdigest() != stored:
            yield f"entry {row_seq} ({what}) was edited, or does not follow entry {seq}"
        previous, seq = stored, row_seq
        verdict.count += 1
        seen_expected = seen_expected or f"{row_seq}:{stored}" == expected
    verdict.head = f"{seq}:{previous}"
    head = Head.objects.first()
    if (head.seq, head.hash) != (seq, previous) if head else seq:
        yield f"the chain ends with entry {seq}, but entry {head.seq if head else 0} was the last one written"
    if not seen_expected:
        yield f"the entry {expected} is not part of the chain: it was cut off or written anew"


def _rows() -> Iterator[tuple[int, str, str, str]]:
    """(seq, hash, protected content, words for people) of the sealed entries, in order."""
    what = "action || ' ' || table_name || ' ' || row_id || ' by ' || coalesce(nullif(username, ''), source)"
    query = f"SELECT seq, hash, {CONTENT}, {what} FROM audit_entry WHERE seq > %s ORDER BY seq LIMIT %s"  # noqa: S608
    last = -1
    while True:
        with connection.cursor() as cursor:
            cursor.execute(query, [last, BATCH])
            rows = cursor.fetchall()
        yield from rows
        if len(rows) < BATCH:
            return
        last = rows[-1][0]


def _unsealed() -> list[int]:
    return list(Entry.objects.filter(hash=None).order_by("pk").values_list("pk", flat=True)[:100])
