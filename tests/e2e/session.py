"""A client who polls as TradingView's page does, during a session of random trading, and is never contradicted.

    python -m tests.e2e.session         # SESSION_SECONDS (600), SESSION_SEED; SESSION_URL: a demo that runs already

Traders trade at random on all accounts of a demo; for each account somebody polls `/orders` every 500 ms. No order may
vanish or return from its end, each bracket is seen ending, and each change that was accepted is seen within a second.
Before that, eight clients send one order at once, all with the same `requestId`: it is one order.
"""

from __future__ import annotations

import os
import secrets
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backoffice.processes import wait_until
from tests.demo import Demo
from tests.e2e.acceptance import Refused, say
from tests.e2e.traders import MARKETS, Client, Market, Trader, Watcher

POLL_SECONDS = 0.5
PAUSE_SECONDS = 1.0  # of a trader, who is in a hurry
SEEN_SECONDS = 1.0
END_SECONDS = 15.0
WIND_UP_SECONDS = 300.0  # hundreds of orders may rest at the end, which each trader cancels one by one
CLIENTS_AT_ONCE = 8


def race(url: str, market: Market) -> Iterator[str]:
    """One market order from eight clients at once, with one `requestId`: all are told of the same order."""
    clients = [Client(url, "trader", "trader-demo") for _ in range(CLIENTS_AT_ONCE)]
    barrier = threading.Barrier(CLIENTS_AT_ONCE)
    request_id = secrets.token_hex(5)
    path = f"/accounts/{market.account}/orders"
    form = {"instrument": market.symbol, "side": "buy", "type": "market", "qty": str(market.lot)}
    form |= {"currentBid": "1", "currentAsk": "1"}
    known = {order["id"] for order in clients[0].ask("GET", path)}

    def place(client: Client) -> str:
        barrier.wait()
        try:
            return str(client.ask("POST", path, query={"requestId": request_id}, form=form)["orderId"])
        except Refused as refusal:
            return str(refusal)

    with ThreadPoolExecutor(CLIENTS_AT_ONCE) as pool:
        told = set(pool.map(place, clients))
    made = {order["id"] for order in clients[0].ask("GET", path)} - known
    say(f"{market.account}: {CLIENTS_AT_ONCE} clients with one requestId were told: {', '.join(told)}")
    if len(told) != 1 or len(made) > 1 or (made and made != told):
        yield f"{market.account}: one requestId made the orders {made}, and its clients were told {told}"


class Session:
    """Traders and watchers on each account of a demo."""

    def __init__(self, url: str, seed: int) -> None:
        self.watchers = [Watcher(url, market.account) for market in MARKETS]
        self.traders = [
            Trader(url, market, seed + number, tell=watcher.expect)
            for number, (market, watcher) in enumerate(zip(MARKETS, self.watchers, strict=True))
        ]
        self.trading_ends, self.watching_ends = threading.Event(), threading.Event()

    def run(self, seconds: float) -> list[str]:
        """Trade for so long, then end all that is open; what was found."""
        trading = [
            threading.Thread(target=each.trade, args=(self.trading_ends, PAUSE_SECONDS)) for each in self.traders
        ]
        watching = [
            threading.Thread(target=each.watch, args=(self.watching_ends, POLL_SECONDS)) for each in self.watchers
        ]
        for thread in (*watching, *trading):
            thread.start()
        self.trading_ends.wait(seconds)
        self.trading_ends.set()
        for thread in trading:
            thread.join()
        with ThreadPoolExecutor(len(self.traders)) as pool:
            wound_up = [pool.submit(wait_until, trader.wind_up, WIND_UP_SECONDS) for trader in self.traders]
        for each in wound_up:
            each.result()
        wait_until(lambda: not any(watcher.unended() for watcher in self.watchers), END_SECONDS)
        self.watching_ends.set()
        for thread in watching:
            thread.join()
        return [*self._contradictions(), *self._late()]

    def _contradictions(self) -> Iterator[str]:
        for trader in self.traders:
            yield from trader.findings
            if unanswered := trader.done["unanswered"]:
                yield f"{trader.market.account}: {unanswered} requests were not answered"
        for watcher in self.watchers:
            yield from watcher.findings
            for order in watcher.unended():
                yield f"{watcher.account}: {watcher.seen[order]} was never shown final"

    def _late(self) -> Iterator[str]:
        for watcher in self.watchers:
            for change in watcher.unseen():
                yield f"{watcher.account}: order {change.order} was never shown {change.what}"
            for what, seconds in watcher.delays:
                if seconds > SEEN_SECONDS:
                    yield f"{watcher.account}: {what} was shown after {seconds:.2f} s"

    def summary(self) -> str:
        done = sum((trader.done for trader in self.traders), Counter())
        delays = sorted(seconds for watcher in self.watchers for _what, seconds in watcher.delays)
        legs = sum(len(watcher.legs) for watcher in self.watchers)
        polls = sum(watcher.polls for watcher in self.watchers)
        return (
            f"{polls} polls saw {legs} brackets end and {len(delays)} changes,"
            f" after {statistics.median(delays):.2f} s at the median and {delays[-1]:.2f} s at most; {dict(done)}"
        )


def proof(url: str, seconds: float, seed: int) -> list[str]:
    """What a session of so many seconds found against it."""
    say(f"SESSION_SEED={seed}")
    findings = [finding for market in MARKETS for finding in race(url, market)]
    session = Session(url, seed)
    findings += session.run(seconds)
    say(session.summary())
    return findings


def main() -> int:
    seconds = float(os.environ.get("SESSION_SECONDS") or 600)
    seed = int(os.environ.get("SESSION_SEED") or secrets.randbits(32))
    if url := os.environ.get("SESSION_URL"):
        findings = proof(url.rstrip("/"), seconds, seed)
    else:
        with tempfile.TemporaryDirectory(prefix="backoffice-session-") as directory:
            Path(directory).chmod(0o711)  # Postgres' own user goes through it when root runs this
            demo = Demo(Path(directory))
            demo.start()
            try:
                findings = proof(demo.url, seconds, seed)
            finally:
                demo.stop()
    for finding in findings:
        say(f"FOUND: {finding}")
    say("No answer contradicted another." if not findings else f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
