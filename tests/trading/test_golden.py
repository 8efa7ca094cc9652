"""Golden cases: every row of `golden/*.csv`, worked out by hand in its last column, through the real services."""

import csv
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.choices import Profile
from accounts.models import Account
from marketdata.choices import SymbolType
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from trading import charges, tradables, valuation
from trading.models import ChargeSchedule, FundingRate, MarginTier
from tvapi import pips

D = Decimal
Row = dict[str, str]
PROFILES = {"AAPL": Profile.EXCHANGE, "ESZ2026": Profile.EXCHANGE, "ZBH2027": Profile.EXCHANGE}
ROUND_THE_CLOCK = {"session_regular": "24x7", "timezone": "Etc/UTC"}
BONDS = {
    "type": SymbolType.FUTURES, "pricescale": 32, "fractional": True, "contract_size": D(1000), "min_qty": D(1),
}  # fmt: skip


def rows(name: str) -> list[Any]:
    with (Path(__file__).parent / "golden" / f"{name}.csv").open() as file:
        return [pytest.param(row, id=f"{name}-{number}") for number, row in enumerate(csv.DictReader(file), start=2)]


def test_there_are_enough_of_them() -> None:
    assert sum(len(rows(name)) for name in ("profit", "margin", "pip", "swap", "funding", "fee")) >= 60


@pytest.fixture(autouse=True)
def market(db: None) -> None:
    """Every instrument, open round the clock, in any size."""
    any_size = {"min_qty": D("0.0001"), "qty_step": D("0.0001"), "max_qty": D(10_000_000)}
    for symbol in factories.INSTRUMENTS:
        factories.instrument(symbol)
    factories.instrument("ZBH2027", **BONDS)
    Instrument.objects.update(**ROUND_THE_CLOCK, **any_size)
    for code in ("EUR", "GBP", "JPY", "USD", "USDT"):
        factories.currency(code)


def quote(symbol: str, price: str) -> None:
    factories.quote(symbol, price, price)


def quote_rates(row: Row) -> None:
    """`GBPUSD=1.60000/1.70000`: bid and ask of the pairs that lead to the account's currency."""
    for text in row["rates"].split():
        symbol, _, prices = text.partition("=")
        factories.quote(symbol, *prices.split("/"))


def account_for(row: Row, **conditions: Any) -> Account:
    symbol, base = row["symbol"], row["currency"]
    profile = Profile(row["profile"]) if "profile" in row else PROFILES.get(symbol, Profile.FX_NETTING)
    if symbol.endswith(".P"):
        profile = Profile.PERPETUAL
    group = factories.group(profile, symbols=[symbol], **{"margin_rate": D("0.01"), **conditions})
    return factories.account(of_group=group, base=base, deposits={base: D(100_000_000)})


@pytest.mark.parametrize("row", rows("profit"))
def test_profit(row: Row) -> None:
    account = account_for(row)
    quote(row["symbol"], row["entry"])
    quote_rates(row)
    opened = desk.fill(account, row["side"], row["qty"], row["symbol"])
    assert opened.status == "filled"
    quote(row["symbol"], row["exit"])
    assert valuation.value(account).unrealized_pl == D(row["expected"])
    desk.fill(account, "sell" if row["side"] == "buy" else "buy", row["qty"], row["symbol"])
    position = account.positions.get()
    assert (position.qty, position.realized_pl) == (D(0), D(row["expected"]))
    assert account.balances.get().total == 100_000_000 + D(row["expected"])


@pytest.mark.parametrize("row", rows("margin"))
def test_margin(row: Row) -> None:
    account = account_for(row, margin_rate=D(row["rate"]))
    for text in row["tiers"].split():
        floor, _, rate = text.partition(":")
        MarginTier.objects.create(conditions=account.group.conditions_at(), floor=D(floor), rate=D(rate))
    quote(row["symbol"], row["price"])
    quote_rates(row)
    resting = desk.place(account, "buy", row["qty"], row["symbol"], limit=row["price"])
    assert resting.held == D(row["expected"])
    desk.drain(account)
    assert account.positions.get().margin == D(row["expected"])
    [tradable] = tradables.of_account(account)
    assert tradable.margin_rate == D(row["rate"])


@pytest.mark.parametrize("row", rows("pip"))
def test_pip_value(row: Row) -> None:
    quote_rates(row)
    instrument = factories.instrument(row["symbol"])
    assert pips.values(row["currency"], [instrument])[row["symbol"]] == D(row["expected"])


@pytest.mark.parametrize("row", rows("swap"))
def test_swap(row: Row) -> None:
    account = account_for(row)
    quote(row["symbol"], row["entry"])
    quote_rates(row)
    factories.set_terms(
        account.group,
        swap_unit=row["unit"],
        swap_long=D(row["rate"]) if row["side"] == "buy" else D(999),
        swap_short=D(row["rate"]) if row["side"] == "sell" else D(999),
        triple_day=2,
    )
    desk.fill(account, row["side"], row["qty"], row["symbol"])
    weekday = 2 if row["days"] == "3" else 1
    due = timezone.now()
    while (due := charges.next_rollover(due)).astimezone(charges.NEW_YORK).weekday() != weekday:
        pass
    ChargeSchedule.objects.create(kind="swap", due_at=due)
    assert charges.charge_swaps(due) == 1
    charge = account.charges.get()
    assert (charge.amount, charge.days) == (D(row["expected"]), int(row["days"]))
    assert account.balances.get().total == 100_000_000 + D(row["expected"])


@pytest.mark.parametrize("row", rows("funding"))
def test_funding(row: Row) -> None:
    account = account_for({**row, "symbol": "BTCUSDT.P", "currency": "USDT"})
    quote("BTCUSDT.P", row["mark"])
    desk.fill(account, row["side"], row["qty"], "BTCUSDT.P")
    due = charges.next_funding(timezone.now() + timedelta(seconds=1))
    FundingRate.objects.create(instrument=factories.instrument("BTCUSDT.P"), due_at=due, rate=D(row["rate"]))
    ChargeSchedule.objects.create(kind="funding", due_at=due)
    assert charges.charge_funding(due) == 1
    assert account.charges.get().amount == D(row["expected"])
    assert account.balances.get().total == 100_000_000 + D(row["expected"])


@pytest.mark.parametrize("row", rows("fee"))
def test_fee(row: Row) -> None:
    fees = {"commission_kind": row["kind"], "commission_rate": D(row["rate"]), "commission_minimum": D(row["minimum"])}
    account = account_for(row, **fees)
    quote(row["symbol"], row["price"])
    quote_rates(row)
    desk.fill(account, row["side"], row["qty"], row["symbol"])
    assert account.executions.get().commission == D(row["expected"])
