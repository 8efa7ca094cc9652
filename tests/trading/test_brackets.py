"""Brackets of orders and positions: BRK-1 … BRK-23."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.choices import AccountState, FeeAsset, Profile
from accounts.models import Account, Balance
from tests import factories
from tests.trading import desk
from trading import books, orders, positions, relatives, triggers, valuation
from trading.choices import EventKind, Side
from trading.errors import OrderRejected, Reason
from trading.models import Order, Position
from trading.states import OrderStatus
from trading.tickets import Brackets

D = Decimal
ZERO = Decimal(0)
FILLED, WORKING, CANCELLED, INACTIVE = "filled", "working", "cancelled", "inactive"


@pytest.fixture
def net(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


@pytest.fixture
def hedging(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(Profile.FX_HEDGING)


@pytest.fixture
def spot(db: None) -> Account:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    group = factories.group(Profile.SPOT, symbols=["BTCUSDT"])
    return factories.account(of_group=group, base="USDT", deposits={"USDT": D(50_000), "BTC": D(1)})


def legs(of: Order | Position) -> dict[str, Order]:
    """The latest bracket of each role of an order or a position."""
    related = of.brackets if isinstance(of, Order) else of.closing_orders.exclude(role="")
    return {each.role: each for each in related.order_by("pk")}


def shown(of: Order | Position) -> dict[str, tuple]:
    return {role: (each.status, each.qty, each.parent_type) for role, each in legs(of).items()}


def refusal(reason: Reason, call, *args, **kwargs) -> None:
    with pytest.raises(OrderRejected) as refused:
        call(*args, **kwargs)
    assert refused.value.reason == reason


# --- with an order ----------------------------------------------------------------------------------------------------


def test_brackets_wait_inactive_beside_an_order_that_rests(net: Account) -> None:
    """BRK-1, BRK-2, BRK-5."""
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    assert order.status == WORKING
    stop_loss, take_profit = legs(order)["sl"], legs(order)["tp"]
    assert (stop_loss.side, stop_loss.type, stop_loss.stop_price, stop_loss.limit_price) == (
        "sell",
        "stop",
        D("1.08"),
        None,
    )
    assert (take_profit.side, take_profit.type, take_profit.limit_price) == ("sell", "limit", D("1.12"))
    assert shown(order) == {"sl": (INACTIVE, D(10000), "order"), "tp": (INACTIVE, D(10000), "order")}
    assert valuation.value(net).held == D("218.00"), "brackets hold no margin"


def test_an_inactive_bracket_is_not_executed_by_its_price(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", limit="1.05", sl="1.04", tp="1.12")
    desk.market(net, "1.13000", "1.13010")
    assert shown(order)["tp"] == (INACTIVE, D(10000), "order")
    assert not net.positions.exists()


def test_the_fill_puts_them_to_work_for_the_position(net: Account) -> None:
    """BRK-9, BRK-15."""
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    position = net.positions.get()
    assert shown(order) == {"sl": (WORKING, D(10000), "position"), "tp": (WORKING, D(10000), "position")}
    assert {leg.closes_id for leg in legs(order).values()} == {position.pk}
    assert valuation.value(net).held == ZERO
    activated = legs(order)["sl"].events.get(kind=EventKind.ACTIVATED)
    assert activated.bid == D("1.1")


@pytest.mark.parametrize(
    ("bid", "ask", "executed", "price"), [("1.07900", "1.07910", "sl", "1.079"), ("1.12050", "1.12060", "tp", "1.1205")]
)
def test_one_executed_closes_the_position_and_cancels_the_other(net, bid, ask, executed, price) -> None:
    """BRK-3, BRK-16."""
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    desk.market(net, bid, ask)
    done, other = legs(order)[executed], legs(order)["tp" if executed == "sl" else "sl"]
    assert (done.status, done.avg_price) == (FILLED, D(price))
    assert (other.status, other.reason) == (CANCELLED, Reason.OCO)
    assert net.positions.get().qty == ZERO


def test_a_short_positions_brackets_buy_it_back(net: Account) -> None:
    order = desk.fill(net, "sell", "10000", sl="1.12", tp="1.08")
    desk.market(net, "1.12000", "1.12010")
    stop_loss = legs(order)["sl"]
    assert (stop_loss.side, stop_loss.status, stop_loss.avg_price) == ("buy", FILLED, D("1.1201"))
    assert net.positions.get().closed_at is not None


def test_partly_executed_they_follow_what_is_left(net: Account) -> None:
    """BRK-4, BRK-16."""
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    desk.market(net, "1.12000", "1.12010", bids=[("1.12000", "4000")])
    take_profit, stop_loss = legs(order)["tp"], legs(order)["sl"]
    assert (take_profit.status, take_profit.qty, take_profit.filled_qty) == (WORKING, D(10000), D(4000))
    assert (stop_loss.status, stop_loss.qty) == (WORKING, D(6000))
    assert net.positions.get().qty == D(6000)


def test_they_grow_with_what_is_filled_of_their_order(net: Account) -> None:
    """UNK-12, as we read it."""
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(net, "buy", "10000", limit="1.1001", sl="1.08", tp="1.12")
    assert shown(order) == {"sl": (WORKING, D(3000), "position"), "tp": (WORKING, D(3000), "position")}
    desk.market(net, "1.1", "1.1001", asks=[("1.1001", "5000")])
    assert shown(order)["sl"] == (WORKING, D(8000), "position")
    orders.cancel(net.pk, order.pk)
    assert shown(order) == {"sl": (WORKING, D(8000), "position"), "tp": (WORKING, D(8000), "position")}


def test_an_executed_bracket_cancels_what_is_left_of_its_order(net: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(net, "buy", "10000", limit="1.1001", sl="1.08", tp="1.12")
    desk.market(net, "1.13", "1.1301")
    order.refresh_from_db()
    assert (order.status, order.filled_qty, order.reason) == (CANCELLED, D(3000), Reason.PROTECTION_EXECUTED)
    assert net.positions.get().qty == ZERO


def test_cancelling_one_leaves_the_other_and_the_order(net: Account) -> None:
    """BRK-8."""
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    orders.cancel(net.pk, legs(order)["sl"].pk)
    order.refresh_from_db()
    assert order.status == WORKING
    assert shown(order) == {"sl": (CANCELLED, D(10000), "order"), "tp": (INACTIVE, D(10000), "order")}


def test_the_cancelled_order_takes_its_brackets_along(net: Account) -> None:
    """BRK-10."""
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    orders.cancel(net.pk, order.pk)
    assert {(each.status, each.reason) for each in legs(order).values()} == {(CANCELLED, Reason.PARENT_ENDED)}


def test_the_rejected_order_takes_its_brackets_along(net: Account, time_machine) -> None:
    order = desk.place(net, "buy", "10000", sl="1.08")
    time_machine.move_to(timezone.now() + timedelta(minutes=5))  # the price is too old by the time the venue looks
    desk.drain(net)
    order.refresh_from_db()
    assert order.status == OrderStatus.REJECTED
    assert shown(order) == {"sl": (CANCELLED, D(10000), "order")}


def test_an_order_that_opens_nothing_leaves_nothing_to_protect(net: Account) -> None:
    desk.fill(net, "sell", "10000")
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    assert {(each.status, each.reason) for each in legs(order).values()} == {(CANCELLED, Reason.NOTHING_TO_PROTECT)}


def test_an_order_that_turns_the_position_protects_the_new_one(net: Account) -> None:
    first = desk.fill(net, "sell", "10000", sl="1.2", tp="1.0")
    second = desk.fill(net, "buy", "25000", sl="1.08", tp="1.12")
    assert {(each.status, each.reason) for each in legs(first).values()} == {(CANCELLED, Reason.POSITION_CLOSED)}
    assert shown(second) == {"sl": (WORKING, D(15000), "position"), "tp": (WORKING, D(15000), "position")}


# --- modified with the order ------------------------------------------------------------------------------------------


def test_modifying_the_order_changes_adds_and_removes_brackets(net: Account) -> None:
    """BRK-6, BRK-7."""
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08")
    orders.modify(net.pk, order.pk, qty=D(10000), wanted=Brackets(D("1.07"), D("1.12")))
    assert legs(order)["sl"].stop_price == D("1.07")
    assert legs(order)["tp"].status == INACTIVE
    orders.modify(net.pk, order.pk, qty=D(10000), wanted=Brackets(take_profit=D("1.12")))
    removed = legs(order)["sl"]
    assert (removed.status, removed.reason, removed.parent_type) == (CANCELLED, Reason.BRACKET_REMOVED, "order")
    orders.modify(net.pk, order.pk, qty=D(10000))
    assert {each.status for each in order.brackets.all()} == {CANCELLED}
    assert order.brackets.count() == 2


def test_a_changed_quantity_is_the_brackets_too(net: Account) -> None:
    """BRK-11."""
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    orders.modify(net.pk, order.pk, qty=D(20000), wanted=Brackets(D("1.08"), D("1.12")))
    assert shown(order) == {"sl": (INACTIVE, D(20000), "order"), "tp": (INACTIVE, D(20000), "order")}


def test_a_partly_filled_order_is_modified_without_touching_its_positions_brackets(net: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(net, "buy", "10000", limit="1.1001", sl="1.08", tp="1.12")
    orders.modify(net.pk, order.pk, qty=D(8000))
    assert shown(order) == {"sl": (WORKING, D(3000), "position"), "tp": (WORKING, D(3000), "position")}
    orders.modify(net.pk, order.pk, qty=D(8000), wanted=Brackets(D("1.07"), D("1.13")))
    assert (legs(order)["sl"].stop_price, legs(order)["tp"].limit_price) == (D("1.07"), D("1.13"))


def test_a_bracket_by_itself_is_given_another_price_only(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    stop_loss = legs(order)["sl"]
    orders.modify(net.pk, stop_loss.pk, qty=D(10000), stop_price=D("1.07"))
    stop_loss.refresh_from_db()
    assert (stop_loss.stop_price, stop_loss.status) == (D("1.07"), INACTIVE)
    refusal(Reason.BRACKET_QTY, orders.modify, net.pk, stop_loss.pk, qty=D(5000))
    refusal(Reason.STOP_LOSS_BELOW, orders.modify, net.pk, stop_loss.pk, qty=D(10000), stop_price=D("1.09"))
    wanted = Brackets(take_profit=D("1.12"))
    refusal(Reason.BRACKETS_OF_BRACKET, orders.modify, net.pk, stop_loss.pk, qty=D(10000), wanted=wanted)


@pytest.mark.parametrize("state", [AccountState.NO_TRADING, AccountState.BLOCKED])
def test_a_bracket_of_an_account_that_may_not_trade_stays(net: Account, state: AccountState) -> None:
    stop_loss = legs(desk.fill(net, "buy", "10000", limit="1.09", sl="1.08"))["sl"]
    net.state = state
    net.save(update_fields=["state"])
    refusal(Reason.ACCOUNT_NO_TRADING, orders.modify, net.pk, stop_loss.pk, qty=D(10000), stop_price=D("1.07"))
    stop_loss.refresh_from_db()
    assert stop_loss.stop_price == D("1.08")


# --- of a position ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account_name", ["net", "hedging"])
def test_a_position_is_given_brackets_changed_and_removed(account_name: str, request) -> None:
    """BRK-17."""
    account = request.getfixturevalue(account_name)
    desk.fill(account, "buy", "10000")
    position = account.positions.get()
    positions.protect(account.pk, position.pk, Brackets(D("1.08"), D("1.12")))
    assert shown(position) == {"sl": (WORKING, D(10000), "position"), "tp": (WORKING, D(10000), "position")}
    positions.protect(account.pk, position.pk, Brackets(stop_loss=D("1.09")))
    assert legs(position)["sl"].stop_price == D("1.09")
    assert shown(position)["tp"] == (CANCELLED, D(10000), "position")
    desk.drain(account)
    desk.market(account, "1.08900", "1.08910")
    position.refresh_from_db()
    assert position.qty == ZERO


def test_a_positions_brackets_lie_on_their_sides_of_the_market(net: Account) -> None:
    desk.fill(net, "buy", "10000")
    position = net.positions.get()
    refusal(Reason.STOP_LOSS_BELOW, positions.protect, net.pk, position.pk, Brackets(stop_loss=D("1.1")))
    refusal(Reason.TAKE_PROFIT_ABOVE, positions.protect, net.pk, position.pk, Brackets(take_profit=D("1.1")))
    assert not Order.objects.brackets().exists()


def test_what_reduces_or_enlarges_the_position_resizes_its_brackets(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    desk.fill(net, "buy", "5000")
    assert shown(order)["sl"] == (WORKING, D(15000), "position")
    desk.fill(net, "sell", "12000")
    assert shown(order) == {"sl": (WORKING, D(3000), "position"), "tp": (WORKING, D(3000), "position")}


def test_a_bracket_reached_before_it_is_resized_executes_at_that_price(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    reducing = desk.place(net, "sell", "4000")
    take_profit = legs(order)["tp"]
    triggers.trigger({take_profit.pk: triggers.Touch(desk.quote_at("EURUSD", "1.12"))})
    factories.quote("EURUSD", "1.10000", "1.10010")
    orders.work(net.pk, reducing.pk)
    desk.drain(net)
    take_profit.refresh_from_db()
    assert (take_profit.status, take_profit.qty, take_profit.avg_price) == (FILLED, D(6000), D("1.12"))


def test_a_bracket_moved_after_it_was_reached_waits_for_its_new_price(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", tp="1.12")
    take_profit = legs(order)["tp"]
    triggers.trigger({take_profit.pk: triggers.Touch(desk.quote_at("EURUSD", "1.12"))})
    positions.protect(net.pk, net.positions.get().pk, Brackets(take_profit=D("1.115")))
    desk.drain(net)
    take_profit.refresh_from_db()
    assert (take_profit.status, take_profit.queued, take_profit.limit_price) == (WORKING, False, D("1.115"))


def test_brackets_do_not_make_a_reducing_order_need_margin(net: Account) -> None:
    desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    assert desk.place(net, "sell", "10000", limit="1.2").held == ZERO


@pytest.mark.parametrize("how", ["close", "opposite order"])
def test_the_position_closed_in_any_way_cancels_what_protects_it(net: Account, how: str) -> None:
    """BRK-18."""
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    if how == "close":
        positions.close(net.pk, net.positions.get().pk, request_id="c")
        desk.drain(net)
    else:
        desk.fill(net, "sell", "10000")
    assert {(each.status, each.reason) for each in legs(order).values()} == {(CANCELLED, Reason.POSITION_CLOSED)}


def test_a_protected_position_is_closed_in_part(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    positions.close(net.pk, net.positions.get().pk, amount=D(4000), request_id="c")
    desk.drain(net)
    assert shown(order) == {"sl": (WORKING, D(6000), "position"), "tp": (WORKING, D(6000), "position")}


def test_a_later_orders_protection_takes_the_place_of_the_older(net: Account) -> None:
    first = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    second = desk.fill(net, "buy", "5000", sl="1.07")
    assert (legs(first)["sl"].status, legs(first)["sl"].reason) == (CANCELLED, Reason.BRACKET_REPLACED)
    assert shown(second) == {"sl": (WORKING, D(15000), "position")}
    assert shown(first)["tp"] == (WORKING, D(15000), "position")
    desk.market(net, "1.06900", "1.06910")
    assert legs(first)["tp"].reason == Reason.OCO


def test_in_hedging_each_trade_has_its_own(hedging: Account) -> None:
    """BRK-19."""
    long = desk.fill(hedging, "buy", "10000", sl="1.08", tp="1.12")
    short = desk.fill(hedging, "sell", "4000", sl="1.13", tp="1.05")
    desk.market(hedging, "1.12000", "1.12010")
    assert legs(long)["tp"].status == FILLED
    assert shown(short) == {"sl": (WORKING, D(4000), "position"), "tp": (WORKING, D(4000), "position")}
    assert [position.side for position in hedging.positions.open()] == ["sell"]


def test_a_bracket_never_opens_a_position(net: Account) -> None:
    """Its fill is cut to what is there to close, whatever its quantity says."""
    order = desk.fill(net, "buy", "10000", sl="1.08")
    stop_loss = legs(order)["sl"]
    Order.objects.filter(pk=stop_loss.pk).update(qty=D(50000))
    desk.market(net, "1.07900", "1.07910")
    assert [(position.side, position.qty) for position in net.positions.all()] == [("buy", ZERO)]
    assert legs(order)["sl"].filled_qty == D(10000)


def test_a_reversed_position_loses_its_brackets(net: Account) -> None:
    """POS-5."""
    order = desk.fill(net, "buy", "10000", sl="1.08", tp="1.12")
    position = net.positions.get()
    positions.reverse(net.pk, position.pk, Side.SELL, request_id="x")
    refusal(Reason.CLOSING_EXISTS, positions.reverse, net.pk, position.pk, Side.SELL, request_id="y")
    desk.drain(net)
    turned = net.positions.open().get()
    assert (turned.side, turned.qty) == ("sell", D(10000))
    assert {each.reason for each in legs(order).values()} == {Reason.POSITION_CLOSED}
    refusal(Reason.REVERSE_SAME_SIDE, positions.reverse, net.pk, turned.pk, Side.SELL, request_id="z")


def test_hedging_positions_are_not_reversed(hedging: Account) -> None:
    desk.fill(hedging, "buy", "10000")
    position = hedging.positions.get()
    refusal(Reason.REVERSE_NET_ONLY, positions.reverse, hedging.pk, position.pk, Side.SELL, request_id="x")


# --- trailing stops ---------------------------------------------------------------------------------------------------


def test_a_trailing_stop_rises_with_the_market_and_never_falls(net: Account) -> None:
    """BRK-20, BRK-22, BRK-23."""
    order = desk.fill(net, "buy", "10000", trail="50")
    assert (legs(order)["sl"].stop_price, legs(order)["sl"].trailing_pips) == (D("1.095"), D(50))
    desk.market(net, "1.10500", "1.10510")
    assert legs(order)["sl"].stop_price == D("1.1")
    desk.market(net, "1.10200", "1.10210")
    assert legs(order)["sl"].stop_price == D("1.1")
    desk.market(net, "1.09900", "1.09910")
    stop_loss = legs(order)["sl"]
    assert (stop_loss.status, stop_loss.stop_price, stop_loss.avg_price) == (FILLED, D("1.1"), D("1.099"))


def test_a_short_positions_trailing_stop_falls_with_the_market(net: Account) -> None:
    order = desk.fill(net, "sell", "10000", trail="50")
    desk.market(net, "1.09000", "1.09010")
    desk.market(net, "1.09400", "1.09410")
    assert legs(order)["sl"].stop_price == D("1.0951")
    desk.market(net, "1.09500", "1.09510")
    assert legs(order)["sl"].status == FILLED


def test_a_trailing_stop_waits_at_its_distance_from_the_orders_price(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", limit="1.09", trail="50")
    assert legs(order)["sl"].stop_price == D("1.085")
    orders.modify(net.pk, order.pk, qty=D(10000), limit_price=D("1.08"), wanted=Brackets(trailing_pips=D(50)))
    assert legs(order)["sl"].stop_price == D("1.075")
    desk.market(net, "1.10000", "1.10010")
    assert legs(order)["sl"].stop_price == D("1.075"), "it trails once it is at work"


def test_changing_the_take_profit_does_not_move_the_trailing_stop_back(net: Account) -> None:
    desk.fill(net, "buy", "10000", trail="50", tp="1.2")
    position = net.positions.get()
    desk.market(net, "1.10500", "1.10510")
    desk.market(net, "1.10200", "1.10210")
    positions.protect(net.pk, position.pk, Brackets(take_profit=D("1.3"), trailing_pips=D(50)))
    assert legs(position)["sl"].stop_price == D("1.1")
    positions.protect(net.pk, position.pk, Brackets(take_profit=D("1.3"), trailing_pips=D(20)))
    assert legs(position)["sl"].stop_price == D("1.1")
    assert legs(position)["sl"].trailing_pips == D(20)


def test_a_moved_stop_counts_as_a_change_of_the_account(net: Account) -> None:
    desk.fill(net, "buy", "10000", trail="50")
    before = Account.objects.get(pk=net.pk).version
    desk.market(net, "1.10500", "1.10510")
    assert Account.objects.get(pk=net.pk).version > before


# --- spot -------------------------------------------------------------------------------------------------------------


def reserved(account: Account, currency: str) -> Decimal:
    return Balance.objects.get(account=account, currency=currency).reserved


def test_a_spot_pair_is_tied_to_nothing_and_shares_one_reserve(spot: Account) -> None:
    """BRK-13."""
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", sl="55000", tp="65000")
    assert shown(order) == {"sl": (WORKING, D("0.5"), ""), "tp": (WORKING, D("0.5"), "")}
    assert reserved(spot, "BTC") == D("0.5")


@pytest.mark.parametrize(("bid", "executed"), [("54999.00", "sl"), ("65000.00", "tp")])
def test_one_of_a_spot_pair_executed_cancels_the_other(spot: Account, bid: str, executed: str) -> None:
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", sl="55000", tp="65000")
    desk.market(spot, bid, str(D(bid) + 10), "BTCUSDT", size="100")
    done, other = legs(order)[executed], legs(order)["tp" if executed == "sl" else "sl"]
    assert (done.status, other.status, other.reason) == (FILLED, CANCELLED, Reason.OCO)
    assert reserved(spot, "BTC") == ZERO
    assert Balance.objects.get(account=spot, currency="BTC").total == D(1)


@pytest.mark.parametrize("cancelled", ["sl", "tp"])
def test_cancelling_one_of_a_spot_pair_leaves_the_reserve_to_the_other(spot: Account, cancelled: str) -> None:
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", sl="55000", tp="65000")
    other = "tp" if cancelled == "sl" else "sl"
    orders.cancel(spot.pk, legs(order)[cancelled].pk)
    assert (legs(order)[other].status, legs(order)[other].held) == (WORKING, D("0.5"))
    assert reserved(spot, "BTC") == D("0.5")
    orders.cancel(spot.pk, legs(order)[other].pk)
    assert reserved(spot, "BTC") == ZERO


def test_a_spot_pair_works_for_what_is_filled(spot: Account) -> None:
    factories.quote("BTCUSDT", "60000", "60010", asks=[("60010.00", "0.2")])
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", limit="60010", sl="55000", tp="65000")
    assert shown(order) == {"sl": (WORKING, D("0.2"), "order"), "tp": (WORKING, D("0.2"), "order")}
    assert reserved(spot, "BTC") == D("0.2")
    desk.market(spot, "60000", "60010", "BTCUSDT", asks=[("60010.00", "0.1")])
    assert shown(order)["sl"] == (WORKING, D("0.3"), "order")
    orders.modify(spot.pk, order.pk, qty=D("0.5"), wanted=Brackets(stop_loss=D(54000)))
    assert (legs(order)["sl"].stop_price, legs(order)["tp"].status) == (D(54000), CANCELLED)
    orders.cancel(spot.pk, order.pk)
    assert shown(order)["sl"] == (WORKING, D("0.3"), "")
    assert reserved(spot, "BTC") == D("0.3")


def test_partly_executed_the_other_of_a_spot_pair_is_reduced(spot: Account) -> None:
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", sl="55000", tp="65000")
    desk.market(spot, "65000", "65010", "BTCUSDT", bids=[("65000", "0.2")])
    take_profit, stop_loss = legs(order)["tp"], legs(order)["sl"]
    assert (take_profit.filled_qty, take_profit.qty, stop_loss.qty) == (D("0.2"), D("0.5"), D("0.3"))
    assert reserved(spot, "BTC") == D("0.3")


def test_a_spot_fee_in_the_coin_leaves_so_much_less_to_sell(spot: Account) -> None:
    factories.change_conditions(
        spot.group, fee_asset=FeeAsset.RECEIVED, commission_kind="percent", commission_rate=D("0.1")
    )
    desk.fill(spot, "sell", "1", "BTCUSDT")
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", sl="55000", tp="65000")
    assert shown(order) == {"sl": (WORKING, D("0.4995"), ""), "tp": (WORKING, D("0.4995"), "")}


def test_a_spot_stop_that_cannot_be_paid_for_is_cancelled_with_the_reason(db: None) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"BTC": D(1)})
    order = desk.fill(account, "sell", "0.5", "BTCUSDT", sl="66000", tp="50000")
    assert (legs(order)["sl"].status, legs(order)["sl"].reason) == (CANCELLED, Reason.BALANCE)
    assert legs(order)["tp"].status == WORKING
    assert reserved(account, "USDT") == D(25000)


def test_a_spot_bracket_given_another_price_reserves_for_that(db: None) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"BTC": D(1), "USDT": D(5000)})
    order = desk.fill(account, "sell", "0.5", "BTCUSDT", sl="61000", tp="50000")
    assert reserved(account, "USDT") == D(31110)  # 0.5 × 61,000 and 2 %
    stop_loss = legs(order)["sl"]
    orders.modify(account.pk, stop_loss.pk, qty=D("0.5"), stop_price=D(62000))
    assert reserved(account, "USDT") == D(31620)
    refusal(Reason.BALANCE, orders.modify, account.pk, stop_loss.pk, qty=D("0.5"), stop_price=D(90000))
    assert (legs(order)["sl"].stop_price, reserved(account, "USDT")) == (D(62000), D(31620))


def test_a_spot_stop_that_the_market_ran_away_from_leaves_the_reserve_to_the_other(db: None) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"BTC": D(1), "USDT": D(2000)})
    order = desk.fill(account, "sell", "0.5", "BTCUSDT", sl="61000", tp="50000")
    desk.market(account, "69990", "70000", "BTCUSDT", size="100")
    assert (legs(order)["sl"].status, legs(order)["sl"].reason) == (CANCELLED, Reason.HELD_TOO_SMALL)
    assert (legs(order)["tp"].status, legs(order)["tp"].held) == (WORKING, D(31110))
    desk.market(account, "49990", "50000", "BTCUSDT", size="100")
    assert legs(order)["tp"].status == FILLED
    assert reserved(account, "USDT") == ZERO


def test_spot_positions_take_no_brackets(spot: Account) -> None:
    refusal(Reason.UNKNOWN_POSITION, positions.protect, spot.pk, 1, Brackets(stop_loss=D(1)))


# --- what the database refuses ----------------------------------------------------------------------------------------


def spoilt(order: Order, **values) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(**values)


def test_the_database_keeps_brackets_in_form(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08", tp="1.12")
    stop_loss, take_profit = legs(order)["sl"], legs(order)["tp"]
    spoilt(stop_loss, role="tp")  # of another type, and the second of its role
    spoilt(stop_loss, role="")  # still tied to an order
    spoilt(stop_loss, parent=None)
    spoilt(stop_loss, held=D(1))
    spoilt(take_profit, trailing_pips=D(5))
    spoilt(stop_loss, trailing_pips=D(0))
    spoilt(order, trailing_pips=D(5))
    spoilt(order, parent=stop_loss)
    spoilt(order, duration="day")
    desk.market(net, "1.08990", "1.09000")
    stop_loss.refresh_from_db()
    spoilt(stop_loss, held=D(1))  # what closes holds nothing
    spoilt(stop_loss, closes=None)


def test_a_position_has_one_live_bracket_of_a_role(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", sl="1.08")
    twin = legs(order)["sl"]
    twin.pk, twin.request_id = None, "twin"
    with pytest.raises(IntegrityError, match="one_live_bracket_a_position_and_role"), transaction.atomic():
        twin.save(force_insert=True)
    assert relatives.partner_of(legs(order)["sl"]) is None


def test_an_order_has_one_live_bracket_of_a_role(net: Account) -> None:
    order = desk.fill(net, "buy", "10000", limit="1.09", sl="1.08")
    twin = legs(order)["sl"]
    twin.pk, twin.request_id = None, "twin"
    with pytest.raises(IntegrityError, match="one_live_bracket_an_order_and_role"), transaction.atomic():
        twin.save(force_insert=True)


# --- what goes on when a part of it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("besides", [{}, {"BTC": D(5)}])
def test_the_bracket_that_is_kept_goes_on_holding_what_the_pair_held(db: None, besides: dict[str, Decimal]) -> None:
    """BRK-6: a spot pair shares one reserve; the one that holds it is removed, the other's price stays."""
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="0.4")
    group = factories.group(Profile.SPOT, symbols=["BTCUSDT"])
    account = factories.account(of_group=group, base="USDT", deposits={"USDT": D(100000), **besides})
    order = desk.fill(account, "buy", "1", "BTCUSDT", limit="60010", sl="59000", tp="62000")
    orders.modify(account.pk, order.pk, qty=D(1), wanted=Brackets(stop_loss=D("59000")))
    desk.drain(account)
    stop = order.brackets.get(role="sl")
    assert (stop.status, stop.held) == (WORKING, D("0.4"))
    assert account.balances.get(currency="BTC").reserved == D("0.4")
    assert books.verify() == []


