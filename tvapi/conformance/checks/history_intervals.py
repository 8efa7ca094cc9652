"""Which bars an interval has: its bounds, its holes, its pieces, the past before it and the future after it."""

from __future__ import annotations

import time
from itertools import pairwise

from tvapi.conformance.checks.history import KEPT_MINUTES, NEEDS, closed_end, recent
from tvapi.conformance.data import COLUMNS, DAY, MINUTE, Data, Symbol, bars_of
from tvapi.conformance.framework import Half, check

COUNTBACK = 50
DAY_MINUTES = 1440
FUTURE_SECONDS = 7 * DAY
MINUTES_BACK = 50


@check("historyBeyondLeftBoundary", "DT-9 HIST-9", Half.DATA, needs=NEEDS)
def beyond_left_boundary(data: Data) -> None:
    """Before the beginning of all data nothing is returned: six empty columns, not “no_data”."""
    for symbol in data.with_minutes():
        end = data.options.left_end - 10 * MINUTE
        _expect_empty(data, symbol, max(0, end - DAY), end)


def _expect_empty(data: Data, symbol: Symbol, start: int, end: int) -> None:
    exchange = data.ask(symbol, start, end)
    says = exchange.says
    empty = exchange.status == 200 and says == {"s": "ok", **{column: [] for column in COLUMNS}}
    data.expect(empty, f"{symbol.name}, from {start} to {end}: not six empty columns with “s: ok”.", exchange)


@check("historyCountbackMinutes", "DT-10 HIST-11", Half.DATA, needs=NEEDS)
def countback_minutes(data: Data) -> None:
    """`countback` gives that many bars, fewer only where there are no older ones."""
    for symbol in data.with_minutes():
        end = closed_end()
        exchange = data.ask(symbol, end - MINUTE, end, countback=COUNTBACK)
        bars = bars_of(exchange)
        data.expect(len(bars) <= COUNTBACK, f"{symbol.name}: {len(bars)} bars for {COUNTBACK}.", exchange)
        if bars and len(bars) < COUNTBACK:
            older = data.bars(symbol, bars[0].t - 7 * DAY, bars[0].t - 1)
            data.expect(not older, f"{symbol.name}: {len(bars)} bars, although there are older ones.", exchange)


@check("historyDailyHistoryAvailability", "DT-11 DT-35 BAR-5", Half.DATA, needs=NEEDS)
def daily_history_availability(data: Data) -> None:
    """Days exist, at 00:00 UTC of the trading day, and a wider range has those of a narrower one."""
    for symbol in data.with_days():
        now = int(time.time())
        exchange = data.ask(symbol, now - 400 * DAY, now, "1D")
        days = bars_of(exchange)
        data.expect(bool(days), f"{symbol.name} has “has-daily” and no day in 400 days.", exchange)
        crooked = [day.t for day in days if day.t % DAY]
        data.expect(not crooked, f"{symbol.name}: no 00:00 UTC: {crooked[:5]}.", exchange)
        narrow = data.bars(symbol, now - 20 * DAY, now, "1D")
        wide = [day for day in days if day.t >= now - 20 * DAY]
        data.expect(
            [day.t for day in narrow] == [day.t for day in wide],
            f"{symbol.name}: 20 days differ from 400 days.",
            exchange,
        )


@check("historyFromEqTo", "DT-12 HIST-5", Half.DATA, needs=NEEDS)
def from_equals_to(data: Data) -> None:
    """`from` = `to` = a bar's time gives exactly that bar."""
    for symbol, _start, _end, bars in recent(data, KEPT_MINUTES):
        for bar in {bars[0].t: bars[0], bars[-1].t: bars[-1]}.values():
            exchange = data.ask(symbol, bar.t, bar.t)
            data.expect(bars_of(exchange) == [bar], f"{symbol.name}: not exactly the bar of {bar.t}.", exchange)


@check("historyInclusiveBounds", "HIST-3 HIST-4", Half.DATA, needs=NEEDS)
def inclusive_bounds(data: Data) -> None:
    """An interval has the bars that begin in it, both ends included, and no others."""
    for symbol, start, end, bars in recent(data, KEPT_MINUTES):
        if len(bars) < 3:
            continue
        middle = bars[1:-1]
        for first, last, expected in (
            (middle[0].t, middle[-1].t, middle),
            (bars[0].t + 25, bars[-1].t - 1, middle),
            (start, end, bars),
        ):
            exchange = data.ask(symbol, first, last)
            times = [bar.t for bar in bars_of(exchange)]
            data.expect(
                times == [bar.t for bar in expected],
                f"{symbol.name}, from {first} to {last}: {len(times)} bars instead of {len(expected)}.",
                exchange,
            )


@check("historyFutureDaily", "DT-13 HIST-6", Half.DATA, needs=NEEDS)
def future_daily(data: Data) -> None:
    """Days with `to` in the future: a proper answer, and nothing later than now."""
    for symbol in data.with_days():
        now = int(time.time())
        exchange = data.ask(symbol, now - 10 * DAY, now + FUTURE_SECONDS, "1D")
        late = [day.t for day in bars_of(exchange) if day.t > time.time() + DAY]  # a trading day may be ahead of UTC
        data.expect(not late, f"{symbol.name}: days of the future: {late}.", exchange)


