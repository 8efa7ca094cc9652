"""No input, however broken, gives anything but 200 and 401, and every answer fits the contract."""

from decimal import Decimal
from itertools import product
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.choices import Profile
from tests import factories
from tests.tvapi.contract import DOCUMENT, FORM, TradingView, client_of, refused
from trading.models import Order

OPERATIONS = [
    (method.upper(), path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if not path.startswith("/oauth2") and path != "/mapping"
]
WITH_BODY = [(method, path) for method, path in OPERATIONS if method in ("POST", "PUT", "DELETE")]
GOOD_QUERIES = {
    "/quotes": {"accountId": "FX", "symbols": "EURUSD"},
    "/depth": {"accountId": "FX", "symbol": "EURUSD"},
    "/history": {"symbol": "EURUSD", "resolution": "1", "from": "0", "to": "1", "countback": "1"},
    "/symbol_info": {"group": "demo_forex"},
    "/accounts/FX/executions": {"instrument": "EURUSD", "maxCount": "1"},
    "/accounts/FX/ordersHistory": {"maxCount": "1", "locale": "en"},
}
BODY_FIELDS = ["login", "password", "locale", "instrument", "side", "type", "qty", "limitPrice", "stopPrice", "amount"]
BODY_FIELDS += ["durationType", "durationDateTime", "stopLoss", "takeProfit", "currentAsk", "currentBid"]
BODY_FIELDS += ["trailingStopPips", "guaranteedStop", "id", "transactionId", "timestamp", "roundTripDuration"]
BROKEN_BODIES = {
    "twice": b"qty=1000&qty=2000",
    "twice empty": b"qty=1000&qty=",
    "nul": b"qty=1000&x=a%00b",
    "nul raw": b"qty=1000&x=a\x00b",
    "nul in name": b"a%00b=1",
    "not utf-8": b"x=%FF%FE",
    "not utf-8 raw": b"x=\xff\xfe",
    "half a character": b"x=%D0",
    "surrogate": b"x=%ED%A0%80",
    "too large": b"x=" + b"1" * (1024 * 1024),
    "too many fields": b"&".join(b"a%d=1" % number for number in range(300)),
}
GOOD_FORM = {"instrument": "EURUSD", "side": "buy", "type": "limit", "qty": "1000", "limitPrice": "1.0"}
GOOD_FORM |= {"login": "trader", "password": "x"}


@pytest.fixture
def account(trader):
    made = factories.account(owner=trader, number="FX", symbols=["EURUSD"])
    factories.quote("EURUSD", "1.10000", "1.10010")
    return made


def concrete(path: str) -> str:
    return path.replace("{accountId}", "FX").replace("{orderId}", "1").replace("{positionId}", "1")


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_broken_body_is_refused_everywhere_and_does_nothing(tv, account, body):
    for method, path in WITH_BODY:
        refused(tv.send(method, concrete(path), body)[1])
    assert not Order.objects.exists()
    assert tv.get("/groups")["s"] == "ok"  # nobody was logged out


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", ";", "é"]
)
def test_only_forms_are_read(tv, account, content_type):
    for method, path in WITH_BODY:
        refused(tv.send(method, concrete(path), urlencode(GOOD_FORM), content_type=content_type)[1])
    assert not Order.objects.exists()


def test_body_without_a_length_is_refused_rather_than_taken_for_none(tv, account):
    for method, path in WITH_BODY:
        answer = tv.send(method, concrete(path), **{"transfer-encoding": "chunked"})[1]
        assert refused(answer) == "The request must say how long it is (Content-Length)."


def test_form_with_a_charset_is_a_form(tv, account):
    answer = tv.send("POST", "/accounts/FX/orders", urlencode(GOOD_FORM), content_type=f"{FORM}; charset=UTF-8")[1]
    assert answer["s"] == "ok"


@pytest.mark.parametrize(
    "query", ["symbol=%FF", "symbol=a&symbol=b", "symbol=%00", "&".join(f"a{n}" for n in range(300))]
)
def test_broken_query_is_refused_everywhere(tv, account, query):
    for method, path in OPERATIONS:
        refused(tv.send(method, f"{concrete(path)}?{query}", urlencode(GOOD_FORM))[1])
    assert not Order.objects.exists()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "x"])
