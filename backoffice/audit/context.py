"""Who changes the database, from where and why: set once for a request, command or task, stored with every change.

The database writes the trail by itself (see `audit.tracking`); this module only tells it what it cannot know.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# Statements of the ORM quote their table. The one that raises an account's version does not, and changes nothing that
# is tracked: so the path of every order pays nothing here.
_WRITE = re.compile(r'^(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')
_SET = "SELECT set_config('backoffice.user_id', %s, true), set_config('backoffice.username', %s, true), " + (
    "set_config('backoffice.source', %s, true), set_config('backoffice.reason', %s, true)"
)

REASON_LIMIT = 500  # characters kept


@dataclass(frozen=True, slots=True)
class Context:
    """`source` says which way the change came: a page's address, a command's or task's name. `user` is asked late."""

    source: str = "system"
    reason: str = ""
    user: Callable[[], Any] | None = field(default=None, compare=False)

    def settings(self) -> list[str]:
        """User id, login, source and reason, as the database's triggers read them."""
        user = self.user() if self.user else None
        if user is None or user.pk is None:
            return ["", "", self.source, self.reason]
        return [str(user.pk), user.get_username(), self.source, self.reason]


_current: ContextVar[Context | None] = ContextVar("audit_context", default=None)


@contextlib.contextmanager
def acting(*, user: Any = None, source: str | None = None, reason: str | None = None) -> Iterator[None]:
    """Within the block, changes are recorded as this user's, or with this reason; what is not given stays as it was."""
    before = _current.get() or Context()
    changed: dict[str, Any] = {}
    if user is not None:
        changed["user"] = lambda: user
    if source is not None:
        changed["source"] = source
    if reason is not None:
        changed["reason"] = reason[:REASON_LIMIT]
    with using(replace(before, **changed)):
        yield


@contextlib.contextmanager
def using(context: Context) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def attach(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Let every write of the connection be preceded by its context. A receiver of `connection_created`."""
    if _tell_database not in connection.execute_wrappers:
        connection.execute_wrappers.append(_tell_database)


def _tell_database(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    match = _WRITE.match(sql)
    if not match or not _is_tracked(match[1]):
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    with contextlib.ExitStack() as stack:
        if not connection.in_atomic_block:  # the settings live as long as the transaction
            stack.enter_context(transaction.atomic(using=connection.alias))
        with connection.cursor() as cursor:
            cursor.execute(_SET, (_current.get() or Context()).settings())
        return execute(sql, params, many, context)


def _is_tracked(table: str) -> bool:
    from backoffice.audit import tracking  # models are not loaded yet when this module is

    return table in tracking.tables()
