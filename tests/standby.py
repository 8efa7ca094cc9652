"""A second Postgres that follows the tests' own, made as an operator makes one: `pg_basebackup -R`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from django.db import connection, connections

from backoffice import embedded, recovery
from backoffice.processes import LOOPBACK, Program, free_port, spawn, stop
from backoffice.replica import REPLICA
from tests.processes import eventually


@dataclass(frozen=True)
class Standby:
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, question: str) -> object:
        """The one value that the standby gives as its answer, also where what it replays cancels the question."""
        with psycopg.connect(recovery._url(self.port), autocommit=True) as session:
            while True:
                with contextlib.suppress(psycopg.errors.SerializationFailure):
                    row = session.execute(question).fetchone()
                    return row[0] if row else None

    def pause(self) -> None:
        """From here on it receives what is committed, and shows nothing of it."""
        self.ask("SELECT pg_wal_replay_pause()")
        eventually(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused", "replay stands still")

    def resume(self) -> None:
        self.ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Wait until it shows all that is committed now."""
        end = self._flushed()
        eventually(lambda: self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{end}'"), "the standby has replayed it")

    def receive_all(self) -> None:
        """Wait until it has, shown or not, all that is committed now."""
        end = self._flushed()
        eventually(lambda: self.ask(f"SELECT pg_last_wal_receive_lsn() >= '{end}'"), "the standby has received it")

    def _flushed(self) -> str:
        """The end of the log, once it is on the disk: the tests' own server does not wait for that at a commit."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_switch_wal()")
            cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
            return str(cursor.fetchone()[0])


@contextlib.contextmanager
def standby() -> Iterator[Standby]:
    """The standby while the block runs. The tests' database must exist."""
    place = Path(tempfile.mkdtemp(dir=recovery.home(), prefix="standby-"))
    owner, data, port = embedded.postgres_user(), place / "data", free_port()
    slot = f"standby_{port}"  # so that the server keeps of its log what the standby does not have yet
    try:
        recovery._run("pg_basebackup", "-D", str(data), "-R", "-X", "stream", "-c", "fast", "-w", "-C", "-S", slot)
        if owner is not None:
            for path in (place, data, *data.rglob("*")):
                os.chown(path, owner, -1)
        argv = [str(recovery._program("postgres")), "-D", str(data), "-p", str(port)]
        argv += ["-c", f"listen_addresses={LOOPBACK}", "-c", "unix_socket_directories=", "-c", "max_connections=200"]
        argv += ["-c", "hot_standby=on", "-c", "max_standby_streaming_delay=0"]
        log = place / "standby.log"
        process = spawn(Program("standby", argv, log, cwd=data, env={"LC_ALL": "C"}, user=owner, port=port))
        try:
            eventually(lambda: process.poll() is not None or recovery._answers(port), "the standby takes connections")
            assert process.poll() is None, log.read_text()
            yield Standby(port, process)
        finally:
            stop([(process, signal.SIGINT)], seconds=30)
    finally:
        shutil.rmtree(place)
        drop_slot(slot)


def drop_slot(name: str) -> None:
    """The server's end of a connection outlives the other for a moment, and keeps its slot as long."""

    def is_gone() -> bool:
        with connection.cursor() as cursor:
            slots = "FROM pg_replication_slots WHERE slot_name = %s"
            cursor.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active", [name])
            cursor.execute(f"SELECT {slots}", [name])
            return cursor.rowcount == 0

    eventually(is_gone, "the slot is gone")


@contextlib.contextmanager
def configured(port: int) -> Iterator[None]:
    """Django knows a replica on this port, as REPLICA_URL would have told it."""
    primary = connections.databases["default"]
    connections.databases[REPLICA] = {**primary, "HOST": LOOPBACK, "PORT": port}
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):
            connections[REPLICA].close()
            del connections[REPLICA]
        del connections.databases[REPLICA]
