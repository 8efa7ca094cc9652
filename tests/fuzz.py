"""Requests made from `openapi.yaml`: as many as wanted, each a mixture of what the contract knows and what it does not.

`make fuzz` sends 50,000; the tests fewer. None may end in anything but the statuses of the contract.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
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


# Values that mean something, by the name of the field; a caller changes them as the world changes.
Known = Mapping[str, Sequence[object]]


def calls(count: int, *, seed: int, known: Known) -> Iterator[Call]:
    """So many; the same ones for the same seed and the same world."""
    chance = random.Random(seed)
    operations = [
        (method.upper(), path, operation)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    ]
    for _number in range(count):
        method, path, operation = chance.choice(operations)
        yield _Maker(chance, known).call(method, path, operation)


class _Maker:
    """Makes one request: two in five hold only what fits, the others have a share of broken values."""

    def __init__(self, chance: random.Random, known: Known) -> None:
        self.chance = chance
        self.known = known
        self.broken = chance.choice((0, 0, 0.05, 0.15, 0.4))

    def call(self, method: str, path: str, operation: dict[str, Any]) -> Call:
        query: list[tuple[str, str]] = []
        for parameter in map(_resolved, operation.get("parameters", ())):
            value = self._value(parameter["name"], parameter.get("schema", {}))
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", quote(value, safe=""))
            elif parameter["in"] == "query" and self._is_sent(parameter.get("required", False)):
                query.append((parameter["name"], value))
        body = self._body(operation)
        for pairs in (query, body):
            if pairs and self.chance.random() < self.broken / 5:
                pairs.append(self.chance.choice(pairs))  # a field twice
        if self.chance.random() < self.broken / 5:
            method = self.chance.choice(("PATCH", "PUT", "DELETE", "POST", "GET"))
        return Call(method, f"{path}?{urlencode(query)}" if query else path, urlencode(body))

    def _body(self, operation: dict[str, Any]) -> list[tuple[str, str]]:
        content = _resolved(operation.get("requestBody", {})).get("content", {})
        schema = _resolved(content.get(FORM, {}).get("schema", {}))
        if "oneOf" in schema:
            schema = _resolved(self.chance.choice(schema["oneOf"]))
        parts = [_resolved(part) for part in schema.get("allOf", [schema])]
        required = {name for part in parts for name in part.get("required", ())}
        return [
            (name, self._value(name, field))
            for part in parts
            for name, field in part.get("properties", {}).items()
            if self._is_sent(name in required)
        ]

    def _is_sent(self, required: bool) -> bool:
        return self.chance.random() > (self.broken / 5 if required else 0.6)

    def _value(self, name: str, schema: dict[str, Any]) -> str:
        if self.chance.random() < self.broken:
            return self.chance.choice(NASTY)
        if values := self.known.get(name):
            return str(self.chance.choice(values))
        schema = _resolved(schema)
        if "const" in schema:
            return str(schema["const"])
        if "enum" in schema:
            return str(self.chance.choice(schema["enum"]))
        if schema.get("type") == "integer":
            return str(self.chance.randrange(0, 2_000_000_000))
        if schema.get("type") == "number":
            return str(round(self.chance.uniform(0, 2), self.chance.randrange(6)))
        return self.chance.choice(["FX", "EURUSD", "1", "gtc", "trader", "general", "EURUSD,GBPUSD"])


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while reference := schema.get("$ref"):
        found: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema
