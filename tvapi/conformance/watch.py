"""Watching `/orders` as a browser does, beside everything else that happens (GEN-12)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tvapi.conformance.client import Client, Exchange, Unanswered

POLL_SECONDS = 0.4
FINAL = frozenset({"filled", "cancelled", "rejected"})


@dataclass
class Story:
    """One order as the polls showed it. Times are monotonic seconds."""

    path: str
    order_id: str
    statuses: list[str] = field(default_factory=list)
    last_seen: float = 0.0
    final_at: float | None = None
    vanished_after: float | None = None  # seconds since it was final (0 while it was not)
    went_back: str = ""
    evidence: Exchange | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it was seen alive, and then final: only of such an order can be said that it stayed."""
        return self.final_at is not None and len(self.statuses) > 1

    def see(self, status: str, at: float, exchange: Exchange) -> None:
        if self.final_at is not None and status not in FINAL and not self.went_back:
            self.went_back, self.evidence = f"{self.statuses[-1]} became {status}", exchange
        if status in FINAL and self.final_at is None:
            self.final_at = at
        if self.statuses[-1:] != [status]:
            self.statuses.append(status)
        self.last_seen = at

    def miss(self, at: float, exchange: Exchange) -> None:
        if self.vanished_after is None:
            self.vanished_after = at - self.final_at if self.final_at is not None else 0.0
            self.evidence = exchange


class Watch:
    """A thread that polls the orders of some accounts until it is stopped."""

    def __init__(self, client: Client, paths: Sequence[str]) -> None:
        self.stories: dict[tuple[str, str], Story] = {}
        self._client = client
        self._paths = paths
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(self._client.timeout_seconds + 1)

    def aged(self, path: str, seconds: float) -> bool:
        """Whether an order of this account, seen alive before, has been final for so long."""
        now = time.monotonic()
        return any(
            story.is_whole and now - (story.final_at or now) > seconds + 2 * POLL_SECONDS
            for story in list(self.stories.values())
            if story.path == path
        )

    def _poll(self) -> None:
        while not self._end.wait(POLL_SECONDS):
            for path in self._paths:
                try:
                    exchange = self._client.get(f"{path}/orders", {"locale": "en"})
                except Unanswered:
                    continue
                if exchange.is_ok:
                    self._take(path, exchange)

    def _take(self, path: str, exchange: Exchange) -> None:
        now = time.monotonic()
        shown = {}
        for order in exchange.says.get("d", []):
            if isinstance(order, dict) and "id" in order:
                shown[str(order["id"])] = str(order.get("status"))
        for order_id, status in shown.items():
            key = (path, order_id)
            if key not in self.stories:
                self.stories[key] = Story(path, order_id)
            self.stories[key].see(status, now, exchange)
        for (of, order_id), story in list(self.stories.items()):
            if of == path and order_id not in shown:
                story.miss(now, exchange)
