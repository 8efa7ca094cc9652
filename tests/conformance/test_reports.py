"""What remains of a run: pages and files without secrets and without anybody's markup, and the row for the admin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.urls import reverse

from tests import factories
from tvapi.conformance import reports
from tvapi.conformance.client import Exchange
from tvapi.conformance.framework import Half, Result, Status
from tvapi.conformance.models import ConformanceRun
from tvapi.conformance.runner import Document

NASTY = "<script>alert(1)</script>\x01"


@pytest.fixture
def document() -> Document:
    results = [
        Result("historyFromEqTo", "Exactly that bar.", "DT-12", Half.DATA, Status.PASSED, seconds=0.2),
        Result("ordersCancel", "Cancels.", "ORD-20", Half.TRADING, Status.FAILED, [NASTY], "GET /x", NASTY, 1.5),
        Result("bracketsPlaced", "Brackets.", "BRK-5", Half.TRADING, Status.SKIPPED, ["No account has them."]),
    ]
    return Document("https://broker.example/tv", datetime(2026, 11, 25, tzinfo=UTC), 12.0, results)


def test_page_shows_what_failed_and_runs_nobodys_script(document: Document, tmp_path: Path) -> None:
    reports.write_html(document, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Not passed" in page
    assert "ordersCancel" in page
    assert "<script" not in page


def test_junit_counts_and_explains(document: Document, tmp_path: Path) -> None:
    reports.write_junit(document, tmp_path / "report.xml")
    data, trading = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert (data.get("tests"), data.get("failures")) == ("1", "0")
    assert (trading.get("tests"), trading.get("failures"), trading.get("skipped")) == ("2", "1", "1")
    failure = trading.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "<script>alert(1)</script>?"


def test_json_has_everything(document: Document, tmp_path: Path) -> None:
    reports.write_json(document, tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["counts"] == {"passed": 1, "warning": 0, "failed": 1, "skipped": 1}
    assert told["passed"] is False
    assert told["results"][1]["response"] == NASTY


def test_run_in_which_nothing_was_checked_is_not_green(document: Document) -> None:
    assert not Document("x", document.started_at, 1.0, document.results[2:]).is_green
    assert Document("x", document.started_at, 1.0, document.results[:1]).is_green


def test_evidence_has_no_secrets() -> None:
    exchange = Exchange(
        "POST",
        "https://broker.example/tv/authorize",
        "/authorize",
        {"login": "trader", "password": "hunter2"},
        {"Authorization": "Bearer s3cret"},
        200,
        {"content-type": "application/json"},
        '{"s": "ok", "d": {"access_token": "t0ken", "expiration": 1}}\0',
    )
    shown = exchange.request_text + exchange.response_text
    assert "trader" in shown
    assert all(secret not in shown for secret in ("hunter2", "s3cret", "\0"))


@pytest.mark.django_db
def test_kept_run_is_the_same_document(document: Document) -> None:
    kept = ConformanceRun.objects.keep(document)
    assert kept.document() == document
    assert (kept.passed, kept.failed, kept.skipped, kept.has_passed) == (1, 1, 1, False)


@pytest.mark.django_db
def test_staff_reads_the_report_and_a_trader_does_not(document: Document, client) -> None:
    kept = ConformanceRun.objects.keep(document)
    url = reverse("admin:conformance_conformancerun_report", args=[kept.pk])
    client.force_login(factories.user("trader"))
    assert client.get(url).status_code == 302
    client.force_login(factories.user("boss", is_staff=True, is_superuser=True))
    answer = client.get(url)
    assert "ordersCancel" in answer.content.decode()
    page = client.get(reverse("admin:conformance_conformancerun_change", args=[kept.pk]))
    assert "&lt;script&gt;alert(1)" in page.content.decode()
