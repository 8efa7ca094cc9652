"""The application behind the real server: what goes to Django, what does not, and how it leaves."""

import http.client
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import psutil
import pytest
import redis
from django.conf import settings

from backoffice.processes import LOOPBACK, Program, free_port, port_is_free, spawn, stop, wait_until

pytestmark = pytest.mark.proof


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Popen[bytes]]:
    """The parameter is how many seconds it answers on when it was told to stop."""
    argv = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", LOOPBACK, "--port", str(port), "--no-ws"]
    argv += ["--workers-kill-timeout", "20", "tests.backoffice.endless:application"]
    log, env = tmp_path / "server.log", {"NOTICE": getattr(request, "param", "0")}
    process = spawn(Program("server", argv, log=log, cwd=settings.BASE_DIR, env=env))
    try:
        assert wait_until(lambda: b"Started worker-1" in log.read_bytes(), 60), log.read_text()
        yield process
    finally:
        stop([(process, signal.SIGTERM)], seconds=30)


def _get(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    return connection.getresponse()


def _worker(server: Popen[bytes]) -> psutil.Process:
    """The process that serves: the one whose application is loaded."""
    return next(child for child in psutil.Process(server.pid).children() if "granian" in " ".join(child.cmdline()))


@pytest.mark.usefixtures("server")
def test_other_paths_are_answered_by_django(port: int) -> None:
    assert _get(port, "/tv/ping").read().startswith(b'{"s": "ok"')


@pytest.mark.usefixtures("server")
def test_every_answer_has_the_id_of_its_request(port: int) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    connection.request("GET", "/tv/ping", headers={"X-Request-ID": "of-the-proxy-1"})
    assert connection.getresponse().getheader("x-request-id") == "of-the-proxy-1"
    assert len(_get(port, "/nowhere").getheader("x-request-id", "")) == 32


@pytest.mark.usefixtures("server")
def test_bytes_that_are_not_ascii_are_no_fault_of_ours(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's client refuses to send what others do send.
    monkeypatch.setattr(http.client.HTTPConnection, "_encode_request", lambda _, request: request.encode())

    assert _get(port, "/tv/ping?name=café&%ff").status == 200
    assert _get(port, "/caf%ff%00").status == 404


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("path", "status"), [("/tv/authorize", 200), ("/admin/login/", 413)])
def test_a_client_that_sends_too_much_is_told_so(port: int, path: str, status: int) -> None:
    """Its body is taken first: a client whose connection is closed while it sends sees no answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    connection.request("POST", path, b"x=" + b"1" * 7_000_000, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    assert (answer.status, b"The request is too large." in answer.read()) == (status, True)


@pytest.mark.usefixtures("server")
def test_event_loop_gives_signs_of_life(empty_redis: redis.Redis) -> None:
    assert wait_until(lambda: bool(empty_redis.exists("alive:stream")), 60)


@pytest.mark.parametrize("server", ["3600"], indirect=True)
def test_a_server_told_to_stop_says_so_first_and_answers_on_meanwhile(server: Popen[bytes], port: int) -> None:
    assert (_get(port, "/readyz").status, _get(port, "/tv/ping").getheader("connection")) == (200, None)
    stream = _get(port, "/endless")
    assert stream.readline() == b"first\n"
    worker = _worker(server)
    worker.send_signal(signal.SIGTERM)
    assert wait_until(lambda: _get(port, "/readyz").status == 503, 60)

    last = _get(port, "/tv/ping")
    assert (last.status, last.getheader("connection")) == (200, "close")
    assert worker.is_running()

    server.send_signal(signal.SIGTERM)  # it asks its worker once more: then there is no more waiting
    assert stream.read() == b"last\n"
    assert server.wait() == 0


def test_open_stream_ends_completely_when_the_server_is_told_to_stop(server: Popen[bytes], port: int) -> None:
    answer = _get(port, "/endless")
    assert answer.readline() == b"first\n"
    server.send_signal(signal.SIGTERM)

    assert answer.read() == b"last\n"  # http.client raises IncompleteRead when the last chunk is missing
    assert server.wait() == 0
    assert wait_until(lambda: port_is_free(port), 60)
