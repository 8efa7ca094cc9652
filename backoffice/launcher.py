"""`make demo`: the embedded servers, the demo's data, every process of the system, supervised until Ctrl-C.

It loads no Django: the settings lead to servers that it starts first.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TextIO

from backoffice import embedded, settings
from backoffice.embedded import EmbeddedError, Layout
from backoffice.processes import LOOPBACK, Program, cap_log, port_is_free, spawn, stop
from backoffice.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_ORDER = (("web", "stream", "stream-watch"), ("beat", "worker", "feed", "engine", "fix"), ("valkey", "postgres"))
STOP_SECONDS = 3.0  # for each of the three groups: below ten in all
FIX_WANTED = settings.DEMO_DIR / "fix-wanted"
PREPARED = settings.DEMO_DIR / "prepared"  # by which code: see `_what_prepares`
PACKAGES = ("backoffice", "tvapi", "accounts", "trading", "marketdata", "locale")
PATIENCE_SECONDS = 30.0  # after which the parts that are still silent are named
WATCH_SECONDS = 0.1
ASK_SECONDS = 0.3  # between two looks at /healthz while parts start: each costs them time
HEALTH_SECONDS = 2.0  # for one answer; a signal is not noticed meanwhile

BLOCK = """
The demo runs. Its data and logs are in {demo_dir}; Ctrl-C stops it.

  Back office   {url}/admin/    admin, ops, dealer, support or auditor, password staff-demo
  Broker API    {url}/tv        trader or trader2, password trader-demo
  Data feed     {url}/tv        tvdata-staging or tvdata-production, password tvdata-demo
  Prices        {stream}/tv/streaming
  Health        {url}/healthz

