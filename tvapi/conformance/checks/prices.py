"""Prices of the ticket, depth, permissions, and the mapping to TradingView's symbols."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tvapi.conformance.desk import Desk
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.trading import Trading

MOST_SYMBOLS = 50


@check("quotesResponseSchema", "QTE-2 TT-2", Half.TRADING)
def quotes_schema(trading: Trading) -> None:
    """`/quotes` has one element per symbol, as requested, with both sides, the bid not above the ask."""

    def judge(desk: Desk) -> None:
        names = [each["name"] for each in desk.instruments if each.get("hasQuotes", True)][:MOST_SYMBOLS]
        if not names:
            return
        exchange = desk.ask("/quotes", symbols=",".join(names))
        trading.expect_contract(exchange)
        elements = trading.read(exchange)["d"]
        trading.expect([each["n"] for each in elements] == names, f"{desk.id}: other symbols than asked for.", exchange)
        for each in elements:
            if each["s"] == "ok":
                fits = 0 < each["v"]["bid"] <= each["v"]["ask"]
                trading.expect(
                    fits, f"{desk.id}, {each['n']}: bid {each['v']['bid']}, ask {each['v']['ask']}.", exchange
                )

    trading.on_each(judge)


@check("quotesUnknownSymbol", "QTE-3", Half.TRADING)
def quotes_unknown(trading: Trading) -> None:
    """A symbol that there is not is an element with `s: error`, beside those that there are."""

    def judge(desk: Desk) -> None:
        known = desk.instruments[0]["name"]
        exchange = desk.ask("/quotes", symbols=f"{known},NO.SUCH")
        trading.expect_contract(exchange)
        states = [(each["n"], each["s"]) for each in trading.read(exchange)["d"]]
        trading.expect(states[1:] == [("NO.SUCH", "error")], f"{desk.id}: {states}.", exchange)

    trading.on_each(judge)


@check("quotesPipValues", "INS-3 QTE-2", Half.TRADING)
def quotes_pip_values(trading: Trading) -> None:
    """Where account and instrument have different currencies, quotes carry the pip values of the moment."""

    def judge(desk: Desk) -> None:
        foreign = [each["name"] for each in desk.instruments if _is_foreign(each, str(desk.account.get("currency")))]
        if not foreign:
            return
        exchange = desk.ask("/quotes", symbols=",".join(foreign[:MOST_SYMBOLS]))
        for each in trading.read(exchange)["d"]:
            both = {"buyPipValue", "sellPipValue"} <= each["v"].keys() or each["s"] != "ok"
            trading.expect(both, f"{desk.id}, {each['n']}: no pip values.", exchange)

    trading.on_each(judge)


def _is_foreign(instrument: dict[str, Any], currency: str) -> bool:
    """As far as it can be told: crypto instruments name their quote currency, of pairs it is the name's end."""
    quoted = instrument.get("quoteCurrency")
    if quoted is None and instrument["type"] == "forex" and len(instrument["name"]) == 6:
        quoted = instrument["name"][3:]
    return quoted is not None and quoted != currency


@check("depthResponseSchema", "QTE-6 TT-2", Half.TRADING)
def depth_schema(trading: Trading) -> None:
    """`/depth` has both sides by ascending price, and the best bid below the best ask."""

    def judge(desk: Desk) -> None:
        for market in list(desk.markets())[:2]:
            exchange = desk.ask("/depth", symbol=market.symbol)
            trading.expect_contract(exchange)
            depth = trading.read(exchange)["d"]
            for side in ("bids", "asks"):
                prices = [level[0] for level in depth[side]]
                ascends = all(lower < higher for lower, higher in pairwise(prices))
                trading.expect(ascends, f"{desk.id}, {market.symbol}: {side} do not ascend.", exchange)
            if depth["bids"] and depth["asks"]:
                apart = max(level[0] for level in depth["bids"]) < min(level[0] for level in depth["asks"])
                trading.expect(apart, f"{desk.id}, {market.symbol}: the sides cross.", exchange)

    trading.on_each(judge, "supportLevel2Data")


@check("permissionsResponseSchema", "PRM-1 PRM-2 TT-2", Half.TRADING)
def permissions_schema(trading: Trading) -> None:
    """`/permissions` fits its schema, and names groups that there are."""
    if trading.client.token is None:
        raise Skipped("No login of a trader was given.")
    exchange = trading.client.get("/permissions")
    if exchange.status == 404:
        raise Skipped("There is no /permissions: nothing is hidden from anybody.")
    trading.expect_contract(exchange)
    named = set(trading.read(exchange)["d"]["groups"])
    groups = trading.client.get("/groups")
    if groups.is_ok:
        strange = sorted(named - {group["id"] for group in groups.says["d"]["groups"]})
        if strange:
            trading.warn(f"Not in /groups: {', '.join(strange)}; are they TradingView's own?", exchange)


# --- mapping ----------------------------------------------------------------------------------------------------------


def _mapping(trading: Trading) -> dict[str, Any]:
    """Raises Skipped where there is none (MAP-1)."""
    exchange = trading.client.with_token(None).get("/mapping")
    if exchange.status == 404:
        raise Skipped("There is no /mapping: only the broker's own symbols are traded.")
    return exchange.says


@check("mappingResponseSchema", "MAP-2 MAP-4 GEN-5", Half.TRADING)
def mapping_schema(trading: Trading) -> None:
    """`/mapping` is open without a token, and each entry maps exactly one symbol to one full name."""
    _mapping(trading)
    exchange = trading.client.with_token(None).get("/mapping")
    trading.expect_contract(exchange)
    names = [entry["f"][0] for entry in exchange.says.get("symbols", []) if entry.get("f")]
    trading.expect(len(set(names)) == len(names), "A symbol is mapped twice.", exchange)


@check("mappingCoversInstruments", "MAP-3 INS-8", Half.TRADING)
def mapping_covers(trading: Trading) -> None:
    """Every instrument that can be traded is mapped."""
    mapped = {name for entry in _mapping(trading).get("symbols", []) for name in entry.get("f", [])}

    def judge(desk: Desk) -> None:
        missing = [each["name"] for each in desk.instruments if each["name"] not in mapped]
        listed = ", ".join(missing[:10])
        trading.expect(
            not missing, f"{desk.id}: not mapped: {listed}.", trading.client.with_token(None).get("/mapping")
        )

    trading.on_each(judge)


@check("mappingSymbolsExist", "MAP-3", Half.TRADING)
def mapping_symbols_exist(trading: Trading) -> None:
    """Every full name of the mapping is one of TradingView's."""
    known = trading.options.tradingview_symbols
    if not known:
        raise Skipped("No list of TradingView's symbols was given (--tradingview-symbols).")
    strange = [entry["s"] for entry in _mapping(trading).get("symbols", []) if entry["s"] not in known]
    trading.expect(not strange, f"TradingView has no {', '.join(strange[:10])}.")
