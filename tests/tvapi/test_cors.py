"""Which origins may call from a browser (CORS-1 … CORS-7)."""

import pytest

from tests import factories
from tests.tvapi.contract import FORM, ORIGIN, TradingView
from tests.tvapi.test_oauth import address

ALLOWED = [
    "https://www.tradingview.com",
    "https://de.tradingview.com",
    "https://a.b-c.tradingview.com",
    "https://pr-1.xstaging.tv",
    "http://localhost:6285",
    "https://localhost:6285",
]
FOREIGN = [
    "https://tradingview.com",
    "https://eviltradingview.com",
    "https://www.tradingview.com.evil.com",
    "https://www.tradingview.com:8443",
    "https://www.tradingviewXcom",
    "http://www.tradingview.com",
    "https://.tradingview.com",
    "https://evil.com/.tradingview.com",
    "https://evil.com#.tradingview.com",
    "https://user@www.tradingview.com",
    "https://xstaging.tv",
    "http://localhost:6286",
    "http://localhost",
    "https://[",
    "null",
    "*",
]
# Successes, refusals, 401, no such address, ids that are none
REQUESTS = [
    ("GET", "/groups"),
    ("GET", "/accounts/NOPE/state"),
    ("GET", "/mapping"),
    ("POST", "/authorize"),
    ("GET", "/nothing/here"),
    ("GET", "/accounts/a%2Fb%0Ac/state"),
    ("GET", "/history?symbol=%FF"),
    ("PATCH", "/groups"),
    ("PUT", "/accounts/X/previewOrder"),
]


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_allowed_origin_is_repeated_on_every_answer(tv, method, path, origin):
    for client in (tv, TradingView()):
        client.send(method, path, origin=origin)
        assert client.response["Access-Control-Allow-Origin"] == origin
        assert "origin" in client.response["Vary"].lower()
        assert "Access-Control-Allow-Credentials" not in client.response


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origins_get_no_permission(tv, origin):
    for method, path in REQUESTS:
        tv.send(method, path, origin=origin)
        assert "Access-Control-Allow-Origin" not in tv.response
        assert "origin" in tv.response["Vary"].lower()


@pytest.mark.parametrize("path", ["/authorize", "/accounts/X/orders", "/accounts/X/orders/1", "/nothing", "/streaming"])
def test_preflight_is_answered_without_a_token(client, db, path):
    response = client.options(
        f"/tv{path}",
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert {"GET", "POST", "PUT", "DELETE"} <= set(response["Access-Control-Allow-Methods"].split(", "))
    assert {"authorization", "content-type"} <= set(response["Access-Control-Allow-Headers"].split(", "))
    assert response["Access-Control-Max-Age"] == "86400"
    assert "origin" in response["Vary"].lower()


def test_preflight_of_another_origin_gets_no_permission(client, db):
    headers = {"origin": "https://eviltradingview.com", "access-control-request-method": "POST"}
    assert "Access-Control-Allow-Origin" not in client.options("/tv/authorize", headers=headers)


def test_headers_stay_on_a_login_that_is_too_large(client, db):
    url = address(factories.oauth_client(origins=[ORIGIN]))
    answer = client.post(url, b"x=" + b"1" * 3_000_000, content_type=FORM, headers={"origin": ORIGIN})
    assert answer.status_code == 413
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert "origin" in answer["Vary"].lower()


def test_headers_stay_on_a_fault_of_ours(tv, monkeypatch, faults):
    monkeypatch.setattr("tvapi.views.data._groups", lambda: 1 / 0)
    answer = tv.send("GET", "/groups", origin=ORIGIN)[1]
    assert answer == {"s": "error", "errmsg": "Something went wrong on our side. Please try again."}
    assert tv.response["Access-Control-Allow-Origin"] == ORIGIN
    [fault] = faults
    assert fault.exc_info[0] is ZeroDivisionError
    faults.clear()


def test_the_admin_is_for_no_other_origin(client, db):
    factories.user("x", is_staff=True)
    assert "Access-Control-Allow-Origin" not in client.get("/admin/login/", headers={"origin": ORIGIN})
