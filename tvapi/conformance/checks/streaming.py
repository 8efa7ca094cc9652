"""The stream of prices: DT-23 to DT-32, judged from one recording of two connections."""

from __future__ import annotations

import itertools
import time

from tvapi.conformance.checks.groups import expect_unauthorized
from tvapi.conformance.data import MINUTE, Data, Symbol, bars_of
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.recording import Built, Journal

NEEDS = ("symbolsResponseFieldsCorrectness", "groupsResponseFieldsCorrectness")
LATE_SECONDS = 5.0  # what the test bears; the demand is one second (DIS-4)
SETTLING_SECONDS = 5.0  # from the end of a minute until its bar is asked for
PERMANENT_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
LONG_ENOUGH_SECONDS = 60.0  # a recording in which every open symbol should have ticked
BAD_SHARE = 0.05  # DQ-1


@check("streamingUnauthorizedRequest", "DT-32 AUTH-2", Half.DATA)
def unauthorized_request(data: Data) -> None:
    """`/streaming` without a token is answered with 401."""
    expect_unauthorized(data, "/streaming")


@check("streamingAskBidQuoteTradeExistence", "DT-23 STRM-7", Half.DATA, needs=NEEDS, is_late=True)
def existence(data: Data) -> None:
    """Quotes and trades are seen."""
    kinds = {kind for _symbol, kind in data.recording.journal.seen}
    for kind, name in (("q", "quote"), ("t", "trade")):
        data.expect(kind in kinds, f"No {name} in {data.recording.seconds:.0f} s.", data.recording.head)


@check("streamingDailyBarsUpdate", "DT-24 STRM-11", Half.DATA, needs=NEEDS, is_late=True)
def daily_bars_update(data: Data) -> None:
    """Symbols with days of their own get daily bars in the stream; their lack is a warning."""
    journal = data.recording.journal
    missing = [symbol.name for symbol in data.symbols if symbol.has_days and not journal.seen[symbol.ticker, "d"]]
    if missing:
        data.warn(f"No daily bar for {', '.join(missing[:20])}.", data.recording.head)


@check("streamingFieldsFormat", "DT-25 STRM-2 STRM-10", Half.DATA, needs=NEEDS, is_late=True)
def fields_format(data: Data) -> None:
    """Every message fits the specification."""
    for fault in data.recording.journal.misshapen:
        data.problem(fault, data.recording.head)
    data.expect(bool(data.recording.journal.lines), "Not a single line came.", data.recording.head)


@check("streamingTradeSizes", "STRM-8 STRM-9", Half.DATA, needs=NEEDS, is_late=True)
def trade_sizes(data: Data) -> None:
    """A trade has a size above 0; artificial ones of forex and corrections may have 0."""
    journal = data.recording.journal
    for symbol in data.symbols:
        zeros = journal.zero_sizes[symbol.ticker]
        if zeros and symbol.type != "forex":
            data.warn(f"{symbol.name}: {zeros} of {journal.seen[symbol.ticker, 't']} trades have size 0.")


@check("streamingHistoryEquality", "DT-26 STRM-15 DQ-1", Half.DATA, needs=NEEDS, is_late=True)
def history_equality(data: Data) -> None:
    """The minutes built from the stream are those of `/history`; at most one in twenty may differ."""
    recording = data.recording
    first = int(recording.started) // MINUTE * MINUTE + MINUTE
    last = int(recording.ended or time.time()) // MINUTE * MINUTE - MINUTE
    if last < first:
        raise Skipped(f"The recording of {recording.seconds:.0f} s has no whole minute.")
    time.sleep(max(0.0, last + MINUTE + SETTLING_SECONDS - time.time()))
    for symbol in data.symbols:
        if symbol.has_minutes:
            _compare(data, symbol, recording.journal, first, last)


def _compare(data: Data, symbol: Symbol, journal: Journal, first: int, last: int) -> None:
    exchange = data.ask(symbol, first, last)
    history = {bar.t: Built(bar.o, bar.h, bar.l, bar.c, bar.v) for bar in bars_of(exchange)}
    minutes = range(first, last + 1, MINUTE)
    stream = {at: journal.minutes[symbol.ticker, at] for at in minutes if (symbol.ticker, at) in journal.minutes}
    different = [at for at in stream.keys() | history.keys() if not _equal(stream.get(at), history.get(at))]
    if not different:
        return
    at = min(different)
    sentence = (
        f"{symbol.name}: {len(different)} of {len(stream.keys() | history.keys())} minutes differ; "
        f"that of {at} is {stream.get(at, 'missing')} in the stream and {history.get(at, 'missing')} in the history."
    )
    if len(different) > BAD_SHARE * len(stream.keys() | history.keys()):
        data.problem(sentence, exchange)
    else:
        data.warn(sentence, exchange)


