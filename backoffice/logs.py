"""Lines of the log: which request and which order they belong to, as text or as JSON, and never with a secret in them.

Imports nothing of ours: whoever logs may use it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter

HEADER = b"x-request-id"
TASK_HEADER = "origin_request_id"  # of a Celery message; `request_id` would be taken for one of its own
FIELDS = "{asctime}{levelname}{name}{message}{request_id}{order_id}{trace_id}"
RENAMED = {"asctime": "time", "levelname": "level", "name": "logger"}

_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_SHORTEST_SECRET = 8  # characters; to hide shorter ones would hide words
_HIDDEN = "***"
# What a library may have put into its message: headers, form fields, JSON members, addresses with a password.
_GIVEN_AWAY = (
    re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE),
    re.compile(
        r"(\b(?:\w*token|\w*password|\w*secret|assertion|authorization_code)\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'&,;}\\]+",
        re.IGNORECASE,
    ),
    re.compile(r"(://[^:/\s@]*:)[^/\s@]+(?=@)"),
)

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_order_id: ContextVar[str] = ContextVar("order_id", default="")
# Whose a line is, by the name of the field; `backoffice.traces` adds the trace, where there are any.
SOURCES: dict[str, Callable[[], str]] = {"request_id": _request_id.get, "order_id": _order_id.get}


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that the proxy gave the request, when it is well-formed (8 to 64 letters, digits, `.`, `_`, `-`), or a new
    one."""
    for name, value in headers:
        if name.lower() == HEADER and _WELL_FORMED.fullmatch(value):
            return value.decode()
    return os.urandom(16).hex()


def request_id() -> str:
    """Of the request that is being answered, or that led to this task; "" outside."""
    return _request_id.get()


def of_request(request_id: str) -> contextlib.AbstractContextManager[None]:
    """Lines in this block belong to the request."""
    return _with(_request_id, request_id)


def of_order(order_id: int) -> contextlib.AbstractContextManager[None]:
    """Lines in this block belong to the order."""
    return _with(_order_id, str(order_id))


@contextlib.contextmanager
def _with(var: ContextVar[str], value: str) -> Iterator[None]:
    token = var.set(value)
    try:
        yield
    finally:
        var.reset(token)


class Ids(logging.Filter):
    """Notes the ids with the line, unless it was given others by `extra`."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, read in SOURCES.items():
            if name not in record.__dict__:
                setattr(record, name, read())
        return True


class Plain(logging.Formatter):
    """For people. The ids stand at the end, where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class' name)
        line = super().formatMessage(record)
        named = ((name, getattr(record, f"{name}_id", "")) for name in ("request", "order", "trace"))
        ids = " ".join(f"{name}={value}" for name, value in named if value)
        return f"{line} [{ids}]" if ids else line


class Json(JsonFormatter):
    """For machines: an object in a line. A field without a value is left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(FIELDS, *args, style="{", rename_fields=RENAMED, **kwargs)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        said = {name: value for name, value in log_data.items() if value not in ("", None)}
        return super().process_log_record(said)

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


def hide(text: str) -> str:
    """The text without what nobody may learn from it: our own secrets, and what looks like one of somebody's."""
    for secret in _secrets():
        text = text.replace(secret, _HIDDEN)
    for pattern in _GIVEN_AWAY:
        text = pattern.sub(rf"\g<1>{_HIDDEN}", text)
    return text


@functools.cache
def _secrets() -> tuple[str, ...]:
    """Of the settings. Longest first: one may be a part of another."""
    database: Mapping[str, Any] = settings.DATABASES["default"]
    known = [settings.SECRET_KEY, settings.METRICS_TOKEN, str(database.get("PASSWORD", ""))]
    known.append(settings.REDIS_SENTINEL_PASSWORD)
    known += settings.FIX_PASSWORDS.values()
    return tuple(sorted((each for each in known if len(each) >= _SHORTEST_SECRET), key=len, reverse=True))
