"""Recorded market data in files: which formats there are, and what each row says.

A row that cannot be right becomes a `Fault` with its line and a sentence; reading goes on behind it. Files may be
plain, gz, or zip with one file inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from django.utils.translation import gettext_lazy as _

from marketdata import layouts
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
from marketdata.layouts import BAR_COLUMNS, TICK_COLUMNS, Layout
from marketdata.models import Instrument
from marketdata.recording_text import RowFault, open_text
from marketdata.ticklog import Tick

DAY_MS = DAY_SECONDS * 1000
MINUTE_MS = MINUTE_SECONDS * 1000
NEW_YORK = ZoneInfo("America/New_York")
LEAN_EQUITY_UNIT = Decimal("0.0001")


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
    """What a file is about: the instrument, the day of its rows where they only have a time of day, and where its
    columns are, unless its format says so."""

    instrument: Instrument
    day: date = date.min
    layout: Layout | None = None


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


def minute(text: str) -> int:
    """Unix seconds of a minute's start. Raises `RowFault`."""
    time_ms = layouts.time_ms(text)
    if time_ms % MINUTE_MS:
        raise RowFault(_("The time %(text)s is not the start of a minute.") % {"text": text})
    return time_ms // 1000


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


def _csv_minute(fields: list[str], recording: Recording) -> Bar:
    cells = [_layout(recording).cell(fields, name) for name in BAR_COLUMNS]
    return _bar(minute(cells[0]), map(_number, cells[1:5]), _size(cells[5] or "0"))


def _csv_tick(fields: list[str], recording: Recording) -> Tick:
    stamp, bid, ask, bid_size, ask_size, last, last_size = (
        _layout(recording).cell(fields, name) for name in TICK_COLUMNS
    )
    return Tick(
        symbol=recording.instrument.symbol,
        time_ms=layouts.time_ms(stamp),
        bid=_number(bid),
        ask=_number(ask),
        bid_size=_size(bid_size or "0"),
        ask_size=_size(ask_size or "0"),
        last=_number(last) if last else None,
        last_size=_size(last_size or "0") if last else None,
    )


def _binance_trade(fields: list[str], recording: Recording) -> Tick:
    """The file has no quotes: the price of the trade stands for both sides."""
    stamp, price, qty = (_layout(recording).cell(fields, name) for name in ("timestamp", "last", "last_size"))
    last, size = _number(price), _size(qty)
    return Tick(recording.instrument.symbol, layouts.time_ms(stamp), last, last, size, size, last=last, last_size=size)


def _truefx_tick(fields: list[str], recording: Recording) -> Tick:
    """`EUR/USD,20140508 00:00:00.123,1.39123,1.39125`."""
    _pair, stamp, bid, ask = _columns(fields, 4)
    try:
        moment = datetime.strptime(stamp.strip(), "%Y%m%d %H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        raise RowFault(_("“%(text)s” is not a time like 20140508 00:00:00.123.") % {"text": stamp}) from None
    return Tick(recording.instrument.symbol, round(moment.timestamp() * 1000), _number(bid), _number(ask))


def _layout(recording: Recording) -> Layout:
    assert recording.layout is not None
    return recording.layout


LayoutOf = Callable[[Path, str | None], Layout]  # of a file, and what --columns says


@dataclass(frozen=True)
class BarFormat:
    """How a file of bars is written. Rows of a `dated` one say their day themselves."""

    parse: Callable[[list[str], Recording], Bar]
    resolution: Resolution = Resolution.MINUTE
    dated: bool = False
    layout: LayoutOf | None = None


@dataclass(frozen=True)
class TickFormat:
    """How a file of ticks is written. Rows of a `dated` one say their day themselves."""

    parse: Callable[[list[str], Recording], Tick]
    dated: bool = False
    layout: LayoutOf | None = None


_KLINES = {name: place for place, name in enumerate(BAR_COLUMNS)}
_TRADES = {"timestamp": 4, "last": 1, "last_size": 2}

BAR_FORMATS = {
    "lean-forex-minute": BarFormat(_quote_minute),
    "lean-crypto-quote-minute": BarFormat(_quote_minute),
    "lean-crypto-trade-minute": BarFormat(_trade_minute),
    "lean-equity-minute": BarFormat(_equity_minute),
    "lean-equity-daily": BarFormat(_equity_day, resolution=Resolution.DAY, dated=True),
    "binance-klines": BarFormat(_csv_minute, dated=True, layout=lambda path, _columns: layouts.fixed(path, _KLINES)),
    "csv": BarFormat(_csv_minute, dated=True, layout=lambda path, columns: layouts.named(path, columns, BAR_COLUMNS)),
}
TICK_FORMATS = {
    "lean-forex-tick": TickFormat(_forex_tick),
    "truefx": TickFormat(_truefx_tick, dated=True),
    "binance-trades": TickFormat(
        _binance_trade, dated=True, layout=lambda path, _columns: layouts.fixed(path, _TRADES)
    ),
    "csv": TickFormat(_csv_tick, dated=True, layout=lambda path, columns: layouts.named(path, columns, TICK_COLUMNS)),
}


# --- what a file says -------------------------------------------------------------------------------------------------


def read_bars(path: Path, form: BarFormat, recording: Recording) -> Iterator[Bar | Fault | Skip]:
    """The bars of the file, one answer for each row. Raises `UnreadableFile`."""
    prices = PriceRange.of(recording.instrument)
    previous: int | None = None
    for line, fields in _rows(path, recording.layout):
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
    parse, prices = TICK_FORMATS[form].parse, PriceRange.of(recording.instrument)
    which = path.name[:50] if TICK_FORMATS[form].dated else recording.day
    lane = f"{form} {recording.instrument.symbol[:20]} {which}"
    previous = 0
    for line, fields in _rows(path, recording.layout):
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


def _rows(path: Path, layout: Layout | None) -> Iterator[tuple[int, list[str]]]:
    """Each row with its line number, without header and empty lines."""
    with open_text(path) as text:
        for line, row in enumerate((line.strip() for line in text), start=1):
            if row and not (line == 1 and layout and layout.has_header):
                yield line, row.split(",")
