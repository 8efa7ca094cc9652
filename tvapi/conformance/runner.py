"""A run: which checks, in which order, with whose tokens; and the document that remains of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tvapi.conformance import checks  # noqa: F401 (registers them)
from tvapi.conformance.checks.authorization import log_in
from tvapi.conformance.client import Client, Unanswered
from tvapi.conformance.contract import contract
from tvapi.conformance.data import Data
from tvapi.conformance.framework import CHECKS, Check, Half, Options, Result, Session, Status, carry_out, skipped
from tvapi.conformance.trading import Trading

Progress = Callable[["Check[Any] | None", "Result | None"], None]  # a check begins, or it has ended
PROBES = {Half.DATA: "/groups", Half.TRADING: "/accounts"}


class CannotRun(Exception):
    """The run makes no sense; the message says why."""


@dataclass(frozen=True)
class Document:
    """What remains of a run."""

    base: str
    started_at: datetime
    seconds: float
    results: list[Result]
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many results of each status, all of them named."""
        found = Counter(result.status for result in self.results)
        return {status.value: found[status] for status in Status}

    @property
    def is_green(self) -> bool:
        """Nothing failed, and something was checked."""
        judged = self.counts[Status.PASSED] + self.counts[Status.WARNING]
        return bool(judged) and not self.counts[Status.FAILED]

    def as_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "started_at": self.started_at.isoformat(),
            "seconds": round(self.seconds, 1),
            "passed": self.is_green,
            "counts": self.counts,
            "notes": self.notes,
            "results": [asdict(result) for result in self.results],
        }


def run(base: str, options: Options, halves: Iterable[Half], only: Iterable[str], progress: Progress) -> Document:
    """Run the checks of the halves, or those named `only`. Raises CannotRun, with nothing done."""
    started, began = datetime.now(UTC), time.monotonic()
    chosen = _chosen(only, set(halves))
    notes: list[str] = []
    sessions = {half: _session(base, half, options, notes) for half in Half if _of(half, chosen)}
    announce = _one_at_a_time(progress)
    with ThreadPoolExecutor(max_workers=len(Half)) as pool:
        runs = [
            pool.submit(_run_half, _of(half, chosen), session, announce, bool(only))
            for half, session in sessions.items()
        ]
        results = [result for each in runs for result in each.result()]
    return Document(base, started, time.monotonic() - began, results, notes)


def _chosen(only: Iterable[str], halves: set[Half]) -> list[Check[Any]]:
    names = list(only)
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise CannotRun(f"There is no check named {', '.join(unknown)}. --list shows all names.")
    if names:
        return [CHECKS[name] for name in names]
    return [each for each in CHECKS.values() if each.half in halves]


def _of(half: Half, chosen: Iterable[Check[Any]]) -> list[Check[Any]]:
    """Those of one half, the late ones last."""
    return sorted((each for each in chosen if each.half is half), key=lambda each: each.is_late)


def _one_at_a_time(progress: Progress) -> Progress:
    """Both halves run side by side; their lines do not."""
    lock = threading.Lock()

    def announce(begun: Check[Any] | None, ended: Result | None) -> None:
        with lock:
            progress(begun, ended)

    return announce


def _session(base: str, half: Half, options: Options, notes: list[str]) -> Session:
    """The session of a half. Raises CannotRun when nobody answers, or the login is refused."""
    client = Client(base)
    login, password, token = (
        (options.data_login, options.data_password, options.data_token)
        if half is Half.DATA
        else (options.login, options.password, options.token)
    )
    kind = Data if half is Half.DATA else Trading
    try:
        if not token and login:
            answer = log_in(client, login, password)
            token = str((answer.says.get("d") or {}).get("access_token") or "")
            if not token:
                raise CannotRun(f"{login} cannot log in: {answer.says.get('errmsg') or f'status {answer.status}'}")
        probe = client.with_token(token or None).get(PROBES[half])
    except Unanswered as unanswered:
        raise CannotRun(str(unanswered)) from unanswered
    if not token and probe.status == 401:
        option = "--data-login and --data-password, or --data-token" if half is Half.DATA else "--login and --password"
        notes.append(f"The {half.value} half is skipped but for what needs no token: give it {option}.")
    return kind(client.with_token(token or None), contract(), options)


def _run_half(chosen: list[Check[Any]], session: Session, announce: Progress, alone: bool) -> list[Result]:
    """One half from its first check to its last. Checks named one by one do not ask for those they need."""
    results: dict[str, Result] = {}
    session.prepare({each.name for each in chosen})
    try:
        for each in chosen:
            announce(each, None)
            lacking = [name for name in each.needs if name in results and results[name].status is Status.FAILED]
            results[each.name] = (
                skipped(each, f"It needs {', '.join(lacking)}, which failed.")
                if lacking and not alone
                else carry_out(each, session)
            )
            announce(None, results[each.name])
    finally:
        session.close()
    return list(results.values())
