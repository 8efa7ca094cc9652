"""Keeping children alive and ending them, with children that do nothing else."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backoffice.processes import LOOPBACK, Program, cap_log, free_port, port_is_free, wait_until
from backoffice.supervisor import Supervisor

PATIENCE_SECONDS = 60.0  # only what hangs takes longer
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
WITH_CHILD = "import subprocess, time; subprocess.Popen(['sleep', '600']); print('both', flush=True); time.sleep(600)"
PARENT = """
import pathlib, sys, time
from backoffice.processes import Program, spawn
child = spawn(Program("child", ["sleep", "600"], log=None))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop([list(supervisor.children)], seconds=0)


def _sleeper(tmp_path: Path, name: str = "sleeper", port: int | None = None) -> Program:
    return Program(name, ["sleep", "600"], log=tmp_path / f"{name}.log", port=port)


def _python(tmp_path: Path, code: str) -> Program:
    return Program("python", [sys.executable, "-c", code], log=tmp_path / "python.log")


def _restarted(supervisor: Supervisor, name: str, old: int) -> bool:
    supervisor.watch()
    child = supervisor.children[name]
    return child.process.pid != old and child.process.poll() is None


def test_killed_child_is_started_again(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    old = supervisor.start(_sleeper(tmp_path)).process.pid
    os.kill(old, signal.SIGKILL)

    assert wait_until(lambda: _restarted(supervisor, "sleeper", old), PATIENCE_SECONDS)
    assert said == ["sleeper ended (killed by signal 9); starting it again."]


def test_child_that_keeps_dying_is_started_ever_more_seldom(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("backoffice.supervisor.time.monotonic", lambda: now)
    child = supervisor.start(Program("failing", ["false"], log=tmp_path / "failing.log"))
    starts: list[float] = []
    for _ in range(6):
        child.process.wait()
        died = now
        while len(said) == len(starts) or child.process.returncode is not None:
            supervisor.watch()
            now += 0.25
        starts.append(now - 0.25 - died)

    assert starts == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert set(said) == {"failing ended (exit code 1); starting it again."}


def test_child_that_was_up_for_a_minute_starts_again_without_the_old_delay(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("backoffice.supervisor.time.monotonic", lambda: now)
    child = supervisor.start(_sleeper(tmp_path))
    for delay in (0.5, 1.0):
        child.process.kill()
        child.process.wait()
        supervisor.watch()
        now += delay
        supervisor.watch()
    now += 60
    child.process.kill()
    child.process.wait()
    supervisor.watch()
    old = child.process.pid
    now += 0.5
    supervisor.watch()

    assert child.process.pid != old


def test_child_waits_for_its_port(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    port = free_port()
    old = supervisor.start(_sleeper(tmp_path, port=port)).process.pid
    with socket.create_server((LOOPBACK, port)):
        os.kill(old, signal.SIGKILL)
        assert wait_until(lambda: _has_said(supervisor, said, 2), PATIENCE_SECONDS)
        assert said[1] == f"sleeper waits: port {port} is still taken."
    assert wait_until(lambda: _restarted(supervisor, "sleeper", old), PATIENCE_SECONDS)


def test_what_a_killed_child_started_is_killed_too(supervisor: Supervisor, tmp_path: Path) -> None:
    program = _python(tmp_path, WITH_CHILD)
    child = supervisor.start(program)
    assert wait_until(lambda: _output(program) == "both\n", PATIENCE_SECONDS)
    (grandchild,) = psutil.Process(child.process.pid).children()
    child.process.kill()
    child.process.wait()
    supervisor.watch()

    assert wait_until(lambda: not _runs(grandchild), PATIENCE_SECONDS)


def test_groups_are_stopped_in_the_order_asked_for(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("server", "worker"):
        code = f"trap 'echo {name} >> {order}; exit 0' TERM; touch {tmp_path / name}; while :; do sleep 0.05; done"
        supervisor.start(Program(name, ["sh", "-c", code], log=tmp_path / f"{name}.log"))
    assert wait_until(lambda: (tmp_path / "server").exists() and (tmp_path / "worker").exists(), PATIENCE_SECONDS)
    supervisor.stop([["worker", "unknown"], ["server"]], seconds=5)

    assert order.read_text() == "worker\nserver\n"
    assert supervisor.children == {}


def test_child_that_does_not_listen_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    program = _python(tmp_path, STUBBORN)
    process = supervisor.start(program).process
    assert wait_until(lambda: _output(program) == "deaf\n", PATIENCE_SECONDS)
    supervisor.stop([["python"]], seconds=0.1)

    assert process.returncode == -signal.SIGKILL


def test_killed_parent_takes_its_children_along() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    assert wait_until(lambda: not _runs(child), PATIENCE_SECONDS)


def test_port_of_a_listening_server_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert free_port(port) != port
    assert port_is_free(port)


def test_log_that_has_outgrown_its_limit_keeps_its_last_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    log.write_text("".join(f"line {number}\n" for number in range(10)))

    cap_log(log, limit_bytes=70)
    assert log.read_text() == "".join(f"line {number}\n" for number in range(10))
    cap_log(log, limit_bytes=40)
    assert log.read_text() == "line 8\nline 9\n"


def _has_said(supervisor: Supervisor, said: list[str], sentences: int) -> bool:
    supervisor.watch()
    return len(said) >= sentences


def _output(program: Program) -> str:
    assert program.log is not None
    return program.log.read_text()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
