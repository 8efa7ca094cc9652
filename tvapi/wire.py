"""From our words to TradingView's: each function makes the object of one schema of `openapi.yaml`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.choices import Profile
from accounts.models import Account, Balance, TradingConditions
from marketdata import sessions
from marketdata.bars import Columns
from marketdata.choices import InstrumentState, Shortability, SymbolType
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading.choices import DurationType, OrderType, ParentType
from trading.errors import in_language, sentence
from trading.models import Execution, Order, Position
from trading.previews import Preview
from trading.states import OrderStatus
from trading.tradables import Tradable
from trading.valuation import SpotValue
from tvapi import account_manager

# CFG-2, in milliseconds. We send them although they are the defaults, which the sources disagree on (DIS-5).
PULLING_INTERVAL = {"quotes": 500, "orders": 500, "positions": 1000, "accountManager": 500, "balances": 1000}
COMMISSION = {"id": "commission", "title": _("Commission"), "alignment": "right"}  # CFG-8
WITH_DEPTH = frozenset({Profile.SPOT, Profile.PERPETUAL, Profile.EXCHANGE})


def seconds(at: datetime) -> int:
    return int(at.timestamp())


# --- configuration and accounts ---------------------------------------------------------------------------------------


def config() -> dict[str, Any]:
    """For all accounts; those of other profiles than FX/CFD replace its account manager (CFG-1)."""
    return {
        **account_manager.configuration(Profile.FX_NETTING),
        "durations": [_duration(duration) for duration in DurationType],
        "orderCustomFields": [COMMISSION],
        "orderHistoryCustomFields": [COMMISSION],
        "pullingInterval": PULLING_INTERVAL,
    }


def _duration(duration: DurationType) -> dict[str, Any]:
    """As the ticket offers it (CFG-9, CFG-10). What never rests is no duration for orders that wait for their stop."""
    resting = [OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT]
    wire: dict[str, Any] = {
        "id": duration,
        "title": duration.label,
        "supportedOrderTypes": [OrderType.LIMIT] if duration.is_immediate else resting,
    }
    if duration is DurationType.GTC:
        wire["default"] = True
    if duration is DurationType.GTD:
        wire |= {"hasDatePicker": True, "hasTimePicker": True}
    return wire


def account(account: Account, conditions: TradingConditions) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "id": account.number,
        "name": account.name,
        "type": account.type,
        "currency": account.currency_id,
        "config": flags(account.profile, conditions),
        "isVerified": account.client.is_verified,
    }
    if account.currency.sign:
        wire["currencySign"] = account.currency.sign
    if account.profile not in (Profile.FX_NETTING, Profile.FX_HEDGING):
        wire["ui"] = account_manager.configuration(account.profile)
    return wire


def flags(profile: Profile, conditions: TradingConditions) -> dict[str, bool]:
    """What accounts of this profile and group can do (ACC-8, ACC-9); a flag not here has the default that fits.

    A hedging account has nothing to reverse: each trade is closed by itself.
    """
    positions, depth = profile.has_positions, profile in WITH_DEPTH
    return {
        "supportPositions": positions,
        "supportBalances": not positions,
        "supportMultiposition": profile.is_hedging,
        "supportClosePosition": positions,
        "supportPartialClosePosition": positions,
        "supportReversePosition": positions and not profile.is_hedging,
        "supportNativeReversePosition": positions and not profile.is_hedging,
        "supportOrderBrackets": True,
        "supportMarketBrackets": True,
        "supportPositionBrackets": profile.has_position_brackets,
        "supportTrailingStop": True,
        "supportModifyBrackets": True,
        "supportModifyDuration": True,
        "supportStopLimitOrders": True,
        "supportStopOrdersInBothDirections": conditions.stops_both_ways,
        "supportStopLimitOrdersInBothDirections": conditions.stop_limits_both_ways,
        "supportPartialOrderExecution": True,
        "supportPlaceOrderPreview": True,
        "supportModifyOrderPreview": True,
        "supportTrackLatency": True,
        "supportOrdersHistory": True,
        "supportOrderCustomFields": True,
        "supportOrderHistoryCustomFields": True,
        "supportExecutions": True,
        "supportDOM": depth,
        "supportLevel2Data": depth,
        "supportCustomAccountSummaryRow": True,
        "supportLeverage": profile is Profile.PERPETUAL,
        "supportLeverageButton": profile is Profile.PERPETUAL,
        "supportLogout": True,
    }


def instrument(tradable: Tradable, pip_value: Decimal) -> dict[str, Any]:
    """`pip_value` is in the account's currency (INS-2). Quantities are in units: there is no `lotSize`.

    Needed margin is quantity × price × `marginRate`, so the rate has the contract size in it. Where each contract needs
    an amount of its own there is no such rate.
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
    if tradable.margin_rate is not None and tradable.contract_margin is None:
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


def order(order: Order, executions: Iterable[Execution]) -> dict[str, Any]:
    """An order, live or of the past, with its standing executions. Prices it does not have are left out (ORD-10)."""
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
    if order.type != OrderType.MARKET or order.duration != DurationType.GTC:
        wire["duration"] = {"type": order.duration}
    if order.duration == DurationType.GTD and order.expires_at:
        wire["duration"]["datetime"] = seconds(order.expires_at)
    if order.parent_type:
        is_of_position = order.parent_type == ParentType.POSITION
        wire["parentId"] = str(order.closes_id if is_of_position else order.parent_id)
        wire["parentType"] = order.parent_type
    if order.trailing_pips is not None:
        wire |= {"isTrailingStop": True, "trailingStopPips": order.trailing_pips}
    if order.filled_qty and (commission := _commission(executions)):
        wire["customFields"] = [{"id": COMMISSION["id"], "value": commission}]
    if order.reason:
        kind = "error" if order.status == OrderStatus.REJECTED else "warning"
        wire["message"] = {"type": kind, "text": sentence(order.reason, order.reason_details)}
    return wire


