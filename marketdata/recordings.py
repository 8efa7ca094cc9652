"""Recorded market data in files: which formats there are, and what each row says.

A row that cannot be right becomes a `Fault` with its line and a sentence; reading goes on behind it. Files may be
plain, gz, or zip with one file inside.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import IO, cast
from zoneinfo import ZoneInfo

import msgspec
from django.utils.translation import gettext_lazy as _

from marketdata.choices import BarSource, Resolution
from marketdata.chunks import (
    DAY_SECONDS,
    MINUTE_SECONDS,
    VOLUME_DECIMALS,
    VOLUME_LIMIT,
    Bar,
    PriceRange,
    from_unix,
    unix_of_day,
)
from marketdata.models import Instrument
from marketdata.ticklog import Tick

DAY_MS = DAY_SECONDS * 1000
MINUTE_MS = MINUTE_SECONDS * 1000
NEW_YORK = ZoneInfo("America/New_York")
CSV_HEADER = ["timestamp", "open", "high", "low", "close", "volume"]
LEAN_EQUITY_UNIT = Decimal("0.0001")


class UnreadableFile(Exception):
    """The file as a whole cannot be used; the message is a sentence for the person at the terminal."""


class RowFault(ValueError):
    """A row that cannot be right; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that was left out: its line in the file, from 1, and why."""

    line: int
    reason: str


class Skip(Enum):
    """Why a sound row makes no bar."""

    NO_TRADES = _("without trades")  # BAR-9
    OUTSIDE_SESSION = _("outside the regular session")  # SES-8


@dataclass(frozen=True)
class Recording:
    """What a file is about: the instrument, and the day of its rows where they only have a time of day."""

    instrument: Instrument
    day: date = date.min


# --- numbers and times ------------------------------------------------------------------------------------------------


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text if text.isascii() and "_" not in text else "NaN")  # Decimal reads more than files may say
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise RowFault(_("“%(text)s” is not a number.") % {"text": text})
    return value


def _size(text: str) -> Decimal:
    value = _number(text)
    if not 0 <= value < VOLUME_LIMIT:
        raise RowFault(_("The size %(size)s is below 0 or too large.") % {"size": text})
    return round(value, VOLUME_DECIMALS)  # recorders that add floats leave digits behind that nobody traded


def _columns(fields: list[str], count: int) -> list[str]:
    if len(fields) != count:
        raise RowFault(
            _("The row has %(found)d columns instead of %(expected)d.") % {"found": len(fields), "expected": count}
        )
    return fields


def _ms_of_day(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise RowFault(_("“%(text)s” is not a time in milliseconds since midnight.") % {"text": text})
    ms = int(text[:12])  # a longer one is outside the day by its first digits
    if not 0 <= ms < DAY_MS:
        raise RowFault(_("The time %(text)s lies outside the day.") % {"text": text})
    return ms


def _minute_of_day(text: str) -> int:
    """Seconds since midnight."""
    ms = _ms_of_day(text)
    if ms % MINUTE_MS:
        raise RowFault(_("The time %(text)s is not the start of a minute.") % {"text": text})
    return ms // 1000


def _csv_time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RowFault(_("“%(text)s” is not a time like 2022-01-31 23:59:00.") % {"text": text}) from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if seconds % MINUTE_SECONDS:
        raise RowFault(_("The time %(text)s is not the start of a minute.") % {"text": text})
    return int(seconds)


def _local_second(day: date, seconds: int, zone: ZoneInfo) -> int:
    """Unix time of a local time of day, so many seconds after midnight on the clock."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int((midnight + timedelta(seconds=seconds)).timestamp())  # the sum of a local time is taken on the clock


# --- what a row says --------------------------------------------------------------------------------------------------


def _bar(time: int, prices: Iterable[Decimal], volume: Decimal) -> Bar:
    """The bar of these four prices: open, high, low, close."""
    o, h, low, c = prices
    return Bar(time, o, h, low, c, volume)