def test_every_method_on_every_path_has_an_answer_of_the_contract(trader, account, method):
    for _method, path in OPERATIONS:
        client = client_of(trader)  # one of the requests logs out
        if method == "HEAD":
            response = client._client.head(f"/tv{concrete(path)}", headers={"authorization": f"Bearer {client.token}"})
            assert response.status_code == 200
        else:
            client.send(method, concrete(path), "qty=1000")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/accounts/", "/groups/", "//", "/%00", "/%0A", "/" + "x" * 5000, "/%FF"]
)
def test_nothing_below_tv_is_a_404(tv, path):
    for method in ("GET", "POST", "PUT", "DELETE"):
        for client in (tv, TradingView(), TradingView("unknown")):
            client.send(method, path)
            assert client.response.status_code == (401 if path == "/accounts/" and client is not tv else 200)


@pytest.mark.parametrize("what", ["netPositions", "individualPositions", "somethingElse"])
def test_what_is_not_offered_is_refused(tv, account, what):
    assert refused(tv.post(f"/accounts/FX/{what}", {"qty": 1})) == "This is not available here."


def test_accept_header_does_not_matter(tv):
    for accept in ("text/html", "image/png;q=x", "", "a/b/c"):
        assert tv.send("GET", "/groups", accept=accept)[0] == 200


NASTY = [
    "", "0", "-1", "1e999999", "NaN", "-Infinity", "1_0", "١٢", "0x1F", "null", "{}", "'", '"', "\\", "%s", "{0}",
    "\r\n", "\t", " ", "../..", "a/b", "EURUSD", "eurusd", "EURUSD,EURUSD", "1", "-" + "9" * 400, "1" + "0" * 5000,
    "0." + "0" * 400 + "1", "x" * 5000, "привет", "💩", "\u202e", "1D", "sell", "market", "stop", "zh_TW", "1e-7",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "99999999999999", "-99999999999999",
]  # fmt: skip


@pytest.mark.parametrize("value", NASTY)
def test_nasty_values_in_every_field(trader, account, value):
    """In a request that is right otherwise; and in all fields of a form at once."""
    client = client_of(trader)
    for path, good in GOOD_QUERIES.items():
        for field in good:
            client.send("GET", f"{path}?{urlencode({**good, field: value})}")
    orders = f"/accounts/FX/orders?{urlencode({'requestId': value})}"
    for field in BODY_FIELDS:
        client.send("POST", orders, urlencode({**GOOD_FORM, field: value}))
    for method, path in WITH_BODY:
        client.send(method, concrete(path), urlencode(dict.fromkeys(BODY_FIELDS, value)))
    client = client_of(trader)  # one of them logged out
    for path in ("/accounts/{}/state", "/accounts/FX/orders/{}", "/accounts/FX/positions/{}"):
        client.send("DELETE", path.format(quote(value, safe="")))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operation=st.sampled_from(OPERATIONS),
    account_id=st.one_of(st.just(b"FX"), st.binary(max_size=20)),
    child_id=st.one_of(st.integers(0, 10).map(lambda n: b"%d" % n), st.binary(max_size=20)),
    query=st.binary(max_size=60),
    body=st.binary(max_size=200),
    token=st.booleans(),
)
def test_random_bytes(trader, account, operation, account_id, child_id, query, body, token):
    method, template = operation
    path = template.replace("{accountId}", quote(account_id, safe=""))
    path = path.replace("{orderId}", quote(child_id, safe="")).replace("{positionId}", quote(child_id, safe=""))
    client = client_of(trader) if token else TradingView()
    client.send(method, f"{path}?{quote(query, safe='=&%+')}", body)


def test_amounts_beyond_the_books_are_refused_in_every_profile(trader):
    numbers = ["0.000000000001", "999999999999999.999999999999"]
    for profile in Profile:
        symbol = "BTCUSDT" if profile is Profile.SPOT else "EURUSD"
        account = factories.account(profile, owner=trader, symbols=[symbol], deposits={"USD": Decimal(1000)})
        factories.quote(symbol, "1.10", "1.11")
        client = client_of(trader)
        for qty, price, type_ in product(numbers, numbers, ("limit", "stop")):
            form = {**GOOD_FORM, "instrument": symbol, "type": type_, "qty": qty}
            form |= {"limitPrice": price} if type_ == "limit" else {"limitPrice": "", "stopPrice": price}
            refused(client.post(f"/accounts/{account.number}/orders", form))
    assert not Order.objects.exists()