@pytest.mark.parametrize("profile", [Profile.FX_NETTING, Profile.FX_HEDGING])
def test_the_rest_of_an_order_has_its_brackets_again_when_its_position_is_closed(db: None, profile: Profile) -> None:
    """BRK-5, BRK-9: what will be filled later is protected as it was asked for."""
    factories.quote("EURUSD", "1.10000", "1.10010", size="4000")
    account = factories.account(profile)
    order = desk.fill(account, "buy", "10000", limit="1.1001", sl="1.0900", tp="1.1200")
    positions.close(account.pk, account.positions.get().pk, request_id="c")
    desk.drain(account)
    assert sorted(order.brackets.values_list("role", "status")) == [
        ("sl", CANCELLED), ("sl", INACTIVE), ("tp", CANCELLED), ("tp", INACTIVE),
    ]  # fmt: skip
    desk.market(account, "1.09990", "1.10000")
    position = account.positions.open().get()
    order.refresh_from_db()
    assert (position.qty, order.status) == (6000, FILLED)
    live = Order.objects.live().brackets()
    assert sorted(live.values_list("role", "status", "qty", "stop_price", "limit_price", "closes")) == [
        ("sl", WORKING, 6000, D("1.09"), None, position.pk), ("tp", WORKING, 6000, None, D("1.12"), position.pk),
    ]  # fmt: skip


