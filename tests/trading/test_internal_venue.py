"""What the broker's own venue makes of the depth, on the terms of the group: mark-up, slippage, last look."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum

from accounts.choices import CommissionKind, Profile
from accounts.models import Account, Currency
from tests import factories
from tests.trading import desk
from trading import books, positions
from trading.choices import Side
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.states import OrderStatus

D = Decimal
Row = dict[str, str]


def rows() -> list[Any]:
    with (Path(__file__).parent / "golden" / "execution.csv").open() as file:
        return [pytest.param(row, id=f"execution-{number}") for number, row in enumerate(csv.DictReader(file), start=2)]


def account_of(**conditions: Any) -> Account:
    group = factories.group(symbols=["EURUSD"], **conditions)
    return factories.account(of_group=group)


def fills(order: Order) -> list[tuple[Decimal, Decimal]]:
    return list(order.executions.order_by("pk").values_list("qty", "price"))


def levels(text: str) -> list[tuple[str, str]]:
    pairs = (level.partition("x") for level in text.split())
    return [(price, qty) for price, _, qty in pairs]


@pytest.mark.parametrize("row", rows())
def test_fills(row: Row, db: None) -> None:
    bids, asks = levels(row["bids"]), levels(row["asks"])
    account = account_of(mark_up_pips=D(row["mark_up"]), slippage_pips=D(row["slippage"]) if row["slippage"] else None)
    factories.quote("EURUSD", bids[0][0], asks[0][0], bids=bids, asks=asks)
    order = desk.fill(account, row["side"], row["qty"], **({"limit": row["limit"]} if row["limit"] else {}))
    expected = [tuple(map(D, fill.split("@"))) for fill in row["expected"].split()]
    assert fills(order) == expected, row["how"]
    assert order.leaves_qty == D(row["left"])


def test_what_lies_beyond_the_slippage_waits_for_the_next_book(db: None) -> None:
    account = account_of(slippage_pips=D(1))
    factories.quote("EURUSD", "1.1", "1.1", asks=[("1.10000", "10000"), ("1.10050", "90000")])
    order = desk.fill(account, "buy", "30000")
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, 10000)
    desk.market(account, "1.10040", "1.10050", asks=[("1.10050", "90000")])
    order.refresh_from_db()
    assert (order.status, fills(order)) == (
        OrderStatus.FILLED,
        [(D(10000), D("1.1")), (D(20000), D("1.1005"))],
    )


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ("1.10020", OrderStatus.FILLED),
        ("1.10021", OrderStatus.REJECTED),
        ("1.09980", OrderStatus.FILLED),
        ("1.09979", OrderStatus.REJECTED),
    ],
)
def test_last_look_refuses_what_has_moved_too_far_either_way(ask: str, status: OrderStatus, db: None) -> None:
    account = account_of(last_look_pips=D(2))
    factories.quote("EURUSD", "1.09990", "1.10000")
    order = desk.place(account, "buy", "10000")
    factories.quote("EURUSD", "1.09900", ask)
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.held) == (status, 0)
    assert order.executions.exists() is (status == OrderStatus.FILLED)
    assert order.reason == ("" if status == OrderStatus.FILLED else Reason.VENUE_REJECTED)


def test_last_look_lets_limits_and_closings_pass(db: None) -> None:
    account = account_of(last_look_pips=D(2))
    factories.quote("EURUSD", "1.09990", "1.10000")
    limit = desk.place(account, "buy", "10000", limit="1.10100")
    factories.quote("EURUSD", "1.09000", "1.09010")
    desk.drain(account)
    closing = positions.close(account.pk, account.positions.get().pk, request_id="c")
    factories.quote("EURUSD", "1.07000", "1.07010")
    desk.drain(account)
    for order in (limit, closing):
        order.refresh_from_db()
        assert order.status == OrderStatus.FILLED


def test_a_position_is_reversed_with_all_margin_in_use(db: None) -> None:
    """POS-5: what it closes on its way pays for what it opens."""
    factories.quote("EURUSD", "1.10000", "1.10000")
    account = factories.account(deposits={"USD": D(230)})
    desk.fill(account, "buy", "10000")  # 11,000 × 0.02 = 220 of 230
    order = positions.reverse(account.pk, account.positions.get().pk, Side.SELL, request_id="x")
    assert order.held == 0
    desk.drain(account)
    turned = account.positions.open().get()
    assert (turned.side, turned.qty, turned.margin) == ("sell", 10000, 220)


def test_what_is_opened_beyond_the_reversal_needs_margin_of_its_own(db: None) -> None:
    factories.quote("EURUSD", "1.10000", "1.10000")
    account = factories.account(deposits={"USD": D(230)})
    desk.fill(account, "buy", "10000")
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "sell", "21000")  # opens 11,000: 242, of which 220 are set free and 10 are free
    assert refusal.value.reason == Reason.MARGIN
    assert account.orders.count() == 1


# --- over several levels, and several fills ---------------------------------------------------------------------------


@pytest.mark.parametrize("duration", ["gtc", "fok"])
def test_what_an_order_holds_pays_for_each_level_it_is_filled_at(db: None, duration: str) -> None:
    """The first level releases its part of the hold before the second asks what is free."""
    factories.quote("EURUSD", "1.10000", "1.10010", asks=[("1.10010", "200000"), ("1.10020", "1000000")])
    account = factories.account(deposits={"USD": D(10000)})
    order = desk.fill(account, "buy", "400000", duration=duration)  # 8,801.20 of margin
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, 400_000)
    assert account.positions.get().margin == D("8801.20")


def test_fok_is_filled_at_all_levels_or_at_none(db: None) -> None:
    """The second level is dearer than the account can bear."""
    factories.quote("EURUSD", "1.10000", "1.10010", asks=[("1.10010", "200000"), ("1.60000", "1000000")])
    account = factories.account(deposits={"USD": D(10000)})
    order = desk.fill(account, "buy", "400000", duration="fok")
    assert (order.status, order.filled_qty, order.reason, order.held) == (OrderStatus.CANCELLED, 0, "margin", 0)
    assert not account.positions.exists()
    assert not account.executions.exists()
    assert account.balances.get().total == 10_000
    assert list(order.events.values_list("kind", flat=True)) == ["placed", "acknowledged", "cancelled"]
    assert books.verify() == []


@pytest.mark.parametrize("minimum", ["0", "0.5"])
def test_an_order_for_all_there_is_is_filled_in_however_many_parts(db: None, minimum: str) -> None:
    """Rounding and minimum of a spot commission are the order's, not each fill's."""
    group = factories.group(
        Profile.SPOT, symbols=["BTCUSDT"], commission_kind=CommissionKind.PERCENT,
        commission_rate=D("0.1"), commission_minimum=D(minimum),
    )  # fmt: skip
    Currency.objects.filter(code="USDT").update(decimals=6)
    factories.quote("BTCUSDT", "9999", "9999.99", asks=[("9999.99", "0.0333")] * 3 + [("9999.99", "9")])
    account = factories.account(of_group=group, base="USDT", deposits={"USDT": D("1000.998999")})
    order = desk.fill(account, "buy", "0.1", "BTCUSDT", limit="9999.99")
    assert (order.status, order.executions.count()) == (OrderStatus.FILLED, 4)
    charged = order.executions.aggregate(sum=Sum("commission"))["sum"]
    assert charged == D("0.999999")
    assert {row.currency_id: row.total for row in account.balances.all()} == {"USDT": 0, "BTC": D("0.1")}
    assert books.verify() == []


def test_the_minimum_of_a_spot_commission_is_taken_once(db: None) -> None:
    group = factories.group(
        Profile.SPOT, symbols=["BTCUSDT"], commission_kind=CommissionKind.PERCENT,
        commission_rate=D("0.01"), commission_minimum=D("0.25"),
    )  # fmt: skip
    factories.quote("BTCUSDT", "9999", "10000", asks=[("10000", "0.1"), ("10000", "0.1"), ("10000", "0.2")])
    account = factories.account(of_group=group, base="USDT", deposits={"USDT": D(10000)})
    order = desk.fill(account, "buy", "0.4", "BTCUSDT", limit="10000")
    assert list(order.executions.order_by("pk").values_list("commission", flat=True)) == [D("0.25"), 0, D("0.15")]
