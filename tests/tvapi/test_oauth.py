"""OAuth 2: the code flow, the implicit flow, renewal (AUTH-10 … AUTH-25)."""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client as Browser
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import oauth_clients, tokens
from accounts.choices import EnvironmentPair
from accounts.models import AccessToken, User
from accounts.oauth_models import AuthorizationCode, ClientSecret, OAuthClient, RenewalToken
from tests import factories
from tests.tvapi.contract import FORM, TradingView, refused, validator

PASSWORD = "correct horse battery"
STATE = "x y/ü%&=+?#"
SECRET = "a-secret-of-the-tests-only"


@pytest.fixture
def trader(db: None) -> User:
    return factories.user("trader", password=PASSWORD)


@pytest.fixture
def client(db: None) -> OAuthClient:
    return factories.oauth_client(secret=SECRET, implicit_flow=True)


@pytest.fixture
def browser() -> Browser:
    return Browser(enforce_csrf_checks=True)


def address(client: OAuthClient, **fields: str) -> str:
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uris[0],
        "state": STATE,
        "token_uri": "https://broker.example/tv/oauth2/token",
        **fields,
    }
    return f"/tv/oauth2/authorize?{urlencode({name: value for name, value in query.items() if value})}"


def submit(browser: Browser, url: str, **fields: str):
    """Open the page and send its form, as a browser does."""
    page = browser.get(url)
    assert page.status_code == 200
    return browser.post(url, {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value, **fields})


def log_in(browser: Browser, url: str, password: str = PASSWORD, login: str = "trader"):
    return submit(browser, url, login=login, password=password)


def returned(response) -> dict[str, str]:
    """The parameters that a redirect brings back in its query."""
    assert response.status_code == 302, response.content
    return dict(parse_qsl(urlsplit(response["Location"]).query, strict_parsing=True))


def in_fragment(response) -> dict[str, str]:
    assert response.status_code == 302
    target = urlsplit(response["Location"])
    assert target.query == ""
    return dict(parse_qsl(target.fragment, strict_parsing=True))


def token_answer(form: Mapping[str, str], **headers: str) -> tuple[int, dict]:
    response = Browser().generic("POST", "/tv/oauth2/token", urlencode(form), content_type=FORM, headers=headers)
    answer = json.loads(response.content)
    if response.status_code in (200, 400):
        validator("POST", "/oauth2/token", response.status_code).validate(answer)
    assert response["Cache-Control"] == "no-store"
    return response.status_code, answer


def refusal(form: Mapping[str, str], **headers: str) -> str:
    status, answer = token_answer(form, **headers)
    assert status in (400, 401)
    return answer["error"]


def exchange_form(client: OAuthClient, code: str, **fields: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": client.client_id,
        "client_secret": SECRET,
        "redirect_uri": client.redirect_uris[0],
        **fields,
    }


def code_of(client: OAuthClient, **fields: str) -> str:
    return returned(log_in(Browser(), address(client, **fields)))["code"]


def pair_of(client: OAuthClient) -> tuple[str, str]:
    """A first access token with its refresh token."""
    status, answer = token_answer(exchange_form(client, code_of(client)))
    assert status == 200, answer
    return answer["access_token"], answer["refresh_token"]


def renewed(refresh_token: str) -> tuple[str, str]:
    """As TradingView renews: without the client's id (AUTH-19)."""
    status, answer = token_answer(renewal_form(refresh_token))
    assert status == 200, answer
    return answer["access_token"], answer["refresh_token"]