Try, in another terminal:

  TOKEN=$(curl -s {url}/tv/authorize -d login=trader -d password=trader-demo -d locale=en | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -s "{url}/tv/quotes?locale=en&accountId=FX-NET&symbols=EURUSD,XAUUSD" -H "Authorization: Bearer $TOKEN"
  curl -s "{url}/tv/accounts/FX-NET/orders?locale=en&requestId=$(date +%s)" -H "Authorization: Bearer $TOKEN" -d instrument=EURUSD -d side=buy -d type=market -d qty=10000 -d currentAsk=1 -d currentBid=1
"""  # noqa: E501 (lines that are pasted stay whole)


class LaunchError(Exception):
    """The demo cannot run; the message is a sentence for the person at the terminal."""


class Interrupted(Exception):
    """Somebody asked us to stop; the message is the signal's name."""


def main() -> int:
    """Run the demo until a signal ends it. Returns the exit code: 0 after an orderly stop, 1 after a refusal."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, _note)
    supervisor = Supervisor(say)
    try:
        with _locked(settings.DEMO_DIR):
            try:
                _run(supervisor)
            finally:
                _stop(supervisor)
    except Interrupted as interruption:
        say(f"Stopped ({interruption}).")
        return 0
    except (LaunchError, EmbeddedError) as error:
        print(error, file=sys.stderr)
        return 1


_asked: list[signal.Signals] = []  # signals that have come


def _note(signum: int, frame: object) -> None:
    """Only take note. An exception raised from here could leave a child unknown, or a lock of `subprocess` held."""
    _asked.append(signal.Signals(signum))


def _check_interrupted() -> None:
    """Raise Interrupted when a signal has come. Called wherever the demo waits."""
    if _asked:
        raise Interrupted(_asked[0].name)


def _pause(seconds: float = WATCH_SECONDS) -> None:
    time.sleep(seconds)
    _check_interrupted()


def _run(supervisor: Supervisor) -> NoReturn:
    _check_ports()
    say(f"Starting the demo in {settings.DEMO_DIR}.")
    for log in (settings.DEMO_DIR / "logs").glob("*.log"):
        cap_log(log)
    layout = _lay()
    parts = _parts()
    preparation = spawn(_preparation())  # loads Django while the servers start
    try:
        _start_servers(supervisor, layout)
        if _is_prepared():  # so there is nothing to wait for; it is looked at again all the same
            _start(supervisor, parts)
        while preparation.poll() is None:
            supervisor.watch()
            _pause()
    finally:
        stop([(preparation, signal.SIGTERM)], seconds=1)
    if preparation.returncode != 0:
        raise LaunchError("The demo's data could not be prepared.")
    PREPARED.write_text(_what_prepares())
    if FIX_WANTED.exists():
        parts.append(_manage("fix", "run_fix"))
    _start(supervisor, parts)
    with step("Starting web, stream, worker, beat, feed and engine"):
        _await_health(supervisor)
    supervisor.start(_watch())
    say(BLOCK.format(demo_dir=settings.DEMO_DIR, url=_url(settings.HTTP_PORT), stream=_url(settings.STREAM_PORT)))
    while True:
        supervisor.watch()
        _pause()


def _start(supervisor: Supervisor, parts: list[Program]) -> None:
    """Start those of the parts that were not started before."""
    for program in parts:
        if program.name not in supervisor.children:
            supervisor.start(program)


def _stop(supervisor: Supervisor) -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
    if supervisor.children:
        with step("Stopping"):
            supervisor.stop(STOP_ORDER, STOP_SECONDS)


# --- before anything starts -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(demo_dir: Path) -> Iterator[TextIO]:
    """Hold the directory for ourselves. The kernel gives it back whatever happens to us."""
    if settings.IS_PRODUCTION:
        raise LaunchError("The demo does not run with ENVIRONMENT=production: its passwords are known to everybody.")
    embedded.make_demo_dir(demo_dir)
    with (demo_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LaunchError(
                f"A demo already runs in {demo_dir} (process {lock.read().strip()}): stop that one, "
                "or give this one a DEMO_DIR and an HTTP_PORT of its own."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def _check_ports() -> None:
    for name, port in (("HTTP_PORT", settings.HTTP_PORT), ("STREAM_PORT", settings.STREAM_PORT)):
        if not port_is_free(port):
            raise LaunchError(f"Port {port} is taken by another program: set {name} to a free one.")


def _lay() -> Layout | None:
    if not settings.EMBEDDED_DATABASE:
        return None
    embedded.check_stopped(settings.DEMO_DIR)
    return embedded.lay(settings.DEMO_DIR, avoid=[settings.HTTP_PORT, settings.STREAM_PORT])


# --- starting ---------------------------------------------------------------------------------------------------------


def _start_servers(supervisor: Supervisor, layout: Layout | None) -> None:
    if layout is None:
        return
    if settings.EMBEDDED_REDIS:
        _start_server(supervisor, embedded.valkey_program(settings.DEMO_DIR, layout), embedded.valkey_answers, layout)
    with step("Creating the database cluster"):
        embedded.initialise_postgres(settings.DEMO_DIR, layout)
    _start_server(supervisor, embedded.postgres_program(settings.DEMO_DIR, layout), embedded.postgres_answers, layout)


def _start_server(supervisor: Supervisor, program: Program, answers: Callable[[Layout], bool], layout: Layout) -> None:
    with step(f"Starting {program.name}"):
        child = supervisor.start(program)
        embedded.await_answer(program, child.process, lambda _layout: _answers_by_now(answers, layout), layout)


def _answers_by_now(answers: Callable[[Layout], bool], layout: Layout) -> bool:
    _check_interrupted()
    return answers(layout)


def _preparation() -> Program:
    """Writes its progress to the terminal, and nothing less than a warning of its log."""
    program = _python("preparation", "manage.py", "prepare_demo")
    return replace(program, log=None, env={**program.env, "LOG_LEVEL": "WARNING"})


def _is_prepared() -> bool:
    """Whether the same code has prepared the same database before."""
    return PREPARED.exists() and PREPARED.read_text() == _what_prepares()


def _what_prepares() -> str:
    """A digest of the database's address and of all code and catalogues: schema and demo data come from nothing else.

    Of a file counts when it was written and how long it is: reading them all would take longer than it saves.
    """
    digest = hashlib.sha256(os.environ.get("DATABASE_URL", "").encode())
    for package in PACKAGES:
        for folder, _, names in os.walk(settings.BASE_DIR / package):
            for name in names:
                if name.endswith((".py", ".po")):
                    found = (Path(folder) / name).stat()
                    digest.update(f"{folder}/{name} {found.st_mtime_ns} {found.st_size}\n".encode())
    return digest.hexdigest()


def _parts() -> list[Program]:
    """The parts of the system. The FIX process is not among them: only the preparation knows whether it is wanted."""
    return [
        _server("web", settings.HTTP_PORT),
        _server("stream", settings.STREAM_PORT),
        _worker(),
        _beat(),
        _manage("feed", "run_feed"),
        _manage("engine", "run_engine"),
    ]


def _watch() -> Program:
    """Compares the stream with the history. Nobody waits for it, so it starts when all the others have."""
    return _manage("stream-watch", "watch_stream")


def _server(part: str, port: int) -> Program:
    argv = ["--interface", "asgi", "--host", LOOPBACK, "--port", str(port), "--workers", "1", "--no-ws"]
    argv += ["--workers-kill-timeout", "2", "backoffice.asgi:application"]
    return replace(_python(part, "-m", "granian", *argv), port=port)


def _worker() -> Program:
    program = _celery("worker", "--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")
    # Without its parent a worker has nobody to finish for: SIGQUIT ends it at once, and the broker keeps its tasks.
    return replace(program, death_signal=signal.SIGQUIT)


def _beat() -> Program:
    program = _celery("beat", "--schedule", str(settings.DEMO_DIR / "beat-schedule"), "--pidfile", "")
    # The broker dies with the parent too: asked kindly, beat would first try for long to send what is due.
    return replace(program, death_signal=signal.SIGKILL)


def _celery(part: str, *options: str) -> Program:
    return _python(part, "-m", "celery", "-A", "backoffice", part, "--loglevel", "info", *options)


def _manage(part: str, command: str) -> Program:
    return _python(part, "manage.py", command, "--skip-checks")


def _python(name: str, *argv: str) -> Program:
    return Program(
        name=name,
        argv=[sys.executable, *argv],
        log=settings.DEMO_DIR / "logs" / f"{name}.log",
        cwd=settings.BASE_DIR,
        env={
            "DJANGO_SETTINGS_MODULE": "backoffice.settings",
            "DEMO_DIR": str(settings.DEMO_DIR),
            "HTTP_PORT": str(settings.HTTP_PORT),
            "STREAM_PORT": str(settings.STREAM_PORT),
            "PART": name,
            "PYTHONUNBUFFERED": "1",
            "CELERY_SKIP_CHECKS": "1",  # what Django checks is in the code, not in this demo: `make lint` runs it once
        },
    )


def _await_health(supervisor: Supervisor) -> None:
    """Return when every part answers. Parts that stay silent for long are named once, and waited for all the same."""
    patience = time.monotonic() + PATIENCE_SECONDS
    while silent := _silent_parts():
        supervisor.watch()
        if time.monotonic() > patience:
            patience = float("inf")
            say(f"Still waiting for {', '.join(silent)}; the logs are in {settings.DEMO_DIR / 'logs'}.")
        _pause(ASK_SECONDS)


def _silent_parts() -> list[str]:
    """The parts that do not answer yet, as /healthz names them; `web` when it does not answer itself."""
    try:
        with urllib.request.urlopen(f"{_url(settings.HTTP_PORT)}/healthz", timeout=HEALTH_SECONDS):
            return []
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError, KeyError):
            return [part for part, state in json.loads(error.read())["parts"].items() if state != "ok"]
    except OSError:
        pass
    return ["web"]


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


# --- telling ----------------------------------------------------------------------------------------------------------


def say(sentence: str) -> None:
    print(sentence, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Say how long it took, when that was more than a second."""
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    if seconds >= 1:
        say(f"{name}: {seconds:.1f} s")
