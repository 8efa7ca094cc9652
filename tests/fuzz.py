"""Requests made from `openapi.yaml`: as many as wanted, each a mixture of what the contract knows and what it does not.

`make fuzz` sends 50,000; the tests a few hundred. None may end in anything but the statuses of the contract.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.tvapi.contract import DOCUMENT, FORM

# What a field may hold when it does not hold what the schema says.
NASTY = [
    "", "0", "-1", "1e999999", "NaN", "Infinity", "null", "{}", "[]", "'", '"', "\\", "%s", "%00", "\x00", "\r\n", " ",
    "../..", "EURUSD", "FX", "1", "9" * 400, "0." + "0" * 99 + "1", "x" * 3000, "привет", "💩", "\u202e", "zh_TW",
    "9223372036854775808", "true", "<script>", "1970-01-01", "a=b&c=d", "none", "login", "code", "token",
]  # fmt: skip


class Call(NamedTuple):
    method: str
    path: str  # with its query, percent-encoded
    body: str


def calls(count: int, *, seed: int) -> Iterator[Call]:
    """So many; the same ones for the same seed."""
    chance = random.Random(seed)
    operations = [
        (method.upper(), path, operation)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    ]
    for _number in range(count):
        method, path, operation = chance.choice(operations)
        yield _call(chance, method, path, operation)


def _call(chance: random.Random, method: str, path: str, operation: dict[str, Any]) -> Call:
    query: list[tuple[str, str]] = []
    for parameter in map(_resolved, operation.get("parameters", ())):
        value = _value(chance, parameter.get("schema", {}))
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", quote(value, safe=""))
        elif parameter["in"] == "query" and chance.random() < 0.8:
            query.append((parameter["name"], value))
    body = _body(chance, operation)
    for pairs in (query, body):
        if pairs and chance.random() < 0.05:
            pairs.append(chance.choice(pairs))  # a field twice
    method = method if chance.random() < 0.97 else chance.choice(("PATCH", "PUT", "DELETE", "POST", "GET"))
    return Call(method, f"{path}?{urlencode(query)}" if query else path, urlencode(body))


def _body(chance: random.Random, operation: dict[str, Any]) -> list[tuple[str, str]]:
    content = _resolved(operation.get("requestBody", {})).get("content", {})
    schema = _resolved(content.get(FORM, {}).get("schema", {}))
    if "oneOf" in schema:
        schema = _resolved(chance.choice(schema["oneOf"]))
    fields = [(name, _value(chance, field)) for name, field in schema.get("properties", {}).items()]
    return [field for field in fields if chance.random() < 0.8]


def _value(chance: random.Random, schema: dict[str, Any]) -> str:
    """Mostly one that fits the schema."""
    schema = _resolved(schema)
    if chance.random() < 0.3:
        return chance.choice(NASTY)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return str(chance.choice(schema["enum"]))
    if schema.get("type") == "integer":
        return str(chance.randrange(0, 2_000_000_000))
    if schema.get("type") == "number":
        return str(round(chance.uniform(0, 2), chance.randrange(6)))
    return chance.choice(["FX", "EURUSD", "1", "gtc", "trader", "general", "EURUSD,GBPUSD"])


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while reference := schema.get("$ref"):
        found: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema
