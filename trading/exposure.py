"""An account as its margin level is made of: read from the books and the market into `levels.Inputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from django.db import connection
from django.db.models import F, Q, Sum

from accounts.models import Account, Currency, TradingConditions
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading import levels, valuation
from trading.choices import DecisionKind, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.levels import Figures, Holding, Inputs
from trading.margin_terms import Upkeep, Upkeeps
from trading.models import MarginDecision, Position
from trading.prices import Prices
from trading.valuation import Portfolio

WARNINGS = (DecisionKind.CALL, DecisionKind.CANCEL_ORDERS, DecisionKind.CLOSE)

# The latest of each account, from one account to the next by the index: as long as there are accounts with decisions,
# however many decisions each has had.
_WARNED = f"""
WITH RECURSIVE latest AS (
    (SELECT account_id, kind, level FROM {MarginDecision._meta.db_table} ORDER BY account_id, id DESC LIMIT 1)
  UNION ALL
    SELECT following.* FROM latest, LATERAL (
      SELECT account_id, kind, level FROM {MarginDecision._meta.db_table}
       WHERE account_id > latest.account_id ORDER BY account_id, id DESC LIMIT 1
    ) AS following
)
SELECT account_id FROM latest WHERE kind = ANY(%s) ORDER BY level NULLS LAST, account_id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Market:
    """The market at one moment. `strict`: a price that nobody may trade on is no price to decide on either."""

    prices: Prices
    now: datetime
    max_age_seconds: int
    strict: bool = True

    def is_open(self, instrument: Instrument) -> bool:
        return instrument.state != InstrumentState.HALTED and instrument.session.is_open(self.now)

    def quote(self, instrument: Instrument) -> Quote | None:
        """Of a closed market the last one counts, however old. Raises OrderRejected(NO_PRICE) when `strict`."""
        if not self.strict:
            return self.prices.quote(instrument.symbol)
        quote = self.prices.sound(instrument.symbol)
        oldest = self.now - timedelta(seconds=self.max_age_seconds)
        if quote is None or (self.is_open(instrument) and quote.time < oldest):
            raise OrderRejected(Reason.NO_PRICE, symbol=instrument.symbol)
        return quote


def of(account: Account, conditions: TradingConditions, market: Market) -> Inputs:
    """All that a decision about the account is made of, read now.

    Raises OrderRejected (NO_PRICE, NO_CONVERSION) when the market is not fit to decide on.
    """
    positions = valuation.open_positions(account)
    market.prices.load(position.instrument.symbol for position in positions)
    cash = account.balances.filter(currency=account.currency_id).values_list("total", flat=True).first()
    latest = account.margin_decisions.order_by("-pk").values_list("kind", flat=True).first()
    pending = account.orders.live().filter(closes=None).count()
    return make(
        account, conditions, cash or Decimal(0), positions, Upkeeps.on_terms_of(account, conditions), market,
        closing=_being_closed(account), pending=pending, latest=latest,
    )  # fmt: skip


def make(
    account: Account,
    conditions: TradingConditions,
    cash: Decimal,
    positions: Sequence[Position],
    upkeeps: Upkeeps,
    market: Market,
    *,
    closing: Mapping[int, Decimal],
    pending: int,
    latest: str | None,
) -> Inputs:
    """The same from rows that were read already. `closing` is how much of each position market orders are closing,
    `latest` the kind of the account's latest decision."""
    upkeeps.load({position.instrument_id for position in positions})
    holdings = tuple(
        _holding(account, position, upkeeps.of(position.instrument_id), market, closing.get(position.pk, Decimal(0)))
        for position in positions
    )
    return Inputs(
        balance=cash,
        decimals=account.currency.cash_decimals,
        call_level=conditions.margin_call_level,
        stop_out_level=conditions.stop_out_level,
        holdings=holdings,
        pending=pending,
        warned=is_warning(latest),
        stopping=latest in (DecisionKind.CANCEL_ORDERS, DecisionKind.CLOSE),
        protects=conditions.protects_negative_balance,
    )


