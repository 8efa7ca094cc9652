"""ServerOAuth2Bearer: tokens of data servers for signed JWTs (AUTH-27 … AUTH-31)."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts import tokens
from accounts.models import AccessToken, User
from accounts.oauth_models import OAuthClient, UsedAssertion
from tests import factories
from tests.tvapi.contract import TradingView, refused
from tests.tvapi.test_oauth import refusal, token_answer
from tvapi.oauth import JWT_BEARER

SECRET = "a-secret-of-the-tests-only"
AUDIENCE = "http://testserver/tv/oauth2/token"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def certificate(key: Any, *, days: int = 1) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = timezone.now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def server(db: None) -> User:
    return factories.user("tvdata", is_data_client=True)


@pytest.fixture
def client(server: User) -> OAuthClient:
    made = factories.oauth_client(secret=SECRET, certificate=certificate(KEY))
    made.data_users.add(server)
    return made


def claims(**changed: Any) -> dict[str, Any]:
    """Good ones, but for what is named; None leaves a claim out."""
    now = int(time.time())
    all_claims = {
        "iss": "tv-production-production",
        "sub": "tvdata",
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 300,
        "jti": f"id-{time.time_ns()}",
        **changed,
    }
    return {name: value for name, value in all_claims.items() if value is not None}


def form(key: Any = KEY, *, algorithm: str = "RS256", secret: str = SECRET, **changed: Any) -> dict[str, str]:
    # by the lower of its two layers: the upper one refuses to write some wrong claims
    assertion = jwt.api_jws.encode(json.dumps(claims(**changed)).encode(), key, algorithm=algorithm)
    given = {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": "tv-production-production"}
    return {**given, "client_secret": secret} if secret else given


def test_an_assertion_brings_a_token_for_the_data_half(client):
    factories.instrument("EURUSD")
    status, answer = token_answer(form())
    assert status == 200
    assert answer["expires_in"] == 1800
    tv = TradingView(answer["access_token"])
    assert tv.d("/groups") == {"groups": [{"id": "demo_forex"}]}
    assert tv.get("/symbol_info", group="demo_forex")["symbol"] == ["EURUSD"]


def test_a_data_servers_token_opens_no_account(client, server):
    account = factories.account(number="MINE")
    factories.quote("EURUSD", "1.1", "1.2")
    tv = TradingView(token_answer(form())[1]["access_token"])
    assert refused(tv.get("/accounts")) == "This login has no trading account."
    for path in ("state", "orders", "positions", "instruments", "executions?instrument=EURUSD"):
        assert refused(tv.get(f"/accounts/{account.number}/{path}")) == "There is no such account."
    assert refused(tv.get("/quotes", accountId="MINE", symbols="EURUSD")) == "There is no such account."
    # not even one that somebody gave it by mistake
    account.client.user = server
    account.client.save()
    assert refused(tv.get("/accounts/MINE/state")) == "There is no such account."


def test_each_assertion_brings_another_token_and_all_work(client):
    answers = [token_answer(form())[1] for _ in range(10)]
    assert len({answer["access_token"] for answer in answers}) == 10
    for answer in answers:
        assert TradingView(answer["access_token"]).send("GET", "/groups")[0] == 200


def test_the_token_can_be_renewed_too(client):
    answer = token_answer(form())[1]
    renewal = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"], "client_secret": SECRET}
    assert TradingView(token_answer(renewal)[1]["access_token"]).send("GET", "/groups")[0] == 200


def test_without_the_code_flow_tokens_of_assertions_are_renewed_and_those_of_traders_are_not(client):
    trader = factories.user("trader")
    refresh = tokens.new()
    tokens.keep_renewal(refresh, trader, client, family=uuid4())
    of_server = token_answer(form())[1]["refresh_token"]
    OAuthClient.objects.update(code_flow=False)
    renewal = {"grant_type": "refresh_token", "client_secret": SECRET}
    assert refusal({**renewal, "refresh_token": refresh}) == "invalid_grant"
    assert token_answer({**renewal, "refresh_token": of_server})[0] == 200
    exchange = {"grant_type": "authorization_code", "code": "any", "redirect_uri": "https://any.example"}
    assert refusal({**exchange, "client_id": client.client_id, "client_secret": SECRET}) == "unauthorized_client"


@pytest.mark.parametrize("jti", ["one", None])
def test_an_assertion_is_good_once(client, jti):
    given = form(jti=jti)
    assert token_answer(given)[0] == 200
    assert refusal(given) == "invalid_grant"
    assert AccessToken.objects.count() == 1


def test_an_assertion_with_the_other_signature_of_its_curve_is_the_same_one(client):
    """Where (r, s) is a signature, (r, order - s) is one too, and anybody can work it out."""
    client.certificate = certificate(CURVE_KEY)
    client.save()
    given = form(CURVE_KEY, algorithm="ES256", jti=None)
    assert token_answer(given)[0] == 200
    signed, _dot, signature = given["assertion"].rpartition(".")
    numbers = base64.urlsafe_b64decode(signature + "==")
    other = (ORDER_OF_P256 - int.from_bytes(numbers[32:])).to_bytes(32)
    again = base64.urlsafe_b64encode(numbers[:32] + other).decode().rstrip("=")
    assert refusal({**given, "assertion": f"{signed}.{again}"}) == "invalid_grant"
    assert AccessToken.objects.count() == 1


NOW = int(time.time())
WRONG_CLAIMS = [
    {"iss": "tv-staging-staging"},
    {"iss": None},
    {"iss": ["tv-production-production"]},
    {"aud": "https://elsewhere.example/token"},
    {"aud": None},
    {"aud": []},
    {"exp": NOW - 120},
    {"exp": None},
    {"exp": NOW + 86_400},
    {"exp": "soon"},
    {"exp": 10**30},
    {"exp": float("inf")},
    {"nbf": NOW + 86_400},
    {"iat": NOW + 86_400},
    {"iat": "x"},
    {"sub": "nobody"},
    {"sub": None},
    {"sub": 7},
    {"sub": {"a": "b"}},
    {"sub": "tvdata\x00"},
    {"sub": "\ud800"},
    {"sub": "trader"},
]


@pytest.mark.parametrize("changed", WRONG_CLAIMS, ids=range(len(WRONG_CLAIMS)))
def test_claims_that_are_not_as_they_should_be_are_refused(client, changed):
    factories.user("trader")
    assert refusal(form(**changed)) == "invalid_grant"
    assert not AccessToken.objects.exists()
    assert not UsedAssertion.objects.exists()


def test_clocks_may_differ_by_a_minute(client):
    now = int(time.time())
    assert token_answer(form(exp=now - 40))[0] == 200
    assert token_answer(form(iat=now + 40, nbf=now + 40))[0] == 200


def test_only_the_registered_key_signs(client):
    assert refusal(form(STRANGER)) == "invalid_grant"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512"])
def test_an_algorithm_without_the_key_is_refused(client, algorithm):
    key = "" if algorithm == "none" else "x" * 64
    assert refusal(form(key, algorithm=algorithm)) == "invalid_grant"


def test_the_public_key_is_no_shared_secret(client):
    """The classical confusion: HS256 with the certificate, which everybody may know, as its key."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims()).encode())
    for secret in (client.certificate.encode(), client.certificate.strip().encode()):
        mac = hmac.new(secret, signed, hashlib.sha256).digest()
        assertion = (signed + b"." + part(mac)).decode()
        assert refusal({**form(), "assertion": assertion}) == "invalid_grant"


