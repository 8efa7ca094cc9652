"""The conformance tests against the demo: green as it is, and red at each thing that a proxy spoils."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.faults import DATA, by_name
from tests.conformance.login_faults import LOGIN
from tests.conformance.proxy import Fault, Proxy
from tests.conformance.trading_faults import CELLS, TRADING
from tests.demo import Demo
from tvapi.conformance.checks.authorization import log_in
from tvapi.conformance.client import Client
from tvapi.conformance.framework import Half, Options, Status
from tvapi.conformance.runner import Document, run

pytestmark = pytest.mark.proof

FAULTS = by_name(DATA, TRADING, LOGIN, (CELLS,))
SIDE_BY_SIDE = 8
READ_ONLY = "FX-NET"  # for faults that are seen without trading


@pytest.fixture(scope="module")
def options(demo: Demo) -> Options:
    """Logins, tokens and an OAuth client of the demo, and as little patience as a sound server needs."""
    client = json.loads(demo.manage("list_oauth_clients", "--json").stdout)[0]
    return Options(
        login="trader",
        password="trader-demo",
        token=_token(demo, "trader", "trader-demo"),
        data_login="tvdata-staging",
        data_password="tvdata-demo",
        data_token=_token(demo, "tvdata-staging", "tvdata-demo"),
        oauth_client=client["client_id"],
        oauth_secret=client["client_secret"],
        oauth_redirect=client["redirect_uris"][0],
        stream_seconds=2.5,
        quiet_seconds=0.5,
        keep_seconds=2.0,
        fill_seconds=10.0,
        symbols=3,
    )


def _token(demo: Demo, login: str, password: str) -> str:
    answer = log_in(Client(f"{demo.url}/tv"), login, password)
    return str(answer.body["d"]["access_token"])


@pytest.fixture(scope="module")
def proxy(demo: Demo) -> Iterator[Proxy]:
    proxy = Proxy(demo.url, FAULTS)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def documents(proxy: Proxy, options: Options) -> Mapping[str, Document]:
    """Each fault's own test with the fault, side by side; those that trade have an account to themselves."""
    by_account: dict[str, list[Fault]] = {}
    for fault in FAULTS.values():
        by_account.setdefault(fault.account or fault.name, []).append(fault)

    def run_each(faults: list[Fault]) -> dict[str, Document]:
        return {fault.name: _run_with(proxy, options, fault) for fault in faults}

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        longest_first = sorted(by_account.values(), key=lambda faults: -sum(each.stream_seconds for each in faults))
        return {name: document for each in pool.map(run_each, longest_first) for name, document in each.items()}


def _run_with(proxy: Proxy, options: Options, fault: Fault) -> Document:
    account = fault.account or READ_ONLY
    chosen = replace(options, stream_seconds=fault.stream_seconds, accounts=(account,))
    return run(f"{proxy.url(fault.name)}/tv", chosen, list(Half), [fault.check], lambda _begun, _ended: None)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault_turns_its_test_red(fault: Fault, documents: Mapping[str, Document]) -> None:
    (result,) = documents[fault.name].results
    assert result.status is Status.FAILED, result
    assert result.findings


def test_through_a_proxy_that_spoils_nothing_they_are_not_red(proxy: Proxy, options: Options) -> None:
    names = {fault.check for fault in FAULTS.values()}
    document = run(
        f"{proxy.url()}/tv",
        replace(options, stream_seconds=11, accounts=("FX-NET", "SPOT")),
        list(Half),
        names,
        lambda *_each: None,
    )
    red = {result.name: result.findings for result in document.results if result.status is Status.FAILED}
    assert red == {}


def test_command_writes_its_reports_and_keeps_the_run(demo: Demo, tmp_path: Path) -> None:
    names = ("html", "xml", "json")
    page, junit, document = (tmp_path / f"report.{name}" for name in names)
    result = demo.manage(
        "conformance",
        f"{demo.url}/tv",
        *("--login", "trader", "--password", "trader-demo"),
        *("--only", "mappingResponseSchema", "--only", "corsPreflight"),
        *("--report", str(page), "--junit", str(junit), "--json", str(document)),
    )

    assert result.returncode == 0, result.stderr
    assert "2 passed, 0 warning, 0 failed, 0 skipped" in result.stdout
    assert [row["name"] for row in json.loads(document.read_text())["results"]] == [
        "mappingResponseSchema",
        "corsPreflight",
    ]
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert "mappingResponseSchema" in page.read_text()
    code = "from tvapi.conformance.models import ConformanceRun as R; print(R.objects.latest('pk').passed)"
    assert demo.manage("shell", "--no-imports", "-c", code).stdout == "2\n"
