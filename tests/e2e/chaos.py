"""Kill whatever runs, under load, and look whether an order was lost or done twice.

    python -m tests.e2e.chaos           # CHAOS_SECONDS (60), CHAOS_SEED (another each time)

starts a demo of its own, lets clients trade on all its accounts, and kills its processes at random with kill -9,
empties Redis and restarts Postgres while they do. When everything runs again each order that was accepted must be in
the books once, and working or final within 15 s; no order that was refused may be there; nothing that was shown may
have vanished or come back; and `verify_books` and `verify_audit` must agree. Ends with exit code 1 and what it found.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import redis
import requests

from backoffice import embedded
from backoffice.processes import wait_until
from tests.demo import PATIENCE_SECONDS, Demo
from tests.e2e.acceptance import say
from tests.e2e.traders import MARKETS, Request, Trader, Unanswered, Watcher

TRADERS_OF_AN_ACCOUNT = 2
PAUSE_SECONDS = 0.15  # of a trader
POLL_SECONDS = 0.5
CALM_SECONDS = (0.5, 4.0)  # between two disturbances
RECOVERS = 0.6  # of the disturbances find everything well again before the next
AT_LEAST = 8  # disturbances, however long the demo takes to recover from them
SETTLED_SECONDS = 15.0
WIND_UP_SECONDS = 120.0  # to cancel and close one by one what is open at the end
# The programs of the demo, by a part of their command lines.
PROGRAMS = (
    "granian", "celery", "backoffice worker", "backoffice beat", "run_feed", "run_engine", "bin/postgres",
    "valkey-server",
)  # fmt: skip
READ_BOOKS = """
import json
from trading.models import Order
rows = Order.objects.filter(role="").values_list("account__number", "request_id", "pk", "status")
print(json.dumps([list(row) for row in rows]))
"""


class Chaos:
    """A demo, its traders, and what happens to it."""

    def __init__(self, demo: Demo, seed: int) -> None:
        self.demo = demo
        self.chance = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.stopping = threading.Event()
        self.watchers = [Watcher(demo.url, market.account) for market in MARKETS]
        self.traders = [
            Trader(demo.url, market, seed + number)
            for number, market in enumerate(MARKETS * TRADERS_OF_AN_ACCOUNT, start=1)
        ]

    def run(self, seconds: float) -> list[str]:
        """Trade and disturb for so long; then wait for calm, and say what was found."""
        threads = [threading.Thread(target=each.trade, args=(self.stopping, PAUSE_SECONDS)) for each in self.traders]
        threads += [threading.Thread(target=each.watch, args=(self.stopping, POLL_SECONDS)) for each in self.watchers]
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or self.happened.total() < AT_LEAST:
                time.sleep(self.chance.uniform(*CALM_SECONDS))
                self.happened[self._disturb()] += 1
                if self.chance.random() < RECOVERS:
                    wait_until(self._is_healthy, PATIENCE_SECONDS)
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
        if not wait_until(self._is_healthy, PATIENCE_SECONDS):
            return [f"not healthy {PATIENCE_SECONDS:.0f} s after the last disturbance: {self._health()}"]
        return [*self._settled(), *self._of_clients(), *self._of_books(), *self._verified()]

    # --- what happens -------------------------------------------------------------------------------------------------

    def _disturb(self) -> str:
        """Do one harm, and say what it was."""
        harms = [self._kill_child, self._kill_child, self._kill_descendant, self._flush_redis, self._restart_postgres]
        try:
            return self.chance.choice(harms)()
        except (psutil.Error, redis.RedisError, StopIteration):
            return "came too late"

    def _kill_child(self) -> str:
        return self._kill(self.chance.choice(psutil.Process(self.demo.process.pid).children()))

    def _kill_descendant(self) -> str:
        """A worker of the web server, a child of Celery, a backend of Postgres …"""
        return self._kill(self.chance.choice(psutil.Process(self.demo.process.pid).children(recursive=True)))

    def _kill(self, process: psutil.Process) -> str:
        name = _name(process)
        process.kill()
        return f"{name} killed"

    def _flush_redis(self) -> str:
        servers = embedded.connection_settings(self.demo.directory / "demo")
        redis.Redis.from_url(servers.redis_url).flushall()
        return "Redis emptied"

    def _restart_postgres(self) -> str:
        """As `pg_ctl stop -m immediate` does; the supervisor starts it again."""
        self.demo.part("bin/postgres").send_signal(signal.SIGQUIT)
        return "Postgres restarted"

    # --- what is found ------------------------------------------------------------------------------------------------

    def _health(self) -> str:
        try:
            return requests.get(f"{self.demo.url}/healthz", timeout=5).text
        except requests.RequestException as error:
            return str(error)

    def _is_healthy(self) -> bool:
        try:
            return requests.get(f"{self.demo.url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def _settled(self) -> Iterator[str]:
        """No order is being placed for longer; and once all is cancelled and closed, nothing is left."""
        if not wait_until(lambda: not self._live("placing"), SETTLED_SECONDS):
            yield f"still placing after {SETTLED_SECONDS:.0f} s: {self._live('placing')}"
        for trader in self.traders:
            trader.settle()
        if not wait_until(lambda: all(trader.wind_up() for trader in self.traders), WIND_UP_SECONDS):
            yield f"cancelled and closed, but live after {WIND_UP_SECONDS:.0f} s: {self._live()}"
        for watcher in self.watchers:
            watcher.look()

    def _live(self, status: str = "") -> list[str]:
        found = [order for trader in self.traders[: len(MARKETS)] for order in trader.live()]
        return [f"{order['id']} {order['status']}" for order in found if status in ("", order["status"])]

    def _of_clients(self) -> Iterator[str]:
        for trader in self.traders:
            yield from trader.findings
        for watcher in self.watchers:
            yield from watcher.findings

    def _of_books(self) -> Iterator[str]:
        """Each request that was accepted made one order, and each that was refused none."""
        answer = self.demo.manage("shell", "--no-imports", "-c", READ_BOOKS)
        if answer.returncode:
            yield f"the books cannot be read: {answer.stderr}"
            return
        books: dict[tuple[str, str], list[str]] = {}
        for account, request_id, order, status in json.loads(answer.stdout):
            books.setdefault((account, request_id), []).append(f"{order} {status}")
        for request in self.requests:
            found = books.get((request.account, request.id), [])
            expected = 0 if request.refusal is not None else 1
            if len(found) != expected or (request.order and found[0].split()[0] != request.order):
                yield f"{request} is in the books as {found}"

    def _verified(self) -> Iterator[str]:
        for command in ("verify_books", "verify_audit"):
            answer = self.demo.manage(command)
            if answer.returncode:
                yield f"{command}: {answer.stderr}"

    @property
    def requests(self) -> list[Request]:
        return [request for trader in self.traders for request in trader.requests]


def _name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next((name for name in PROGRAMS if name in words), words[:60])


def main() -> int:
    seconds = float(os.environ.get("CHAOS_SECONDS") or 60)
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbits(32))
    directory = Path(tempfile.mkdtemp(prefix="backoffice-chaos-"))
    directory.chmod(0o711)  # Postgres' own user goes through it when root runs this
    say(f"CHAOS_SEED={seed}, in {directory}")
    demo = Demo(directory)
    demo.start()
    try:
        findings = _run(demo, seed, seconds)
    finally:
        demo.stop()
    if findings:
        say(f"{len(findings)} findings; the logs stay in {directory}")
        return 1
    shutil.rmtree(directory)
    say("Nothing was lost, and nothing done twice.")
    return 0


def _run(demo: Demo, seed: int, seconds: float) -> list[str]:
    chaos = Chaos(demo, seed)
    try:
        findings = chaos.run(seconds)
    except Unanswered as error:
        findings = [f"no answer after everything had recovered: {error}"]
    accepted = sum(request.order is not None for request in chaos.requests)
    done = sum((trader.done for trader in chaos.traders), Counter())
    say(f"{accepted} of {len(chaos.requests)} orders accepted; {dict(done)}")
    say(f"What happened: {dict(chaos.happened)}")
    for finding in findings:
        say(f"FOUND: {finding}")
    return findings


if __name__ == "__main__":
    sys.exit(main())