@pytest.mark.parametrize("assertion", ["x", "a.b.c", "....", "é", "e30.e30.", "💩" * 100])
def test_what_is_no_jwt_is_refused(client, assertion):
    given = {**form(), "assertion": assertion}
    assert refusal(given) == "invalid_grant"
    del given["client_id"]
    assert refusal(given) in ("invalid_grant", "invalid_client")


def test_a_curve_key_signs_as_well(client):
    OAuthClient.objects.update(certificate=certificate(CURVE_KEY))
    assert token_answer(form(CURVE_KEY, algorithm="ES256"))[0] == 200
    assert refusal(form()) == "invalid_grant"


def test_a_certificate_that_has_ended_signs_nothing(client):
    OAuthClient.objects.update(certificate=certificate(KEY, days=-1))
    assert refusal(form()) == "invalid_grant"


def test_weak_and_unreadable_certificates_are_not_taken(client):
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for pem in (certificate(weak), "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"):
        client.certificate = pem
        with pytest.raises(ValidationError) as caught:
            client.full_clean()
        assert set(caught.value.message_dict) == {"certificate"}


def test_the_secret_must_be_right_and_is_needed_unless_agreed_otherwise(client):
    assert refusal(form(secret="wrong")) == "invalid_client"
    assert refusal(form(secret="")) == "invalid_client"
    OAuthClient.objects.update(assertion_needs_secret=False)
    assert token_answer(form(secret=""))[0] == 200
    assert refusal(form(secret="wrong")) == "invalid_client"


def test_the_client_is_known_by_the_assertion_too(client):
    given = form()
    del given["client_id"]
    assert token_answer(given)[0] == 200


def test_claims_are_configured_for_each_client(client):
    OAuthClient.objects.update(
        assertion_issuer="app-key",
        assertion_audience="urn:agreed",
        assertion_user_claim="user",
        assertion_claims={"spurl": "https://app.example"},
    )
    good: dict[str, Any] = {
        "iss": "app-key",
        "aud": "urn:agreed",
        "user": "tvdata",
        "sub": None,
        "spurl": "https://app.example",
    }
    assert token_answer(form(**good))[0] == 200
    for changed in ({"spurl": "https://other.example"}, {"spurl": None}, {"aud": AUDIENCE}, {"user": "x"}):
        assert refusal(form(**{**good, **changed})) == "invalid_grant"


def test_a_login_of_another_client_is_refused(client, server):
    client.data_users.clear()
    assert refusal(form()) == "invalid_grant"


def test_a_login_switched_off_gets_nothing(client, server):
    User.objects.filter(pk=server.pk).update(is_active=False)
    assert refusal(form()) == "invalid_grant"


def test_data_servers_come_from_their_networks_alone(client, settings):
    settings.DATA_SERVER_NETWORKS = ["192.0.2.0/24"]
    token = token_answer(form())[1]["access_token"]
    assert TradingView(token).send("GET", "/groups")[0] == 401
    settings.TRUSTED_PROXIES = 1
    assert TradingView(token).send("GET", "/groups", **{"x-forwarded-for": "192.0.2.7, 203.0.113.9"})[0] == 401
    assert TradingView(token).send("GET", "/groups", **{"x-forwarded-for": "203.0.113.9, 192.0.2.7"})[0] == 200
