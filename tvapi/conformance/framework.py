"""What a check is, what it works with, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from tvapi.conformance.client import Client, Exchange, Unanswered
from tvapi.conformance.contract import Contract

MOST_FINDINGS = 20


class Half(StrEnum):
    DATA = "data"
    TRADING = "trading"


class Status(StrEnum):
    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Failed(Exception):
    """The check ends here: what it needs to go on is wrong."""

    def __init__(self, sentence: str, exchange: Exchange | None = None) -> None:
        super().__init__(sentence)
        self.exchange = exchange


class Skipped(Exception):
    """The check does not apply to this server, or something it needs was not given; the message says what."""


@dataclass(frozen=True)
class Options:
    """What the person who runs the tests has set. Times in seconds.

    `stream_seconds`: how long `/streaming` is recorded. `quiet_seconds`: how long DT-15 asks nothing.
    `keep_seconds`: how long a final order must stay (ORD-5). `fill_seconds`: patience with a market order;
    `reach_seconds`: with a market that is to reach a bracket beside it.
    """

    login: str = ""
    password: str = ""
    data_login: str = ""
    data_password: str = ""
    token: str = ""
    data_token: str = ""
    stream_seconds: float = 125.0
    quiet_seconds: float = 120.0
    keep_seconds: float = 60.0
    fill_seconds: float = 20.0
    reach_seconds: float = 8.0
    symbols: int = 20
    left_end: int = 86400
    foreign_account: str = ""
    assertion_command: str = ""
    oauth_client: str = ""
    oauth_secret: str = ""
    oauth_redirect: str = ""
    tradingview_symbols: frozenset[str] = frozenset()
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of one check. Texts are for people; `request` and `response` belong to the first finding."""

    name: str
    title: str
    rules: str
    half: Half
    status: Status
    findings: list[str] = field(default_factory=list)
    request: str = ""
    response: str = ""
    seconds: float = 0.0

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Self:
        """The result that a document has as this object."""
        return cls(**{**row, "half": Half(row["half"]), "status": Status(row["status"])})


class Session:
    """What the checks of one half share: the server, the contract, and the findings of the check that runs."""

    def __init__(self, client: Client, contract: Contract, options: Options) -> None:
        self.client = client
        self.contract = contract
        self.options = options
        self.begin()

    def begin(self) -> None:
        self.problems: list[tuple[str, Exchange | None]] = []
        self.warnings: list[tuple[str, Exchange | None]] = []
        self.notes: list[str] = []

    def prepare(self, names: set[str]) -> None:
        """Before the first of the checks of these names: what must run beside them begins."""

    def close(self) -> None:
        """After the last check."""

    def problem(self, sentence: str, exchange: Exchange | None = None) -> None:
        """The server is wrong here. The check goes on: one answer may hold several faults."""
        self.problems.append((sentence, exchange))

    def warn(self, sentence: str, exchange: Exchange | None = None) -> None:
        self.warnings.append((sentence, exchange))

    def note(self, sentence: str) -> None:
        """Something to know of a check that has gone well: what it could not try."""
        self.notes.append(sentence)

    def expect(self, holds: bool, sentence: str, exchange: Exchange | None = None) -> bool:
        if not holds:
            self.problem(sentence, exchange)
        return holds

    def require(self, holds: bool, sentence: str, exchange: Exchange | None = None) -> None:
        """Like `expect`, where the check cannot go on without. Raises Failed."""
        if not holds:
            raise Failed(sentence, exchange)

    def expect_contract(self, exchange: Exchange, *, status: int = 200) -> bool:
        """Status, content type and schema (GEN-2, GEN-3, GEN-7)."""
        if not self.expect(exchange.status == status, f"Status {exchange.status} instead of {status}.", exchange):
            return False
        kind = exchange.content_type
        fits = self.expect("application/json" in kind, f"Content-Type is “{kind}”, not application/json.", exchange)
        differences = self.contract.differences(exchange)
        for difference in differences:
            self.problem(f"{exchange.method} {exchange.path}: {difference}", exchange)
        return fits and not differences

    def read(self, exchange: Exchange) -> dict[str, Any]:
        """A successful answer. Raises Failed for every other."""
        self.require(exchange.status == 200, f"Status {exchange.status} instead of 200.", exchange)
        self.require(bool(exchange.says), f"{exchange.path} does not answer with a JSON object.", exchange)
        refusal = exchange.says.get("errmsg", "no reason given")
        self.require(exchange.says.get("s") == "ok", f"{exchange.path} is refused: {refusal}", exchange)
        return exchange.says


S = TypeVar("S", bound=Session)


@dataclass(frozen=True)
class Check(Generic[S]):
    """One test. `needs` names those without which it says nothing; `is_late` ones run when all others have."""

    name: str
    rules: str
    half: Half
    run: Callable[[S], None]
    needs: tuple[str, ...] = ()
    is_late: bool = False

    @property
    def title(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


CHECKS: dict[str, Check[Any]] = {}


def check(
    name: str, rules: str, half: Half, *, needs: tuple[str, ...] = (), is_late: bool = False
) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
    """Register a function as the check of this name; its docstring begins with what it asks of the server."""

    def register(run: Callable[[S], None]) -> Callable[[S], None]:
        assert name not in CHECKS, name
        CHECKS[name] = Check(name, rules, half, run, needs, is_late)
        return run

    return register


def carry_out(each: Check[S], session: S) -> Result:
    """Run a check. Whatever the server does comes out as a result."""
    session.begin()
    started = time.monotonic()
    reason = ""
    try:
        each.run(session)
    except Skipped as skipped:
        reason = str(skipped)
    except Failed as failed:
        session.problem(str(failed), failed.exchange)
    except Unanswered as unanswered:
        session.problem(str(unanswered), unanswered.exchange)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        session.problem(f"An answer has not the shape that this test can read: {type(error).__name__}: {error}")
    return _concluded(each, session, reason, time.monotonic() - started)


def _concluded(each: Check[S], session: S, skipped: str, seconds: float) -> Result:
    findings = session.problems or session.warnings
    status = Status.PASSED
    if session.problems:
        status = Status.FAILED
    elif skipped:
        return Result(each.name, each.title, each.rules, each.half, Status.SKIPPED, [skipped], seconds=seconds)
    elif session.warnings:
        status = Status.WARNING
    exchange = next((exchange for _sentence, exchange in findings if exchange), None)
    return Result(
        each.name,
        each.title,
        each.rules,
        each.half,
        status,
        list(_told([*(sentence for sentence, _exchange in findings), *session.notes])),
        exchange.request_text if exchange else "",
        exchange.response_text if exchange else "",
        seconds,
    )


def _told(sentences: list[str]) -> Iterator[str]:
    yield from sentences[:MOST_FINDINGS]
    if len(sentences) > MOST_FINDINGS:
        yield f"… and {len(sentences) - MOST_FINDINGS} more."


def skipped(each: Check[Any], why: str) -> Result:
    return Result(each.name, each.title, each.rules, each.half, Status.SKIPPED, [why])
