"""The servers of a benchmark, and the clients that load them."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil
from django.conf import settings

from backoffice.bench.load import Plan, Result
from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop, wait_until

START_SECONDS = 180.0
_CLIENTS = (sys.executable, "-m", "backoffice.bench.load")


@contextlib.contextmanager
def web(env: Mapping[str, str] | None = None, *, workers: int = 1) -> Iterator[Web]:
    """So many web processes on one port of their own, with the settings of the environment but for `env`."""
    port = free_port()
    argv = [
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--workers",
        str(workers),
        "--no-ws",
    ]
    with _running("web", [*argv, "backoffice.asgi:application"], env or {}) as process:
        server = Web(port, psutil.Process(process.pid))
        if not wait_until(lambda: answers(port), START_SECONDS):
            raise RuntimeError("The web process does not answer.")
        yield server


@contextlib.contextmanager
def worker(concurrency: int = 2, *, include: str = "") -> Iterator[psutil.Process]:
    """A worker; `include` names a module with tasks of the benchmark's own."""
    argv = ["-m", "celery", "-A", "backoffice", "worker", "--concurrency", str(concurrency), "--loglevel", "warning"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    argv += ["--include", include] if include else []
    with _running("worker", argv, {}) as process:
        yield psutil.Process(process.pid)


def answers(port: int) -> bool:
    """Whether a web process does, on this port."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/tv/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Web:
    def __init__(self, port: int, process: psutil.Process) -> None:
        self.port = port
        self.process = process


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of the process and its children, so far."""
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def load(plan: Plan) -> Result:
    """Run the clients, in a process of their own, and wait for them."""
    ended = subprocess.run(_CLIENTS, input=msgspec.json.encode(plan), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(ended.stdout, type=Result)


def start_load(plan: msgspec.Struct, argv: Sequence[str] = _CLIENTS) -> subprocess.Popen[bytes]:
    """Start the clients of this plan: those of `backoffice.bench.load`, unless it is others'."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan))
    process.stdin.close()
    return process


def finish_load(process: subprocess.Popen[bytes]) -> Result:
    assert process.stdout is not None
    result = msgspec.json.decode(process.stdout.read(), type=Result)
    process.wait()
    return result


@contextlib.contextmanager
def _running(name: str, argv: list[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    log = Path(settings.DEMO_DIR) / "logs" / f"bench-{name}.log"
    program = Program(
        name=name,
        argv=[sys.executable, *argv],
        log=log,
        cwd=settings.BASE_DIR,
        env={"DJANGO_SETTINGS_MODULE": "backoffice.settings", "PART": name, **env},
    )
    process = spawn(program)
    try:
        yield process
    finally:
        stop([(process, signal.SIGTERM)], seconds=10)