def test_a_rest_that_its_moved_stop_can_no_longer_protect_is_cancelled(db: None) -> None:
    """The client moved the stop into profit: below the rest's own price it would no longer lie."""
    factories.quote("EURUSD", "1.10000", "1.10010", size="4000")
    account = factories.account()
    order = desk.fill(account, "buy", "10000", limit="1.1001", sl="1.0900")
    desk.market(account, "1.11000", "1.11010", size="4000")
    positions.protect(account.pk, account.positions.get().pk, Brackets(stop_loss=D("1.1050")))
    desk.drain(account)
    positions.close(account.pk, account.positions.get().pk, request_id="c")
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.filled_qty, order.reason) == (CANCELLED, 4000, "stop_loss_below")
    assert not Order.objects.live().exists()


def test_a_position_that_its_stop_is_closing_is_not_reversed(net: Account) -> None:
    """POS-5: the stop closes it first, and twice its size would then be opened."""
    desk.fill(net, "buy", "10000", sl="1.0950")
    stop = Order.objects.brackets().get()
    triggers.trigger({stop.pk: triggers.Touch(desk.quote_at("EURUSD", "1.0950"))})
    with pytest.raises(OrderRejected) as refusal:
        positions.reverse(net.pk, net.positions.get().pk, Side.SELL, request_id="r")
    assert refusal.value.reason is Reason.CLOSING_EXISTS


