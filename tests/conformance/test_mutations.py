"""The tests can fail: a broker that does all right passes, and each thing it then does wrong turns its own test red."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.broker import TOKEN, Server
from tests.conformance.faults import DATA_OF_BROKER, by_name
from tests.conformance.proxy import Fault, Proxy
from tests.conformance.trading_faults import BRACKETS
from tvapi.conformance.framework import CHECKS, Half, Options, Status
from tvapi.conformance.runner import Document, run

pytestmark = pytest.mark.proof

QUICK = Options(
    token=TOKEN,
    data_token=TOKEN,
    stream_seconds=1,
    quiet_seconds=0.2,
    keep_seconds=1.0,
    fill_seconds=2.0,
    reach_seconds=3.0,
)
FAULTS = by_name(DATA_OF_BROKER, BRACKETS)
# The broker in memory has no stream of prices.
WHOLE = [name for name in CHECKS if not name.startswith("streaming")]


@pytest.fixture(scope="module")
def documents() -> Iterator[dict[str, Document]]:
    """One check for each fault, and the sound broker with all checks; each on a broker of its own, side by side."""
    servers = {name: Server() for name in ["sound", *FAULTS]}
    proxies = {name: Proxy(server.url, FAULTS) for name, server in servers.items()}
    with ThreadPoolExecutor(4) as pool:
        runs = {
            name: pool.submit(_run, proxy.url(name), WHOLE if name == "sound" else [FAULTS[name].check])
            for name, proxy in proxies.items()
        }
        yield {name: each.result() for name, each in runs.items()}
    for proxy in proxies.values():
        proxy.close()
    for server in servers.values():
        server.close()


def _run(url: str, names: list[str]) -> Document:
    return run(url, QUICK, list(Half), names, lambda _begun, _ended: None)


def _failed(document: Document) -> dict[str, list[str]]:
    return {result.name: result.findings for result in document.results if result.status is Status.FAILED}


def test_broker_that_does_all_right_passes(documents: dict[str, Document]) -> None:
    assert _failed(documents["sound"]) == {}
    passed = {result.name for result in documents["sound"].results if result.status is not Status.SKIPPED}
    assert passed >= {fault.check for fault in FAULTS.values()}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault_turns_its_test_red(fault: Fault, documents: dict[str, Document]) -> None:
    (result,) = documents[fault.name].results
    assert result.status is Status.FAILED, result
    assert result.findings


@pytest.mark.parametrize("name", ["day-differs", "bracket-hangs", "one-transaction", "other-leverage"])
def test_no_other_test_turns_red(name: str) -> None:
    server = Server()
    proxy = Proxy(server.url, FAULTS)
    document = _run(proxy.url(name), WHOLE)
    proxy.close()
    server.close()
    assert set(_failed(document)) == {FAULTS[name].check}
