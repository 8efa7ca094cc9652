"""Definitions of instruments in files: which formats there are, and what each row says."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from marketdata import definitions
from marketdata.choices import BarSource, SymbolType
from marketdata.models import Instrument
from marketdata.recording_text import RowFault, UnreadableFile, open_text
from marketdata.recordings import Fault
from marketdata.sessions import ALWAYS

# What staff or other files decide; `description` stands for its English text.
_NOT_IN_FILES = frozenset({"id", "symbol_group", "description"})
FIELDS = {field.name: field for field in Instrument._meta.concrete_fields if field.name not in _NOT_IN_FILES}
REQUIRED = frozenset(
    {"symbol", "description_en", "type", "quote_currency", "pricescale", "min_qty", "max_qty", "qty_step"}
    | {"session_regular", "exchange_listed", "exchange_traded"}
)
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Definition:
    """What line `line` says of an instrument; fields it does not name keep what they have."""

    line: int
    instrument: Instrument
    fields: frozenset[str]


Row = tuple[int, dict[str, str]]  # line, cells by column
Values = dict[str, Any]


def read(path: Path, form: str, *, exchange: str = "") -> Iterator[Definition | Fault]:
    """The definitions of the file, one answer for each row; `exchange` stands where, or instead of what, a row names.

    Raises `UnreadableFile`.
    """
    seen: dict[str, int] = {}
    for line, values in FORMATS[form](path):
        if isinstance(values, RowFault):
            yield Fault(line, str(values))
            continue
        if exchange:
            values |= {"exchange_listed": exchange, "exchange_traded": exchange}
        try:
            definition = _checked(line, values)
            symbol = definition.instrument.symbol
            if (earlier := seen.setdefault(symbol, line)) != line:
                raise RowFault(_("%(symbol)s is in line %(line)d already.") % {"symbol": symbol, "line": earlier})
        except RowFault as fault:
            yield Fault(line, str(fault))
            continue
        yield definition


def _checked(line: int, values: Values) -> Definition:
    """Raises `RowFault` with all that is wrong."""
    cleaned: Values = {}
    wrong = [_("%(field)s is missing.") % {"field": name} for name in sorted(REQUIRED - values.keys())]
    for name, value in values.items():
        try:
            cleaned[name] = FIELDS[name].clean(value, None)  # its own validators
        except ValidationError as error:
            wrong += [f"{name}: {message}" for message in error.messages]
    if not wrong:
        instrument = Instrument(**cleaned)
        wrong = [f"{name}: {why}" for name, why in definitions.problems(instrument)]
        if not instrument.qty_step > 0 or not 0 < instrument.min_qty <= instrument.max_qty:
            wrong.append(_("Quantities are above 0, and the smallest is not above the largest."))
        if not wrong:
            return Definition(line, instrument, frozenset(cleaned))
    raise RowFault(" ".join(wrong))


# --- the formats ------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> Iterator[tuple[int, Values | RowFault]]:
    """Columns named as the fields of an instrument; `description` is English, `exchange` means both."""
    for line, row in _rows(path, required={"symbol"}):
        if "description" in row:
            row["description_en"] = row.pop("description")
        if "exchange" in row:
            row["exchange_listed"] = row["exchange_traded"] = row.pop("exchange")
        if unknown := sorted(row.keys() - FIELDS.keys()):
            raise UnreadableFile(_("There are no fields %(names)s.") % {"names": ", ".join(unknown)})
        yield line, {name: TRUTH.get(text.lower(), text) if _is_boolean(name) else text for name, text in row.items()}


def _is_boolean(name: str) -> bool:
    return FIELDS[name].get_internal_type() == "BooleanField"


def _lean(path: Path) -> Iterator[tuple[int, Values | RowFault]]:
    """A name that several of the file's markets have gets the market before it (SYM-8)."""
    rows: list[tuple[int, dict[str, str], Values | RowFault]] = []
    for line, row in _rows(path, required={"market", "symbol", "type", "quote_currency"}):
        try:
            rows.append((line, row, _lean_values(row)))
        except RowFault as fault:
            rows.append((line, row, fault))
    uses = Counter(values["symbol"] for _line, _row, values in rows if not isinstance(values, RowFault))
    for line, row, values in rows:
        if not isinstance(values, RowFault) and uses[values["symbol"]] > 1:
            values["symbol"] = f"{row['market'].upper()}_{values['symbol']}"
        yield line, values


