"""Django's Postgres backend, and three things more.

Work done just before a COMMIT: where it fails, nothing is committed. What Django offers, `on_commit`, comes after the
commit, when a process may be dead already. Writes that are put off until something else is asked of the database, or it
is told to commit. And moments that are read quickly.
"""

from __future__ import annotations

import select
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.transaction import TransactionManagementError

from backoffice.postgres.unwritten import Unwritten

# Takes what the transaction has gathered for it. Raises `django.db.Error` when there must be no commit.
BeforeCommit = Callable[[list[Any]], None]

_MOMENT = psycopg.postgres.types["timestamptz"].oid


class MomentLoader:
    """Reads a moment with what psycopg has compiled for it, in the time zone of the connection, which is UTC.

    Django's own loader is Python and takes fifteen times as long; an order alone has six moments.
    """

    format = psycopg.pq.Format.TEXT
    timezone = UTC  # Django compares it with the one it wants

    def __init__(self, oid: int, context: Any = None) -> None:
        compiled = psycopg.adapters.get_loader(_MOMENT, self.format)
        assert compiled is not None
        self.load = compiled(oid, context).load


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As Django's own `run_on_commit`: with the savepoints that were open, since a rollback to one takes it back.
        self.run_before_commit: list[tuple[set[str], BeforeCommit, Any]] = []
        # Nobody can tell that it waits: every statement finds it written, those that begin and release savepoints too.
        self.unwritten = Unwritten(self._execute)
        self.execute_wrappers.append(self._write_first)

    def get_new_connection(self, conn_params: Any) -> Any:
        connection = super().get_new_connection(conn_params)
        if self.timezone == UTC:
            connection.adapters.register_loader(_MOMENT, MomentLoader)
        return connection

    def is_usable(self) -> bool:
        """Asked with every request, when there is no transaction. A server that is gone, or has ended the session, has
        closed the connection: its socket has something to read then, and only then is it worth a statement to know."""
        if self.connection is None or self.connection.closed:
            return False
        socket = select.poll()
        socket.register(self.connection.fileno(), select.POLLIN)
        is_silent = self.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE and not socket.poll(0)
        return is_silent or bool(super().is_usable())

    def before_commit(self, call: BeforeCommit, argument: Any) -> None:
        """Call it once before the commit, with the arguments given to it meanwhile. Needs a transaction."""
        if not self.in_atomic_block:
            raise TransactionManagementError("Work before a commit needs a transaction.")
        self.run_before_commit.append((set(self.savepoint_ids), call, argument))

    def _write_first(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if self.unwritten:
            self.unwritten.write()
        return execute(sql, params, many, context)

    def _execute(self, sql: str, params: list[Any]) -> None:
        with self.cursor() as cursor:
            cursor.execute(sql, params)

    def commit(self) -> None:
        self.validate_no_atomic_block()
        self.unwritten.write()
        gathered: dict[BeforeCommit, list[Any]] = defaultdict(list)
        for _savepoints, call, argument in self.run_before_commit:
            gathered[call].append(argument)
        self.run_before_commit = []
        for call, arguments in gathered.items():
            call(arguments)
        super().commit()

    def savepoint_rollback(self, sid: str) -> None:
        self.unwritten.forget()  # what was put off before the savepoint was written as that began
        super().savepoint_rollback(sid)
        self.run_before_commit = [entry for entry in self.run_before_commit if sid not in entry[0]]

    def rollback(self) -> None:
        self.unwritten.forget()
        self.run_before_commit = []
        super().rollback()

    def close(self) -> None:
        self.unwritten.forget()
        self.run_before_commit = []
        super().close()
