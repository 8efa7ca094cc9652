"""Which process does which piece of the engine's work: each piece is done by one process, and soon by another when that
one dies.

The leases are rows of Postgres, by its clock. A process renews its own twice a second and lets go of what it could not
renew in time; one that was frozen and wakes late may still finish the batch it was in, which harms nothing: an order is
queued by a change of its row, and only once.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
RENEW_SECONDS = 0.5

# A free piece, or one whose holder has fallen silent. Of several who ask at once, one gets it: the others wait for his
# row and then find it taken.
_TAKE = """
INSERT INTO trading_enginelease (piece, holder, until)
VALUES (%(piece)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (piece) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
WHERE trading_enginelease.until <= clock_timestamp()
"""


class EngineLease(models.Model):
    """Who does a piece of work, and until when he may unless he renews it."""

    piece = models.CharField(_("piece"), max_length=32, primary_key=True)
    holder = models.UUIDField(_("holder"))
    until = models.DateTimeField(_("until"))

    class Meta:
        verbose_name = _("engine lease")
        verbose_name_plural = _("engine leases")

    def __str__(self) -> str:
        return self.piece


class EngineProcess(models.Model):
    """A process that is ready for work, holding some or not: the pieces are shared out among those seen lately."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(_("name"), max_length=100, help_text=_("Its host and number there."))
    seen_at = models.DateTimeField(_("seen at"))

    class Meta:
        verbose_name = _("engine process")
        verbose_name_plural = _("engine processes")

    def __str__(self) -> str:
        return self.name


class Leases:
    """What one process holds of the pieces. Not thread-safe, but for `is_held`."""

    def __init__(self, pieces: Collection[str]) -> None:
        self._pieces = sorted(pieces)
        self._holder = uuid.uuid4()
        self._name = f"{socket.gethostname()[:80]}:{os.getpid()}"
        self._wanted: frozenset[str] = frozenset()
        self._until = 0.0

    def is_held(self, piece: str) -> bool:
        """Whether the piece is ours, by our own clock, and nobody with less to do waits for it."""
        return piece in self._wanted and time.monotonic() < self._until

    def keep(self, busy: Collection[str] = ()) -> frozenset[str]:
        """Renew, take what is free, let go of what is more than our share; returns what is to be done here.

        `busy` are the pieces still being worked on: they are not given away before that has ended.
        """
        asked_at = time.monotonic()
        with transaction.atomic():
            EngineProcess.objects.update_or_create(pk=self._holder, defaults={"name": self._name, "seen_at": Now()})
            share = math.ceil(len(self._pieces) / self._processes())
            ours = EngineLease.objects.filter(holder=self._holder, until__gt=Now())
            held = set(ours.values_list("piece", flat=True))
            wanted = sorted(held, key=lambda piece: (piece not in self._wanted, piece))[:share]
            for piece in self._pieces:
                if len(wanted) < share and piece not in held and self._take(piece):
                    wanted.append(piece)
            ours.filter(piece__in=held & {*wanted, *busy}).update(until=Now() + timedelta(seconds=LEASE_SECONDS))
            ours.filter(piece__in=held - {*wanted, *busy}).delete()
        self._wanted = frozenset(wanted)
        self._until = asked_at + LEASE_SECONDS
        return self._wanted

    def give_back(self) -> None:
        """Let others have everything at once."""
        self._wanted = frozenset()
        with transaction.atomic():
            EngineLease.objects.filter(holder=self._holder).delete()
            EngineProcess.objects.filter(pk=self._holder).delete()

    def _processes(self) -> int:
        """How many are alive, ourselves among them. The long dead are forgotten."""
        EngineProcess.objects.filter(seen_at__lt=Now() - timedelta(minutes=1)).delete()
        return EngineProcess.objects.filter(seen_at__gt=Now() - timedelta(seconds=LEASE_SECONDS)).count()

    def _take(self, piece: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, {"piece": piece, "holder": self._holder, "seconds": LEASE_SECONDS})
            return bool(cursor.rowcount)


class Crew:
    """Does the pieces of work that are ours, each in a thread of its own.

    `work` has what to do for each piece: it runs until the question it is given is answered with True.
    """

    def __init__(self, work: Mapping[str, Callable[[Callable[[], bool]], None]]) -> None:
        self._work = work
        self._leases = Leases(work)
        self._threads: dict[str, threading.Thread] = {}
        self._failed = threading.Event()

    def step(self, stopping: Callable[[], bool]) -> None:
        """Keep the leases, and start what has become ours. Raises `OperationalError`; what runs ends with its lease."""
        for piece in self._leases.keep(self.busy()) - self.busy():
            thread = threading.Thread(target=self._do, args=(piece, stopping), name=piece, daemon=True)
            self._threads[piece] = thread
            thread.start()

    def busy(self) -> set[str]:
        return {piece for piece, thread in self._threads.items() if thread.is_alive()}

    @property
    def has_failed(self) -> bool:
        """Whether a piece of work ended by a fault: the process should end too, for half an engine is none."""
        return self._failed.is_set()

    def leave(self) -> None:
        """Wait for what runs to end, and give back the leases. Raises `OperationalError`."""
        for thread in self._threads.values():
            thread.join()
        self._leases.give_back()

    def _do(self, piece: str, stopping: Callable[[], bool]) -> None:
        try:
            self._work[piece](lambda: stopping() or self.has_failed or not self._leases.is_held(piece))
        except Exception:
            log.exception("%s failed", piece)
            self._failed.set()
        finally:
            connection.close()
