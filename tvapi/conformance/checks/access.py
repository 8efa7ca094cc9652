"""Who may ask, from where, and how a refusal looks: AUTH, CORS, GEN and LOC of the trading half."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

from tvapi.conformance.checks.authorization import expect_token, log_in
from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.trading import Trading

ORIGIN = "https://www.tradingview.com"
ALLOWED = (ORIGIN, "https://de.tradingview.com", "https://br.tradingview.com")
SANDBOX = "https://beta.xstaging.tv"  # CORS-2
FOREIGN = (
    "https://eviltradingview.com",
    "https://www.tradingview.com.evil.example",
    "https://tradingview.com.evil.example",
    "https://wwwxtradingview.com",
    "http://www.tradingview.com",
    "null",
)
UNKNOWN = "no-such-account"
ALLOW_ORIGIN = "access-control-allow-origin"
INTERNALS = ("Traceback", "Exception", "Error at", "line ", "SELECT ", "null pointer", "django", ".py")
READ_PATHS = ("instruments", "state", "orders", "ordersHistory", "positions", "balances", "executions?instrument=X")
METHODS = ("GET", "POST", "PUT", "DELETE")


def protected(account: str) -> Iterator[tuple[str, str]]:
    """Method and path of everything that asks for a token, for one account."""
    yield from (("GET", path) for path in ("/config", "/accounts", "/permissions"))
    yield "GET", f"/quotes?accountId={account}&symbols=X"
    yield from of_account(account)


def of_account(account: str) -> Iterator[tuple[str, str]]:
    yield from (("GET", f"/accounts/{account}/{path}") for path in READ_PATHS)
    yield "POST", f"/accounts/{account}/orders"
    yield from ((method, f"/accounts/{account}/orders/1") for method in ("PUT", "DELETE"))
    yield from ((method, f"/accounts/{account}/positions/1") for method in ("PUT", "DELETE"))


def _send(client: Client, method: str, path: str, **headers: str) -> Exchange:
    return client.send(method, path, form=None if method == "GET" else {"qty": "1"}, headers=headers)


@check("tradingHttpsOnly", "GEN-13", Half.TRADING)
def https_only(trading: Trading) -> None:
    """The address is an HTTPS one: TradingView's page may ask no other."""
    address = urlsplit(trading.client.base)
    if address.hostname in ("127.0.0.1", "localhost", "::1"):
        raise Skipped("The server is on this machine.")
    trading.expect(address.scheme == "https", f"{trading.client.base} is not HTTPS.")


@check("authorizeFieldsFormat", "AUTH-5 AUTH-6", Half.TRADING)
def authorize(trading: Trading) -> None:
    """A user's login gives a new token each time; both tokens work at the same time."""
    tokens = [expect_token(trading, _log_in(trading)) for _time in range(2)]
    trading.expect(tokens[0] != tokens[1], "Two logins gave the same token.")
    for token in tokens:
        exchange = trading.client.with_token(token).get("/accounts", {"locale": "en"})
        trading.expect(exchange.status == 200, f"A token just given is answered with {exchange.status}.", exchange)


def _log_in(trading: Trading) -> Exchange:
    if not trading.options.login:
        raise Skipped("No login and password were given.")
    return log_in(trading.client, trading.options.login, trading.options.password)


@check("authorizeWrongPassword", "AUTH-8", Half.TRADING)
def wrong_password(trading: Trading) -> None:
    """Wrong credentials are an ordinary failure, not 401."""
    exchange = log_in(trading.client, f"nobody-{uuid4().hex[:8]}", "wrong")
    trading.expect_contract(exchange)
    trading.expect(exchange.is_refusal, "It is no failure with a sentence.", exchange)


@check("tradingUnauthorizedRequests", "AUTH-2 GEN-4", Half.TRADING)
def unauthorized(trading: Trading) -> None:
    """Every protected request without a token, or with an unknown one, is answered with 401."""
    account = trading.desks[0].id if trading.client.token else UNKNOWN
    for token in (None, "not-a-token"):
        client = trading.client.with_token(token)
        for method, path in protected(account):
            exchange = _send(client, method, path)
            what = "without a token" if token is None else "with an unknown token"
            trading.expect(exchange.status == 401, f"{method} {path} {what}: status {exchange.status}.", exchange)


@check("logoutRevokesToken", "AUTH-32", Half.TRADING)
def logout(trading: Trading) -> None:
    """After `/logout` the token is worth nothing."""
    if not any(desk.has("supportLogout") for desk in trading.desks):
        raise Skipped("No account has supportLogout.")
    client = trading.client.with_token(expect_token(trading, _log_in(trading)))
    exchange = client.send("POST", "/logout", query={"locale": "en"}, form={})
    trading.expect_contract(exchange)
    trading.expect(exchange.is_ok, "Logging out is refused.", exchange)
    after = client.get("/accounts", {"locale": "en"})
    trading.expect(after.status == 401, f"The token still gets {after.status}.", after)


