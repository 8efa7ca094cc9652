"""Child processes that never outlive their parent. Knows no Django: it is used before there are settings."""

import contextlib
import ctypes
import itertools
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

LOG_LIMIT_BYTES = 10 * 1024 * 1024
LOOPBACK = "127.0.0.1"
PORTS = range(20000, 32768)  # below Linux' ephemeral ports, so that no outgoing connection takes one in between
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """What to run, and how it wants to be ended.

    `stop_signal` is sent in an orderly stop, `death_signal` by the kernel (Linux) when the parent dies without one.
    `user` is the id of a user to run as (root only). `port` must be free before every start. Without a `log` the
    program writes where we write.
    """

    name: str
    argv: Sequence[str]
    log: Path | None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    port: int | None = None
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGTERM


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start the program in its own process group, its output appended to its log.

    Call it from the main thread only: the kernel sends the death signal when the *thread* that forked ends.
    """
    parent = os.getpid()
    with _opened(program.log) as output:
        return subprocess.Popen(
            program.argv,
            cwd=program.cwd,
            env={**os.environ, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            process_group=0,
            user=program.user,
            group=None if program.user is None else pwd.getpwuid(program.user).pw_gid,
            extra_groups=None if program.user is None else [],
            preexec_fn=lambda: _die_with(parent, program.death_signal),
        )


def _opened(log: Path | None) -> contextlib.AbstractContextManager[BinaryIO | None]:
    if log is None:
        return contextlib.nullcontext()
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _die_with(parent: int, death_signal: int) -> None:
    """In the child: ask the kernel for a signal when the parent dies, and leave if it is dead already."""
    for ignored in (signal.SIGINT, signal.SIGQUIT):  # so does a shell start its background jobs
        signal.signal(ignored, signal.SIG_DFL)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os._exit(1)


def stop(processes: Sequence[tuple[subprocess.Popen[bytes], int]], seconds: float) -> None:
    """Send each process its signal, wait for all of them, then kill what is left of their groups."""
    for process, stop_signal in processes:
        if process.poll() is None:
            process.send_signal(stop_signal)
    wait_until(lambda: all(process.poll() is not None for process, _ in processes), seconds)
    for process, _ in processes:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever still runs in the group that the process led: workers outlive a killed granian or Celery master."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll the condition until it holds (True) or the seconds are over (False)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def port_is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now; connections that linger in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, *, avoid: Sequence[int] = ()) -> int:
    """The preferred port when it is free, else another free one of `PORTS`, else whichever the kernel gives."""
    if preferred is not None and preferred not in avoid and port_is_free(preferred):
        return preferred
    start = PORTS[secrets.randbelow(len(PORTS))]  # who chooses at the same time finds another one
    for port in itertools.chain(range(start, PORTS.stop), range(PORTS.start, start)):
        if port not in avoid and port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def cap_log(path: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Keep the last half of a log that has outgrown the limit."""
    if path.exists() and path.stat().st_size > limit_bytes:
        tail = path.read_bytes()[-limit_bytes // 2 :]
        path.write_bytes(tail[tail.find(b"\n") + 1 :])
