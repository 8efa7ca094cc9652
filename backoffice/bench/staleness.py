"""Is a reader ever shown less than what was committed before he asked? Writers, readers and crashes around the fence.

Each writer credits his account a cent at a time, so an answer is stale when its balance is below one that was committed
before the question, and foreign when it is not of the account's own million.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import count
from unittest import mock

from django.db import OperationalError, connections, transaction
from django.utils import translation

from accounts import cash, fence, tokens
from accounts.models import Account
from trading.prices import Prices
from tvapi import answers, renderers, snapshots
from tvapi.lane.lane import Lane
from tvapi.lane.requests import Asked

MILLION = 1_000_000
CENT = Decimal("0.01")
READERS = 4
ABANDONED = 0.1  # of the changes: the writer dies between the fence and the commit
UNTOLD = 0.1  # of the changes, where the fence comes after the commit: the writer dies in between
LATE = 0.3  # of the snapshots: stored some time after they were read
LOST = 0.05  # of the snapshots: never stored, as their maker died
PAUSE_SECONDS = 0.4  # of a writer after a change, at most
LATE_SECONDS = 0.02  # of a snapshot, at most

WRITER = "writer"

_references = count(1)


@dataclass(frozen=True)
class Subject:
    """An account with its own million, and a token of its owner."""

    account: Account
    token: str
    million: int


@dataclass
class Outcome:
    reads: int = 0
    by_lane: int = 0
    changes: int = 0
    abandoned: int = 0
    stale: int = 0
    foreign: int = 0


class _Died(OperationalError):
    """The writer is no more."""


def run(subjects: Sequence[Subject], reads: int, *, fence_first: bool = True) -> Outcome:
    """Ask so many times while each account is being changed. With `fence_first` False the fence comes after the
    commit, which is what the fence is there to prevent."""
    outcome, committed, end = Outcome(), {}, threading.Event()
    for subject in subjects:
        committed[subject.account.pk] = Decimal(subject.million * MILLION)
        cash.deposit(subject.account.pk, committed[subject.account.pk], "USD", reference=_reference())
    with _accidents(outcome, fence_first=fence_first):
        writers = [
            threading.Thread(target=_write, args=(subject, committed, outcome, end), name=WRITER, daemon=True)
            for subject in subjects
        ]
        for writer in writers:
            writer.start()
        try:
            asyncio.run(_read_all(subjects, committed, outcome, reads))
        finally:
            end.set()
            for writer in writers:
                writer.join()
    return outcome


def _write(subject: Subject, committed: dict[int, Decimal], outcome: Outcome, end: threading.Event) -> None:
    account_id = subject.account.pk
    try:
        while not end.wait(random.uniform(0, PAUSE_SECONDS)):
            try:
                cash.deposit(account_id, CENT, "USD", reference=_reference())
            except _Died:
                outcome.abandoned += 1
                continue
            committed[account_id] += CENT
            outcome.changes += 1
    finally:
        connections.close_all()


async def _read_all(subjects: Sequence[Subject], committed: dict[int, Decimal], outcome: Outcome, reads: int) -> None:
    lane, threads = Lane(), ThreadPoolExecutor(READERS)
    try:
        await asyncio.gather(
            *(_read(lane, threads, subjects, committed, outcome, reads // READERS) for _reader in range(READERS))
        )
    finally:
        loop = asyncio.get_running_loop()
        await lane.close()
        await asyncio.gather(*(loop.run_in_executor(threads, _close_slowly) for _thread in range(READERS)))


async def _read(
    lane: Lane,
    threads: ThreadPoolExecutor,
    subjects: Sequence[Subject],
    committed: dict[int, Decimal],
    outcome: Outcome,
    reads: int,
) -> None:
    loop = asyncio.get_running_loop()
    for _turn in range(reads):
        subject = random.choice(subjects)
        known = committed[subject.account.pk]
        asked = Asked("state", subject.account.number, "en")
        body = await lane.answer(asked, tokens.digest(subject.token))
        if body is not None:
            outcome.by_lane += 1
        else:
            body = await loop.run_in_executor(threads, _from_django, subject.account)
        balance = json.loads(body, parse_float=Decimal)["d"]["balance"]
        outcome.reads += 1
        outcome.stale += balance < known
        outcome.foreign += not 0 <= balance - subject.million * MILLION < MILLION


def _from_django(account: Account) -> bytes:
    """What the view does."""
    with translation.override("en"):
        snapshot = snapshots.current(account.pk)
        return renderers.encode({"s": "ok", "d": answers.state(snapshot, Prices())})


@contextlib.contextmanager
def _accidents(outcome: Outcome, *, fence_first: bool) -> Iterator[None]:
    """Let writers and the makers of snapshots die, or come late, at the worst moments."""
    raise_fence, store = fence._raise, snapshots.store

    def raise_and_die(changes: list[tuple[int, int]]) -> None:
        raise_fence(changes)
        if threading.current_thread().name == WRITER and random.random() < ABANDONED:
            raise _Died("before the commit")

    def after_commit(account_id: int, version: int, *, using: str | None = None) -> None:
        if random.random() >= UNTOLD:
            transaction.on_commit(partial(raise_fence, [(account_id, version)]), using=using)

    def store_late(snapshot: snapshots.Snapshot) -> bool:
        if random.random() < LOST:
            return False
        if random.random() < LATE:
            time.sleep(random.uniform(0, LATE_SECONDS))
        return store(snapshot)

    with contextlib.ExitStack() as patches:
        if fence_first:
            patches.enter_context(mock.patch.object(fence, "_raise", raise_and_die))
        else:
            patches.enter_context(mock.patch.object(fence, "before_commit", after_commit))
        patches.enter_context(mock.patch.object(snapshots, "store", store_late))
        yield


def _close_slowly() -> None:
    """Each thread of a pool takes one of these, and closes its own connection."""
    connections.close_all()
    time.sleep(0.05)


def _reference() -> str:
    return f"staleness-{time.time_ns()}-{next(_references)}"
