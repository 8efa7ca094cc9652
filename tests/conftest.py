"""Fixtures for all tests."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.commands import flush
from django.db import connection
from django.utils import translation
from hypothesis import settings as hypothesis_settings

from accounts import known
from tests import emptying

hypothesis_settings.register_profile("ours", deadline=None)  # a busy machine disproves nothing
hypothesis_settings.load_profile("ours")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the catalogues before anybody loads one: a process that has once done so keeps it."""
    if not hasattr(session.config, "workerinput"):
        call_command("compile_translations", verbosity=0)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """pytest-django's, and the quick way to empty the database."""
    with django_db_blocker.unblock():
        known = emptying.state_of_kept(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", partial(emptying.sql_flush, known))
        yield


@pytest.fixture(scope="session")
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL)


@pytest.fixture(autouse=True)
def empty_redis(_redis: redis.Redis) -> redis.Redis:
    """This process' own Redis database, empty at the start of every test."""
    _redis.flushdb()
    return _redis


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """Each test has terms of its own, under versions that count from one again."""
    known.forget()


@pytest.fixture(autouse=True)
def nobodys_language() -> None:
    """A page asked for in a test leaves its language to the thread, as it would to the next page."""
    translation.deactivate()
