"""Reads that may lag go to a replica of the database, where there is one (docs/decisions/replica.md).

Nothing does so by itself: lists and reports of the admin ask for it, through the middleware. What decides (a
transaction, who may do what) and what the contract answers is always read from the primary.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, models, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

REPLICA = "replica"  # its alias
WRITTEN = "written_lsn"  # in the session: where the log of the primary stood after the user's last write
AWAY_SECONDS = 5.0  # how long one that did not answer is left alone
NOTHING = "0/0"  # the position before the first
SAFE = ("GET", "HEAD")
# Whoever is logged in, and what he may do, is never a matter of yesterday.
EXACT_APPS = {"auth", "axes", "contenttypes", "otp_static", "otp_totp", "sessions"}
EXACT_MODELS = {"accounts.user", "accounts.accesstoken", "accounts.renewaltoken"}

logger = logging.getLogger(__name__)
_lagging: ContextVar[bool] = ContextVar("reads_may_lag", default=False)
_away_until = 0.0  # monotonic seconds, of this process


def may_lag(view: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a view whose GET only lists or reports: it may show what was true a moment ago."""
    view.may_lag = True  # type: ignore[attr-defined]
    return view


class Router:
    """Sends reads to the replica while a view that may lag is at work, and everything else to the primary."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        exact = model._meta.app_label in EXACT_APPS or model._meta.label_lower in EXACT_MODELS
        if not _lagging.get() or exact or transaction.get_connection().in_atomic_block:
            return DEFAULT_DB_ALIAS
        return REPLICA

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool:
        return True  # one database, read in two places

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS


class ReplicaMiddleware:
    """Lets the lists of the admin, and views marked with `may_lag`, read the replica.

    Whoever has written something reads the primary until the replica has it too. When the replica fails in the middle
    of a page, the page is made again from the primary.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if REPLICA not in connections.databases:
            return self.get_response(request)
        token = _lagging.set(False)
        try:
            response = self.get_response(request)
        finally:
            _lagging.reset(token)
        if request.method not in SAFE and request.user.is_authenticated:
            request.session[WRITTEN] = _primary_position()
        return response

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        if REPLICA in connections.databases and request.method in SAFE and _may_lag(request, view):
            _lagging.set(_is_fit(request.session.get(WRITTEN)))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not (_lagging.get() and isinstance(exception, DatabaseError | InterfaceError)):
            return None
        _lagging.set(False)
        _leave_alone(exception)
        match = request.resolver_match
        assert match is not None  # a view was at work
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response.render() if hasattr(response, "render") else response


def _may_lag(request: HttpRequest, view: Callable[..., Any]) -> bool:
    match = request.resolver_match
    is_list = match is not None and match.app_name == "admin" and (match.url_name or "").endswith("_changelist")
    return is_list or getattr(view, "may_lag", False)


def _is_fit(written: str | None) -> bool:
    """Whether the replica answers, lags less than it may, and has what was written up to this position."""
    if time.monotonic() < _away_until:
        return False
    primary = _primary()
    try:
        has_own, lag = _has_and_lags(primary, written or NOTHING)
    except (DatabaseError, InterfaceError) as error:
        _leave_alone(error)
        return False
    return has_own and lag <= settings.REPLICA_LAG_SECONDS


def lag_seconds() -> float | None:
    """How far the replica is behind; infinite where it does not answer, None where there is none."""
    if REPLICA not in connections.databases:
        return None
    primary = _primary()
    try:
        return _has_and_lags(primary, NOTHING)[1]
    except (DatabaseError, InterfaceError):
        connections[REPLICA].close()
        return math.inf


def _primary() -> tuple[str, datetime]:
    """Where its log stands, and its clock."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_flush_lsn()::text, clock_timestamp()")
        position, now = cursor.fetchone()
        return position, now


def _has_and_lags(primary: tuple[str, datetime], written: str) -> tuple[bool, float]:
    """Whether the replica has what was written up to this position, and how far it is behind, in seconds."""
    position, now = primary
    with connections[REPLICA].cursor() as cursor:
        # A replica with all there is does not lag, however long ago the last commit was.
        cursor.execute(
            "SELECT replayed >= %s::pg_lsn, extract(epoch FROM %s - pg_last_xact_replay_timestamp()),"
            " replayed >= %s::pg_lsn FROM pg_last_wal_replay_lsn() replayed",
            [position, now, written],
        )
        has_all, age_seconds, has_own = cursor.fetchone()
    if has_all:
        return bool(has_own), 0.0
    return bool(has_own), math.inf if age_seconds is None else max(0.0, float(age_seconds))


def _primary_position() -> str:
    """Where the log stands; a commit is before it also where commits do not wait for the disk."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
        return str(cursor.fetchone()[0])


def _leave_alone(error: Exception) -> None:
    global _away_until
    logger.warning("The replica does not answer, pages are made from the primary: %s", error)
    _away_until = time.monotonic() + AWAY_SECONDS
