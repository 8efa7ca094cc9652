"""What an account is worth at the prices of the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import msgspec
from django.db import connection

from accounts import rows
from accounts.models import Account, Balance, Currency
from backoffice.fields import plain
from marketdata.quotes import Quote
from trading import instruments_of, risk
from trading.choices import Side
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.prices import Prices


class Holding(msgspec.Struct, frozen=True):
    """What decides, beside prices, what closing a position would bring."""

    symbol: str
    side: Side
    qty: Decimal
    avg_price: Decimal
    contract_size: Decimal
    quote_currency: str
    margin: Decimal

    @classmethod
    def of(cls, position: Position) -> Holding:
        instrument = position.instrument
        return cls(
            symbol=instrument.symbol,
            side=Side(position.side),
            qty=position.qty,
            avg_price=position.avg_price,
            contract_size=instrument.contract_size,
            quote_currency=instrument.quote_currency,
            margin=position.margin,
        )


class Portfolio(msgspec.Struct, frozen=True):
    """A margin account without prices: cash, margin of positions, margin held by orders, and the positions."""

    balance: Decimal
    margin: Decimal
    held: Decimal
    holdings: list[Holding]


class Asset(msgspec.Struct, frozen=True):
    """A spot account's amount of one currency."""

    currency: str
    total: Decimal


@dataclass(frozen=True, slots=True)
class AccountValue:
    """A margin account's figures in its currency: margin of positions, held by orders, and what is free of both.

    `profits` has what closing each position would bring, in the order of the portfolio, to the cent.
    """

    balance: Decimal
    unrealized_pl: Decimal
    margin: Decimal
    held: Decimal
    profits: list[Decimal]

    @property
    def equity(self) -> Decimal:
        return self.balance + self.unrealized_pl

    @property
    def free(self) -> Decimal:
        return self.equity - self.margin - self.held


class Money(NamedTuple):
    """What a margin account has of its own currency, and what of it its live orders hold."""

    cash: Decimal
    held: Decimal

    @classmethod
    def of(cls, cash: Decimal | None, held: Decimal | None) -> Money:
        """From the two columns of `MONEY`."""
        return cls(plain(cash or Decimal(0)), plain(held or Decimal(0)))


class Means(NamedTuple):
    """What a margin account decides with, read under its lock: nothing has changed it since but who holds the lock."""

    money: Money
    positions: list[Position]  # that are open


# Columns of a row of accounts, named `account`. Every order and every poll asks them.
CASH = f"""
    (SELECT total FROM {Balance._meta.db_table} AS balance
      WHERE balance.account_id = account.id AND balance.currency_id = account.currency_id) AS cash
"""  # noqa: S608
MONEY = f"""
    {CASH},
    (SELECT sum(held) FROM {Order._meta.db_table} AS live
      WHERE live.account_id = account.id AND live.final_at IS NULL) AS held
"""  # noqa: S608
_OF_ACCOUNT = f"SELECT {MONEY} FROM {Account._meta.db_table} AS account WHERE id = %s"  # noqa: S608
_OPEN = f"""
SELECT {rows.columns_of(Position)} FROM {Position._meta.db_table}
 WHERE account_id = %s AND closed_at IS NULL
 ORDER BY id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class SpotValue:
    """An asset's worth in the account's currency and in BTC; None where no rate is known."""

    value: Decimal | None
    value_currency: str
    btc_value: Decimal | None


# --- from the database ------------------------------------------------------------------------------------------------


def open_positions(account: Account) -> list[Position]:
    return instruments_of.attach(account, rows.read(Position, _OPEN, [account.pk], using=Position.objects.db))


def portfolio(account: Account, positions: Sequence[Position], money: Money | None = None) -> Portfolio:
    """A margin account and its open positions, without prices; its money is read unless it is at hand."""
    if money is None:
        with connection.cursor() as cursor:
            money = Money.of(*cursor.execute(_OF_ACCOUNT, [account.pk]).fetchone())
    return Portfolio(
        balance=money.cash,
        margin=sum((position.margin for position in positions), Decimal(0)),
        held=money.held,
        holdings=[Holding.of(position) for position in positions],
    )


def value(account: Account, prices: Prices | None = None, means: Means | None = None) -> AccountValue:
    """The figures of a margin account to decide on, positions at the prices they would close at (POS-9: longs at bid).

    Bad ticks are passed over, which `appraise` shows. The account's means are read unless they are at hand.
    """
    there = portfolio(account, means.positions, means.money) if means else portfolio(account, open_positions(account))
    return appraise(there, account.currency, prices or Prices(), decides=True)


# --- at prices --------------------------------------------------------------------------------------------------------


def appraise(portfolio: Portfolio, currency: Currency, prices: Prices, *, decides: bool = False) -> AccountValue:
    """The portfolio's figures in the account's currency: as they are shown, or as something is decided on them."""
    prices.load(holding.symbol for holding in portfolio.holdings)
    quote = prices.deciding if decides else prices.quote
    profits = [_profit(holding, currency, prices, quote(holding.symbol)) for holding in portfolio.holdings]
    return AccountValue(
        balance=portfolio.balance,
        unrealized_pl=sum(profits, Decimal(0)),
        margin=portfolio.margin,
        held=portfolio.held,
        profits=profits,
    )


def unrealized_pl(holding: Holding, currency: Currency, prices: Prices) -> Decimal:
    """What closing the position now would bring. A position whose market has no price yet is valued at its cost."""
    return _profit(holding, currency, prices, prices.quote(holding.symbol))


def _profit(holding: Holding, currency: Currency, prices: Prices, quote: Quote | None) -> Decimal:
    if quote is None:
        return Decimal(0)
    exit_price = quote.bid if holding.side is Side.BUY else quote.ask
    amount = risk.profit(holding.side.sign, holding.qty, holding.avg_price, exit_price, holding.contract_size)
    return currency.round_cash(prices.convert(amount, holding.quote_currency, currency.code))


def appraise_asset(asset: Asset, currency: Currency, prices: Prices) -> SpotValue:
    return SpotValue(
        value=_worth(asset, currency.code, prices),
        value_currency=currency.code,
        btc_value=_worth(asset, "BTC", prices),
    )


def _worth(asset: Asset, currency: str, prices: Prices) -> Decimal | None:
    try:
        return prices.convert(asset.total, asset.currency, currency)
    except OrderRejected:
        return None