def _forex_tick(fields: list[str], recording: Recording) -> Tick:
    ms, bid, ask = _columns(fields, 3)
    return Tick(
        symbol=recording.instrument.symbol,
        time_ms=unix_of_day(recording.day) * 1000 + _ms_of_day(ms),
        bid=_number(bid),
        ask=_number(ask),
    )


def _quote_minute(fields: list[str], recording: Recording) -> Bar:
    """The side that the instrument's bars are made of; where they are made of trades, the bid stands in (STRM-8).

    The mid's extremes are those of bid and ask halved: recorded minutes do not say when in the minute each was reached.
    """
    ms, *numbers = _columns(fields, 11)
    time = unix_of_day(recording.day) + _minute_of_day(ms)
    bid, bid_size = [_number(text) for text in numbers[:4]], _size(numbers[4])
    ask, ask_size = [_number(text) for text in numbers[5:9]], _size(numbers[9])
    match recording.instrument.bar_source:
        case BarSource.ASK:
            return _bar(time, ask, ask_size or Decimal(1))
        case BarSource.MID:
            mid = [(below + above) / 2 for below, above in zip(bid, ask, strict=True)]
            return _bar(time, mid, bid_size + ask_size or Decimal(1))
        case _:
            return _bar(time, bid, bid_size or Decimal(1))


def _trade_minute(fields: list[str], recording: Recording) -> Bar:
    ms, *prices, v = _columns(fields, 6)
    time = unix_of_day(recording.day) + _minute_of_day(ms)
    return _bar(time, map(_number, prices), _size(v))


def _equity_minute(fields: list[str], recording: Recording) -> Bar:
    ms, *prices, v = _columns(fields, 6)
    time = _local_second(recording.day, _minute_of_day(ms), NEW_YORK)
    return _bar(time, (_number(price) * LEAN_EQUITY_UNIT for price in prices), _size(v))


def _equity_day(fields: list[str], _recording: Recording) -> Bar:
    stamp, *prices, v = _columns(fields, 6)
    try:
        day = datetime.strptime(stamp, "%Y%m%d %H:%M").replace(tzinfo=UTC).date()
    except ValueError:
        raise RowFault(_("“%(text)s” is not a day like 20140605 00:00.") % {"text": stamp}) from None
    return _bar(unix_of_day(day), (_number(price) * LEAN_EQUITY_UNIT for price in prices), _size(v))


def _csv_minute(fields: list[str], _recording: Recording) -> Bar:
    stamp, *prices, v = _columns(fields, 6)
    return _bar(_csv_time(stamp), map(_number, prices), _size(v))


@dataclass(frozen=True)
class BarFormat:
    """How a file of bars is written. Rows of a `dated` one say their day themselves."""

    parse: Callable[[list[str], Recording], Bar]
    resolution: Resolution = Resolution.MINUTE
    dated: bool = False
    header: list[str] | None = None


BAR_FORMATS = {
    "lean-forex-minute": BarFormat(_quote_minute),
    "lean-crypto-quote-minute": BarFormat(_quote_minute),
    "lean-crypto-trade-minute": BarFormat(_trade_minute),
    "lean-equity-minute": BarFormat(_equity_minute),
    "lean-equity-daily": BarFormat(_equity_day, resolution=Resolution.DAY, dated=True),
    "csv": BarFormat(_csv_minute, dated=True, header=CSV_HEADER),
}
TICK_FORMATS = {"lean-forex-tick": _forex_tick}


# --- what a file says -------------------------------------------------------------------------------------------------


