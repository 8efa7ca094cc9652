"""A part of a sorted list. Knows no Django: the benchmark's clients use it too."""

from __future__ import annotations

from collections.abc import Sequence


def of_sorted(values: Sequence[float], part: float) -> float:
    """The value that this part of them (0 to 1) does not exceed. There is at least one."""
    return values[min(int(len(values) * part), len(values) - 1)]
