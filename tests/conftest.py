"""Fixtures for all tests."""

import pytest
import redis
from django.conf import settings


@pytest.fixture(scope="session")
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL)


@pytest.fixture(autouse=True)
def empty_redis(_redis: redis.Redis) -> redis.Redis:
    """This process' own Redis database, empty at the start of every test."""
    _redis.flushdb()
    return _redis
