"""Django's Postgres backend, and work that is done just before a COMMIT: where it fails, nothing is committed.

What Django offers, `on_commit`, comes after the commit, when a process may be dead already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.db.backends.postgresql import base
from django.db.transaction import TransactionManagementError

# Takes what the transaction has gathered for it. Raises `django.db.Error` when there must be no commit.
BeforeCommit = Callable[[list[Any]], None]


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As Django's own `run_on_commit`: with the savepoints that were open, since a rollback to one takes it back.
        self.run_before_commit: list[tuple[set[str], BeforeCommit, Any]] = []

    def before_commit(self, call: BeforeCommit, argument: Any) -> None:
        """Call it once before the commit, with the arguments given to it meanwhile. Needs a transaction."""
        if not self.in_atomic_block:
            raise TransactionManagementError("Work before a commit needs a transaction.")
        self.run_before_commit.append((set(self.savepoint_ids), call, argument))

    def commit(self) -> None:
        self.validate_no_atomic_block()
        gathered: dict[BeforeCommit, list[Any]] = defaultdict(list)
        for _savepoints, call, argument in self.run_before_commit:
            gathered[call].append(argument)
        self.run_before_commit = []
        for call, arguments in gathered.items():
            call(arguments)
        super().commit()

    def savepoint_rollback(self, sid: str) -> None:
        super().savepoint_rollback(sid)
        self.run_before_commit = [entry for entry in self.run_before_commit if sid not in entry[0]]

    def rollback(self) -> None:
        self.run_before_commit = []
        super().rollback()

    def close(self) -> None:
        self.run_before_commit = []
        super().close()
