"""Symbol info: DT-7, DT-8, and what the columns must be to each other."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime

from tvapi.conformance import sessions
from tvapi.conformance.checks.groups import expect_unauthorized
from tvapi.conformance.data import LISTS, Data, Symbol
from tvapi.conformance.framework import Half, Skipped, check

FUTURE_NAME = re.compile(r"[A-Z0-9]+?(\d{2})?[FGHJKMNQUVXZ]\d{4}")
CORRECT = "symbolsResponseFieldsCorrectness"


@check(CORRECT, "DT-7 DT-33 SYM-2", Half.DATA)
def fields_correctness(data: Data) -> None:
    """The columns of `/symbol_info` have the fields, types and lengths that TradingView's test asks for."""
    exchange = data.symbols_answer
    data.expect_contract(exchange)
    columns = data.read(exchange)
    count = len(columns["symbol"])
    for name, column in columns.items():
        if isinstance(column, list):
            data.expect(len(column) == count, f"“{name}” has {len(column)} values for {count} symbols.", exchange)
        elif name in LISTS:
            data.problem(f"“{name}” must be an array.", exchange)
    for name in ("currency", "type", "timezone", "session-regular"):
        column = columns.get(name)
        values = column if isinstance(column, list) else [column]
        data.expect(None not in values, f"“{name}” is null for a symbol.", exchange)


@check("symbolsUnauthorizedRequest", "DT-8 AUTH-2", Half.DATA)
def unauthorized_request(data: Data) -> None:
    """`/symbol_info` without a token is answered with 401."""
    expect_unauthorized(data, "/symbol_info")


def _each(data: Data, judge: Callable[[Symbol], str]) -> None:
    """Judge every symbol; an empty sentence is good."""
    for symbol in data.symbols:
        if sentence := judge(symbol):
            data.problem(f"{symbol.name}: {sentence}", data.symbols_answer)


@check("symbolsSessions", "SES-1 SES-3 SES-4 SES-5 SES-7", Half.DATA, needs=(CORRECT,))
def sessions_fit(data: Data) -> None:
    """Sessions can be read, do not overlap, and pre- and post-market lie before and after the regular one."""
    _each(data, _session_fault)


def _session_fault(symbol: Symbol) -> str:
    row = symbol.row
    try:
        zoneinfo.ZoneInfo(str(row["timezone"]))
        regular = sessions.bounds(row["session-regular"])
        before, after, whole = (
            sessions.bounds(row[name]) if row.get(name) else None
            for name in ("session-premarket", "session-postmarket", "session-extended")
        )
    except (sessions.BadSession, zoneinfo.ZoneInfoNotFoundError) as error:
        return str(error)
    if before and before[1] % sessions.DAY_MINUTES > regular[0] % sessions.DAY_MINUTES:
        return "the pre-market ends after the regular session begins."
    if after and after[0] < regular[1]:
        return "the post-market begins before the regular session ends."
    expected = ((before or regular)[0], (after or regular)[1])
    if whole and whole != expected:
        return "the extended session does not run from the start of the first to the end of the last."
    return ""


@check("symbolsPriceFormat", "PRC-1 PRC-2 PRC-3 PRC-4 PRC-5", Half.DATA, needs=(CORRECT,))
def price_format(data: Data) -> None:
    """Scales are powers of ten, of fractions powers of two; the second movement fits."""
    _each(data, _price_fault)
    if any(symbol.row.get("fractional") for symbol in data.symbols):
        data.warn("TradingView's test calls pricescale a power of ten; tell them of the fractional prices (DIS-10).")


def _price_fault(symbol: Symbol) -> str:
    scale, second = int(symbol.row["pricescale"]), int(symbol.row.get("minmovement2") or 0)
    if symbol.row.get("fractional"):
        return "" if scale & (scale - 1) == 0 else f"a fractional price has a pricescale of {scale}, no power of two."
    if not _is_power_of_ten(scale):
        return f"pricescale {scale} is no power of ten."
    if second and not _is_power_of_ten(second):
        return f"minmovement2 {second} is no power of ten."
    if second and symbol.type != "forex":
        return f"minmovement2 {second}, but it is no forex pair."
    return ""


def _is_power_of_ten(number: int) -> bool:
    return re.fullmatch(r"10*", str(number)) is not None


@check("symbolsRequiredByKind", "SYM-5 SYM-6", Half.DATA, needs=(CORRECT,))
def required_by_kind(data: Data) -> None:
    """Pairs have both currencies, futures their root and expiration."""
    _each(data, _kind_fault)
    today = int(datetime.now(UTC).strftime("%Y%m%d"))
    for symbol in data.symbols:
        expiration = symbol.row.get("expiration")
        if isinstance(expiration, int) and expiration < today:
            data.warn(f"{symbol.name} expired on {expiration}.", data.symbols_answer)


def _kind_fault(symbol: Symbol) -> str:
    required = {
        "futures": ("root", "root-description", "expiration"),
        "forex": ("currency", "base-currency", "minmovement2"),
        "crypto": ("currency", "base-currency"),
    }.get(symbol.type, ())
    missing = [name for name in required if not symbol.row.get(name)]
    return f"{symbol.type} without {', '.join(missing)}." if missing else ""


@check("symbolsNaming", "SYM-4 SYM-8 SYM-9", Half.DATA, needs=(CORRECT,))
def naming(data: Data) -> None:
    """Names follow the form of their kind: pairs begin with the base currency, futures end in month and year."""
    for symbol in data.symbols:
        if sentence := _naming_fault(symbol):
            data.warn(f"{symbol.name}: {sentence}", data.symbols_answer)
    tickers = [symbol.ticker for symbol in data.symbols]
    repeated = sorted({ticker for ticker in tickers if tickers.count(ticker) > 1})
    data.expect(not repeated, f"Tickers that stand for two symbols: {', '.join(repeated)}.", data.symbols_answer)


def _naming_fault(symbol: Symbol) -> str:
    pair = f"{symbol.row.get('base-currency') or ''}{symbol.row.get('currency') or ''}"
    if symbol.type in ("forex", "crypto") and not re.match(rf"{re.escape(pair)}(?![A-Z0-9])", symbol.name):
        return f"a pair is named {pair}."
    if symbol.type == "futures" and not FUTURE_NAME.fullmatch(symbol.name):
        return "futures are named by root, month letter and year of four digits."
    return ""


@check("symbolsDaily", "BAR-1 BAR-2", Half.DATA, needs=(CORRECT,))
def daily(data: Data) -> None:
    """`has-daily` is said: left out it is true, and TradingView asks for days."""
    if any("has-daily" not in symbol.row for symbol in data.symbols):
        data.warn("“has-daily” is left out, which means true.", data.symbols_answer)
    if not any(symbol.has_minutes for symbol in data.symbols):
        raise Skipped("No symbol has minutes.")
    for symbol in data.symbols:
        data.expect(symbol.has_minutes, f"{symbol.name}: “has-intraday” is false; minutes are mandatory.")
