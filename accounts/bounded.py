"""Dictionaries that remember things for a while: when there is no more room, what was put in first leaves first."""

from __future__ import annotations

import threading
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_lock = threading.Lock()


def keep(held: dict[K, V], key: K, value: V, *, most: int) -> None:
    """Put it in as the latest; no more than `most` stay. For dictionaries that only this changes, from any thread."""
    with _lock:
        held.pop(key, None)
        while len(held) >= most:
            del held[next(iter(held))]
        held[key] = value
