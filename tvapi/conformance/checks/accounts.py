"""What is read of accounts: schemas, flags, configuration, instruments, figures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tvapi.conformance.desk import Desk
from tvapi.conformance.framework import Half, Skipped, check
from tvapi.conformance.trading import Trading

DEPRECATED = ("supportBrackets", "supportModifyOrder")
PULLING_MOST = {"quotes": 1000, "orders": 1000, "accountManager": 1500, "positions": 1500, "balances": 1500}
DEPENDS = {
    "supportLeverageButton": "supportLeverage",
    "supportOrderHistoryCustomFields": "supportOrdersHistory",
    "supportPartialClosePosition": "supportPositions",
    "supportClosePosition": "supportPositions",
    "supportPositionBrackets": "supportPositions",
    "supportMultiposition": "supportPositions",
}
COLUMNS = {
    "supportOrderCustomFields": ("orderCustomFields", "orders"),
    "supportOrderHistoryCustomFields": ("orderHistoryCustomFields", "ordersHistory"),
    "supportPositionCustomFields": ("positionCustomFields", "positions"),
}
AGREEMENTS = 8  # readings of figures that move, of which one must agree


@check("configResponseSchema", "CFG-1 TT-2", Half.TRADING)
def config_schema(trading: Trading) -> None:
    """`/config` fits its schema."""
    if trading.client.token is None:
        raise Skipped("No login of a trader was given.")
    trading.expect_contract(trading.config_answer)


@check("accountsResponseSchema", "ACC-1 TT-2", Half.TRADING)
def accounts_schema(trading: Trading) -> None:
    """`/accounts` fits its schema, and no id is there twice."""
    if trading.client.token is None:
        raise Skipped("No login of a trader was given.")
    exchange = trading.accounts_answer
    trading.expect_contract(exchange)
    ids = [account["id"] for account in trading.read(exchange)["d"]]
    trading.expect(len(set(ids)) == len(ids), f"An id is there twice: {ids}.", exchange)


def _schema(trading: Trading, what: str, *flags: str) -> None:
    def judge(desk: Desk) -> None:
        trading.expect_contract(desk.get(what))

    trading.on_each(judge, *flags)


@check("instrumentsResponseSchema", "INS-1 TT-2", Half.TRADING)
def instruments_schema(trading: Trading) -> None:
    """`/instruments` of every account fits its schema, and no name is there twice."""
    _schema(trading, "instruments")

    def judge(desk: Desk) -> None:
        names = [each["name"] for each in desk.instruments]
        trading.expect(len(set(names)) == len(names), f"{desk.id}: an instrument is there twice.")

    trading.on_each(judge)


@check("stateResponseSchema", "ACC-4 GEN-9 TT-2", Half.TRADING)
def state_schema(trading: Trading) -> None:
    """`/state` of every account fits its schema."""
    _schema(trading, "state")


@check("ordersResponseSchema", "ORD-4 TT-2", Half.TRADING)
def orders_schema(trading: Trading) -> None:
    """`/orders` of every account fits its schema."""
    _schema(trading, "orders")


@check("ordersHistoryResponseSchema", "ORD-9 TT-2", Half.TRADING)
def orders_history_schema(trading: Trading) -> None:
    """`/ordersHistory` fits its schema: final orders only."""
    _schema(trading, "ordersHistory", "supportOrdersHistory")


@check("positionsResponseSchema", "POS-1 TT-2", Half.TRADING)
def positions_schema(trading: Trading) -> None:
    """`/positions` fits its schema; with supportPLUpdate each has its unrealized P/L."""
    _schema(trading, "positions", "supportPositions")

    def judge(desk: Desk) -> None:
        exchange = desk.get("positions")
        for position in trading.read(exchange)["d"]:
            said = "unrealizedPl" in position or not desk.has("supportPLUpdate")
            trading.expect(said, f"{desk.id}: position {position['id']} has no unrealizedPl (POS-7).", exchange)

    trading.on_each(judge, "supportPositions")


@check("balancesResponseSchema", "ACC-6 TT-2", Half.TRADING)
def balances_schema(trading: Trading) -> None:
    """`/balances` fits its schema; what is available is not more than there is."""

    def judge(desk: Desk) -> None:
        exchange = desk.get("balances")
        trading.expect_contract(exchange)
        for each in trading.read(exchange)["d"]:
            reserved = each.get("reserved", 0)
            fits = Decimal(each["available"]) + Decimal(reserved) <= Decimal(each["total"])
            trading.expect(
                fits, f"{desk.id}: of {each['symbol']} more is available and reserved than there is.", exchange
            )

    trading.on_each(judge, "supportBalances")


@check("executionsResponseSchema", "POS-8 TT-2", Half.TRADING)
def executions_schema(trading: Trading) -> None:
    """`/executions` of an instrument fits its schema."""

    def judge(desk: Desk) -> None:
        for instrument in desk.instruments[:2]:
            exchange = desk.get("executions", instrument=instrument["name"])
            trading.expect_contract(exchange)
            trading.expect(exchange.is_ok, f"{desk.id}: it is refused.", exchange)
            latest = desk.get("executions", instrument=instrument["name"], maxCount=1)
            trading.expect(len(trading.read(latest)["d"]) <= 1, f"{desk.id}: maxCount is exceeded.", latest)

    trading.on_each(judge, "supportExecutions")


# --- flags ------------------------------------------------------------------------------------------------------------


@check("flagsHaveTheirEndpoints", "ACC-9 GEN-15", Half.TRADING)
def flags_have_endpoints(trading: Trading) -> None:
    """What a flag promises is there: each request that it leads to is understood."""

    def judge(desk: Desk) -> None:
        for flag, what in (
            ("supportPositions", "positions"),
            ("supportBalances", "balances"),
            ("supportOrdersHistory", "ordersHistory"),
        ):
            if desk.has(flag):
                exchange = desk.get(what)
                trading.expect(exchange.is_ok, f"{desk.id}: {flag}, but /{what} is refused.", exchange)
        either = desk.has("supportPositions") or desk.has("supportBalances")
        trading.expect(either, f"{desk.id} has neither positions nor balances.", trading.accounts_answer)
        _judge_actions(trading, desk)

    trading.on_each(judge)


def _judge_actions(trading: Trading, desk: Desk) -> None:
    """Requests about what does not exist: understood, and so refused in a sentence."""
    nothing = {
        "instrument": "NO.SUCH",
        "side": "buy",
        "orderType": "limit",
        "type": "limit",
        "qty": "1",
        "leverage": "2",
    }
    for flag, method, what, form in (
        ("supportPositionBrackets", "PUT", "positions/no-such-position", {"stopLoss": "1"}),
        ("supportNativeReversePosition", "PUT", "positions/no-such-position", {"side": "sell"}),
        ("supportClosePosition", "DELETE", "positions/no-such-position", {}),
        ("supportPlaceOrderPreview", "POST", "previewOrder", nothing),
        ("supportLeverage", "POST", "getLeverage", nothing),
        ("supportLeverage", "POST", "setLeverage", nothing),
        ("supportLeverage", "POST", "previewLeverage", nothing),
    ):
        if desk.has(flag):
            exchange = desk.send(method, what, form)
            trading.expect(
                exchange.status == 200 and exchange.says.get("s") in ("ok", "error"),
                f"{desk.id}: {flag}, but {method} /{what} gets {exchange.status}.",
                exchange,
            )


@check("flagsFitTogether", "ACC-8 ACC-10", Half.TRADING)
def flags_fit_together(trading: Trading) -> None:
    """No deprecated flag is sent, and none without the flag it depends on."""

    def judge(desk: Desk) -> None:
        sent = desk.account.get("config", {})
        for flag in DEPRECATED:
            trading.expect(flag not in sent, f"{desk.id}: {flag} is deprecated.", trading.accounts_answer)
        for flag, base in DEPENDS.items():
            if sent.get(flag) and not desk.has(base):
                trading.problem(f"{desk.id}: {flag} without {base}.", trading.accounts_answer)

    trading.on_each(judge)


# --- configuration ----------------------------------------------------------------------------------------------------


@check("pullingIntervals", "CFG-2", Half.TRADING)
def pulling_intervals(trading: Trading) -> None:
    """No pulling interval is above what TradingView uses; a larger one is cut by it."""
    if trading.client.token is None:
        raise Skipped("No login of a trader was given.")
    intervals = trading.config.get("pullingInterval", {})
    for name, most in PULLING_MOST.items():
        if name not in intervals:
            trading.warn(f"{name} is left out; the sources differ about its default (DIS-5).", trading.config_answer)
        else:
            fits = 0 < intervals[name] <= most
            trading.expect(fits, f"{name} is {intervals[name]} ms; at most {most}.", trading.config_answer)


@check("durationsDefault", "CFG-9 CFG-10", Half.TRADING)
def durations_default(trading: Trading) -> None:
    """At most one duration is the default."""

    def judge(desk: Desk) -> None:
        durations = desk.effective("durations") or []
        defaults = [each["id"] for each in durations if each.get("default")]
        trading.expect(len(defaults) <= 1, f"{desk.id}: defaults are {', '.join(defaults)}.", trading.config_answer)

    trading.on_each(judge)


@check("accountManagerMatchesState", "CFG-5 CFG-7", Half.TRADING)
def account_manager_matches(trading: Trading) -> None:
    """`/state` has as many tables, cells and summary values as are configured."""

    def judge(desk: Desk) -> None:
        exchange = desk.get("state")
        state = trading.read(exchange)["d"]
        row = desk.effective("accountSummaryRow") if desk.has("supportCustomAccountSummaryRow") else None
        if row is not None:
            count = len(state.get("accountSummaryRowData", []))
            trading.expect(count == len(row), f"{desk.id}: {count} summary values for {len(row)} items.", exchange)
        tables = desk.effective("accountManager")
        if tables is not None:
            widths = [{len(cells) for cells in table} for table in state.get("amData", [])]
            fits = len(widths) == len(tables) and all(
                width <= {len(table["columns"])} for width, table in zip(widths, tables, strict=False)
            )
            trading.expect(fits, f"{desk.id}: amData does not have the tables and columns configured.", exchange)

    trading.on_each(judge)


@check("customFieldsMatchColumns", "CFG-8", Half.TRADING)
def custom_fields_match(trading: Trading) -> None:
    """Custom cells belong to configured columns, and flags to columns that there are."""

    def judge(desk: Desk) -> None:
        for flag, (columns, what) in COLUMNS.items():
            configured = {column["id"] for column in desk.effective(columns) or []}
            if not desk.has(flag):
                continue
            trading.expect(bool(configured), f"{desk.id}: {flag}, but no column is configured.", trading.config_answer)
            exchange = desk.get(what)
            sent = {cell["id"] for each in trading.read(exchange)["d"] for cell in each.get("customFields", [])}
            strange = sorted(sent - configured)
            trading.expect(not strange, f"{desk.id}: cells without a column: {', '.join(strange)}.", exchange)

    trading.on_each(judge)


# --- instruments ------------------------------------------------------------------------------------------------------


@check("instrumentsSteps", "INS-1 INS-2 INS-4", Half.TRADING)
def instruments_steps(trading: Trading) -> None:
    """Pips are ticks, of pairs perhaps ten; quantities have an order; equal currencies make the pip its own value."""

    def judge(desk: Desk) -> None:
        for each in desk.instruments:
            if fault := _step_fault(each, str(desk.account.get("currency", ""))):
                trading.problem(f"{desk.id}, {each['name']}: {fault}", desk.get("instruments"))

    trading.on_each(judge)


def _step_fault(each: dict[str, Any], currency: str) -> str:
    tick, pip = Decimal(each["minTick"]), Decimal(each["pipSize"])
    allowed = (tick, tick * 10) if each["type"] == "forex" else (tick,)
    if pip not in allowed:
        return f"pipSize {pip} with a minTick of {tick}."
    least, most, step = (Decimal(each.get(name, 1)) for name in ("minQty", "maxQty", "qtyStep"))
    if "maxQty" in each and least > most:
        return f"minQty {least} is above maxQty {most}."
    if step <= 0:
        return f"qtyStep is {step}."
    if each.get("quoteCurrency") == currency and "lotSize" not in each and Decimal(each["pipValue"]) != pip:
        return f"pipValue {each['pipValue']} differs from pipSize {pip}, although prices are in {currency}."
    return ""


@check("stateUnrealizedPlIsSum", "ACC-4", Half.TRADING)
def unrealized_pl_is_sum(trading: Trading) -> None:
    """The unrealized P/L of `/state` is the sum over the open positions."""

    def judge(desk: Desk) -> None:
        with desk.traded() as trade:
            trading.expect(
                any(_agree(desk) for _time in range(AGREEMENTS)),
                f"{desk.id}: with {trade.market.symbol} open, /state and /positions never agreed.",
                desk.get("state"),
            )

    trading.on_each(judge, "supportPositions", "supportPLUpdate")


def _agree(desk: Desk) -> bool:
    """Prices move between two requests: a state before and one after must hold the sum between them, to the cent."""
    before = Decimal(desk.d("state")["unrealizedPl"])
    total = sum((Decimal(position["unrealizedPl"]) for position in desk.positions()), Decimal(0))
    after = Decimal(desk.d("state")["unrealizedPl"])
    cents = Decimal("0.01") * (1 + len(desk.positions()))
    return min(before, after) - cents <= total <= max(before, after) + cents
