"""Every environment pair's origins, on every kind of answer, look-alikes among the askers (CORS-1 … CORS-7)."""

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.test import Client as Browser

from accounts import origins
from accounts.choices import EnvironmentPair
from accounts.oauth_models import OAuthClient
from tests import factories
from tests.tvapi.contract import FORM
from tests.tvapi.test_throttle import asked, scope_of
from tvapi import cors, throttle, urls
from tvapi.lane import requests
from tvapi.throttle import Buckets

pytestmark = pytest.mark.django_db

OF = {
    "localhost": ["http://localhost:6285", "https://localhost:6285"],
    "staging": ["https://*.xstaging.tv"],
    "production": ["https://*.tradingview.com"],
}
ASKING = {
    "localhost": ["http://localhost:6285", "https://localhost:6285"],
    "staging": ["https://www.xstaging.tv", "https://pr-1.a.xstaging.tv"],
    "production": ["https://www.tradingview.com", "https://de.tradingview.com"],
}
LOOK_ALIKES = [
    "https://tradingview.com",
    "https://eviltradingview.com",
    "https://www.tradingview.com.evil.example",
    "https://www.tradingview.com:8443",
    "http://www.tradingview.com",
    "https://WWW.TRADINGVIEW.COM",
    "https://-.tradingview.com",
    "https://.tradingview.com",
    "https://www.tradingview.com/",
    "https://evil.example/.tradingview.com",
    "https://evil.example\\.tradingview.com",
    "https://www.tradingview.com\n",
    "http://localhost:6286",
    "http://localhost.evil.example:6285",
    "null",
    "*",
    "",
]
# Method, path, body, and the status that comes
ANSWERS = [
    ("GET", "/tv/mapping", "", 200),
    ("GET", "/tv/groups", "", 401),
    ("POST", "/tv/authorize", "login=x&password=y", 200),
    ("GET", "/tv/nothing", "", 200),
    ("PATCH", "/tv/mapping", "", 200),
    ("POST", "/tv/authorize", "x=" + "1" * 100_000, 200),
    ("POST", "/tv/oauth2/token", "", 400),
    ("GET", "/tv/oauth2/authorize", "", 400),
    ("DELETE", "/tv/oauth2/authorize", "", 405),
    ("GET", "/nothing", "", 404),
    ("GET", "/tv/ping", "", 200),
    ("POST", "/tv/oauth2/authorize", "x=" + "1" * 3_000_000, 400),  # more than is read
    ("GET", "/tv/history", "", 401),
    ("OPTIONS", "/tv/history", "", 401),  # no preflight: it asks for no method
]
# Every address of the API, as the URL conf has them, without a token
ADDRESSES = [re.sub(r"<any:\w+>", "1", f"/tv/{pattern.pattern}") for pattern in urls.urlpatterns]


