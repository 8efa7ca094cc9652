"""HTTP as TradingView speaks it: requests, answers, and both as evidence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import urlencode

import requests

TIMEOUT_SECONDS = 20.0
LONGEST_EVIDENCE = 4000  # characters of a body that are worth keeping
SECRET_FIELDS = ("password", "client_secret", "assertion", "access_token", "refresh_token")


class Unanswered(Exception):
    """A request that got no answer at all."""

    def __init__(self, exchange: Exchange, why: str) -> None:
        super().__init__(f"{exchange.method} {exchange.path} got no answer: {why}")
        self.exchange = exchange


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came back. `status` 0: nothing did. `seconds` is how long it took."""

    method: str
    url: str
    path: str
    form: Mapping[str, str] | None = None
    sent_headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0

    @property
    def body(self) -> Any:
        """The answer's JSON, its fractions as Decimals. Raises ValueError where it is none."""
        return json.loads(self.text, parse_float=Decimal, parse_constant=_no_number)

    @property
    def says(self) -> dict[str, Any]:
        """The answer, where it is an object; otherwise an empty one."""
        try:
            body = self.body
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def is_ok(self) -> bool:
        return self.status == 200 and self.says.get("s") == "ok"

    @property
    def is_refusal(self) -> bool:
        """An ordinary failure (GEN-3): 200, `s: error`, a sentence."""
        says = self.says
        return self.status == 200 and says.get("s") == "error" and bool(_text(says.get("errmsg")))

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def request_text(self) -> str:
        """The request as evidence; what is secret in it is left out."""
        lines = [f"{self.method} {self.url}"]
        lines += [f"{name}: {'Bearer …' if name == 'Authorization' else value}" for name, value in self._named_headers]
        if self.form is not None:
            shown = {name: "…" if name in SECRET_FIELDS else value for name, value in self.form.items()}
            lines += ["", urlencode(shown, safe="…")]
        return "\n".join(lines)

    @property
    def response_text(self) -> str:
        lines = [f"HTTP {self.status}" if self.status else "no answer"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name in _WORTH_SHOWING]
        body = _without_secrets(self.text)
        if len(body) > LONGEST_EVIDENCE:
            body = f"{body[:LONGEST_EVIDENCE]}… ({len(body)} characters)"
        return "\n".join([*lines, "", body])

    @property
    def _named_headers(self) -> list[tuple[str, str]]:
        return list(self.sent_headers.items())


_WORTH_SHOWING = frozenset(
    {
        "content-type",
        "transfer-encoding",
        "vary",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-allow-credentials",
        "access-control-max-age",
    }
)


class Client:
    """One user of one server. `token` None: nobody is logged in. Each thread has a connection of its own."""

    def __init__(self, base: str, token: str | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.base = base.rstrip("/")
        self.token = token
        self.timeout_seconds = timeout_seconds
        self._local = threading.local()

    def with_token(self, token: str | None) -> Client:
        return Client(self.base, token, timeout_seconds=self.timeout_seconds)

    def get(self, path: str, query: Mapping[str, object] | None = None, **headers: str) -> Exchange:
        return self.send("GET", path, query=query, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        form: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Exchange:
        """Ask, and return the answer whatever its status. Raises Unanswered."""
        request = self._request(method, path, query=query, form=form, headers=headers)
        asked = _asked(request, path, form)
        started = time.monotonic()
        try:
            answer = self._session().send(request, timeout=self.timeout_seconds, allow_redirects=False)
        except requests.RequestException as error:
            raise Unanswered(asked, _reason(error)) from error
        return _answered(asked, answer, answer.content.decode("utf-8", "replace"), time.monotonic() - started)

    def open(self, path: str) -> tuple[Exchange, requests.Response]:
        """An endless answer: its head as evidence, and the response to read on from. Raises Unanswered."""
        request = self._request("GET", path)
        asked = _asked(request, path, None)
        try:
            answer = requests.Session().send(request, stream=True, timeout=self.timeout_seconds, allow_redirects=False)
        except requests.RequestException as error:
            raise Unanswered(asked, _reason(error)) from error
        return _answered(asked, answer, "", 0.0), answer

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        form: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.PreparedRequest:
        sent = dict(headers or {})
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        request = requests.Request(
            method,
            self.base + path,
            params={name: str(value) for name, value in (query or {}).items()},
            data={name: str(value) for name, value in form.items()} if form is not None else None,
            headers=sent,
        )
        return self._session().prepare_request(request)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.headers["User-Agent"] = "conformance"
            session.trust_env = False  # a .netrc or a proxy of this machine is none of TradingView's
            self._local.session = session
        found: requests.Session = self._local.session
        return found


def _asked(request: requests.PreparedRequest, path: str, form: Mapping[str, object] | None) -> Exchange:
    shown = {name: value for name, value in request.headers.items() if name in ("Authorization", "Origin")}
    fields = {name: str(value) for name, value in form.items()} if form is not None else None
    return Exchange(str(request.method), str(request.url), path, fields, shown)


def _answered(asked: Exchange, answer: requests.Response, text: str, seconds: float) -> Exchange:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Exchange(
        asked.method, asked.url, asked.path, asked.form, asked.sent_headers, answer.status_code, headers, text, seconds
    )


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return f"nothing came within {TIMEOUT_SECONDS:.0f} s"
    return str(error)[:200]


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_secrets(text: str) -> str:
    """Evidence is kept and passed on: tokens do not belong in it."""
    text = text.replace("\0", "�")  # no database and no XML takes it
    if not any(f'"{name}"' in text for name in SECRET_FIELDS):
        return text
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return json.dumps(_masked(body), ensure_ascii=False)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "…" if name in SECRET_FIELDS and each else _masked(each) for name, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value
