"""Keep programs running: start again what dies, stop everything in order. Knows no Django and no demo."""

import time
from collections.abc import Callable, Sequence
from subprocess import Popen

from backoffice.processes import Program, kill_group, port_is_free, spawn, stop

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0
STABLE_SECONDS = 60.0  # who was up for so long starts again without delay


class Child:
    """One program, its process of the moment, and how long to wait before the next."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: Popen[bytes] = spawn(program)
        self._started = time.monotonic()
        self._delay = FIRST_DELAY_SECONDS
        self._due: float | None = None  # when to start again; None while the process runs

    def look_after(self) -> str | None:
        """Notice a death, or start again when it is time. Returns a sentence when something happened."""
        if self._due is None:
            return None if self.process.poll() is None else self._bury()
        return self._restart() if time.monotonic() >= self._due else None

    def _bury(self) -> str:
        # A granian or Celery master that was killed leaves workers behind, which would keep the port or take tasks.
        kill_group(self.process)
        if time.monotonic() - self._started >= STABLE_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        self._put_off()
        return f"{self.program.name} ended ({_ending(self.process.returncode)}); starting it again."

    def _restart(self) -> str | None:
        if self.program.port is not None and not port_is_free(self.program.port):
            self._put_off()
            return f"{self.program.name} waits: port {self.program.port} is still taken."
        self.process = spawn(self.program)
        self._started = time.monotonic()
        self._due = None
        return None

    def _put_off(self) -> None:
        self._due = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)


class Supervisor:
    """The children by name. Single-threaded: its owner calls `watch` a few times a second."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.children: dict[str, Child] = {}
        self._tell = tell

    def start(self, program: Program) -> Child:
        child = self.children[program.name] = Child(program)
        return child

    def watch(self) -> None:
        """Look after every child once."""
        for child in self.children.values():
            if sentence := child.look_after():
                self._tell(sentence)

    def stop(self, order: Sequence[Sequence[str]], seconds: float) -> None:
        """Stop everything: each group of names together, the groups one after another, `seconds` at most for each."""
        for names in order:
            leaving = [self.children.pop(name) for name in names if name in self.children]
            stop([(child.process, child.program.stop_signal) for child in leaving], seconds)


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
