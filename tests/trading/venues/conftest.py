"""A counterparty and the session with it, run in a thread of the tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from accounts.models import Account
from tests import factories
from tests.processes import eventually
from tests.trading.venues import acceptor as counterparty
from tests.trading.venues.acceptor import Acceptor
from trading.venues.choices import LinkState
from trading.venues.fix.runner import Runner
from trading.venues.models import FixSession, VenueRoute


def session(port: int = 9, **fields: object) -> FixSession:
    """A session with the tests' counterparty, and a rule that sends it every order."""
    values = {"host": "127.0.0.1", "is_enabled": True, "heartbeat_seconds": 30, **fields}
    made = FixSession.objects.create(
        name="lp",
        port=port,
        sender_comp_id=counterparty.CLIENT,
        target_comp_id=counterparty.NAME,
        **values,
    )
    VenueRoute.objects.create(priority=1, session=made)
    return made


@pytest.fixture
def acceptor() -> Iterator[Acceptor]:
    with Acceptor() as started:
        yield started


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


@contextlib.contextmanager
def running(of: FixSession, *, logged_on: bool = True) -> Iterator[Runner]:
    """The session's runner while the block runs, logged on when it begins."""
    stopping = threading.Event()
    runner = Runner(of.pk, stopping)
    runner.start()
    try:
        if logged_on:
            eventually(lambda: FixSession.objects.get(pk=of.pk).state == LinkState.LOGGED_ON, "logged on")
        yield runner
    finally:
        stopping.set()
        runner.join()