def renewal_form(refresh_token: str, **fields: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_secret": SECRET, **fields}


def works(token: str) -> bool:
    return TradingView(token).send("GET", "/config")[0] == 200


# --- the code flow ----------------------------------------------------------------------------------------------------


def test_code_flow_ends_with_a_token_that_opens_the_users_accounts(browser, client, trader):
    account = factories.account(owner=trader)
    back = log_in(browser, address(client))
    assert back["Location"].startswith(client.redirect_uris[0] + "?")
    given = returned(back)
    assert given["state"] == STATE
    assert set(given) == {"code", "state"}
    status, answer = token_answer(exchange_form(client, given["code"]))
    assert status == 200
    assert answer["token_type"].lower() == "bearer"
    assert answer["expires_in"] == 1800
    assert [each["id"] for each in TradingView(answer["access_token"]).d("/accounts")] == [account.number]


def test_a_code_works_once_and_a_second_use_ends_its_tokens(client, trader):
    form = exchange_form(client, code_of(client))
    access = token_answer(form)[1]["access_token"]
    assert works(access)
    assert refusal(form) == "invalid_grant"
    assert not works(access)


def test_a_code_lives_a_minute(client, trader):
    form = exchange_form(client, code_of(client))
    code = AuthorizationCode.objects.get()
    assert timezone.now() < code.expires_at <= timezone.now() + timedelta(seconds=60)
    AuthorizationCode.objects.update(expires_at=timezone.now())
    assert refusal(form) == "invalid_grant"


def test_a_code_is_bound_to_its_client_and_address(client, trader):
    other = factories.oauth_client(EnvironmentPair.STAGING_STAGING, secret="another-secret-of-tests")
    other.redirect_uris = client.redirect_uris
    other.save()
    form = exchange_form(client, code_of(client))
    theirs = {"client_id": other.client_id, "client_secret": "another-secret-of-tests"}
    assert refusal({**form, **theirs}) == "invalid_grant"
    assert refusal({**form, "redirect_uri": client.redirect_uris[0] + "x"}) == "invalid_request"
    assert token_answer(form)[0] == 200


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x"])
def test_a_wrong_secret_gets_nothing_and_spends_no_code(client, trader, secret):
    form = exchange_form(client, code_of(client))
    assert refusal({**form, "client_secret": secret}) == "invalid_client"
    assert not AccessToken.objects.exists()
    assert token_answer(form)[0] == 200


def test_client_may_show_its_secret_in_the_header(client, trader):
    form = exchange_form(client, code_of(client))
    del form["client_id"], form["client_secret"]
    basic = base64.b64encode(f"{client.client_id}:{SECRET}".encode()).decode()
    assert token_answer(form, authorization=f"Basic {basic}")[0] == 200
    for broken in ("Basic ", "Basic é", "Basic !!!", f"Basic {base64.b64encode(b'x').decode()}"):
        assert token_answer(form, authorization=broken)[0] == 401


def test_pkce_is_accepted_and_then_demanded(client, trader):
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert refusal(exchange_form(client, code_of(client, **asked))) == "invalid_request"
    form = exchange_form(client, code_of(client, **asked))
    assert refusal({**form, "code_verifier": "w" * 64}) == "invalid_grant"
    assert token_answer({**form, "code_verifier": verifier})[0] == 200


def test_only_hashes_are_kept(client, trader):
    code = code_of(client)
    access, refresh = pair_of(client)
    rows = [*AccessToken.objects.values(), *RenewalToken.objects.values(), *AuthorizationCode.objects.values()]
    text = repr([*rows, *ClientSecret.objects.values(), *OAuthClient.objects.values()])
    for secret in (code, access, refresh, SECRET):
        assert secret not in text


@pytest.mark.parametrize("field", ["user", "client", "renewal", "family", "replaced", "code_row", "scopes", "scope"])
def test_fields_that_the_provider_uses_itself_cannot_be_sent(client, trader, field):
    assert token_answer({**exchange_form(client, code_of(client)), field: "1"})[0] == 200


# --- where nothing is sent back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"redirect_uri": "https://www.tradingview.com/trading/oauth-redirect/test"},
        {"redirect_uri": "https://www.tradingview.com/trading/oauth-redirect/test/?x=1"},
        {"redirect_uri": "https://WWW.tradingview.com/trading/oauth-redirect/test/"},
        {"redirect_uri": "https://www.tradingview.com/trading/oauth-redirect/test/#"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": ""},
        {"client_id": ""},
        {"client_id": "unknown"},
        {"client_id": "\x00"},
    ],
)
@pytest.mark.parametrize("flow", [{}, {"response_type": "token"}, {"response_type": "token", "prompt": "none"}])
def test_an_address_that_is_not_registered_is_never_led_to(browser, client, trader, fields, flow):
    page = browser.get(address(client, **flow, **fields))
    assert page.status_code == 400
    assert "Location" not in page
    assert "Please go back to TradingView" in page.content.decode()


def test_a_field_sent_twice_is_never_led_anywhere(browser, client, trader):
    assert browser.get(address(client) + "&state=other").status_code == 400


def test_a_client_switched_off_is_unknown_and_its_tokens_end(browser, client, trader):
    access, refresh = pair_of(client)
    OAuthClient.objects.update(is_active=False)
    assert browser.get(address(client)).status_code == 400
    assert not works(access)
    assert refusal(renewal_form(refresh)) == "invalid_client"


# --- errors that are sent back ----------------------------------------------------------------------------------------


def test_errors_come_back_with_the_state_where_the_flow_expects_them(browser, client, trader):
    OAuthClient.objects.update(implicit_flow=False, code_flow=False)
    given = returned(browser.get(address(client)))
    assert (given["error"], given["state"]) == ("unauthorized_client", STATE)
    given = in_fragment(browser.get(address(client, response_type="token")))
    assert (given["error"], given["state"]) == ("unauthorized_client", STATE)
    assert returned(browser.get(address(client, response_type="id_token")))["error"] == "unsupported_response_type"


def test_scopes_are_those_agreed(browser, client, trader):
    assert returned(browser.get(address(client, scope="general admin")))["error"] == "invalid_scope"
    assert browser.get(address(client, scope="general")).status_code == 200


def test_nobody_is_logged_in_without_asking_in_the_code_flow(browser, client, trader):
    log_in(browser, address(client, response_type="token"))
    assert browser.get(address(client)).status_code == 200
    assert returned(browser.get(address(client, prompt="none"))) == {"error": "login_required", "state": STATE}


# --- renewal ----------------------------------------------------------------------------------------------------------


def test_old_tokens_work_until_a_new_one_is_used(client, trader):
    access, refresh = pair_of(client)
    new_access, new_refresh = renewed(refresh)
    assert len({access, refresh, new_access, new_refresh}) == 4
    assert works(access)
    assert works(new_access)
    assert not works(access)
    assert refusal(renewal_form(refresh)) == "invalid_client"  # without an id nobody knows whose it was
    assert refusal(renewal_form(refresh, client_id=client.client_id)) == "invalid_grant"
    assert works(renewed(new_refresh)[0])


def test_an_answer_that_was_lost_can_be_asked_for_again(client, trader):
    access, refresh = pair_of(client)
    lost, answers = renewed(refresh), [renewed(refresh) for _ in range(3)]
    assert works(access)
    assert works(answers[0][0])
    assert lost not in answers


def test_using_the_new_refresh_token_ends_the_old_ones_too(client, trader):
    access, refresh = pair_of(client)
    _, second = renewed(refresh)
    third_access, _ = renewed(second)
    assert not works(access)
    assert refusal(renewal_form(refresh, client_id=client.client_id)) == "invalid_grant"
    assert works(third_access)


def test_renewal_needs_the_secret_of_its_client(client, trader):
    factories.oauth_client(EnvironmentPair.STAGING_STAGING, secret="another-secret-of-tests")
    _, refresh = pair_of(client)
    assert refusal(renewal_form(refresh, client_secret="another-secret-of-tests")) == "invalid_client"
    assert refusal({"grant_type": "refresh_token", "refresh_token": refresh}) == "invalid_client"
    other = {"client_id": "tv-staging-staging", "client_secret": "another-secret-of-tests"}
    assert refusal(renewal_form(refresh, **other)) == "invalid_grant"


def test_refresh_tokens_end_after_the_clients_time(client, trader):
    OAuthClient.objects.update(renewal_seconds=600, token_seconds=900)
    status, answer = token_answer(exchange_form(client, code_of(client)))
    assert (status, answer["expires_in"], answer["refresh_token_expires_in"]) == (200, 900, 600)
    assert tokens.expire(answer["refresh_token"])
    assert refusal(renewal_form(answer["refresh_token"])) == "invalid_client"


def test_logout_ends_the_login_with_all_its_renewals(client, trader):
    access, refresh = pair_of(client)
    assert TradingView(access).post("/logout") == {"s": "ok"}
    assert not works(access)
    assert refusal(renewal_form(refresh, client_id=client.client_id)) == "invalid_grant"


def test_expire_token_then_renewal(client, trader):
    access, refresh = pair_of(client)
    call_command("expire_token", access, verbosity=0)
    assert not works(access)
    assert works(renewed(refresh)[0])
    with pytest.raises(CommandError):
        call_command("expire_token", "unknown")


# --- the implicit flow ------------------------------------------------------------------------------------------------


def test_implicit_flow_brings_a_token_in_the_fragment(browser, client, trader):
    given = in_fragment(log_in(browser, address(client, response_type="token", prompt="login")))
    assert given["state"] == STATE
    assert given["expires_in"] == "1800"
    assert works(given["access_token"])
    assert "refresh_token" not in given


