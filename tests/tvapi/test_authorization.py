"""Tokens: given, used, ended (AUTH-1 … AUTH-8, AUTH-32)."""

import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import tokens
from accounts.models import AccessToken, User
from tests import factories
from tests.tvapi.contract import TradingView, client_of, refused

PASSWORD = "correct horse battery"


@pytest.fixture
def trader(db: None) -> User:
    return factories.user("trader", password=PASSWORD)


@pytest.fixture
def anybody() -> TradingView:
    return TradingView()


def log_in(client: TradingView, password: str = PASSWORD, login: str = "trader", **more: str):
    return client.post("/authorize", {"login": login, "password": password, **more})


def test_ten_logins_give_ten_tokens_that_all_work(anybody, trader):
    answers = [log_in(anybody)["d"] for _ in range(10)]
    assert len({answer["access_token"] for answer in answers}) == 10
    for answer in answers:
        assert TradingView(answer["access_token"]).get("/groups") == {"s": "ok", "d": {"groups": []}}


def test_expiration_is_the_tokens_end_in_unix_seconds(anybody, trader, settings):
    settings.TOKEN_LIFETIME_SECONDS = 1200
    before = int(time.time())
    expiration = log_in(anybody)["d"]["expiration"]
    assert before + 1200 <= expiration <= int(time.time()) + 1200


def test_a_login_is_remembered_as_the_users_last(anybody, trader):
    log_in(anybody)
    trader.refresh_from_db()
    assert timezone.now() - trader.last_login < timedelta(minutes=1)


def test_wrong_password_and_unknown_login_are_refused_alike(anybody, trader):
    sentence = refused(log_in(anybody, "wrong"))
    assert sentence == "Wrong login or password."
    assert refused(log_in(anybody, login="nobody")) == sentence
    assert refused(log_in(anybody, login="x" * 5000)) == sentence
    assert not AccessToken.objects.exists()


def test_switched_off_user_cannot_log_in_and_his_tokens_end(anybody, trader):
    client = client_of(trader)
    User.objects.filter(pk=trader.pk).update(is_active=False)
    assert refused(log_in(anybody)) == "Wrong login or password."
    assert client.send("GET", "/groups")[0] == 401


@pytest.mark.parametrize("form", [{}, {"login": "trader"}, {"password": PASSWORD}, {"login": "", "password": "x"}])
def test_login_and_password_are_both_needed(anybody, trader, form):
    assert "is missing" in refused(anybody.post("/authorize", form))


def test_guessing_locks_the_login_with_another_sentence_and_leaves_tokens_alone(anybody, trader, settings):
    client = client_of(trader)
    other = factories.user("other", password=PASSWORD)
    sentences = [refused(log_in(anybody, "wrong")) for _ in range(settings.AXES_FAILURE_LIMIT + 2)]
    assert set(sentences[: settings.AXES_FAILURE_LIMIT - 1]) == {"Wrong login or password."}
    locked = "There were too many wrong passwords for this login. Please try again in a few minutes."
    assert set(sentences[settings.AXES_FAILURE_LIMIT - 1 :]) == {locked}
    assert refused(log_in(anybody)) == locked  # the right one, too
    assert client.get("/groups")["s"] == "ok"
    assert log_in(anybody, login=other.username)["s"] == "ok"


def test_a_login_that_succeeds_forgives_the_failures_before_it(anybody, trader, settings):
    for _ in range(3):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            refused(log_in(anybody, "wrong"))
        assert log_in(anybody)["s"] == "ok"


def test_logout_ends_the_token_and_no_other(trader):
    one, other = client_of(trader), client_of(trader)
    assert one.post("/logout") == {"s": "ok"}
    assert one.send("GET", "/groups")[0] == 401
    assert other.get("/groups")["s"] == "ok"


def test_expired_token_gets_401(trader):
    client = client_of(trader)
    assert client.token
    assert tokens.expire(client.token)
    status, answer = client.send("GET", "/accounts")
    assert (status, answer) == (401, {"s": "error", "errmsg": "Your session has ended. Please log in again."})
    assert client.response["WWW-Authenticate"] == "Bearer"


def test_a_fixed_token_is_given_for_tests_and_lasts_as_long_as_a_token_may(trader, capsys):
    call_command("give_token", "trader")
    token = capsys.readouterr().out.strip()
    assert TradingView(token).get("/config")["s"] == "ok"
    left = AccessToken.objects.get().expires_at - timezone.now()
    assert timedelta(days=23) < left <= timedelta(days=24)
    for wrong in (["nobody"], ["trader", "--days=25"], ["trader", "--days=0"]):
        with pytest.raises(CommandError):
            call_command("give_token", *wrong)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dHI6eA==",
        "Bearer unknown",
        "Bearer a b",
        "bearer\x00",
        "Bearer \xff",
        "x" * 9000,
    ],
)
def test_whatever_is_not_a_working_token_gets_401(anybody, db, header):
    assert anybody.send("GET", "/groups", authorization=header)[0] == 401


def test_scheme_is_read_in_any_case(anybody, trader):
    token = factories.token(trader)
    assert anybody.send("GET", "/groups", authorization=f"bearer {token}")[0] == 200


PROTECTED = [
    ("POST", "/logout"),
    ("GET", "/config"),
    ("GET", "/accounts"),
    ("GET", "/accounts/X/instruments"),
    ("GET", "/accounts/X/state"),
    ("GET", "/accounts/X/orders"),
    ("POST", "/accounts/X/orders"),
    ("PUT", "/accounts/X/orders/1"),
    ("DELETE", "/accounts/X/orders/1"),
    ("GET", "/accounts/X/ordersHistory"),
    ("GET", "/accounts/X/positions"),
    ("PUT", "/accounts/X/positions/1"),
    ("DELETE", "/accounts/X/positions/1"),
    ("GET", "/accounts/X/balances"),
    ("GET", "/accounts/X/executions"),
    ("POST", "/accounts/X/previewOrder"),
    ("POST", "/accounts/X/getLeverage"),
    ("GET", "/quotes"),
    ("GET", "/depth"),
    ("GET", "/groups"),
    ("GET", "/permissions"),
    ("GET", "/symbol_info"),
    ("GET", "/history"),
    ("GET", "/streaming"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_token_everything_but_login_and_mapping_is_401(anybody, db, method, path):
    assert anybody.send(method, path)[0] == 401


def test_mapping_is_open_to_all(anybody, db):
    assert anybody.send("GET", "/mapping")[0] == 200


def test_the_stream_itself_is_not_djangos(tv):
    assert refused(tv.get("/streaming")) == "The stream of prices is not served at this address."
