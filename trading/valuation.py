"""What an account is worth at the prices of the moment."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from accounts.models import Account, Balance
from trading import risk
from trading.choices import Side
from trading.errors import OrderRejected
from trading.models import Position
from trading.prices import Prices


@dataclass(frozen=True, slots=True)
class PositionValue:
    """An open position and what closing it now would bring, in the account's currency, to the cent."""

    position: Position
    unrealized_pl: Decimal


@dataclass(frozen=True, slots=True)
class AccountValue:
    """A margin account's figures in its currency: margin of positions, held by orders, and what is free of both."""

    balance: Decimal
    unrealized_pl: Decimal
    margin: Decimal
    held: Decimal
    positions: list[PositionValue]

    @property
    def equity(self) -> Decimal:
        return self.balance + self.unrealized_pl

    @property
    def free(self) -> Decimal:
        return self.equity - self.margin - self.held


@dataclass(frozen=True, slots=True)
class SpotValue:
    """A balance, and its worth in the account's currency and in BTC; None where no rate is known."""

    balance: Balance
    value: Decimal | None
    value_currency: str
    btc_value: Decimal | None


def value(account: Account, prices: Prices | None = None) -> AccountValue:
    """The figures of a margin account, positions at the prices they would close at (POS-9: longs at bid)."""
    positions = list(account.positions.open().select_related("instrument").order_by("pk"))
    prices = prices or Prices()
    prices.load(position.instrument.symbol for position in positions)
    values = [PositionValue(position, unrealized_pl(account, position, prices)) for position in positions]
    cash = account.balances.filter(currency=account.currency_id).values_list("total", flat=True).first()
    held = account.orders.live().aggregate(held=Sum("held"))["held"]
    return AccountValue(
        balance=cash or Decimal(0),
        unrealized_pl=sum((each.unrealized_pl for each in values), Decimal(0)),
        margin=sum((position.margin for position in positions), Decimal(0)),
        held=held or Decimal(0),
        positions=values,
    )


def unrealized_pl(account: Account, position: Position, prices: Prices) -> Decimal:
    """What closing the position now would bring. A position whose market has no price yet is valued at its cost."""
    quote = prices.quote(position.instrument.symbol)
    if quote is None:
        return Decimal(0)
    side = Side(position.side)
    exit_price = quote.bid if side is Side.BUY else quote.ask
    instrument = position.instrument
    amount = risk.profit(side.sign, position.qty, position.avg_price, exit_price, instrument.contract_size)
    return account.currency.round_cash(prices.convert(amount, instrument.quote_currency, account.currency_id))


def spot(account: Account, prices: Prices | None = None) -> list[SpotValue]:
    """The balances of a spot account, with their worth."""
    prices = prices or Prices()
    return [
        SpotValue(
            balance=balance,
            value=_worth(balance, account.currency_id, prices),
            value_currency=account.currency_id,
            btc_value=_worth(balance, "BTC", prices),
        )
        for balance in account.balances.select_related("currency").order_by("currency")
    ]


def _worth(balance: Balance, currency: str, prices: Prices) -> Decimal | None:
    try:
        return prices.convert(balance.total, balance.currency_id, currency)
    except OrderRejected:
        return None
