"""The whole system from outside: the demo as a newcomer starts it, and a client that only speaks the broker API."""

import json
import urllib.request

import pytest

from tests.demo import Demo
from tests.e2e import acceptance

pytestmark = pytest.mark.proof


def test_a_client_logs_in_trades_on_every_account_and_finds_its_money(demo: Demo) -> None:
    acceptance.main(demo.url)
    verified = demo.manage("verify_books")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith("The books agree: 6 accounts")


def test_every_part_answers(demo: Demo) -> None:
    with urllib.request.urlopen(f"{demo.url}/healthz") as answer:
        parts = json.load(answer)
    assert set(parts["parts"]) >= {"database", "redis", "worker", "feed", "engine", "stream"}
