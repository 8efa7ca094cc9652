"""Where the columns of a CSV file are: known layouts, and those that are named on the command line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

from django.utils.translation import gettext as _

from marketdata.chunks import unix_of_day
from marketdata.recording_text import RowFault, UnreadableFile, open_text

BAR_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
TICK_COLUMNS = ("timestamp", "bid", "ask", "bid_size", "ask_size", "last", "last_size")
OPTIONAL = frozenset({"volume", "bid_size", "ask_size", "last", "last_size"})
MICROSECONDS_A_MS = 1000


@dataclass(frozen=True)
class Layout:
    """The place of each column by our name for it, from 0, and whether the first row is a header."""

    places: dict[str, int]
    has_header: bool

    def cell(self, fields: list[str], name: str) -> str:
        """The text under that name, "" where the file has no such column. Raises `RowFault` for a row that is short."""
        if (place := self.places.get(name)) is None:
            return ""
        if place >= len(fields):
            raise RowFault(
                _("The row has %(found)d columns instead of %(expected)d.")
                % {"found": len(fields), "expected": max(self.places.values()) + 1}
            )
        return fields[place].strip()


def named(path: Path, columns: str | None, names: tuple[str, ...]) -> Layout:
    """The layout of a file whose header has our names, or those that `columns` gives: `timestamp=Date,open=2`.

    A number is the place of a column, from 1; with numbers only, the file has no header. Raises `UnreadableFile`.
    """
    given = dict(_pair(text, names) for text in columns.split(",")) if columns else {name: name for name in names}
    if all(text.isdigit() for text in given.values()):
        layout = Layout({name: int(text) - 1 for name, text in given.items()}, has_header=False)
    else:
        header = [cell.strip().lower() for cell in _first_row(path)]
        places = {name: _place(text, header) for name, text in given.items()}
        layout = Layout({name: place for name, place in places.items() if place is not None}, has_header=True)
    if missing := [name for name in names if name not in OPTIONAL and name not in layout.places]:
        raise UnreadableFile(
            _("%(path)s does not say which columns are %(names)s: name them with --columns timestamp=…,open=…")
            % {"path": path, "names": ", ".join(missing)}
        )
    return layout


def fixed(path: Path, places: dict[str, int]) -> Layout:
    """A known layout, with or without a header above it. Raises `UnreadableFile`."""
    first = _first_row(path)
    return Layout(places, has_header=bool(first) and not first[places["timestamp"]].strip()[:1].isdigit())


def _pair(text: str, names: tuple[str, ...]) -> tuple[str, str]:
    name, sign, column = (part.strip() for part in text.partition("="))
    if not sign or not column or name not in names or column == "0":
        raise UnreadableFile(
            _("“%(text)s” is not a column: write one of %(names)s, = and its name or number.")
            % {"text": text, "names": ", ".join(names)}
        )
    return name, column


def _place(column: str, header: list[str]) -> int | None:
    if column.lower() in header:
        return header.index(column.lower())
    return int(column) - 1 if column.isdigit() else None


def _first_row(path: Path) -> list[str]:
    with open_text(path) as text:
        return next(csv.reader(text), [])


# --- times ------------------------------------------------------------------------------------------------------------


def time_ms(text: str) -> int:
    """Unix milliseconds of a time: seconds, milliseconds or microseconds, told by their size, or as ISO 8601 in UTC.

    Raises `RowFault`.
    """
    if text.isascii() and text.isdigit():
        number = int(text[:17])
        if number >= 10**14:
            return number // MICROSECONDS_A_MS
        return number if number >= 10**11 else number * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RowFault(_("“%(text)s” is not a time like 2022-01-31 23:59:00.") % {"text": text}) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@lru_cache(maxsize=4096)
def day_second(text: str) -> int:
    """Unix seconds at 00:00 UTC of a day like 2022-01-31. Raises `ValueError`."""
    return unix_of_day(date.fromisoformat(text))