def _equal(stream: Built | None, history: Built | None) -> bool:
    """Volumes are compared where the trades have sizes; those of artificial trades are 0 (STRM-8)."""
    if stream is None or history is None:
        return stream is history
    prices = (stream.o, stream.h, stream.l, stream.c) == (history.o, history.h, history.l, history.c)
    return prices and (not stream.v or stream.v == history.v)


@check("streamingNoDelays", "DT-27 STRM-6", Half.DATA, needs=NEEDS, is_late=True)
def no_delays(data: Data) -> None:
    """No tick arrives more than 5 seconds from its time; more than 1 second is a warning."""
    journal = data.recording.journal
    if abs(journal.worst_delay) > LATE_SECONDS:
        data.problem(f"The worst is {journal.worst_delay:.3f} s.", data.recording.head)
        for delay in journal.delays:
            data.problem(delay)
    for delay in journal.delays:
        data.warn(delay)


@check("streamingPermanentConnection", "DT-28 STRM-4", Half.DATA, needs=NEEDS, is_late=True)
def permanent_connection(data: Data) -> None:
    """The connection stays open."""
    for recording in data.recordings:
        data.expect(
            not recording.closed_by_server, f"The server closed it after {recording.seconds:.1f} s.", recording.head
        )
    if data.recording.seconds < PERMANENT_SECONDS and not data.problems:
        data.warn(f"It was watched for {data.recording.seconds:.0f} s only.")


@check("streamingSymbolsCheck", "DT-29 STRM-12", Half.DATA, needs=NEEDS, is_late=True)
def symbols_check(data: Data) -> None:
    """Every `id` is in `/symbol_info`, and every symbol there ticks while its market is open."""
    journal, now = data.recording.journal, time.time()
    known = {symbol.ticker for symbol in data.symbols} | {symbol.name for symbol in data.symbols}
    strange = sorted({symbol for symbol, _kind in journal.seen} - known)
    data.expect(not strange, f"Not in /symbol_info: {', '.join(strange[:10])}.", data.recording.head)
    seen = {symbol for symbol, _kind in journal.seen}
    silent = [each.name for each in data.symbols if not seen & {each.ticker, each.name} and each.session().is_open(now)]
    if not silent:
        return
    sentence = f"Nothing in {data.recording.seconds:.0f} s of {', '.join(silent[:10])}."
    if data.recording.seconds >= LONG_ENOUGH_SECONDS:
        data.problem(sentence, data.recording.head)
    else:
        data.warn(sentence, data.recording.head)


@check("streamingTimeGrow", "DT-30 STRM-13", Half.DATA, needs=NEEDS, is_late=True)
def time_grow(data: Data) -> None:
    """For one symbol and kind the time never falls."""
    for fall in data.recording.journal.falls:
        data.problem(fall, data.recording.head)


@check("streamingTransferEncodingHeader", "DT-31 STRM-1", Half.DATA, needs=NEEDS, is_late=True)
def transfer_encoding_header(data: Data) -> None:
    """The answer says `Transfer-Encoding: chunked`."""
    head = data.recording.head
    assert head is not None
    encoding = head.headers.get("transfer-encoding", "")
    data.expect(encoding.lower() == "chunked", f"Transfer-Encoding is “{encoding}”.", head)


@check("streamingHeartbeat", "STRM-14", Half.DATA, needs=NEEDS, is_late=True)
def heartbeat(data: Data) -> None:
    """A heartbeat comes every five seconds."""
    recording = data.recording
    moments = [recording.started, *recording.journal.heartbeats, recording.ended or time.time()]
    longest = max(later - earlier for earlier, later in itertools.pairwise(moments))
    if longest > 2 * HEARTBEAT_SECONDS:
        data.problem(f"There was none for {longest:.1f} s.", recording.head)


@check("streamingSameMessages", "STRM-5", Half.DATA, needs=NEEDS, is_late=True)
def same_messages(data: Data) -> None:
    """Two connections at a time get the same messages."""
    first, second = (recording.journal.first_lines for recording in data.recordings)
    if not first or not second:
        raise Skipped("One of the two connections got nothing.")
    # They begin and end at slightly different moments: compare from the first line that both have.
    start = next((n for n, line in enumerate(first) if line in second[:200] and "heartbeat" not in line), None)
    data.require(start is not None, "The connections have no line in common.", data.recording.head)
    assert start is not None
    offset = second.index(first[start])
    pairs = list(zip(first[start:], second[offset:], strict=False))
    apart = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if apart:
        data.problem(f"One connection got {apart[0][:200]}, the other {apart[1][:200]}.", data.recording.head)
