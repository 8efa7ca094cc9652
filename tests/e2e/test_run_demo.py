"""`make demo` from outside: what it starts, what it survives, what it leaves behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import requests
from django.conf import settings

from backoffice.processes import wait_until
from tests.demo import PATIENCE_SECONDS, Demo

pytestmark = pytest.mark.proof

PARTS = ("--port {port} ", "--port {stream_port} ", "backoffice worker", "backoffice beat", "run_feed", "run_engine")


def _health(demo: Demo) -> int:
    try:
        return requests.get(f"{demo.url}/healthz", timeout=10).status_code
    except requests.RequestException:
        return 0


def _words(demo: Demo, part: str) -> str:
    return part.format(port=demo.port, stream_port=demo.stream_port)


def _is_back(demo: Demo, words: str, old: int) -> bool:
    try:
        return demo.part(words).pid != old and _health(demo) == 200
    except (StopIteration, psutil.Error):
        return False


def test_every_process_is_told_by_its_command_line_and_environment(demo: Demo) -> None:
    for part in PARTS:
        assert demo.part(_words(demo, part)).environ()["DEMO_DIR"] == str(demo.directory / "demo")


@pytest.mark.parametrize("part", [*PARTS, "bin/postgres", "valkey-server"])
def test_killed_process_is_started_again(demo: Demo, part: str) -> None:
    words = _words(demo, part)
    old = demo.part(words)
    old.kill()

    assert wait_until(lambda: _is_back(demo, words, old.pid), PATIENCE_SECONDS)


def test_command_finds_the_running_servers(demo: Demo) -> None:
    code = "from django.db import connection; print(connection.cursor().execute('SELECT 6 * 7').fetchone())"
    result = demo.manage("shell", "--no-imports", "-c", code)

    assert (result.returncode, result.stdout) == (0, "(42,)\n")


def test_second_demo_in_the_same_directory_is_refused(demo: Demo) -> None:
    result = demo.manage("run_demo")

    assert result.returncode == 1
    assert result.stderr == (
        f"A demo already runs in {demo.directory / 'demo'} (process {demo.process.pid}): stop that one, "
        "or give this one a DEMO_DIR and an HTTP_PORT of its own.\n"
    )


def test_busy_port_is_named(demo: Demo) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "run_demo"],
        cwd=settings.BASE_DIR,
        env={**os.environ, **demo.env, "DEMO_DIR": str(demo.directory / "second")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr == f"Port {demo.port} is taken by another program: set HTTP_PORT to a free one.\n"


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stop_leaves_nothing_behind_and_the_next_start_finds_the_data(demo: Demo) -> None:
    # Its watch of the stream has a login of its own, made in its own time.
    logins = "u().objects.exclude(username='stream-watch').order_by('pk').values_list('pk', 'username')"
    code = f"from django.contrib.auth import get_user_model as u; print(list({logins}))"
    before = told(demo.manage("shell", "--no-imports", "-c", code))
    for end in (lambda: demo.stop(signal.SIGINT), lambda: demo.stop(signal.SIGTERM), demo.kill):
        end()
        assert wait_until(lambda: demo.processes() == [], PATIENCE_SECONDS)
        demo.start()
        assert told(demo.manage("shell", "--no-imports", "-c", code)) == before


@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
def test_interrupted_start_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory, seconds: float) -> None:
    directory = tmp_path_factory.mktemp("interrupted")
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(0o711)  # Postgres' own user goes through it when root runs the tests
    demo = Demo(directory)
    demo.launch()
    wait_until(lambda: "Starting the demo in" in demo.output.read_text() or demo.has_ended(), PATIENCE_SECONDS)
    assert not demo.has_ended(), demo.output.read_text()
    time.sleep(seconds)
    demo.stop(signal.SIGINT)
    assert demo.process.returncode == 0
    assert demo.output.read_text().endswith("Stopped (SIGINT).\n")
    assert wait_until(lambda: demo.processes() == [], PATIENCE_SECONDS)
