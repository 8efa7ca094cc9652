"""The schemas of `openapi.yaml`: where an answer differs from what TradingView expects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tvapi.conformance.client import Exchange

DOCUMENT = Path(__file__).resolve().parent.parent / "openapi.yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C it takes a tenth of the time
_URI = "urn:openapi"
_SCHEMAS = "#/components/schemas/"
MOST_DIFFERENCES = 8


class Contract:
    """The document, read once."""

    def __init__(self, document: Path = DOCUMENT) -> None:
        self._document: dict[str, Any] = yaml.load(document.read_text("utf-8"), Loader=_Loader)  # noqa: S506 (safe)
        resource = DRAFT202012.create_resource(self._document)
        self._registry: Registry = Registry().with_resource(_URI, resource)
        self._validators: dict[str, Draft202012Validator] = {}

    @cached_property
    def flag_defaults(self) -> dict[str, bool]:
        """What an account's flag is when it is left out (ACC-8)."""
        flags = self._document["components"]["schemas"]["AccountFlags"]["properties"]
        return {name: bool(schema.get("default", False)) for name, schema in flags.items()}

    @cached_property
    def locales(self) -> list[str]:
        return list(self._document["components"]["schemas"]["Locale"]["enum"])

    @cached_property
    def _templates(self) -> dict[str, re.Pattern[str]]:
        return {path: re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))) for path in self._document["paths"]}

    def differences(self, exchange: Exchange) -> list[str]:
        """How the answer differs from the schema of its operation and status; empty: not at all."""
        try:
            body = exchange.body
        except ValueError as error:
            return [f"the body is not JSON: {error}"]
        names = self._names_for(exchange)
        if not names:
            return [f"the contract knows no answer with status {exchange.status} here"]
        return self.against(_fitting(names, body), body)

    def against(self, schema: str, value: Any) -> list[str]:
        """How a value differs from a schema by name, the plainest differences first."""
        if schema not in self._validators:
            reference = {"$ref": f"{_URI}{_SCHEMAS}{schema}"}
            self._validators[schema] = Draft202012Validator(reference, registry=self._registry)
        errors = list(self._validators[schema].iter_errors(value))
        return [_told(error) for error in errors[:MOST_DIFFERENCES]]

    def _names_for(self, exchange: Exchange) -> list[str]:
        template = next((name for name, pattern in self._templates.items() if pattern.fullmatch(exchange.path)), "")
        operation = self._document["paths"].get(template, {}).get(exchange.method.lower(), {})
        response = operation.get("responses", {}).get(str(exchange.status))
        if response is None:
            return []
        response = self._resolved(response)
        schema = response["content"]["application/json"]["schema"]
        return [each["$ref"].removeprefix(_SCHEMAS) for each in schema.get("oneOf", [schema])]

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node


@cache
def contract() -> Contract:
    """The project's own document, read once in a process."""
    return Contract()


def _fitting(names: list[str], body: Any) -> str:
    """Of the schemas of success and failure, the one this answer claims to be: its differences are the telling ones."""
    if "ErrorResponse" in names and isinstance(body, dict) and body.get("s") == "error":
        return "ErrorResponse"
    if "HistoryEmptyBarResponse" in names and isinstance(body, dict) and body.get("t") == []:
        return "HistoryEmptyBarResponse"
    return names[0]


def _told(error: ValidationError) -> str:
    """The difference in one line: where, and what is wrong; of alternatives, the one that nearly fits."""
    while error.context:
        deeper = best_match(iter(error.context))
        if deeper is None:
            break
        error = deeper
    where = "".join(_steps(error))
    return f"{where or 'the answer'}: {error.message[:300]}"


def _steps(error: ValidationError) -> Iterator[str]:
    for step in error.absolute_path:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"