def _commission(executions: Iterable[Execution]) -> str:
    """What was charged for an order so far, nothing when nothing was; a busted execution costs none."""
    charged: dict[str, Decimal] = defaultdict(Decimal)
    for execution in executions:
        charged[execution.commission_currency_id] += execution.commission
    return ", ".join(account_manager.amount(total, currency) for currency, total in charged.items() if total)


def preview(of: Preview) -> dict[str, Any]:
    """The confirmation dialog: what TradingView does not show by itself (PRV-3), as text (DIS-18)."""
    text = account_manager.amount
    rows = [{"title": _("Price"), "value": text(of.price)}, {"title": _("Value"), "value": text(*of.value)}]
    rows.append({"title": _("Commission"), "value": text(*of.commission)})
    if of.held:
        title = _("Reserved") if of.is_spot else _("Margin")
        rows.append({"title": title, "value": text(*of.held)})
    if of.expires_at:
        rows.append({"title": _("Good till"), "value": in_language(f"{of.expires_at:%Y-%m-%d %H:%M} UTC")})
    sections: list[dict[str, Any]] = [{"header": _("Estimated"), "rows": rows}]
    outcomes = ((_("Stop loss"), of.at_stop_loss), (_("Take profit"), of.at_take_profit))
    if results := [{"title": title, "value": text(*result)} for title, result in outcomes if result]:
        sections.append({"header": _("Result when it is closed by"), "rows": results})
    wire: dict[str, Any] = {"sections": sections}
    if of.confirm_id:
        wire["confirmId"] = of.confirm_id
    if of.warnings:
        wire["warnings"] = of.warnings
    if of.errors:
        wire["errors"] = of.errors
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


def mapping(published: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Our symbols and TradingView's, without the usual envelope (GEN-5, MAP-2)."""
    symbols = [{"f": [ours], "s": theirs} for ours, theirs in published]
    return {"symbols": symbols, "fields": ["brokerSymbol"]}


# Fields of `Instrument` that the columns of `/symbol_info` are made of, as `symbol_info` takes them.
SYMBOL_FIELDS = (
    "symbol", "description_en", "quote_currency", "base_currency", "exchange_listed", "exchange_traded", "type",
    "is_cfd", "minmovement", "minmovement2", "fractional", "pricescale", "contract_size", "timezone",
    "session_regular", "session_premarket", "session_postmarket", "has_daily", "has_no_volume", "bar_source", "root",
    "root_description", "expiration", "isin", "wkn",
)  # fmt: skip
ALWAYS_COLUMNS = frozenset({"symbol", "description", "intraday-multipliers"})


def symbol_info(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Columns: entry n of each array describes symbol n; what all symbols have alike is one plain value (SYM-2).

    `rows` has the `SYMBOL_FIELDS` of at least one symbol. Null stands where a kind of instrument has no such thing
    (GEN-8).
    """
    of = dict(zip(SYMBOL_FIELDS, zip(*rows, strict=True), strict=True))
    columns: dict[str, Sequence[Any]] = {
        "symbol": of["symbol"],
        "description": [text or symbol for text, symbol in zip(of["description_en"], of["symbol"], strict=True)],
        "currency": of["quote_currency"],
        "base-currency": _or_null(of["base_currency"]),
        "exchange-listed": of["exchange_listed"],
        "exchange-traded": of["exchange_traded"],
        "type": of["type"],
        "is-cfd": of["is_cfd"],
        "minmovement": of["minmovement"],
        "minmovement2": of["minmovement2"],
        "fractional": of["fractional"],
        "pricescale": of["pricescale"],
        "pointvalue": of["contract_size"],
        "timezone": of["timezone"],
        "session-regular": of["session_regular"],
        "session-premarket": _or_null(of["session_premarket"]),
        "session-postmarket": _or_null(of["session_postmarket"]),
        "session-extended": [
            _extended(*texts)
            for texts in zip(of["session_regular"], of["session_premarket"], of["session_postmarket"], strict=True)
        ],
        "has-daily": of["has_daily"],
        "has-no-volume": of["has_no_volume"],
        "bar-source": of["bar_source"],
        "root": _or_null(of["root"]),
        "root-description": _or_null(of["root_description"]),
        "expiration": [int(day.strftime("%Y%m%d")) if day else None for day in of["expiration"]],
        "isin": of["isin"],
        "wkn": of["wkn"],
        "intraday-multipliers": [["1"]] * len(rows),
    }
    return {
        "s": "ok",
        "has-intraday": True,
        "has-weekly-and-monthly": False,
        "bar-transform": "none",
        "bar-fillgaps": False,
        **{name: column if name in ALWAYS_COLUMNS else _folded(column) for name, column in columns.items()},
    }


def _or_null(column: Iterable[str]) -> list[str | None]:
    return [text or None for text in column]


def _folded(column: Sequence[Any]) -> Any:
    """The column, or the value that stands in all of it."""
    return column[0] if column.count(column[0]) == len(column) else column


@lru_cache(maxsize=1024)
def _extended(regular: str, premarket: str, postmarket: str) -> str | None:
    """Null without pre- and post-market, and where they do not fit the regular session."""
    try:
        return sessions.extended(regular, premarket, postmarket) or None
    except ValidationError:
        return None


def history(bars: Columns) -> dict[str, Any]:
    return {"s": "ok", **bars._asdict()}


def whole_days(columns: dict[str, str]) -> bytes:
    """The same of columns that are JSON already."""
    members = (f'"{name}":[{column}]' for name, column in columns.items())
    return f'{{"s":"ok",{",".join(members)}}}'.encode()
