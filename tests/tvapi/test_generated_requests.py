"""Generated requests: whatever comes, the answer has a status of the contract and fits its schema."""

import os

import pytest
from django.core.cache import cache
from django.test import Client as Browser

from tests import factories, fuzz
from tests.tvapi.contract import FORM, TradingView

COUNT = int(os.environ.get("FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
TOKENS_EVERY = 100  # requests, as some of them log out

pytestmark = [pytest.mark.proof, pytest.mark.django_db]


def test_no_generated_request_is_answered_with_a_fault() -> None:
    trader = factories.user("trader", password="x")
    factories.account(owner=trader, number="FX", symbols=["EURUSD"])
    factories.oauth_client(secret="a-secret-of-the-tests-only")
    browser = Browser(raise_request_exception=False)
    for number, call in enumerate(fuzz.calls(COUNT, seed=SEED)):
        if number % TOKENS_EVERY == 0:
            cache.clear()
            factories.quote("EURUSD", "1.10000", "1.10010")
            client = TradingView(factories.token(trader))
        if call.path.startswith("/oauth2/"):
            answer = browser.generic(call.method, f"/tv{call.path}", call.body, content_type=FORM)
            assert answer.status_code in (200, 302, 400, 403, 405), call  # 403: a form without the page's own field
        elif call.path.startswith("/streaming"):
            continue  # served elsewhere
        else:
            client.send(call.method, call.path, call.body)
