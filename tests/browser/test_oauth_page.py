"""The login page in a browser, and the flow as an independent OAuth client drives it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from requests_oauthlib import OAuth2Session

from accounts.models import Account
from accounts.oauth_models import OAuthClient
from tests import factories

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

PASSWORD = "a-password-of-tests"
SECRET = "a-secret-of-the-tests-only"
BACK = "https://www.tradingview.com/**"


@pytest.fixture
def account() -> Account:
    return factories.account(number="WEB-1", owner=factories.user("trader", password=PASSWORD))


@pytest.fixture
def tradingview(live_server: Any, account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[OAuth2Session]:
    """TradingView's side: a client library that knows addresses, id and secret, and nothing of ours."""
    monkeypatch.setitem(os.environ, "OAUTHLIB_INSECURE_TRANSPORT", "1")
    client: OAuthClient = factories.oauth_client(secret=SECRET)
    session = OAuth2Session(client.client_id, redirect_uri=client.redirect_uris[0], pkce="S256")
    session.token_address = f"{live_server.url}/tv/oauth2/token"
    yield session
    session.close()


def open_page(page: Page, tradingview: OAuth2Session, lang: str = "en") -> None:
    url, _state = tradingview.authorization_url(
        tradingview.token_address.replace("token", "authorize"), token_uri=tradingview.token_address, lang=lang
    )
    page.goto(url)


def log_in(page: Page, password: str) -> None:
    """With the keyboard alone."""
    expect(page.get_by_label("Login")).to_be_focused()
    page.keyboard.press("Control+A")  # after a failure the login is still there
    page.keyboard.type("trader")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_a_login_ends_at_tradingview_with_a_code_that_becomes_tokens(
    context: Any, live_server: Any, tradingview: OAuth2Session, account: Account
) -> None:
    page = context.new_page()
    open_page(page, tradingview)
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("Wrong login or password.")
    with page.expect_request(BACK) as back:  # the page's own rules let it go there; nobody needs to answer
        log_in(page, PASSWORD)
    token = tradingview.fetch_token(
        tradingview.token_address, authorization_response=back.value.url, client_secret=SECRET, include_client_id=True
    )
    assert token["expires_in"] == 1800
    accounts = tradingview.get(f"{live_server.url}/tv/accounts").json()["d"]
    assert [each["id"] for each in accounts] == [account.number]
    renewed = tradingview.refresh_token(tradingview.token_address, client_secret=SECRET)
    assert renewed["access_token"] != token["access_token"]
    assert tradingview.get(f"{live_server.url}/tv/accounts").json()["s"] == "ok"


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "ar"])
def test_the_page_fits_a_narrow_tab(page: Page, tradingview: OAuth2Session, lang: str, colour_scheme: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 600})
    page.emulate_media(color_scheme=colour_scheme)
    open_page(page, tradingview, lang)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight")
    assert page.evaluate("document.documentElement.dir") == ("rtl" if lang == "ar" else "ltr")
