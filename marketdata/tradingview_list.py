"""TradingView's list of symbols, as a file: a JSON array with an object for each, and reading it by line.

    [{"symbol-fullname": "NASDAQ:AAPL", "type": "stock", "currency": "USD", "description": "Apple Inc."}, …]

`minmovement` and `pricescale`, as in `/symbol_info`, give the price step where they are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from backoffice.fields import plain
from marketdata import suggestions
from marketdata.choices import SymbolType
from marketdata.models import TradingViewSymbol
from marketdata.recording_text import RowFault, UnreadableFile, open_text
from marketdata.recordings import Fault

BATCH = 2000
FIELDS = ("code", "type", "currency", "description", "words", "tick_size")
# TradingView's words beyond those of `/symbol_info`.
TYPES = {
    "spot": SymbolType.CRYPTO,
    "swap": SymbolType.CRYPTO,
    "bitcoin": SymbolType.CRYPTO,
    "fund": SymbolType.STOCK,
}
_BETWEEN = re.compile(r"[\s,]*")


@dataclass
class Report:
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    suggested: int = 0


def read(path: Path) -> Iterator[TradingViewSymbol | Fault]:
    """The symbols of the file, one answer for each object. Raises `UnreadableFile`."""
    seen: dict[str, int] = {}
    for line, given in _objects(path):
        try:
            symbol = _symbol(given)
            if (earlier := seen.setdefault(symbol.full_name, line)) != line:
                raise RowFault(_("%(symbol)s is in line %(line)d already.") % {"symbol": symbol, "line": earlier})
        except RowFault as fault:
            yield Fault(line, str(fault))
        else:
            yield symbol


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Each value of the array with the line that it begins in."""
    with open_text(path) as file:
        text = file.read()
    decode, end = json.JSONDecoder().raw_decode, len(text.rstrip())
    at = len(text) - len(text.lstrip())
    if not text[at:].startswith("[") or text[end - 1] != "]":
        raise UnreadableFile(_("%(path)s does not hold a JSON array.") % {"path": path})
    at, line, counted = at + 1, 1, 0
    while (at := _BETWEEN.match(text, at).end()) < end - 1:  # type: ignore[union-attr]  # it matches nothing, too
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decode(text, at)
        except ValueError as error:
            raise UnreadableFile(_("%(path)s, line %(line)d: no JSON.") % {"path": path, "line": line}) from error
        yield line, value


def _symbol(given: Any) -> TradingViewSymbol:
    """Raises `RowFault` with all that is wrong."""
    if not isinstance(given, dict):
        raise RowFault(_("Each symbol is an object with its “symbol-fullname”."))
    texts = {name: given.get(name, "") for name in ("symbol-fullname", "type", "currency", "description")}
    if wrong := [name for name, text in texts.items() if not isinstance(text, str) or "\0" in text]:
        raise RowFault(_("These must be texts: %(names)s.") % {"names": ", ".join(wrong)})
    name, kind = texts["symbol-fullname"].strip(), texts["type"].strip().lower()
    made = TradingViewSymbol(
        full_name=name,
        code=suggestions.code_of(name.partition(":")[2]),
        type=TYPES.get(kind, kind),
        currency=texts["currency"].strip().upper(),
        description=texts["description"].strip()[:300],
        words=suggestions.words_of(texts["description"]),
        tick_size=_tick_size(given),
    )
    try:
        made.clean_fields(exclude={"id", "code", "words"})
    except ValidationError as error:
        faults = [f"{key}: {text}" for key, texts in error.message_dict.items() for text in texts]
        raise RowFault(" ".join(faults)) from error
    return made


def _tick_size(given: dict[str, Any]) -> Decimal | None:
    movement, scale = given.get("minmovement", 1), given.get("pricescale")
    if scale is None:
        return None
    if not all(type(each) is int and 0 < each < 10**12 for each in (movement, scale)):
        raise RowFault(_("Price scale and min. movement are whole numbers above 0."))
    return plain(Decimal(movement) / Decimal(scale))


@transaction.atomic
def save(symbols: Sequence[TradingViewSymbol], *, is_whole: bool = False) -> Report:
    """Add those that are new, update the others, and suggest anew, in one transaction.

    `is_whole`: what is not among them has gone at TradingView, and is removed.
    """
    report = Report()
    known = {row[0]: row[1:] for row in TradingViewSymbol.objects.values_list("full_name", *FIELDS)}
    changed = []
    for symbol in symbols:
        values = tuple(getattr(symbol, name) for name in FIELDS)
        if (earlier := known.get(symbol.full_name)) == values:
            report.unchanged += 1
            continue
        changed.append(symbol)
        report.added += earlier is None
        report.updated += earlier is not None
    TradingViewSymbol.objects.bulk_create(
        changed, batch_size=BATCH, update_conflicts=True, unique_fields=["full_name"], update_fields=FIELDS
    )
    if is_whole:
        gone = known.keys() - {symbol.full_name for symbol in symbols}
        report.removed = len(gone)
        TradingViewSymbol.objects.filter(full_name__in=gone).delete()
    report.suggested = suggestions.refresh()
    return report
