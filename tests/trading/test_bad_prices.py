"""A bad tick decides nothing: no side of a stop, no place of a trailing one, no margin; it is only shown."""

import time
from decimal import Decimal

import pytest

from accounts.models import Account
from tests import factories
from tests.trading import desk
from trading import orders, positions, valuation
from trading.engine import Engine
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.tickets import Brackets

D = Decimal
GOOD = ("1.10000", "1.10010")
JUMP = ("1.30000", "1.30010")
ZERO = ("0", "1.09500")


class Market:
    """EURUSD with an engine that judges each tick."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.engine.start()

    def tick(self, bid: str, ask: str) -> None:
        time.sleep(0.002)  # the log counts in milliseconds, and older prices move no order
        factories.quote("EURUSD", bid, ask)
        self.engine._refresh(list(Order.objects.live().values_list("pk", flat=True)))
        self.engine.run_once(block_ms=1)


@pytest.fixture
def market(db: None) -> Market:
    factories.instrument("EURUSD")
    made = Market()
    made.tick(*GOOD)
    return made


def test_on_which_side_of_a_bad_tick_a_stop_lies_is_not_asked(market: Market) -> None:
    """ORD-23."""
    account = factories.account(of_group=factories.group(symbols=["EURUSD"], stops_both_ways=True))
    market.tick(*JUMP)
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "buy", "10000", stop="1.12")
    assert refusal.value.reason is Reason.NO_PRICE
    resting = desk.fill(account, "buy", "10000", limit="1.05")
    market.tick(*GOOD)
    assert not desk.place(account, "buy", "10000", stop="1.12").if_touched
    assert Order.objects.get(pk=resting.pk).status == "working"


def test_a_trailing_stop_does_not_begin_at_a_bad_tick(market: Market) -> None:
    """BRK-22."""
    account = factories.account()
    desk.fill(account, "buy", "10000")
    market.tick(*JUMP)
    with pytest.raises(OrderRejected) as refusal:
        positions.protect(account.pk, account.positions.get().pk, Brackets(trailing_pips=D(20)))
    assert refusal.value.reason is Reason.NO_PRICE
    market.tick(*GOOD)
    positions.protect(account.pk, account.positions.get().pk, Brackets(trailing_pips=D(20)))
    market.tick(*JUMP)
    stop = Order.objects.brackets().get()
    with pytest.raises(OrderRejected) as refusal:
        orders.modify(account.pk, stop.pk, qty=stop.qty, stop_price=D("1.2"))
    assert refusal.value.reason is Reason.NO_PRICE


@pytest.mark.parametrize("bad", [JUMP, ZERO])
def test_a_trailing_stop_put_to_work_during_a_bad_tick_begins_at_the_book_of_the_fill(
    market: Market, bad: tuple[str, str]
) -> None:
    account = factories.account()
    order = desk.fill(account, "buy", "10000", limit="1.0950", trail="20")
    market.tick("1.09490", "1.09500")
    market.tick(*bad)
    desk.drain(account)
    stop = order.brackets.get()
    assert (stop.status, stop.stop_price) == ("working", D("1.09290"))


@pytest.mark.parametrize("bad", [JUMP, ("1.2", "1.1")])
def test_a_bad_tick_gives_nobody_margin(market: Market, bad: tuple[str, str]) -> None:
    factories.quote("GBPUSD", "1.30000", "1.30010")
    account: Account = factories.account(deposits={"USD": D(3000)}, symbols=["EURUSD", "GBPUSD"])
    desk.fill(account, "buy", "100000")
    before = valuation.value(account).free
    market.tick(*bad)
    assert abs(valuation.value(account).free - before) < 10
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "buy", "500000", "GBPUSD")
    assert refusal.value.reason is Reason.MARGIN


def test_without_a_good_price_before_it_a_position_is_worth_its_cost(db: None) -> None:
    factories.quote("EURUSD", *GOOD)
    account = factories.account()
    desk.fill(account, "buy", "10000")
    factories.quote("EURUSD", "0", "1.2")
    assert valuation.value(account).unrealized_pl == 0