# --- CORS -------------------------------------------------------------------------------------------------------------


def _expect_origin(trading: Trading, exchange: Exchange, origin: str) -> None:
    """CORS-4: the requesting origin itself."""
    found = exchange.headers.get(ALLOW_ORIGIN, "")
    trading.expect(
        found == origin, f"{exchange.method} {exchange.path}, {exchange.status}: {ALLOW_ORIGIN} is “{found}”.", exchange
    )


def _expect_vary(trading: Trading, exchange: Exchange) -> None:
    if "origin" not in exchange.headers.get("vary", "").lower():
        trading.warn(f"{exchange.path}: no “Vary: Origin”; a cache may give it to another origin (CORS-7).", exchange)


@check("corsOnSuccess", "CORS-1 CORS-4 CORS-7", Half.TRADING)
def cors_on_success(trading: Trading) -> None:
    """Successes repeat the origin of every TradingView site."""
    for origin in ALLOWED:
        exchange = trading.client.get("/accounts", {"locale": "en"}, Origin=origin)
        _expect_origin(trading, exchange, origin)
        _expect_vary(trading, exchange)
    for desk in trading.desks[:1]:
        for path in ("state", "orders", "instruments"):
            answer = trading.client.get(f"{desk.path}/{path}", {"locale": "en"}, Origin=ORIGIN)
            _expect_origin(trading, answer, ORIGIN)
    sandbox = trading.client.get("/accounts", {"locale": "en"}, Origin=SANDBOX)
    if sandbox.headers.get(ALLOW_ORIGIN) != SANDBOX:
        trading.warn("Origins of xstaging.tv are refused: the sandbox cannot ask (CORS-2).", sandbox)


@check("corsOnUnauthorized", "CORS-4", Half.TRADING)
def cors_on_unauthorized(trading: Trading) -> None:
    """A 401 has the header too: without it the page cannot know that it must log in again."""
    for token in (None, "not-a-token"):
        client = trading.client.with_token(token)
        for method, path in protected(UNKNOWN):
            _expect_origin(trading, _send(client, method, path, Origin=ORIGIN), ORIGIN)


@check("corsOnErrors", "CORS-4", Half.TRADING)
def cors_on_errors(trading: Trading) -> None:
    """Failures have the header too, of unknown addresses as well."""
    for method, path in [*of_account(UNKNOWN), ("GET", "/no/such/address")]:
        _expect_origin(trading, _send(trading.client, method, path, Origin=ORIGIN), ORIGIN)
    refused = log_in(trading.client, f"nobody-{uuid4().hex[:8]}", "wrong")
    trading.expect(refused.status != 401, "A refused login is 401.", refused)


@check("corsPreflight", "CORS-5 CORS-6", Half.TRADING)
def preflight(trading: Trading) -> None:
    """Preflights are answered without a token, allow all methods and headers that are used, and may be kept."""
    client = trading.client.with_token(None)
    for method in METHODS:
        asked = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        exchange = client.send("OPTIONS", "/accounts/X/orders/1", headers={"Origin": ORIGIN, **asked})
        trading.expect(exchange.status in (200, 204), f"The preflight of {method} gets {exchange.status}.", exchange)
        _expect_origin(trading, exchange, ORIGIN)
        allowed = _words(exchange, "access-control-allow-methods")
        trading.expect(method.lower() in allowed, f"{method} is not allowed.", exchange)
        missing = {"authorization", "content-type"} - _words(exchange, "access-control-allow-headers")
        trading.expect(not missing, f"The preflight of {method} does not allow {', '.join(sorted(missing))}.", exchange)
        age = exchange.headers.get("access-control-max-age", "")
        trading.expect(age.isdigit() and int(age) > 5, "No Access-Control-Max-Age of more than 5 s.", exchange)


def _words(exchange: Exchange, header: str) -> set[str]:
    return {word.strip().lower() for word in exchange.headers.get(header, "").split(",")}


@check("corsForeignOrigins", "CORS-7", Half.TRADING)
def foreign_origins(trading: Trading) -> None:
    """Origins that only look like TradingView's are not allowed."""
    for origin in FOREIGN:
        exchange = trading.client.get("/accounts", {"locale": "en"}, Origin=origin)
        found = exchange.headers.get(ALLOW_ORIGIN, "")
        trading.expect(found not in (origin, "*"), f"The origin {origin} is answered with “{found}”.", exchange)
        credentials = exchange.headers.get("access-control-allow-credentials", "")
        trading.expect(credentials != "true", "Access-Control-Allow-Credentials is sent.", exchange)


