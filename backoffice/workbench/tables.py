"""Mappings in files: a table of our symbols and TradingView's, as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from marketdata import mappings
from marketdata.models import Instrument, MappedInstrument

COLUMNS = ("symbol", "tradingview_symbol", "published_symbol", "state", "problem")
TYPES = {"csv": "text/csv", "json": "application/json"}
MOST_ROWS = 20_000


class UnreadableTable(Exception):
    """The file as a whole cannot be used; the text is a sentence for the user."""


@dataclass(frozen=True)
class Table:
    """What a file wants chosen, by instrument, and its wrong rows: number and sentence."""

    wishes: dict[int, str]
    faults: list[tuple[int, str]]


def written(extension: str) -> bytes:
    """All instruments with what is chosen and published."""
    fields = ("symbol", "mapping__tradingview_symbol", "mapping__published_symbol", "mapping_state", "mapping_problem")
    found = MappedInstrument.workbench.with_states().order_by("symbol").values_list(*fields)
    rows = [[value or "" for value in row] for row in found]
    if extension == "json":
        return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=1).encode()
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    return text.getvalue().encode()


def read(name: str, content: bytes) -> Table:
    """What the columns `symbol` and `tradingview_symbol` say, others are passed over. Raises UnreadableTable."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableTable(_("The file is not UTF-8: save it as CSV (UTF-8) or JSON.")) from error
    rows = list(_json(text) if name.lower().endswith(".json") else _csv(text))
    if len(rows) > MOST_ROWS:
        raise UnreadableTable(_("The file has more than %(count)s rows: split it.") % {"count": MOST_ROWS})
    symbols = [row.get("symbol") for _number, row in rows]
    known = dict(
        Instrument.objects.filter(symbol__in=[each for each in symbols if isinstance(each, str)]).values_list(
            "symbol", "pk"
        )
    )
    table = Table({}, [])
    for number, row in rows:
        try:
            instrument, full_name = _wish(row, known)
            if instrument in table.wishes:
                raise ValidationError(_("%(symbol)s is in the file already."), params={"symbol": row["symbol"]})
        except ValidationError as error:
            table.faults.append((number, " ".join(error.messages)))
        else:
            table.wishes[instrument] = full_name
    return table


def _wish(row: dict[str, Any], known: dict[str, int]) -> tuple[int, str]:
    """Raises ValidationError."""
    symbol, full_name = row.get("symbol"), row.get("tradingview_symbol")
    if not isinstance(symbol, str) or not isinstance(full_name, str):
        raise ValidationError(_("Each row has the texts “symbol” and “tradingview_symbol”."))
    if symbol not in known:
        raise ValidationError(_("There is no instrument %(symbol)s."), params={"symbol": symbol})
    return known[symbol], mappings.check_full_name(full_name)


def _csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows by their line. Raises UnreadableTable."""
    reader = csv.DictReader(io.StringIO(text))
    if not {"symbol", "tradingview_symbol"} <= set(reader.fieldnames or ()):
        raise UnreadableTable(_("The first row must name the columns symbol and tradingview_symbol."))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UnreadableTable(
            _("The file cannot be read as CSV behind line %(line)d.") % {"line": reader.line_num}
        ) from error


def _json(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of an array by their place in it. Raises UnreadableTable."""
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise UnreadableTable(_("The file cannot be read as JSON.")) from error
    if not isinstance(rows, list):
        raise UnreadableTable(_("The file must hold a JSON array of objects."))
    for place, row in enumerate(rows, start=1):
        yield place, row if isinstance(row, dict) else {}
