"""Requests made from `openapi.yaml` by schemathesis: some hold what the contract knows, some what it does not.

`make fuzz` sends 50,000; the tests fewer. None may end in anything but the statuses of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.tvapi.contract import DOCUMENT

SHARE_OF_KNOWN = 0.9  # of the fields that have known values


class Call(NamedTuple):
    method: str
    path: str  # with its query, percent-encoded
    body: str


# Values that mean something, by the name of the field; a caller changes them as the world changes.
Known = Mapping[str, Sequence[object]]


def calls(count: int, *, seed: int, known: Known) -> list[Call]:
    """So many; the same ones for the same seed and the same world."""
    made: list[Call] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_cases(known))
    def make(case: Case) -> None:
        made.append(_call(case))

    make()
    return made


def _cases(known: Known) -> st.SearchStrategy[Case]:
    """As the schema allows, and as it does not, of every operation but the endless stream."""
    config = SchemathesisConfig.from_dict(
        {
            "dictionaries": {name: {"values": list(values)} for name, values in known.items()},
            "parameters": {
                place + name: {"dictionary": name, "probability": SHARE_OF_KNOWN}
                for name in known
                for place in ("", "body.")
            },
            # The caller has a token. Fields that nobody knows are tolerated: they would only be sent for nothing.
            "generation": {"with-security-parameters": False, "allow-extra-parameters": False},
        }
    )
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config).exclude(path="/streaming")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    return st.one_of([each.as_strategy(generation_mode=mode) for each in operations for mode in GenerationMode])


def _call(case: Case) -> Call:
    sent = case.as_transport_kwargs(base_url="http://localhost")
    made = requests.Request(sent["method"], sent["url"], params=sent["params"], data=sent.get("data")).prepare()
    return Call(str(made.method), made.path_url, str(made.body or ""))
