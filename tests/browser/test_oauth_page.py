"""The login page in a browser, and the flows as an independent OAuth client drives them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import playwright.sync_api
import pytest
from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives import serialization
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from joserfc.jwk import RSAKey
from playwright.sync_api import Page, Request, expect

from accounts.models import Account
from accounts.oauth_models import OAuthClient
from tests import factories
from tests.tvapi.test_assertions import KEY, certificate

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

PASSWORD = "a-password-of-tests"
SECRET = "a-secret-of-the-tests-only"
BACK = "https://www.tradingview.com/**"
VERIFIER = "v" * 64


@pytest.fixture
def account() -> Account:
    return factories.account(number="WEB-1", owner=factories.user("trader", password=PASSWORD))


@pytest.fixture
def device(account: Account) -> TOTPDevice:
    return TOTPDevice.objects.create(user=account.client.user, name="app", confirmed=True)


@pytest.fixture
def client() -> OAuthClient:
    return factories.oauth_client(secret=SECRET, implicit_flow=True)


@pytest.fixture
def tradingview(live_server: Any, account: Account, client: OAuthClient) -> Iterator[OAuth2Session]:
    """TradingView's side: a client library that knows addresses, id and secret, and nothing of ours."""
    session = OAuth2Session(
        client.client_id,
        SECRET,
        token_endpoint_auth_method="client_secret_post",
        redirect_uri=client.redirect_uris[0],
        token_endpoint=f"{live_server.url}/tv/oauth2/token",
        code_challenge_method="S256",
    )
    yield session
    session.close()


def address(tradingview: OAuth2Session, **query: str) -> str:
    token_uri = tradingview.metadata["token_endpoint"]
    url, _state = tradingview.create_authorization_url(
        token_uri.replace("token", "authorize"), code_verifier=VERIFIER, token_uri=token_uri, **query
    )
    return str(url)


def log_in(page: Page, password: str) -> None:
    """With the keyboard alone."""
    expect(page.get_by_label("Login")).to_be_focused()
    page.keyboard.press("Control+A")  # after a failure the login is still there
    page.keyboard.type("trader")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def accounts_of(tradingview: OAuth2Session) -> list[str]:
    """What its token opens."""
    url = tradingview.metadata["token_endpoint"].replace("oauth2/token", "accounts")
    return [each["id"] for each in tradingview.get(url).json()["d"]]


def test_a_login_ends_at_tradingview_with_a_code_that_becomes_tokens(
    context: Any, tradingview: OAuth2Session, account: Account
) -> None:
    page = context.new_page()
    page.goto(address(tradingview))
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("Wrong login or password.")
    with page.expect_request(BACK) as back:  # the page's own rules let it go there; nobody needs to answer
        log_in(page, PASSWORD)
    token = dict(tradingview.fetch_token(authorization_response=back.value.url, code_verifier=VERIFIER))
    assert token["expires_in"] == 1800
    assert accounts_of(tradingview) == [account.number]
    renewed = tradingview.refresh_token()
    assert renewed["access_token"] != token["access_token"]
    assert accounts_of(tradingview) == [account.number]


def test_the_implicit_flow_shows_the_page_once_and_renews_without_it(
    context: Any, tradingview: OAuth2Session, account: Account
) -> None:
    page = context.new_page()
    page.goto(address(tradingview, response_type="token", prompt="login"))
    with page.expect_request(BACK) as back:
        log_in(page, PASSWORD)
    first = dict(tradingview.fetch_token(authorization_response=_with_fragment(back.value)))
    assert accounts_of(tradingview) == [account.number]
    silently = address(tradingview, response_type="token", prompt="none")
    with page.expect_request(BACK) as back:
        _go(page, silently)
    renewed = tradingview.fetch_token(authorization_response=_with_fragment(back.value))
    assert renewed["access_token"] != first["access_token"]
    assert accounts_of(tradingview) == [account.number]
    page.context.clear_cookies()
    with page.expect_request(BACK) as back:
        _go(page, silently)
    assert "#error=login_required" in _with_fragment(back.value)


def _with_fragment(request: Request) -> str:
    """Where a redirect has led to, with what a browser keeps to itself."""
    redirect = request.redirected_from
    answer = redirect.response() if redirect else None
    assert answer
    return str(answer.header_value("location"))


def _go(page: Page, url: str) -> None:
    """Where nobody answers at the end: the way there is what counts."""
    with contextlib.suppress(playwright.sync_api.Error):
        page.goto(url)


def test_who_has_a_second_factor_enters_its_code(
    context: Any, tradingview: OAuth2Session, account: Account, device: TOTPDevice
) -> None:
    page = context.new_page()
    page.goto(address(tradingview))
    log_in(page, PASSWORD)
    field = page.get_by_label("Code from your authenticator app, or a recovery code")
    expect(field).to_be_focused()
    page.keyboard.type("x")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    device.refresh_from_db()
    device.throttle_reset()  # a wrong one makes the next wait
    field.fill(f"{totp(device.bin_key):06d}")
    with page.expect_request(BACK) as back:
        page.keyboard.press("Enter")
    tradingview.fetch_token(authorization_response=back.value.url, code_verifier=VERIFIER)
    assert accounts_of(tradingview) == [account.number]


def test_a_data_server_gets_tokens_for_what_it_signs(live_server: Any, client: OAuthClient) -> None:
    client.certificate, client.assertion_needs_secret = certificate(KEY), False
    client.save()
    client.data_users.add(factories.user("tvdata", is_data_client=True))
    factories.instrument("EURUSD")
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server = AssertionSession(
        f"{live_server.url}/tv/oauth2/token",
        issuer=client.client_id,
        subject="tvdata",
        grant_type=AssertionSession.JWT_BEARER_GRANT_TYPE,
        key=RSAKey.import_key(pem),
        header={"alg": "RS256"},
    )
    groups = server.get(f"{live_server.url}/tv/groups").json()
    server.close()
    assert groups == {"s": "ok", "d": {"groups": [{"id": "demo_forex"}]}}


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "ar"])
def test_every_step_keeps_the_rules_of_accessibility(
    context: Any, tradingview: OAuth2Session, device: TOTPDevice, lang: str, colour_scheme: Any
) -> None:
    """Contrast, labels, language, structure: what axe-core knows of WCAG 2.1 AA."""
    page = context.new_page()
    page.emulate_media(color_scheme=colour_scheme)
    url = address(tradingview, lang=lang)

    def submit(**fields: str) -> None:
        for name, value in fields.items():
            page.locator(f"input[name={name}]").fill(value)
        page.locator("button").click()

    page.goto(url)
    _check_accessibility(page)
    submit(login="trader", password="wrong")
    _check_accessibility(page)
    submit(login="trader", password=PASSWORD)
    page.locator("input[name=code]").wait_for()
    _check_accessibility(page)
    page.goto(url + "&state=twice")
    _check_accessibility(page)


def _check_accessibility(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response
    assert len(found["passes"]) > 5
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found["violations"]] == []


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "ar"])
def test_the_page_fits_a_narrow_tab(page: Page, tradingview: OAuth2Session, lang: str, colour_scheme: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 600})
    page.emulate_media(color_scheme=colour_scheme)
    page.goto(address(tradingview, lang=lang))
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight")
    assert page.evaluate("document.documentElement.dir") == ("rtl" if lang == "ar" else "ltr")
