"""From our words to TradingView's: each function makes the object of one schema of `openapi.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.choices import Profile
from accounts.models import Account, Balance
from marketdata.bars import Columns
from marketdata.choices import InstrumentState, Shortability, SymbolType
from marketdata.models import Instrument, SymbolMapping
from marketdata.quotes import Quote
from trading.choices import DurationType, OrderType
from trading.errors import sentence
from trading.models import Execution, Order, Position
from trading.states import OrderStatus
from trading.tradables import Tradable
from trading.valuation import SpotValue
from tvapi import account_manager

# CFG-2, in milliseconds. We send them although they are the defaults, which the sources disagree on (DIS-5).
PULLING_INTERVAL = {"quotes": 500, "orders": 500, "positions": 1000, "accountManager": 500, "balances": 1000}
WITH_DEPTH = frozenset({Profile.SPOT, Profile.PERPETUAL, Profile.EXCHANGE})


def seconds(at: datetime) -> int:
    return int(at.timestamp())


# --- configuration and accounts ---------------------------------------------------------------------------------------


def config() -> dict[str, Any]:
    """For all accounts; a spot account replaces its account manager (CFG-1)."""
    return {
        **account_manager.configuration(Profile.FX_NETTING),
        "durations": [
            {
                "id": DurationType.GTC,
                "title": DurationType.GTC.label,
                "default": True,
                "supportedOrderTypes": [OrderType.LIMIT, OrderType.STOP],
            }
        ],
        "pullingInterval": PULLING_INTERVAL,
    }


def account(account: Account) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "id": account.number,
        "name": account.name,
        "type": account.type,
        "currency": account.currency_id,
        "config": flags(account.profile),
        "isVerified": account.client.is_verified,
    }
    if account.currency.sign:
        wire["currencySign"] = account.currency.sign
    if not account.profile.has_positions:
        wire["ui"] = account_manager.configuration(account.profile)
    return wire


def flags(profile: Profile) -> dict[str, bool]:
    """What accounts of this profile can do (ACC-8, ACC-9); a flag not here has the default that fits.

    `supportModifyBrackets` is left at its default although there are no brackets: false would hide the Modify button. A
    hedging account has nothing to reverse by an order of double size: that would open another position.
    """
    positions, depth = profile.has_positions, profile in WITH_DEPTH
    return {
        "supportPositions": positions,
        "supportBalances": not positions,
        "supportMultiposition": profile.is_hedging,
        "supportClosePosition": positions,
        "supportPartialClosePosition": positions,
        "supportReversePosition": positions and not profile.is_hedging,
        "supportMarketBrackets": False,
        "supportStopLimitOrders": False,
        "supportPartialOrderExecution": True,
        "supportOrdersHistory": True,
        "supportExecutions": True,
        "supportDOM": depth,
        "supportLevel2Data": depth,
        "supportCustomAccountSummaryRow": True,
        "supportLogout": True,
    }


def instrument(tradable: Tradable, pip_value: Decimal) -> dict[str, Any]:
    """`pip_value` is in the account's currency (INS-2). Quantities are in units: there is no `lotSize`.

    Needed margin is quantity × price × `marginRate`, so the rate has the contract size in it.
    """
    of = tradable.instrument
    wire: dict[str, Any] = {
        "name": of.symbol,
        "description": of.description,
        "type": of.type,
        "minQty": of.min_qty,
        "maxQty": of.max_qty,
        "qtyStep": of.qty_step,
        "minTick": of.tick_size,
        "pipSize": of.pip_size,
        "pipValue": pip_value,
    }
    if of.type == SymbolType.CRYPTO and of.base_currency:
        wire |= {"baseCurrency": of.base_currency, "quoteCurrency": of.quote_currency}
    if tradable.margin_rate is not None:
        wire["marginRate"] = tradable.margin_rate * of.contract_size
    return wire


def balance(held: Balance) -> dict[str, Any]:
    """A spot account's asset; what it is worth follows from prices (`worth`)."""
    return {
        "symbol": held.currency_id,
        "longName": held.currency.name,
        "total": held.total,
        "available": held.available,
        "reserved": held.reserved,
    }


def worth(asset: SpotValue) -> dict[str, Any]:
    """The members of a balance that move with prices."""
    wire: dict[str, Any] = {}
    if asset.btc_value is not None:
        wire["btcValue"] = round(asset.btc_value, 8)
    if asset.value is not None:
        wire |= {"value": round(asset.value, 8), "valueCurrency": asset.value_currency}
    return wire


# --- orders, positions, executions ------------------------------------------------------------------------------------


def order(order: Order) -> dict[str, Any]:
    """An order, live or of the past. Prices that its type does not have are left out (ORD-10)."""
    wire: dict[str, Any] = {
        "id": str(order.pk),
        "instrument": order.instrument.symbol,
        "qty": order.qty,
        "side": order.side,
        "type": order.type,
        "filledQty": order.filled_qty,
        "status": order.status,
        "lastModified": seconds(order.updated_at),
    }
    if order.filled_qty:
        wire["avgPrice"] = order.avg_price
    if order.limit_price is not None:
        wire["limitPrice"] = order.limit_price
    if order.stop_price is not None:
        wire["stopPrice"] = order.stop_price
    if order.type != OrderType.MARKET:
        wire["duration"] = {"type": order.duration}
    if order.reason:
        kind = "error" if order.status == OrderStatus.REJECTED else "warning"
        wire["message"] = {"type": kind, "text": sentence(order.reason, order.reason_details)}
    return wire