# --- refusals ---------------------------------------------------------------------------------------------------------


def expect_refusal(trading: Trading, exchange: Exchange, what: str) -> str:
    """GEN-3: 200, `s: error`, a plain sentence. Returns it."""
    if not trading.expect(exchange.status == 200, f"{what}: status {exchange.status} instead of 200.", exchange):
        return ""
    if not trading.expect(exchange.is_refusal, f"{what}: it is no failure with a sentence.", exchange):
        return ""
    sentence = str(exchange.says["errmsg"])
    found = [word for word in INTERNALS if word in sentence]
    trading.expect(not found, f"{what}: the sentence shows internals: {sentence}", exchange)
    return sentence


@check("unknownAccountRefused", "ACC-3 GEN-3", Half.TRADING)
def unknown_account(trading: Trading) -> None:
    """An account that is not the user's is an ordinary failure, in every request."""
    _ = trading.desks  # without accounts every answer would be one for a login without any
    for method, path in of_account(UNKNOWN):
        expect_refusal(trading, _send(trading.client, method, path), f"{method} {path}")
    query = {"locale": "en", "accountId": UNKNOWN, "symbols": "X"}
    expect_refusal(trading, trading.client.get("/quotes", query), "/quotes")


@check("foreignAccountRefused", "ACC-3", Half.TRADING)
def foreign_account(trading: Trading) -> None:
    """Somebody else's account is answered in the same words as one that does not exist."""
    if not (account := trading.options.foreign_account):
        raise Skipped("No account of somebody else was given (--foreign-account).")
    for (method, path), (_method, unknown) in zip(of_account(account), of_account(UNKNOWN), strict=True):
        exchange = _send(trading.client, method, path)
        sentence = expect_refusal(trading, exchange, f"{method} {path}")
        same = _send(trading.client, method, unknown).says.get("errmsg")
        if sentence and sentence != same:
            trading.warn(f"{method} {path}: “{sentence}”, of an unknown account “{same}”.", exchange)


@check("errorsAreOrdinary", "GEN-3 GEN-4 GEN-6", Half.TRADING)
def errors_are_ordinary(trading: Trading) -> None:
    """Bad input and unknown orders, positions and instruments are failures with a sentence, never a 4xx or 5xx."""
    for desk in trading.desks:
        for method in ("PUT", "DELETE"):
            for what in ("orders/no-such-order", "positions/no-such-position"):
                form = {"qty": "1"} if method == "PUT" else {}
                expect_refusal(trading, desk.send(method, what, form), f"{desk.id}, {method} {what}")
        for name, form in (
            ("an empty form", {}),
            ("a quantity that is no number", {"instrument": "X", "side": "buy", "type": "market", "qty": "many"}),
            ("an unknown instrument", {"instrument": "NO.SUCH", "side": "buy", "type": "market", "qty": "1"}),
            ("an unknown side", {"instrument": "X", "side": "up", "type": "market", "qty": "1"}),
        ):
            expect_refusal(trading, desk.send("POST", "orders", form), f"{desk.id}, {name}")


# --- languages --------------------------------------------------------------------------------------------------------


@check("localeUnknownIsEnglish", "LOC-2", Half.TRADING)
def unknown_locale(trading: Trading) -> None:
    """A language that there is not, or none, gets English."""
    english = trading.config_answer.says
    for query in ({"locale": "xx"}, {"locale": "zz_ZZ"}, {}):
        exchange = trading.client.get("/config", query)
        trading.expect(
            exchange.says == english, f"/config with {query or 'no locale'} is not the English one.", exchange
        )


@check("localeConstants", "LOC-1 LOC-3", Half.TRADING)
def locale_constants(trading: Trading) -> None:
    """In every language of TradingView the ids stay, and so do names of instruments, types, statuses and sides."""
    names = [each["name"] for each in trading.desks[0].instruments]
    ids = _ids(trading.config)
    for locale in trading.contract.locales:
        exchange = trading.client.get("/config", {"locale": locale})
        trading.expect_contract(exchange)
        trading.expect(_ids(exchange.says.get("d")) == ids, f"{locale}: /config has other ids.", exchange)
    for locale in trading.contract.locales[:: len(trading.contract.locales) // 4]:
        answer = trading.client.get(f"{trading.desks[0].path}/instruments", {"locale": locale})
        trading.expect_contract(answer)
        found = [each["name"] for each in trading.read(answer)["d"]]
        trading.expect(found == names, f"{locale}: instruments have other names.", answer)


def _ids(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [str(value["id"])] if "id" in value else []
        return own + [name for each in value.values() for name in _ids(each)]
    return [name for each in value for name in _ids(each)] if isinstance(value, list) else []