def read_bars(path: Path, form: BarFormat, recording: Recording) -> Iterator[Bar | Fault | Skip]:
    """The bars of the file, one answer for each row. Raises `UnreadableFile`."""
    prices = PriceRange.of(recording.instrument)
    previous: int | None = None
    for line, fields in _rows(path, form.header):
        try:
            bar = form.parse(fields, recording)
            _check_bar(bar, prices)
            if previous is not None and bar.time <= previous:
                raise RowFault(_("Its time is not after that of the row before."))
        except RowFault as fault:
            yield Fault(line, str(fault))
            continue
        previous = bar.time
        yield _bar_or_skip(bar, form.resolution, recording.instrument)


def read_ticks(path: Path, form: str, recording: Recording) -> Iterator[Tick | Fault]:
    """The ticks of the file, one answer for each row; a tick's `seq` is its row's line. Raises `UnreadableFile`.

    Quotes whose bid is above their ask stay: recorded feeds have them, and their recorders' own bars are made of them.
    """
    parse, prices = TICK_FORMATS[form], PriceRange.of(recording.instrument)
    lane = f"{form} {recording.instrument.symbol} {recording.day}"
    previous = 0
    for line, fields in _rows(path, None):
        try:
            tick = parse(fields, recording)
            _check_price(tick.bid, prices)
            _check_price(tick.ask, prices)
            if tick.time_ms < previous:
                raise RowFault(_("Its time is before that of the row before."))
        except RowFault as fault:
            yield Fault(line, str(fault))
            continue
        previous = tick.time_ms
        yield msgspec.structs.replace(tick, lane=lane, seq=line)


def count_rows(path: Path) -> int:
    """How many lines the file has, for the progress bar. Raises `UnreadableFile`."""
    with open_text(path) as text:
        return sum(1 for _line in text)


def _check_price(price: Decimal, prices: PriceRange) -> None:
    if price <= 0:
        raise RowFault(_("The price %(price)s is not above 0.") % {"price": price})
    if not prices.holds(price):
        raise RowFault(_("The price %(price)s has more digits than can be stored.") % {"price": price})


def _check_bar(bar: Bar, prices: PriceRange) -> None:
    for price in (bar.o, bar.h, bar.l, bar.c):
        _check_price(price, prices)
    if bar.h < bar.l:
        raise RowFault(_("The high %(high)s is below the low %(low)s.") % {"high": bar.h, "low": bar.l})
    if not (bar.l <= bar.o <= bar.h and bar.l <= bar.c <= bar.h):
        raise RowFault(_("Open or close lie outside of low %(low)s to high %(high)s.") % {"high": bar.h, "low": bar.l})


def _bar_or_skip(bar: Bar, resolution: Resolution, instrument: Instrument) -> Bar | Skip:
    if resolution == Resolution.MINUTE and not instrument.session.is_open(from_unix(bar.time)):
        return Skip.OUTSIDE_SESSION
    if bar.v:
        return bar
    return bar._replace(v=Decimal(1)) if instrument.has_no_volume else Skip.NO_TRADES


def _rows(path: Path, header: list[str] | None) -> Iterator[tuple[int, list[str]]]:
    """Each row with its line number, without header and empty lines."""
    with open_text(path) as text:
        lines = enumerate((line.strip() for line in text), start=1)
        if header is not None:
            _line, first = next(lines, (1, ""))
            if [name.strip().lower() for name in first.split(",")] != header:
                raise UnreadableFile(
                    _("%(path)s does not begin with %(header)s.") % {"path": path, "header": ",".join(header)}
                )
        for line, row in lines:
            if row:
                yield line, row.split(",")


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """The text of the file, or of the one file in it. Bytes that are no UTF-8 are kept: they make their row a fault."""
    try:
        with _open_binary(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape") as text:
            yield text
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UnreadableFile(_("%(path)s cannot be read: %(error)s") % {"path": path, "error": error}) from error


@contextmanager
def _open_binary(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.open(path) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1:
                raise UnreadableFile(
                    _("%(path)s holds %(count)d files instead of one.") % {"path": path, "count": len(names)}
                )
            with archive.open(names[0]) as raw:
                yield raw
    else:
        with path.open("rb") as raw:
            yield raw
