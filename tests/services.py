"""pytest plugin: real Postgres and Valkey for the run, in a directory that disappears with it.

Loaded by `-p`, because pytest-django reads the settings before it reads any conftest.py. Under xdist the controller
starts the servers and the workers inherit their addresses; each worker takes a Redis database of its own, and
pytest-django gives it a Postgres database of its own.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from backoffice import embedded

PREFIX = "backoffice-tests-"
# What a crash of the machine would lose is not worth waiting for here.
CARELESS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """A wrapper, because wrappers run before everybody else's hook: the settings find the servers' addresses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        services = contextlib.ExitStack()
        early_config.add_cleanup(services.close)
        services.enter_context(_services())
    else:
        _take_redis_database(1 + int(worker.removeprefix("gw")))
    return (yield)


@contextlib.contextmanager
def _services() -> Iterator[None]:
    _remove_leftovers()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    directory.chmod(0o711)  # Postgres' own user goes through it when root runs the tests
    try:
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with embedded.running(directory / "demo", CARELESS) as servers:
                _export(servers, directory)
                yield
    finally:
        shutil.rmtree(directory)


def _export(servers: embedded.Servers, directory: Path) -> None:
    database = servers.database
    # Django empties tables with TRUNCATE after tests of real transactions; append-only tables refuse it otherwise.
    options = quote("-c backoffice.allow_truncate=on")
    os.environ.update(
        DATABASE_URL=(
            f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
            f"/{database['NAME']}?options={options}"
        ),
        REDIS_URL=servers.redis_url,
        DEMO_DIR=str(directory / "demo"),
        ENVIRONMENT="local",
        SECRET_KEY="tests",
        LOG_LEVEL="WARNING",
    )


def _take_redis_database(number: int) -> None:
    address, _, _ = os.environ["REDIS_URL"].rpartition("/")
    os.environ["REDIS_URL"] = f"{address}/{number}"


def _remove_leftovers() -> None:
    """Delete the directories of runs that were killed: nobody holds their lock any more."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory)
