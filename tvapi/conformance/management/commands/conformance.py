"""`manage.py conformance`: TradingView's tests against a server."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from tvapi.conformance import reports
from tvapi.conformance.client import Client, Unanswered
from tvapi.conformance.framework import CHECKS, Check, Half, Options, Result, Status
from tvapi.conformance.models import ConformanceRun
from tvapi.conformance.runner import CannotRun, Document, run

MARKS = {Status.PASSED: "ok", Status.WARNING: "warning", Status.FAILED: "FAILED", Status.SKIPPED: "skipped"}
SHOWN_FINDINGS = 3
LONGEST_BODY = 600
OUR_PATH = "/tv"


class Command(BaseCommand):
    help = (
        "Runs TradingView's tests of a broker's server, and more that follow from its rules, as an independent client. "
        "Exits 1 unless everything that could be checked is right."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("base_url", nargs="?", metavar="BASE_URL", help="address of the API, as https://host/tv")
        parser.add_argument("--login", default="", help="of a trader; of the data half too, unless that has its own")
        parser.add_argument("--password", default="")
        parser.add_argument("--token", default="", help="a token instead of login and password")
        parser.add_argument("--data-login", default="", help="of a data server")
        parser.add_argument("--data-password", default="")
        parser.add_argument("--data-token", default="")
        parser.add_argument("--data", action="store_true", help="the data half only")
        parser.add_argument("--trading", action="store_true", help="the trading half only")
        parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this check; may be repeated")
        parser.add_argument("--list", action="store_true", help="show the names of all checks and stop")
        parser.add_argument("--minutes", type=_minutes, default=2.0, help="how long the stream is read (default 2)")
        parser.add_argument("--symbols", type=int, default=20, metavar="N", help="ask history for N symbols; 0: all")
        parser.add_argument("--account", action="append", default=[], metavar="ID", help="trade on this account only")
        parser.add_argument("--foreign-account", default="", metavar="ID", help="an account of somebody else")
        parser.add_argument("--assertion-command", default="", metavar="COMMAND", help="prints a form for oauth2/token")
        parser.add_argument("--oauth-client", default="", metavar="ID", help="client_id of an environment pair")
        parser.add_argument("--oauth-secret", default="", metavar="SECRET", help="its client_secret, for the code flow")
        parser.add_argument("--oauth-redirect", default="", metavar="URI", help="the redirect_uri registered for it")
        parser.add_argument("--left-end", type=int, default=86400, metavar="SECONDS", help="Unix time before all data")
        parser.add_argument("--tradingview-symbols", type=Path, metavar="FILE", help="TradingView's names, as JSON")
        parser.add_argument("--report", type=Path, metavar="FILE.html")
        parser.add_argument("--junit", type=Path, metavar="FILE.xml")
        parser.add_argument("--json", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list()
            return
        if not options["base_url"]:
            raise CommandError("Give the address of the API, for example http://127.0.0.1:8000/tv.")
        self._started = time.monotonic()
        try:
            base = _base(options["base_url"])
            document = run(base, _options(options), _halves(options), options["only"], self._progress)
        except CannotRun as error:
            raise CommandError(str(error)) from error
        self._write(document, options)
        self._keep(document)
        self._conclude(document)

    def _list(self) -> None:
        for each in CHECKS.values():
            self.stdout.write(f"{each.half.value:8} {each.name:44} {each.rules:32} {each.title}")

    def _progress(self, begun: Check[Any] | None, ended: Result | None) -> None:
        """A line for each result; on a terminal also what runs now."""
        elapsed = f"{time.monotonic() - self._started:6.1f} s"
        if begun and self.stdout.isatty():
            self.stdout.write(f"\r\033[K{elapsed}  … {begun.name}", ending="")
            self.stdout.flush()
        if not ended:
            return
        start = "\r\033[K" if self.stdout.isatty() else ""
        style = {Status.PASSED: self.style.SUCCESS, Status.FAILED: self.style.ERROR, Status.WARNING: self.style.WARNING}
        mark = style.get(ended.status, str)(f"{MARKS[ended.status]:8}")
        self.stdout.write(f"{start}{elapsed}  {mark} {ended.name}  [{ended.rules}]")
        for finding in ended.findings[:SHOWN_FINDINGS]:
            self.stdout.write(f"{'':20}{finding}")
        if ended.status is Status.FAILED:
            self._show_evidence(ended)
        self.stdout.flush()

    def _show_evidence(self, result: Result) -> None:
        for text in (result.request, result.response):
            for line in text[:LONGEST_BODY].splitlines():
                self.stdout.write(f"{'':22}| {line}")

    def _write(self, document: Document, options: dict[str, Any]) -> None:
        for path, write in (
            (options["report"], reports.write_html),
            (options["junit"], reports.write_junit),
            (options["json"], reports.write_json),
        ):
            if path is None:
                continue
            try:
                write(document, path)
            except OSError as error:
                raise CommandError(f"{path} cannot be written: {error.strerror}") from error

    def _keep(self, document: Document) -> None:
        """Keep the run for the admin. A server far away is judged without a database of ours, too."""
        try:
            ConformanceRun.objects.keep(document)
        except DatabaseError:
            self.stderr.write("The run is not kept: the database is out of reach.")

    def _conclude(self, document: Document) -> None:
        for note in document.notes:
            self.stdout.write(note)
        counts = ", ".join(f"{count} {status}" for status, count in document.counts.items())
        self.stdout.write(f"{counts} in {document.seconds:.0f} s.")
        if not document.is_green:
            raise CommandError(
                "TradingView would not let this server in." if document.counts["failed"] else "Nothing was checked."
            )


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 24 * 60:
        raise argparse.ArgumentTypeError("minutes are above 0 and at most 1440")
    return minutes


def _base(url: str) -> str:
    """The address of the API. Where only a host was given, and nothing is there, our own path is tried."""
    base = str(url).rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise CannotRun(f"{base} is no address: it begins with http:// or https://.")
    try:
        if base.count("/") == 2 and not Client(base).send("POST", "/authorize", form={}).says:
            return base + OUR_PATH
    except Unanswered as unanswered:
        raise CannotRun(str(unanswered)) from unanswered
    return base


def _halves(options: dict[str, Any]) -> list[Half]:
    named = [half for half in Half if options[half.value]]
    return named or list(Half)


def _options(given: dict[str, Any]) -> Options:
    """One login serves both halves unless the data half has its own."""
    has_own = bool(given["data_login"] or given["data_token"])
    seconds = 60 * given["minutes"]
    return Options(
        login=given["login"],
        password=given["password"],
        token=given["token"],
        data_login=given["data_login"] if has_own else given["login"],
        data_password=given["data_password"] if has_own else given["password"],
        data_token=given["data_token"] if has_own else given["token"],
        stream_seconds=seconds + 5,
        quiet_seconds=min(120.0, seconds),
        keep_seconds=min(60.0, seconds),
        symbols=given["symbols"],
        left_end=given["left_end"],
        foreign_account=given["foreign_account"],
        assertion_command=given["assertion_command"],
        oauth_client=given["oauth_client"],
        oauth_secret=given["oauth_secret"],
        oauth_redirect=given["oauth_redirect"],
        tradingview_symbols=_names(given["tradingview_symbols"]),
        accounts=tuple(given["account"]),
    )


def _names(path: Path | None) -> frozenset[str]:
    """TradingView's full names from a JSON array of texts, or of objects with `symbol-fullname`."""
    if path is None:
        return frozenset()
    try:
        rows = json.loads(path.read_text("utf-8"))
        return frozenset(str(row["symbol-fullname"] if isinstance(row, dict) else row) for row in rows)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CannotRun(f"{path} is no list of TradingView's symbols: {error}") from error
