"""A trader's login by OAuth 2: the code flow, its renewal, and the implicit flow where it is offered.

The login page is filled in as a person does it: whichever form has a password gets the login and the password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

from tvapi.conformance.checks.oauth import PATH as TOKEN_PATH
from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.trading import Trading

PATH = "/oauth2/authorize"
STATE = "What was given, unchanged: &?#%"
LONGEST_LIFE_SECONDS = 2_147_483  # AUTH-26


@dataclass
class _LoginForm(HTMLParser):
    """The form of a page that has a password in it: where it leads, and its fields with their values."""

    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    login: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.password:
            self.action, self.fields, self.login = of.get("action", ""), {}, ""
        if tag != "input" or "name" not in of:
            return
        kind = of.get("type", "text")
        self.fields.setdefault(of["name"], of.get("value", ""))
        if kind == "password":
            self.password = of["name"]
        elif kind in ("text", "email") and not self.login:
            self.login = of["name"]


@dataclass(frozen=True)
class _Return:
    """The redirect that a login ends with: where to, and its parameters."""

    exchange: Exchange
    location: str

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.location).query))

    @property
    def fragment(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.location).fragment))


def _log_in(trading: Trading, response_type: str, state: str) -> _Return:
    """Open the login page, fill it in, and return where it leads (AUTH-15, AUTH-20). Raises Skipped, Failed."""
    options = trading.options
    if not (options.oauth_client and options.oauth_redirect and options.login):
        raise Skipped("No OAuth client was given (--oauth-client, --oauth-redirect, with --login and --password).")
    browser = trading.client.with_token(None)
    query = {
        "response_type": response_type,
        "client_id": options.oauth_client,
        "redirect_uri": options.oauth_redirect,
        "state": state,
    }
    page = browser.get(PATH, query)
    if "location" in page.headers:
        return _Return(page, page.headers["location"])
    trading.require(page.status == 200, f"The login page answers with status {page.status}.", page)
    form = _LoginForm()
    form.feed(page.text)
    trading.require(bool(form.password and form.login), "The login page has no form for login and password.", page)
    filled = {**form.fields, form.login: options.login, form.password: options.password}
    answer = _submit(browser, page, form.action, filled)
    location = answer.headers.get("location", "")
    trading.require(bool(location), "After the login there is no redirect.", answer)
    return _Return(answer, location)


def _submit(browser: Client, page: Exchange, action: str, filled: dict[str, str]) -> Exchange:
    """Post the form to where it leads, at this server."""
    target = urljoin(page.url, action)
    path = target.removeprefix(browser.base)
    return browser.send("POST", path, form=filled, headers={"Referer": page.url})


def _come_back(trading: Trading) -> _Return:
    """Where a login for a code leads to. Raises Skipped, Failed."""
    if not trading.options.oauth_secret:
        raise Skipped("No secret of an OAuth client was given (--oauth-secret).")
    came = _log_in(trading, "code", STATE)
    trading.require("code" in came.query, "The redirect has no code.", came.exchange)
    return came


def _code(trading: Trading) -> str:
    return _come_back(trading).query["code"]


def _ask_token(trading: Trading, **form: str) -> Exchange:
    return trading.client.with_token(None).send("POST", TOKEN_PATH, form=form)


def _exchange(trading: Trading, code: str, **changes: str) -> Exchange:
    """The request that TradingView's server makes with a code (AUTH-17)."""
    options = trading.options
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": options.oauth_client,
        "client_secret": options.oauth_secret,
        "redirect_uri": options.oauth_redirect,
    }
    return _ask_token(trading, **{**form, **changes})


def _expect_tokens(trading: Trading, answer: Exchange) -> tuple[str, str]:
    """Access and refresh token of an answer as AUTH-18 wants it. Raises Failed."""
    says = answer.says
    trading.require(answer.status == 200, f"Status {answer.status} instead of 200: {says.get('error')}.", answer)
    life = says.get("expires_in")
    is_bearer = str(says.get("token_type", "")).lower() == "bearer"
    trading.expect(is_bearer, f"token_type is “{says.get('token_type')}”, not bearer.", answer)
    fits = isinstance(life, int) and 0 < life <= LONGEST_LIFE_SECONDS
    trading.expect(fits, f"expires_in is {life}, not seconds from 1 to {LONGEST_LIFE_SECONDS} (AUTH-26).", answer)
    tokens = str(says.get("access_token") or ""), str(says.get("refresh_token") or "")
    trading.require(all(tokens), "access_token or refresh_token is missing.", answer)
    return tokens


