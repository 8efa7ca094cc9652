"""What an answer of `/history` must be in itself, and again when it is asked for again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from tvapi.conformance.checks.groups import expect_unauthorized
from tvapi.conformance.data import COLUMNS, DAY, MINUTE, Bar, Data, Symbol, bars_of
from tvapi.conformance.framework import Half, Skipped, check

NEEDS = ("symbolsResponseFieldsCorrectness", "groupsResponseFieldsCorrectness")
KEPT_MINUTES = 60
OPEN_MINUTES = 2  # the minute in progress and one whose last ticks may be on their way


def closed_end() -> int:
    """The last moment whose bars change no more."""
    return int(time.time()) // MINUTE * MINUTE - (OPEN_MINUTES - 1) * MINUTE - 1


def recent(data: Data, minutes: int) -> Iterator[tuple[Symbol, int, int, list[Bar]]]:
    """For every symbol its bars of the last closed minutes, where there are any."""
    found = False
    for symbol in data.with_minutes():
        end = closed_end()
        start = end - minutes * MINUTE + 1
        if bars := data.bars(symbol, start, end):
            found = True
            yield symbol, start, end, bars
    if not found:
        raise Skipped(f"No symbol has a bar in the last {minutes} minutes.")


@check("historyResponseFieldsCorrectness", "HIST-8 GEN-9 BAR-9", Half.DATA, needs=NEEDS)
def fields_correctness(data: Data) -> None:
    """Six columns of equal length, of numbers; each bar's high and low are its extremes."""
    for symbol in data.with_minutes():
        end = int(time.time())
        exchange = data.ask(symbol, end - KEPT_MINUTES * MINUTE, end)
        data.expect_contract(exchange)
        lengths = {column: len(exchange.says.get(column, [])) for column in COLUMNS}
        data.expect(len(set(lengths.values())) == 1, f"{symbol.name}: columns differ in length: {lengths}.", exchange)
        for bar in bars_of(exchange):
            fits = bar.l <= min(bar.o, bar.c) and bar.h >= max(bar.o, bar.c)
            data.expect(fits, f"{symbol.name} at {bar.t}: open or close lies beyond high and low.", exchange)


@check("historyNoEmptyBars", "HIST-7 BAR-9", Half.DATA, needs=NEEDS)
def no_empty_bars(data: Data) -> None:
    """A minute in which nothing was traded has no bar: none has a volume of 0."""
    found = False
    for symbol in data.with_minutes():
        if symbol.row.get("has-no-volume") or symbol.row.get("bar-fillgaps"):
            continue
        found = True
        end = int(time.time())
        exchange = data.ask(symbol, end - KEPT_MINUTES * MINUTE, end)
        empty = [
            at for at, volume in zip(exchange.says.get("t", []), exchange.says.get("v", []), strict=False) if not volume
        ]
        data.expect(not empty, f"{symbol.name}: bars with volume 0 at {empty[:5]}.", exchange)
    if not found:
        raise Skipped("Every symbol says that it has no volume.")


@check("historyTimeCorrectness", "DT-21 HIST-8 BAR-4", Half.DATA, needs=NEEDS)
def time_correctness(data: Data) -> None:
    """Times rise from bar to bar, and each is the start of a minute; the session can be read."""
    for symbol, start, end, bars in recent(data, KEPT_MINUTES):
        symbol.session()
        times = [bar.t for bar in bars]
        rise = all(earlier < later for earlier, later in itertools.pairwise(times))
        exchange = data.ask(symbol, start, end)
        data.expect(rise, f"{symbol.name}: the times do not rise.", exchange)
        crooked = [at for at in times if at % MINUTE]
        data.expect(not crooked, f"{symbol.name}: no starts of minutes: {crooked[:5]}.", exchange)


@check("historyRepeatability", "DT-19 HIST-10", Half.DATA, needs=NEEDS)
def repeatability(data: Data) -> None:
    """The same request has the same answer."""
    for symbol, start, end, bars in recent(data, KEPT_MINUTES):
        exchange = data.ask(symbol, start, end)
        again = bars_of(exchange)
        data.expect(again == bars, f"{symbol.name}: {_difference(bars, again)}.", exchange)
        data.kept_bars[symbol.ticker] = (start, end, bars)


@check("historyUnauthorizedRequest", "DT-22 AUTH-2", Half.DATA)
def unauthorized_request(data: Data) -> None:
    """`/history` without a token is answered with 401."""
    now = int(time.time())
    expect_unauthorized(data, "/history", {"symbol": "X", "resolution": "1", "from": now - 600, "to": now})


@check("historyUnknownSymbol", "HIST-12 GEN-3", Half.DATA)
def unknown_symbol(data: Data) -> None:
    """A symbol that does not exist is an ordinary failure."""
    now = int(time.time())
    exchange = data.client.get("/history", {"symbol": "NOSUCHSYMBOL", "resolution": "1", "from": now - 600, "to": now})
    data.expect_contract(exchange)
    data.expect(exchange.is_refusal, "It is no failure with a sentence.", exchange)


@check("historyPriceMatch", "DT-18 BAR-5", Half.DATA, needs=NEEDS)
def price_match(data: Data) -> None:
    """A day opens with the open of its first minute and closes with the close of its last."""
    for symbol in data.with_days():
        now = int(time.time())
        days = data.bars(symbol, now - 10 * DAY, now, "1D")[:-1]  # the last one may go on
        for day in days[-2:]:
            start, end = _hours(symbol, day.t)
            minutes = data.bars(symbol, start, end - 1)
            if not minutes:
                data.warn(f"{symbol.name}: the day {day.t} has no minutes to compare.")
                continue
            exchange = data.ask(symbol, day.t, day.t, "1D")
            data.expect(
                day.o == minutes[0].o,
                f"{symbol.name}, day {day.t}: opens at {day.o}, its minutes at {minutes[0].o}.",
                exchange,
            )
            data.expect(
                day.c == minutes[-1].c,
                f"{symbol.name}, day {day.t}: closes at {day.c}, its minutes at {minutes[-1].c}.",
                exchange,
            )


def _hours(symbol: Symbol, day: int) -> tuple[int, int]:
    """The session of the trading day that has this 00:00 UTC as its time (BAR-5)."""
    session = symbol.session()
    noon_after = day + DAY + DAY // 2
    start = session.last_start(noon_after)
    while start is not None and start > day + DAY - 1:
        start = session.last_start(start - 1)
    begin = int(start if start is not None else day)
    end = begin
    while session.is_open(end):
        end += MINUTE
        if end >= begin + DAY:
            break
    return begin, end


@check("historyNoChangesInData", "DT-34 DQ-3 BAR-10", Half.DATA, needs=NEEDS, is_late=True)
def no_changes_in_data(data: Data) -> None:
    """Nothing changes after a bar has closed: what was answered at the beginning is answered at the end."""
    if not data.kept_bars:
        repeatability(data)
    for symbol in data.with_minutes():
        if symbol.ticker in data.kept_bars:
            start, end, bars = data.kept_bars[symbol.ticker]
            exchange = data.ask(symbol, start, end)
            again = bars_of(exchange)
            data.expect(again == bars, f"{symbol.name}: {_difference(bars, again)}.", exchange)


def _difference(first: list[Bar], second: list[Bar]) -> str:
    """Where two answers differ, in words."""
    before, after = {bar.t: bar for bar in first}, {bar.t: bar for bar in second}
    for at in sorted(before.keys() | after.keys()):
        if before.get(at) != after.get(at):
            return f"the bar of {at} was {before.get(at, 'missing')} and is {after.get(at, 'missing')}"
    return "the order differs"
