import logging
from collections.abc import Iterator
from typing import Any

import pytest

from accounts import origins
from accounts.models import User
from tests import factories
from tests.tvapi.contract import TradingView, client_of
from tvapi import throttle
from tvapi.throttle import Buckets


@pytest.fixture(autouse=True)
def quick_hasher(settings) -> None:
    """A real password hash takes its time, which is its purpose and none of these tests'."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def trader(db: None) -> User:
    return factories.user("trader")


@pytest.fixture
def tv(trader: User) -> TradingView:
    """TradingView's page, logged in as the trader."""
    return client_of(trader)


@pytest.fixture(autouse=True)
def faults() -> Iterator[list[logging.LogRecord]]:
    """The faults of ours that answers hid. A test that expects one clears the list."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, logger = Keep(), logging.getLogger("tvapi.exceptions")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []


@pytest.fixture(autouse=True)
def pairs_read_anew() -> None:
    origins.forget()


@pytest.fixture
def limited(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a second for a token, four at once; forty at once for an address. Time stands still."""
    monkeypatch.setattr(throttle, "monotonic", lambda: 100.0)
    settings.REQUESTS_A_SECOND = 1.0
    monkeypatch.setattr(throttle, "_by_token", Buckets(1.0))
    monkeypatch.setattr(throttle, "_by_address", Buckets(10.0))
    monkeypatch.setattr(origins, "_patterns", lambda period: ["https://*.tradingview.com"])
