"""What servers do wrong at the login by OAuth 2. Each fault names the one test that must see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tests.conformance.proxy import Fault, Passing, State

JSON = {"content-type": "application/json"}


def _answers(passing: Passing, status: int, body: bytes, **headers: str) -> None:
    passing.status, passing.answer, passing.answer_headers = status, body, {**JSON, **headers}


def _token_request(passing: Passing) -> dict[str, str]:
    """The form that asks for tokens; empty for any other request."""
    if passing.method != "POST" or not passing.address.endswith("/oauth2/token"):
        return {}
    return {name: values[0] for name, values in parse_qs(passing.body.decode()).items()}


def _loses_state(mark: str) -> Callable[[Passing, State], None]:
    """The redirect whose parameters are behind that mark has another state."""

    def after(passing: Passing, _state: State) -> None:
        address, found, parameters = passing.answer_headers.get("location", "").partition(mark)
        if found and "/oauth2/authorize" in passing.address:
            passing.answer_headers["location"] = address + mark + parameters.replace("state=", "state=x")

    return after


def _gives_again(passing: Passing, state: State) -> None:
    """The tokens of a code, for the same code."""
    if code := _token_request(passing).get("code"):
        if passing.status == 200:
            state[code] = passing.answer
        elif code in state:
            _answers(passing, 200, state[code])


def _takes_any_secret(passing: Passing, _state: State) -> None:
    if _token_request(passing).get("client_secret") == "not-the-secret":
        _answers(passing, 200, b'{"access_token": "another", "token_type": "Bearer"}')


def _leads_anywhere(passing: Passing, _state: State) -> None:
    if passing.address.endswith("/oauth2/authorize") and "elsewhere.example" in passing.query.get("redirect_uri", ""):
        _answers(passing, 302, b"", location=f"{passing.query['redirect_uri']}?code=1")


def _renews_nothing(passing: Passing, state: State) -> None:
    """The renewed token is the one before."""
    asked = _token_request(passing)
    if asked and passing.status == 200:
        said: dict[str, Any] = json.loads(passing.answer)
        said["access_token"] = state.setdefault("token", said["access_token"])
        passing.answer = json.dumps(said).encode()


LOGIN = (
    Fault("state-lost", "oauthCodeFlow", after=_loses_state("?")),
    Fault("code-again", "oauthCodeIsUsedOnce", after=_gives_again),
    Fault("any-secret", "oauthCodeBelongsToItsClient", before=_takes_any_secret),
    Fault("leads-anywhere", "oauthRedirectIsRegistered", before=_leads_anywhere),
    Fault("renews-nothing", "oauthRenewal", after=_renews_nothing),
    Fault("state-lost-behind-hash", "oauthImplicitFlow", after=_loses_state("#")),
)