def position(position: Position) -> dict[str, Any]:
    """A position; its profit follows from prices (`profit`)."""
    return {
        "id": str(position.pk),
        "instrument": position.instrument.symbol,
        "qty": position.qty,
        "side": position.side,
        "avgPrice": position.avg_price,
    }


def profit(unrealized_pl: Decimal) -> dict[str, Any]:
    """The members of a position that move with prices."""
    return {"unrealizedPl": unrealized_pl}


def execution(execution: Execution) -> dict[str, Any]:
    """A fill. One that turned a net position has closed one and opened another: it is shown with the closed one."""
    fills = sorted(execution.position_fills.all(), key=lambda fill: not fill.is_close)
    wire: dict[str, Any] = {
        "id": str(execution.pk),
        "instrument": execution.instrument.symbol,
        "price": execution.price,
        "time": seconds(execution.at),
        "qty": execution.qty,
        "side": execution.side,
        "orderId": str(execution.order_id),
        "isClose": bool(fills) and fills[0].is_close,
    }
    if fills:
        wire["positionId"] = str(fills[0].position_id)
    if execution.commission:
        wire["commission"] = execution.commission
    return wire


# --- prices -----------------------------------------------------------------------------------------------------------


def quote(instrument: Instrument, quote: Quote, pip_value: Decimal | None) -> dict[str, Any]:
    """One element of `/quotes`. We do not tell buying from selling: both pip values are the same (INS-3)."""
    value: dict[str, Any] = {
        "bid": quote.bid,
        "ask": quote.ask,
        "hardToBorrow": instrument.shortability == Shortability.HARD,
        "notShortable": instrument.shortability == Shortability.NONE,
        "halted": instrument.state == InstrumentState.HALTED,
    }
    if pip_value is not None:
        value |= {"buyPipValue": pip_value, "sellPipValue": pip_value}
    return {"s": "ok", "n": instrument.symbol, "v": value}


def no_quote(symbol: str) -> dict[str, Any]:
    """A symbol that is unknown here, or has no price yet: the schema wants a `v` all the same (UNK-14)."""
    return {"s": "error", "n": symbol, "v": {"bid": 0, "ask": 0}}


def depth(quote: Quote) -> dict[str, Any]:
    """Both sides ascend by price, so the best bid is the last of its side (QTE-6)."""
    return {"bids": sorted(quote.bids), "asks": sorted(quote.asks)}


# --- data -------------------------------------------------------------------------------------------------------------


def mapping(mappings: Iterable[SymbolMapping]) -> dict[str, Any]:
    """Without the usual envelope (GEN-5, MAP-2)."""
    symbols = [{"f": [mapping.instrument.symbol], "s": mapping.tradingview_symbol} for mapping in mappings]
    return {"symbols": symbols, "fields": ["brokerSymbol"]}


def symbol_info(instruments: Sequence[Instrument]) -> dict[str, Any]:
    """Columns: entry n of each array describes symbol n (SYM-2); what all have alike is a single value."""
    rows = [_symbol(instrument) for instrument in instruments]
    return {
        "s": "ok",
        **{name: [row[name] for row in rows] for name in rows[0]},
        "has-intraday": True,
        "has-weekly-and-monthly": False,
        "intraday-multipliers": [["1"] for _row in rows],
        "bar-transform": "none",
        "bar-fillgaps": False,
    }


def _symbol(of: Instrument) -> dict[str, Any]:
    """One symbol by column name. Null stands where a kind of instrument has no such thing (GEN-8)."""
    return {
        "symbol": of.symbol,
        "description": of.description,
        "currency": of.quote_currency,
        "base-currency": of.base_currency or None,
        "exchange-listed": of.exchange_listed,
        "exchange-traded": of.exchange_traded,
        "type": of.type,
        "is-cfd": of.is_cfd,
        "minmovement": of.minmovement,
        "minmovement2": of.minmovement2,
        "fractional": of.fractional,
        "pricescale": of.pricescale,
        "pointvalue": of.contract_size,
        "timezone": of.timezone,
        "session-regular": of.session_regular,
        "session-premarket": of.session_premarket or None,
        "session-postmarket": of.session_postmarket or None,
        "session-extended": _extended(of),
        "has-daily": of.has_daily,
        "has-no-volume": of.has_no_volume,
        "bar-source": of.bar_source,
        "root": of.root or None,
        "root-description": of.root_description or None,
        "expiration": int(of.expiration.strftime("%Y%m%d")) if of.expiration else None,
        "isin": of.isin,
        "wkn": of.wkn,
    }


def _extended(of: Instrument) -> str | None:
    """From the start of the pre-market to the end of the post-market, on the regular days (SES-7); null without either.

    Where days differ (`|`), which pre-market belongs to which session is not to be told from the texts: null too.
    """
    first, last = of.session_premarket or of.session_regular, of.session_postmarket or of.session_regular
    if first == last or "|" in f"{first}{of.session_regular}{last}":
        return None
    _hours, colon, days = of.session_regular.partition(":")
    start, end = first.partition("-")[0], last.partition(":")[0].partition("-")[2]
    return f"{start}-{end}{colon}{days}"


def history(bars: Columns) -> dict[str, Any]:
    return {"s": "ok", **bars._asdict()}