def test_a_reverse_opens_no_more_than_the_position_that_it_turns(net: Account) -> None:
    """POS-5: something else closed a part of it between the request and its fill."""
    desk.fill(net, "buy", "10000")
    order = positions.reverse(net.pk, net.positions.get().pk, Side.SELL, request_id="r")
    other = desk.place(net, "sell", "4000", limit="1.1")
    orders.work(net.pk, other.pk)
    desk.drain(net)
    order.refresh_from_db()
    position = net.positions.open().get()
    assert (position.side, position.qty, order.status) == (Side.SELL, 10000, CANCELLED)
    assert order.filled_qty == 16000


def test_a_rest_that_is_cancelled_leaves_none_of_its_brackets(db: None) -> None:
    """The take profit is the older of the two, and goes back beside the rest before the moved stop is looked at."""
    factories.quote("EURUSD", "1.10000", "1.10010", size="4000")
    account = factories.account()
    order = desk.place(account, "buy", "10000", limit="1.1001", tp="1.1200")
    both = Brackets(stop_loss=D("1.0900"), take_profit=D("1.1200"))
    orders.modify(account.pk, order.pk, qty=D(10000), wanted=both)
    desk.drain(account)
    desk.market(account, "1.11000", "1.11010", size="4000")
    moved = Brackets(stop_loss=D("1.1050"), take_profit=D("1.1200"))
    positions.protect(account.pk, account.positions.get().pk, moved)
    desk.drain(account)
    positions.close(account.pk, account.positions.get().pk, request_id="c")
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.filled_qty) == (CANCELLED, 4000)
    assert not Order.objects.live().exists()
