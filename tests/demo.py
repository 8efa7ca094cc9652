"""A whole demo, as `make demo` starts it, for the tests that look at the system from outside. Also a pytest plugin.

Tests that need it live in tests/e2e: one xdist worker runs them all, so that one demo starts.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop, wait_until

PROJECT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 600.0  # only what hangs takes longer, even where other work shares the processors
READY = "Try, in another terminal"
# One demo, one browser, one seeding, one round of faults: what is slow to start is started once.
TOGETHER = ("tests/e2e/", "tests/browser/", "tests/backoffice/test_seed.py", "tests/conformance/test_mutations.py")


class Demo:
    """One run of `manage.py run_demo` in a directory of its own, on ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.stream_port = free_port(avoid=[self.port])
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.stream_url = f"http://{LOOPBACK}:{self.stream_port}"
        self.output = directory / "output.log"
        # Empty is unset: the demo uses its own servers, not those of the tests.
        self.env = {
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "SECRET_KEY": "",
            "LOG_LEVEL": "INFO",
            "DEMO_DIR": str(directory / "demo"),
            "HTTP_PORT": str(self.port),
            "STREAM_PORT": str(self.stream_port),
        }

    def launch(self) -> None:
        """Begin to start it."""
        argv = [sys.executable, "manage.py", "run_demo"]
        self.process = spawn(Program("demo", argv, log=self.output, cwd=PROJECT, env=self.env))

    def start(self) -> None:
        """Return when the demo has printed its closing block; fail with its output when it does not."""
        self.launch()
        wait_until(lambda: self.is_ready() or self.has_ended(), PATIENCE_SECONDS)
        if not self.is_ready() or self.has_ended():
            self.stop()
            pytest.fail(f"The demo did not start:\n{self.output.read_text()}")

    def is_ready(self) -> bool:
        return READY in self.output.read_text()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def manage(self, *argv: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py against the demo, with `given` on its standard input."""
        return subprocess.run(
            [sys.executable, "manage.py", *argv],
            cwd=PROJECT,
            env={**os.environ, **self.env},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this demo, found as a stranger would find it: by the directory it works in."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def part(self, words: str) -> psutil.Process:
        """The child of the supervisor whose command line contains the words."""
        return next(
            child for child in psutil.Process(self.process.pid).children() if words in " ".join(child.cmdline())
        )

    def stop(self, signum: int = signal.SIGINT) -> float:
        """Ask it to stop, as Ctrl-C does. Returns the seconds it took."""
        started = time.monotonic()
        stop([(self.process, signum)], seconds=30)
        return time.monotonic() - started

    def kill(self) -> None:
        """kill -9 of the supervisor alone."""
        self.process.kill()
        self.process.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            words = [*process.cmdline(), process.environ().get("DEMO_DIR", "")]
        except psutil.Error:
            return False
        return any(str(self.directory / "demo") in word for word in words)


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """A running demo, for the tests of tests/e2e."""
    with tempfile.TemporaryDirectory(prefix="backoffice-demo-") as directory:
        Path(directory).chmod(0o711)  # Postgres' own user goes through it when root runs the tests
        running = Demo(Path(directory))
        running.start()
        yield running
        running.stop()


class Together(LoadScopeScheduling):
    """Every test goes to whichever worker is free, but those of a place in `TOGETHER` to one.

    xdist's own `--dist loadgroup` would do it by a mark, but writes the group where pytest 9.2 no longer reads it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)
