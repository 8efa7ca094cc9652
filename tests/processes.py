"""Processes of ours that work on the tests' own database and Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

PATIENCE_SECONDS = 120.0  # only what hangs takes longer, even where other work shares the processors


def environment(**extra: str) -> dict[str, str]:
    """The environment of a process on the test's own database. It sees what is committed: `transaction=True`."""
    database = connection.settings_dict
    address = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}@{database['HOST']}:{database['PORT']}"
    urls = {"DATABASE_URL": f"postgres://{address}/{database['NAME']}", "REDIS_URL": settings.REDIS_URL}
    urls["REDIS_SENTINELS"] = ",".join(settings.REDIS_SENTINELS)
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "backoffice.settings", **urls, **extra}


@contextlib.contextmanager
def running(*argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program while the block runs; killed at its end if it has not gone by itself."""
    process = subprocess.Popen([sys.executable, *argv], cwd=settings.BASE_DIR, env=environment(**env))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def eventually(question: Callable[[], Any], what: str) -> Any:
    """The first answer that is true. Fails when none is for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    return pytest.fail(f"not in {PATIENCE_SECONDS} s: {what}")