def _opens(trading: Trading, token: str) -> bool:
    return trading.client.with_token(token).get("/accounts", {"locale": "en"}).is_ok


@check("oauthCodeFlow", "AUTH-12 AUTH-15 AUTH-17 AUTH-18 AUTH-26", Half.TRADING)
def code_flow(trading: Trading) -> None:
    """A login by the page leads back with a code and the state; the code gives tokens that open the accounts."""
    came, wanted = _come_back(trading), trading.options.oauth_redirect
    same = came.query.get("state") == STATE
    trading.expect(same, "“state” does not come back unchanged (AUTH-12).", came.exchange)
    leads = came.location.startswith(wanted)
    trading.expect(leads, f"The redirect does not lead to {wanted} (AUTH-11).", came.exchange)
    answer = _exchange(trading, came.query["code"])
    access, _refresh = _expect_tokens(trading, answer)
    trading.expect(_opens(trading, access), "The access token does not open /accounts.", answer)


@check("oauthCodeIsUsedOnce", "AUTH-16", Half.TRADING)
def code_is_used_once(trading: Trading) -> None:
    """A code that has given its tokens gives no more."""
    code = _code(trading)
    _expect_tokens(trading, _exchange(trading, code))
    again = _exchange(trading, code)
    trading.expect("access_token" not in again.says, "The same code gives tokens again.", again)


@check("oauthCodeBelongsToItsClient", "AUTH-10 AUTH-11 AUTH-17", Half.TRADING)
def code_belongs(trading: Trading) -> None:
    """Without the right secret, or with another redirect_uri, a code gives nothing."""
    for name, value in (("client_secret", "not-the-secret"), ("redirect_uri", "https://elsewhere.example/")):
        answer = _exchange(trading, _code(trading), **{name: value})
        trading.expect("access_token" not in answer.says, f"A wrong {name} is given tokens.", answer)


@check("oauthRedirectIsRegistered", "AUTH-11", Half.TRADING)
def redirect_is_registered(trading: Trading) -> None:
    """An address that was not registered for the client is never led to, whatever else is right."""
    options = trading.options
    if not options.oauth_client:
        raise Skipped("No OAuth client was given (--oauth-client).")
    strange = "https://elsewhere.example/trading/"
    query = {"response_type": "code", "client_id": options.oauth_client, "redirect_uri": strange, "state": "s"}
    answer = trading.client.with_token(None).get(PATH, query)
    form = _LoginForm()
    form.feed(answer.text)
    trading.expect(
        not answer.headers.get("location", "").startswith(strange), "It redirects to a strange address.", answer
    )
    trading.expect(not form.password, "The login page is shown for a strange address.", answer)


@check("oauthRenewal", "AUTH-19 AUTH-25", Half.TRADING)
def renewal(trading: Trading) -> None:
    """A refresh token gives new tokens without a client_id; the old access token works until the new one is used."""
    old, refresh = _expect_tokens(trading, _exchange(trading, _code(trading)))
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_secret": trading.options.oauth_secret}
    answer = _ask_token(trading, **form)
    new, _refresh = _expect_tokens(trading, answer)
    trading.expect(new != old, "The renewed access token is the old one.", answer)
    trading.expect(_opens(trading, old), "The old token ends before the new one was used (AUTH-25).", answer)
    trading.expect(_opens(trading, new), "The renewed token does not open /accounts.", answer)


@check("oauthImplicitFlow", "AUTH-12 AUTH-20 AUTH-23", Half.TRADING)
def implicit_flow(trading: Trading) -> None:
    """Where the implicit flow is offered, a login leads back with a token behind #; without one, nothing is asked."""
    came = _log_in(trading, "token", STATE)
    if (error := came.fragment.get("error") or came.query.get("error")) is not None:
        raise Skipped(f"The implicit flow is not offered to this client ({error}).")
    trading.require("access_token" in came.fragment, "The fragment has no access_token.", came.exchange)
    same = came.fragment.get("state") == STATE
    trading.expect(same, "“state” does not come back unchanged (AUTH-12).", came.exchange)
    opens = _opens(trading, came.fragment["access_token"])
    trading.expect(opens, "The token does not open /accounts.", came.exchange)
    query = {"response_type": "token", "client_id": trading.options.oauth_client, "prompt": "none", "state": STATE}
    query["redirect_uri"] = trading.options.oauth_redirect
    silent = trading.client.with_token(None).get(PATH, query)
    parts = _Return(silent, silent.headers.get("location", ""))
    error = {**parts.query, **parts.fragment}.get("error")
    trading.expect(error == "login_required", f"prompt=none of a stranger leads to {error or 'a page'}.", silent)