def test_implicit_flow_is_off_unless_switched_on():
    assert OAuthClient().implicit_flow is False


def test_prompt_none_renews_by_the_cookie_and_shows_nothing(browser, client, trader):
    url = address(client, response_type="token")
    first = in_fragment(log_in(browser, url))["access_token"]
    cookie = browser.cookies["tv_login"]
    assert cookie["httponly"]
    assert cookie["path"] == "/tv/oauth2/authorize"
    answer = browser.get(url + "&prompt=none")
    given = in_fragment(answer)
    assert given["state"] == STATE
    assert given["access_token"] != first
    assert works(given["access_token"])
    assert works(first)
    assert "X-Frame-Options" not in answer


def test_prompt_none_of_a_stranger_says_login_required(browser, client, trader):
    url = address(client, response_type="token", prompt="none")
    assert in_fragment(browser.get(url)) == {"error": "login_required", "state": STATE}
    browser.cookies["tv_login"] = "forged"
    assert in_fragment(browser.get(url))["error"] == "login_required"


def test_the_cookie_is_for_frames_of_others_only_over_tls(client, trader):
    browser = Browser()
    url = address(client, response_type="token")
    browser.get(url, secure=True)
    browser.post(url, {"login": "trader", "password": PASSWORD}, secure=True)
    cookie = browser.cookies["tv_login"]
    assert (cookie["samesite"], cookie["secure"]) == ("None", True)


def test_the_cookie_is_no_refresh_token_and_ends_with_the_login(browser, client, trader):
    url = address(client, response_type="token")
    token = in_fragment(log_in(browser, url))["access_token"]
    cookie = browser.cookies["tv_login"].value
    assert refusal(renewal_form(cookie, client_id=client.client_id)) == "invalid_grant"
    TradingView(token).post("/logout")
    assert in_fragment(browser.get(url + "&prompt=none"))["error"] == "login_required"


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_asks_for_login_and_password_and_nothing_else(browser, client, trader):
    page = browser.get(address(client))
    text = page.content.decode()
    assert text.count("<input") == 3  # with the hidden token against forgery
    assert "<a " not in text
    assert "<script" not in text
    rules = page["Content-Security-Policy"]
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    assert "form-action 'self' https://www.tradingview.com" in rules
    assert page["X-Frame-Options"] == "DENY"
    assert page["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("lang", "language"),
    [("de", "de"), ("br", "pt-br"), ("kr", "ko"), ("zh", "zh-hans"), ("he", "he"), ("in", "en"), ("xx", "en")],
)
def test_the_page_speaks_the_language_of_lang(browser, client, trader, lang, language):
    page = browser.get(address(client, lang=lang))
    assert page["Content-Language"] == language
    direction = "rtl" if language == "he" else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in page.content.decode()


def test_a_wrong_password_is_told_and_leads_nowhere(browser, client, trader):
    page = log_in(browser, address(client), "wrong")
    assert page.status_code == 200
    assert "Wrong login or password." in page.content.decode()
    assert not AuthorizationCode.objects.exists()


def test_guessing_locks_the_login_on_the_page_and_over_the_api_alike(browser, client, trader, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        page = log_in(browser, address(client), "wrong")
    locked = "There were too many wrong passwords for this login. Please try again in a few minutes."
    assert locked in page.content.decode()
    assert locked in log_in(browser, address(client)).content.decode()
    assert refused(TradingView().post("/authorize", {"login": "trader", "password": PASSWORD})) == locked


def test_a_form_of_another_site_is_refused(browser, client, trader):
    page = browser.post(address(client, lang="de"), {"login": "trader", "password": PASSWORD})
    assert (page.status_code, page["Content-Language"], page["Cache-Control"]) == (403, "de", "no-store")
    assert "Diese Seite war zu lange geöffnet, oder Cookies sind abgeschaltet." in page.content.decode()
    assert "form-action 'none'" in page["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"x=" + b"1" * 3_000_000, 413, "Die Anfrage ist zu groß."),
        (b"&".join(b"a%d=" % number for number in range(1001)), 400, "Die Anfrage hat zu viele Felder."),
    ],
)
def test_a_form_that_is_not_read_is_told_on_a_page_of_ours(browser, client, body, status, sentence):
    browser.get(address(client))  # without the page's cookie it is refused unread
    page = browser.post(address(client, lang="de"), body, content_type=FORM)
    assert (page.status_code, page["Content-Language"], page["Cache-Control"]) == (status, "de", "no-store")
    assert sentence in page.content.decode()
    assert "form-action 'none'" in page["Content-Security-Policy"]