@pytest.fixture
def spent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody has asked too much."""
    settings.REQUESTS_A_SECOND = 1.0
    monkeypatch.setattr(throttle, "_by_address", Buckets(0.0))


def answers(origin: str) -> list[Any]:
    """Every answer, and a preflight, as a page of this origin gets them."""
    browser, headers = Browser(raise_request_exception=False), {"origin": origin}
    found = []
    for method, path, body, status in ANSWERS:
        answer = browser.generic(method, path, body, content_type=FORM, headers=headers)
        assert answer.status_code == status, path
        found.append(answer)
    asking = {**headers, "access-control-request-method": "PUT"}
    return [*found, browser.options("/tv/accounts/X/orders/1", headers=asking)]


def is_let_in(origin: str) -> bool:
    given = {answer.get("Access-Control-Allow-Origin") for answer in answers(origin)}
    assert given in ({origin}, {None}), given  # all answers alike
    return given == {origin}


def make_pairs() -> None:
    for pair in EnvironmentPair:
        factories.oauth_client(pair, origins=OF[pair.tradingview])


def headers_without_django(origin: str, path: str = "/tv/accounts") -> list[Mapping[bytes, bytes]]:
    """Of what is answered before Django is asked: who asked too much, endless responses, the poll lane."""
    scope = scope_of(path, origin=origin)
    refused = asked(scope)[0]
    assert refused["status"] == 429
    of_lane = requests.headers("state", "en", origin, False, tuple(origins.in_force()))
    return [dict(refused["headers"]), dict(cors.headers_of(scope["headers"])), dict(of_lane)]


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_each_environment_lets_in_the_pages_of_its_pairs(settings: Any, environment: str) -> None:
    settings.ENVIRONMENT, settings.IS_LOCAL = environment, False
    settings.IS_PRODUCTION = environment == "production"
    make_pairs()
    for side, asking in ASKING.items():
        for origin in asking:
            assert is_let_in(origin) == (side != "localhost" or environment == "staging"), origin  # CORS-3


@pytest.mark.parametrize("pair", EnvironmentPair)
def test_a_pair_lets_in_its_own_pages_and_no_look_alike(settings: Any, pair: EnvironmentPair) -> None:
    factories.oauth_client(pair, origins=OF[pair.tradingview])
    for side, asking in ASKING.items():
        for origin in asking:
            assert is_let_in(origin) == (side == pair.tradingview), origin
    for origin in LOOK_ALIKES:
        assert not is_let_in(origin), origin


@pytest.mark.proof
@pytest.mark.parametrize("pair", EnvironmentPair)
def test_every_address_lets_in_the_pages_of_the_pair_and_no_other(pair: EnvironmentPair) -> None:
    factories.oauth_client(pair, origins=OF[pair.tradingview])
    browser = Browser(raise_request_exception=False)
    asking = [origin for origins_of_side in ASKING.values() for origin in origins_of_side]
    for path, origin in product(ADDRESSES, [*asking, *LOOK_ALIKES]):
        wanted = origin if origin in ASKING[pair.tradingview] else None
        headers = {"origin": origin}
        preflight = {**headers, "access-control-request-method": "DELETE"}
        for answer in (browser.get(path, headers=headers), browser.options(path, headers=preflight)):
            assert answer.get("Access-Control-Allow-Origin") == wanted, (path, origin)
            assert "origin" in answer["Vary"].lower(), path
            assert "Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize("pair", EnvironmentPair)
@pytest.mark.usefixtures("spent")
def test_what_django_does_not_answer_lets_in_the_same_pages(
    pair: EnvironmentPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.oauth_client(pair, origins=OF[pair.tradingview])
    patterns = origins.in_force()
    monkeypatch.setattr(origins, "_patterns", lambda period: patterns)  # other threads do not see this transaction
    for origin in [*(origin for asking in ASKING.values() for origin in asking), *LOOK_ALIKES]:
        wanted = origin.encode() if origin in ASKING[pair.tradingview] else None
        for headers in headers_without_django(origin):
            assert headers.get(b"access-control-allow-origin") == wanted, origin
            assert b"origin" in headers[b"vary"].lower()


@pytest.mark.parametrize("pair", EnvironmentPair)
@pytest.mark.parametrize("path", ["/tv/oauth2/authorize", "/tv/config", "/tv/nothing", "/nothing"])
def test_a_fault_of_ours_is_shown_to_the_same_pages(
    pair: EnvironmentPair, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, request: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("django.middleware.common.CommonMiddleware.process_request", broken)
    factories.oauth_client(pair, origins=OF[pair.tradingview])
    browser = Browser(raise_request_exception=False)
    for origin in [*(origin for asking in ASKING.values() for origin in asking), *LOOK_ALIKES]:
        answer = browser.get(path, headers={"origin": origin})
        assert answer.status_code == 500
        assert answer.get("Access-Control-Allow-Origin") == (origin if origin in ASKING[pair.tradingview] else None)
        assert "origin" in answer["Vary"].lower()


def test_a_pair_that_is_switched_off_lets_nobody_in() -> None:
    client = factories.oauth_client(origins=OF["production"])
    assert origins.is_allowed("https://www.tradingview.com")
    OAuthClient.objects.filter(pk=client.pk).update(is_active=False)
    origins.forget()
    assert not origins.is_allowed("https://www.tradingview.com")


def test_a_fault_outside_the_views_keeps_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tvapi.parsers.query", broken)
    browser = Browser(raise_request_exception=False)
    answer = browser.get("/tv/oauth2/authorize", headers={"origin": "https://www.tradingview.com"})
    assert answer.status_code == 500
    assert answer["Access-Control-Allow-Origin"] == "https://www.tradingview.com"
    assert "origin" in answer["Vary"].lower()


def test_without_the_database_the_origins_of_the_settings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr("accounts.oauth_models.OAuthClientQuerySet.here", unreachable)
    assert origins.is_allowed("https://www.tradingview.com")
    assert not origins.is_allowed("https://evil.example")


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "https://*",
        "https://*.com",
        "https://www.*.com",
        "http://www.tradingview.com",
        "https://a.com/",
        "null",
        "",
    ],
)
def test_an_origin_that_is_too_wide_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        origins.validate(pattern)


def test_patterns_and_origins_meet_label_by_label() -> None:
    good = ["https://a.tradingview.com", "https://a.b.tradingview.com", "https://a-b.tradingview.com"]
    for origin, pattern in product(good, ["https://*.tradingview.com"]):
        assert origins.fits(origin, pattern)
    assert not origins.fits("https://aXtradingview.com", "https://a.tradingview.com")