def _lean_values(row: dict[str, str]) -> Values:
    """Raises `RowFault` for what has no place here: options, futures without an expiration, rules for many symbols."""
    name, kind, quote = row["symbol"], row["type"], row["quote_currency"]
    if "*" in name:
        raise RowFault(_("It is about all symbols of its market."))
    if (make := _LEAN_KINDS.get(kind)) is None:
        raise RowFault(_("An instrument of type %(type)s needs what this format does not have.") % {"type": kind})
    step = _decimal(row["lot_size"])
    pricescale, minmovement = _scale(_decimal(row["minimum_price_variation"]))
    return {
        "symbol": name,
        "description_en": row["description"] or name,
        "quote_currency": quote,
        "exchange_listed": row["market"].upper(),
        "exchange_traded": row["market"].upper(),
        "pricescale": pricescale,
        "minmovement": minmovement,
        "contract_size": _decimal(row["contract_multiplier"]),
        "min_qty": step,
        "max_qty": step * LARGEST_STEPS,  # the file knows no upper limit
        "qty_step": step,
        **make(name, quote),
    }


LARGEST_STEPS = 100_000_000
_AROUND_THE_CLOCK = {"session_regular": ALWAYS, "timezone": "Etc/UTC"}
_FOREX_HOURS = {"session_regular": "1700-1700", "timezone": "America/New_York", "bar_source": BarSource.BID}
_NEW_YORK_HOURS = {"session_regular": "0930-1600", "timezone": "America/New_York"}


def _base(symbol: str, quote: str) -> str:
    base = symbol.removesuffix(quote)
    if base in ("", symbol):
        raise RowFault(
            _("%(symbol)s does not end with its quote currency %(quote)s.") % {"symbol": symbol, "quote": quote}
        )
    return base


def _lean_forex(symbol: str, quote: str) -> Values:
    pair = {"type": SymbolType.FOREX, "base_currency": _base(symbol, quote), "minmovement2": 10}
    return {**_FOREX_HOURS, **pair}


def _lean_cfd(symbol: str, quote: str) -> Values:
    """Metals are quoted like pairs (XAUUSD); the rest are taken for indices."""
    if len(symbol) == 6 and symbol.startswith("X") and symbol.endswith(quote):
        return {**_lean_forex(symbol, quote), "is_cfd": True}
    return {**_FOREX_HOURS, "type": SymbolType.INDEX, "is_cfd": True}


def _lean_crypto(symbol: str, quote: str) -> Values:
    return {**_AROUND_THE_CLOCK, "type": SymbolType.CRYPTO, "base_currency": _base(symbol, quote)}


def _lean_perpetual(symbol: str, quote: str) -> Values:
    return {**_lean_crypto(symbol, quote), "symbol": f"{symbol}.P"}


def _lean_index(_symbol: str, _quote: str) -> Values:
    return {**_NEW_YORK_HOURS, "type": SymbolType.INDEX}


_LEAN_KINDS: dict[str, Callable[[str, str], Values]] = {
    "forex": _lean_forex,
    "cfd": _lean_cfd,
    "crypto": _lean_crypto,
    "cryptofuture": _lean_perpetual,
    "index": _lean_index,
}

FORMATS: dict[str, Callable[[Path], Iterable[tuple[int, Values | RowFault]]]] = {
    "csv": _csv,
    "lean-symbol-properties": _lean,
}


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not (number.is_finite() and number > 0):
        raise RowFault(_("“%(text)s” is not a number above 0.") % {"text": text})
    return number


def _scale(step: Decimal) -> tuple[int, int]:
    """`pricescale` and `minmovement` of a price step: 0.25 is 25 of 100 (PRC-1)."""
    exponent = step.normalize().as_tuple().exponent
    decimals = max(0, -exponent) if isinstance(exponent, int) else 0
    pricescale = 10**decimals
    return pricescale, int(step * pricescale)


def _rows(path: Path, required: set[str]) -> Iterator[Row]:
    """Each row by column name, with its line; empty lines and comments (#) are left out, missing cells are empty."""
    with open_text(path) as text:
        reader = csv.reader(text)
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := sorted(required - set(header)):
            raise UnreadableFile(_("%(path)s has no columns %(names)s.") % {"path": path, "names": ", ".join(missing)})
        for cells in reader:
            if any(cells) and not cells[0].startswith("#"):
                padded = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
                yield reader.line_num, dict(zip(header, padded, strict=False))