def test_data_servers_do_not_log_in_on_the_page(browser, client, trader):
    factories.user("tvdata", password=PASSWORD, is_data_client=True)
    assert "not for a person" in log_in(browser, address(client), login="tvdata").content.decode()


# --- second factor ----------------------------------------------------------------------------------------------------


@pytest.fixture
def device(trader: User) -> TOTPDevice:
    return TOTPDevice.objects.create(user=trader, name="app", confirmed=True)


def code_now(device: TOTPDevice, steps: int = 0) -> str:
    return f"{totp(device.bin_key, t0=-steps * device.step):06d}"


def ticket_in(page) -> str:
    return page.context["form"].initial["ticket"]


def test_the_second_factor_is_asked_for_after_the_password(browser, client, trader, device):
    page = log_in(browser, address(client))
    assert "authenticator app" in page.content.decode()
    assert "password" not in [field.name for field in page.context["form"]]
    back = submit(browser, address(client), ticket=ticket_in(page), code=code_now(device))
    assert token_answer(exchange_form(client, returned(back)["code"]))[0] == 200


def test_a_code_of_the_app_is_good_once(browser, client, trader, device):
    code = code_now(device)
    for expected in (302, 200):
        page = log_in(browser, address(client))
        answer = submit(browser, address(client), ticket=ticket_in(page), code=code)
        assert answer.status_code == expected
    assert "was used before" in answer.content.decode()


def test_the_second_step_needs_the_first(browser, client, trader, device):
    for forged in ("x", "1:2:3"):
        answer = submit(browser, address(client), ticket=forged, code=code_now(device))
        assert "That took too long." in answer.content.decode()
    assert not AuthorizationCode.objects.exists()


def test_the_password_alone_does_not_open_the_api_either(trader, device):
    answer = TradingView().post("/authorize", {"login": "trader", "password": PASSWORD})
    assert "second factor" in refused(answer)
    assert not AccessToken.objects.exists()


# --- clients and their secrets ----------------------------------------------------------------------------------------


def test_a_rotated_secret_works_beside_the_new_one_to_the_end_of_the_overlap(client, trader):
    new = oauth_clients.rotate_secret(client)
    assert oauth_clients.knows(client, SECRET)
    assert oauth_clients.knows(client, new)
    ClientSecret.objects.filter(digest=tokens.digest(SECRET)).update(ends_at=timezone.now())
    assert not oauth_clients.knows(client, SECRET)
    assert oauth_clients.knows(client, new)


def test_no_two_clients_share_an_id_or_a_secret(client):
    other = factories.oauth_client(EnvironmentPair.STAGING_STAGING, secret="another-secret-of-tests")
    with pytest.raises(IntegrityError), transaction.atomic():
        oauth_clients.add_secret(other, SECRET)
    with pytest.raises(IntegrityError), transaction.atomic():
        OAuthClient.objects.create(pair=EnvironmentPair.STAGING_PRODUCTION, client_id=client.client_id)


def test_use_of_a_client_and_its_secret_is_remembered(client, trader):
    pair_of(client)
    client.refresh_from_db()
    assert timezone.now() - client.last_used_at < timedelta(minutes=1)
    assert timezone.now() - client.secrets.get().last_used_at < timedelta(minutes=1)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", ""])
def test_the_token_address_reads_forms_only(client, trader, content_type):
    body = urlencode(exchange_form(client, code_of(client)))
    response = Browser().generic("POST", "/tv/oauth2/token", body, content_type=content_type)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_broken_token_requests_are_refused_in_words(client, trader):
    bodies = [b"", b"grant_type=x", b"x=%FF", b"a=1&a=2", b"x=%00", b"x=" + b"1" * 100_000]
    for body in [*bodies, b"grant_type=refresh_token", b"grant_type=refresh_token&refresh_token=%F0%9F%92%A9"]:
        response = Browser().generic("POST", "/tv/oauth2/token", body, content_type=FORM)
        validator("POST", "/oauth2/token", 400).validate(response.json())
        assert response.status_code == 400
    assert Browser().get("/tv/oauth2/token").status_code == 400
