"""The embedded servers: started as whoever runs the tests, reached over TCP with a password, gone with their parent."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backoffice import embedded
from backoffice.processes import PORTS, Program, spawn, stop, wait_until

pytestmark = pytest.mark.proof

PATIENCE_SECONDS = 60.0  # only what hangs takes longer
PARENT = """
import pathlib, sys, time
from backoffice import embedded

with embedded.running(pathlib.Path(sys.argv[1])):
    print("running", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def demo_dir() -> Iterator[Path]:
    """A directory as `make demo` makes one: unlike pytest's own, other users may pass through what is above it."""
    with tempfile.TemporaryDirectory(prefix="backoffice-embedded-") as above:
        Path(above).chmod(0o711)
        yield Path(above) / "demo"


def _connect(servers: embedded.Servers, password: str | None = None) -> psycopg.Connection:
    database = servers.database
    return psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=password or database["PASSWORD"],
        dbname=database["NAME"],
    )


def _servers_below(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_servers_keep_data_ports_and_passwords_between_runs(demo_dir: Path) -> None:
    with embedded.running(demo_dir) as first:
        with _connect(first) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        redis.Redis.from_url(first.redis_url).set("kept", "42")

    with embedded.running(demo_dir) as second:
        assert second == first
        with _connect(second) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert redis.Redis.from_url(second.redis_url).get("kept") == b"42"
    assert _servers_below(demo_dir) == []


def test_servers_listen_below_the_ephemeral_ports_on_loopback_only(demo_dir: Path) -> None:
    with embedded.running(demo_dir) as servers:
        with _connect(servers) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert redis.Redis.from_url(servers.redis_url).config_get("bind") == {"bind": "127.0.0.1"}
        assert servers.database["PORT"] in PORTS


def test_wrong_passwords_are_refused(demo_dir: Path) -> None:
    with embedded.running(demo_dir) as servers:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            _connect(servers, password="guessed")
        port = int(servers.redis_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).get("anything")


def test_passwords_are_readable_by_their_owner_alone(demo_dir: Path) -> None:
    embedded.lay(demo_dir)
    embedded.secret_key(demo_dir)

    for name in ("servers.json", "secret-key"):
        assert (demo_dir / name).stat().st_mode & 0o777 == 0o600


def test_secret_key_is_made_once(demo_dir: Path) -> None:
    key = embedded.secret_key(demo_dir)

    assert len(key) >= 50
    assert embedded.secret_key(demo_dir) == key
    assert embedded.secret_key(demo_dir.with_name("other")) != key


def test_another_port_is_taken_when_the_known_one_is_not_free(demo_dir: Path) -> None:
    first = embedded.lay(demo_dir)
    second = embedded.lay(demo_dir, avoid=[first.postgres_port])

    assert second.postgres_port not in (first.postgres_port, first.valkey_port)
    assert second.valkey_port == first.valkey_port
    assert json.loads((demo_dir / "servers.json").read_text())["postgres_port"] == second.postgres_port


def test_settings_of_servers_that_were_never_started_reach_nobody(demo_dir: Path) -> None:
    servers = embedded.connection_settings(demo_dir)

    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        _connect(servers)
    assert not demo_dir.exists()


def test_killed_parent_leaves_no_server_behind(demo_dir: Path) -> None:
    argv = [sys.executable, "-c", PARENT, str(demo_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"running\n"
        assert len(_servers_below(demo_dir)) >= 2
        parent.kill()

    assert wait_until(lambda: _servers_below(demo_dir) == [], PATIENCE_SECONDS)


def test_second_start_on_running_servers_says_which_process_to_stop(
    demo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STALE_SECONDS", 0)
    with embedded.running(demo_dir), pytest.raises(embedded.EmbeddedError) as refusal:
        embedded.check_stopped(demo_dir)

    assert str(refusal.value).startswith(f"Postgres is still running on {demo_dir / 'postgres' / 'data'} (process ")


def test_process_number_that_was_given_anew_does_not_count_as_a_running_server(demo_dir: Path) -> None:
    with embedded.running(demo_dir):
        pass
    stranger = spawn(Program("stranger", ["sleep", "600"], log=None))
    try:
        (demo_dir / "postgres" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with embedded.running(demo_dir) as servers, _connect(servers) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        stop([(stranger, signal.SIGTERM)], seconds=5)


def test_interrupted_initialisation_is_repeated(demo_dir: Path) -> None:
    layout = embedded.lay(demo_dir)
    half = Path(layout.postgres_home) / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    with embedded.running(demo_dir) as servers, _connect(servers) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
