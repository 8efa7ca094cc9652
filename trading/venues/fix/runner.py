"""Runs the sessions: one thread each, which holds the session's lease, connects, and connects again."""

from __future__ import annotations

import logging
import os
import secrets
import select
import socket
import threading
import time

from django.db import OperationalError, connection

from backoffice import health
from trading.venues.choices import LinkState
from trading.venues.fix.codec import NotFix, Reader
from trading.venues.fix.session import Disconnect, Session
from trading.venues.fix.store import LeaseLost, Store
from trading.venues.models import FixSession

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05  # how long a request may wait here before it is sent
LEASE_EVERY_SECONDS = 1.0
CONNECT_SECONDS = 5.0
LOGOUT_SECONDS = 2.0
BACK_OFF_SECONDS = (1.0, 2.0, 5.0, 10.0)


class Runner(threading.Thread):
    """One session, for as long as the process lives. Two processes may try: the lease lets one at a time."""

    def __init__(self, session_id: int, stopping: threading.Event) -> None:
        super().__init__(name=f"fix-{session_id}", daemon=True)
        self._store = Store(session_id, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"[:64])
        self._stopping = stopping
        self._failures = 0

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._try()
                except OperationalError as error:
                    log.warning("FIX: the database is away: %s", error)
                    connection.close()
                    self._back_off()
            self._store.give_back()
        finally:
            connection.close()

    def _try(self) -> None:
        """Have one connection, if the session is ours to run and wanted."""
        row = self._store.lease()
        if row is None or not row.is_enabled:
            if row is not None:
                self._store.note(LinkState.DISCONNECTED)
            self._stopping.wait(LEASE_EVERY_SECONDS)
            return
        try:
            self._connect(row)
            trouble = ""
        except (Disconnect, NotFix, OSError) as error:
            trouble = str(error) or type(error).__name__
            log.warning("FIX %s: %s", row, trouble)
        except LeaseLost:
            log.warning("FIX %s: another process runs it", row)
            return
        except OperationalError:
            raise
        except Exception:
            log.exception("FIX %s: a fault of ours", row)
            trouble = "A fault of ours; the log has it."
        self._store.note(LinkState.DISCONNECTED, trouble)
        if trouble:
            self._back_off()

    def _connect(self, row: FixSession) -> None:
        self._store.note(LinkState.CONNECTING)
        with socket.create_connection((row.host, row.port), timeout=CONNECT_SECONDS) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session, reader = Session(row, self._store, link.sendall), Reader()
            session.log_on()
            renew_at = time.monotonic() + LEASE_EVERY_SECONDS
            while not self._stopping.is_set():
                self._read(link, reader, session)
                session.work()
                if session.is_logged_on:
                    self._failures = 0
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + LEASE_EVERY_SECONDS
                    if not self._is_wanted():
                        break
            if session.is_logged_on:
                self._log_out(link, reader, session)

    def _is_wanted(self) -> bool:
        """Is the session still to be connected, and with these numbers? Raises LeaseLost."""
        row = self._store.lease()
        if row is None:
            raise LeaseLost
        return row.is_enabled and not row.reset_wanted

    def _read(self, link: socket.socket, reader: Reader, session: Session) -> None:
        readable, _, _ = select.select([link], [], [], POLL_SECONDS)
        if readable:
            data = link.recv(65536)
            if not data:
                raise Disconnect("The counterparty closed the connection.")
            for message in reader.feed(data):
                session.take(message)

    def _log_out(self, link: socket.socket, reader: Reader, session: Session) -> None:
        """Say goodbye, and book what still comes until that is answered."""
        session.log_out()
        patience = time.monotonic() + LOGOUT_SECONDS
        try:
            while time.monotonic() < patience:
                self._read(link, reader, session)
        except Disconnect as end:
            log.info("FIX: %s", end)

    def _back_off(self) -> None:
        self._stopping.wait(BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)])
        self._failures += 1


def run(stopping: threading.Event) -> None:
    """Run every session there is, also those that are added later, until `stopping`."""
    runners: dict[int, Runner] = {}
    while not stopping.is_set():
        try:
            for session_id in FixSession.objects.values_list("pk", flat=True):
                if session_id not in runners or not runners[session_id].is_alive():
                    runners[session_id] = Runner(session_id, stopping)
                    runners[session_id].start()
        except OperationalError as error:
            log.warning("FIX: the database is away: %s", error)
            connection.close()
        health.beat("fix")
        stopping.wait(1)
    for runner in runners.values():
        runner.join()