def upkeeps(account: Account, conditions: TradingConditions, positions: Sequence[Position]) -> list[Upkeep]:
    """What is to be kept for each of the account's positions."""
    found = Upkeeps.on_terms_of(account, conditions)
    found.load({position.instrument_id for position in positions})
    return [found.of(position.instrument_id) for position in positions]


def shown(portfolio: Portfolio, kept: Sequence[Upkeep], currency: Currency, prices: Prices) -> Figures:
    """The figures of the margin level as the client sees them, at whatever prices there are.

    `kept` is in the order of the portfolio. Raises OrderRejected(NO_CONVERSION).
    """
    holdings = tuple(
        _priced(0, holding, upkeep, prices.quote(holding.symbol), prices, currency.code)
        for holding, upkeep in zip(portfolio.holdings, kept, strict=True)
    )
    nothing = Decimal(0)
    return levels.figures(Inputs(portfolio.balance, currency.cash_decimals, nothing, nothing, holdings))


def now(account: Account, positions: Sequence[Position], prices: Prices) -> tuple[Figures, Decimal]:
    """The account's level as its client sees it, and what is free. Raises OrderRejected(NO_CONVERSION)."""
    portfolio = valuation.portfolio(account, positions)
    figures = shown(portfolio, upkeeps(account, account.conditions_at(), positions), account.currency, prices)
    return figures, valuation.appraise(portfolio, account.currency, prices).free


def is_warning(latest: str | None) -> bool:
    """After this latest decision, does the account stand below its margin call?"""
    return latest in WARNINGS


def _being_closed(account: Account) -> dict[int, Decimal]:
    """How much of each position market orders and triggered stops are closing; other orders may wait for ever."""
    at_market = Q(type=OrderType.MARKET) | Q(type=OrderType.STOP, triggered_at__isnull=False)
    rows = account.orders.live().filter(at_market).exclude(closes=None).values("closes")
    return {row["closes"]: row["qty"] for row in rows.annotate(qty=Sum(F("qty") - F("filled_qty")))}


def _holding(account: Account, position: Position, upkeep: Upkeep, market: Market, closing: Decimal) -> Holding:
    quote = market.quote(position.instrument)
    held = valuation.Holding.of(position)
    priced = _priced(position.pk, held, upkeep, quote, market.prices, account.currency_id)
    return msgspec.structs.replace(priced, closable=market.is_open(position.instrument), closing=closing)


def _priced(
    position: int, held: valuation.Holding, upkeep: Upkeep, quote: Quote | None, prices: Prices, currency: str
) -> Holding:
    """A position at the price it would close at; without a price at its cost."""
    price = held.avg_price if quote is None else quote.bid if held.side is Side.BUY else quote.ask
    source, target = held.quote_currency, currency
    gains = held.side.sign * (price - held.avg_price) > 0
    by_value = bool(upkeep.bands) or upkeep.contract is not None
    return Holding(
        position=position,
        symbol=held.symbol,
        sign=held.side.sign,
        qty=held.qty,
        entry=held.avg_price,
        price=price,
        contract_size=held.contract_size,
        rate=prices.rate(source, target, receives=gains) if price != held.avg_price else Decimal(1),
        margin=held.margin,
        margin_rate=prices.rate(source, target, receives=False) if by_value else Decimal(1),
        bands=upkeep.bands,
        contract=upkeep.contract,
        book=quote.version if quote else "",
    )


def last_decisions(accounts: Sequence[int]) -> dict[int, str]:
    """The kind of each account's latest decision."""
    latest = MarginDecision.objects.order_by("account_id", "-pk").distinct("account_id")
    return dict(latest.filter(account__in=accounts).values_list("account_id", "kind"))


def warned_accounts() -> list[int]:
    """Accounts whose latest decision is a warning, those that fell the lowest first."""
    with connection.cursor() as cursor:
        cursor.execute(_WARNED, [list(WARNINGS)])
        return [account_id for (account_id,) in cursor.fetchall()]
