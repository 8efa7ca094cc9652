"""The contract as a test reads it: which schema of `openapi.yaml` an answer must fit, and a client that checks it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from django.test import Client
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from accounts.models import User
from tests import factories

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "tvapi" / "openapi.yaml").read_text())
FORM = "application/x-www-form-urlencoded"
ORIGIN = "https://www.tradingview.com"
_URI = "urn:openapi"
_registry: Registry = Registry().with_resource(_URI, DRAFT202012.create_resource(DOCUMENT))
_templates = {path: re.compile(re.sub(r"\\{\w+\\}", "[^/]*", re.escape(path))) for path in DOCUMENT["paths"]}


@cache
def validator(method: str, path: str, status: int) -> Draft202012Validator:
    """For answers of this operation; what is no operation can only fail (GEN-3)."""
    return Draft202012Validator({"$ref": _URI + _pointer(method, path, status)}, registry=_registry)


def _pointer(method: str, path: str, status: int) -> str:
    template = next((name for name, pattern in _templates.items() if pattern.fullmatch(path)), "")
    responses = DOCUMENT["paths"].get(template, {}).get(method.lower(), {}).get("responses", {})
    if str(status) not in responses or template == "/streaming":  # its messages are no answers to a refused request
        return "#/components/schemas/ErrorResponse"
    return responses[str(status)]["$ref"] + "/content/application~1json/schema"


class TradingView:
    """A client of the contract. Each answer is checked against its schema; numbers arrive as they were written.

    `token` None sends no token. Paths are given as on the wire: ids in them percent-encoded.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self._client = Client(raise_request_exception=False)

    def send(
        self, method: str, path: str, body: bytes | str = b"", *, content_type: str = FORM, **headers: str
    ) -> tuple[int, Any]:
        """Status and parsed body."""
        if self.token is not None:
            headers.setdefault("authorization", f"Bearer {self.token}")
        self.response = self._client.generic(method, f"/tv{path}", body, content_type=content_type, headers=headers)
        assert self.response.status_code in (200, 401), f"{method} {path}: {self.response.status_code}"
        assert self.response["Content-Type"] == "application/json"
        answer = json.loads(self.response.content, parse_float=Decimal)
        validator(method, path.partition("?")[0], self.response.status_code).validate(answer)
        return self.response.status_code, answer

    def get(self, path: str, **query: object) -> Any:
        return self.send("GET", _with(path, query))[1]

    def post(self, path: str, form: Mapping[str, object] | None = None, **query: object) -> Any:
        return self.send("POST", _with(path, query), urlencode(form or {}))[1]

    def put(self, path: str, form: Mapping[str, object], **query: object) -> Any:
        return self.send("PUT", _with(path, query), urlencode(form))[1]

    def delete(self, path: str, form: Mapping[str, object] | None = None, **query: object) -> Any:
        return self.send("DELETE", _with(path, query), urlencode(form or {}))[1]

    def d(self, path: str, **query: object) -> Any:
        """What a successful GET says."""
        answer = self.get(path, **query)
        assert answer["s"] == "ok", answer
        return answer["d"]


def client_of(user: User) -> TradingView:
    """A client logged in as this user."""
    return TradingView(factories.token(user))


def refused(answer: dict[str, Any]) -> str:
    """The sentence of a refusal."""
    assert answer["s"] == "error", answer
    return str(answer["errmsg"])


def _with(path: str, query: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