@check("historyFutureMinutes", "DT-14 HIST-6", Half.DATA, needs=NEEDS)
def future_minutes(data: Data) -> None:
    """Minutes with `to` in the future: a proper answer, and nothing later than the current minute."""
    for symbol in data.with_minutes():
        now = int(time.time())
        exchange = data.ask(symbol, now - 10 * MINUTE, now + FUTURE_SECONDS)
        bars = bars_of(exchange)
        late = [bar.t for bar in bars if bar.t > time.time()]
        data.expect(not late, f"{symbol.name}: minutes of the future: {late[:5]}.", exchange)
        if symbol.session().is_open(now) and (not bars or bars[-1].t < now // MINUTE * MINUTE):
            data.warn(f"{symbol.name}: the last bar is not the current minute.", exchange)


@check("historyNoDataWithNb", "DT-16 HIST-9", Half.DATA, needs=NEEDS)
def holes(data: Data) -> None:
    """A minute in which nothing happened, asked for alone, gives six empty columns."""
    for symbol in data.with_minutes():
        start = data.session_start(symbol, 500)
        times = {bar.t for bar in data.bars(symbol, start, start + 500 * MINUTE - 1)}
        missing = [at for at in range(start, start + 500 * MINUTE, MINUTE) if at not in times]
        for at in missing[:3]:
            _expect_empty(data, symbol, at, at + MINUTE - 1)


@check("historyGapsTest", "DT-34 HIST-9 HIST-10", Half.DATA, needs=NEEDS)
def gaps(data: Data) -> None:
    """Around a hole the bars before and after it are found, whether asked for with or without it."""
    for symbol, start, end, bars in recent(data, 24 * 60):
        for before, after in pairwise(bars):
            if after.t > before.t + MINUTE:
                exchange = data.ask(symbol, before.t, after.t)
                data.expect(
                    bars_of(exchange) == [before, after],
                    f"{symbol.name}: the hole of {before.t} is answered otherwise when asked for alone.",
                    exchange,
                )
                break
        data.expect(bars[0].t >= start and bars[-1].t <= end, f"{symbol.name}: bars beyond the interval asked for.")


@check("historyOutsideBarsInclusion", "DT-17 HIST-4", Half.DATA, needs=NEEDS)
def outside_bars_inclusion(data: Data) -> None:
    """Fifty minutes have at most fifty bars, from the first minute to the last."""
    for symbol in data.with_minutes():
        end = int(time.time()) // MINUTE * MINUTE - 30 * MINUTE - 1
        start = end - MINUTES_BACK * MINUTE + 1
        exchange = data.ask(symbol, start, end)
        bars = bars_of(exchange)
        data.expect(len(bars) <= MINUTES_BACK, f"{symbol.name}: {len(bars)} bars in {MINUTES_BACK} minutes.", exchange)
        if len(bars) == MINUTES_BACK:
            ends = (bars[0].t, bars[-1].t) == (start, end // MINUTE * MINUTE)
            data.expect(ends, f"{symbol.name}: the fifty bars are not those of the fifty minutes.", exchange)
        elif symbol.session().is_open(start) and symbol.session().is_open(end):
            data.warn(f"{symbol.name}: {len(bars)} bars in {MINUTES_BACK} minutes.", exchange)


@check("historySeveralShortQueriesEqualsLargeQuery", "DT-20 HIST-10", Half.DATA, needs=NEEDS)
def short_queries_equal_large(data: Data) -> None:
    """Two hundred minutes asked for at once and in pieces of twenty are the same bars."""
    for symbol in data.with_minutes():
        start = data.session_start(symbol, 200)
        exchange = data.ask(symbol, start, start + 200 * MINUTE - 1)
        pieces = [
            bar
            for first in range(start, start + 200 * MINUTE, 20 * MINUTE)
            for bar in data.bars(symbol, first, first + 20 * MINUTE - 1)
        ]
        data.expect(pieces == bars_of(exchange), f"{symbol.name}: the pieces differ from the whole.", exchange)


@check("historyCheck1440", "DT-34 BAR-9", Half.DATA, needs=NEEDS)
def whole_day(data: Data) -> None:
    """A round-the-clock symbol has the 1440 minutes of a day; fewer, where nothing was traded, are a warning."""
    for symbol in data.with_minutes():
        if symbol.row.get("session-regular") != "24x7":
            continue
        start = int(time.time()) // DAY * DAY - DAY
        exchange = data.ask(symbol, start, start + DAY - 1)
        count = len(bars_of(exchange))
        data.expect(count <= DAY_MINUTES, f"{symbol.name}: {count} minutes in a day.", exchange)
        if count < DAY_MINUTES:
            data.warn(f"{symbol.name}: {count} of 1440 minutes yesterday.", exchange)


@check("historyNoDataChanges", "DT-15 HIST-10", Half.DATA, needs=NEEDS)
def no_data_changes(data: Data) -> None:
    """After two quiet minutes the same beginning still has all the bars it had, and new ones after them."""
    before = {symbol.ticker: (symbol, start, bars) for symbol, start, _end, bars in recent(data, 30)}
    time.sleep(data.options.quiet_seconds)
    for symbol, start, bars in before.values():
        exchange = data.ask(symbol, start, int(time.time()))
        again = bars_of(exchange)[: len(bars)]
        data.expect(
            again == bars, f"{symbol.name}: the second answer does not begin with the bars of the first.", exchange
        )
