from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine

from accounts.choices import AccountState, CommissionKind, FeeAsset, Profile
from accounts.models import Account
from marketdata.choices import InstrumentState
from tests import factories
from tests.trading import desk
from trading import orders, positions, triggers, valuation
from trading.choices import EventKind, OrderType, Side
from trading.errors import OrderRejected, Reason
from trading.models import Execution, Order, Position
from trading.states import OrderStatus
from trading.tickets import Ticket
from trading.triggers import Touch

D = Decimal
ZERO = Decimal(0)


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="FX-1")


@pytest.fixture
def spot(db: None) -> Account:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    group = factories.group(
        Profile.SPOT, symbols=["BTCUSDT"], commission_kind=CommissionKind.PERCENT, commission_rate=D("0.1")
    )
    return factories.account(of_group=group, base="USDT", deposits={"USDT": D(50_000), "BTC": D(1)})


def refused(reason: Reason, account: Account, *args: str, **kwargs: str) -> OrderRejected:
    """The refusal of a ticket, of which nothing is stored and by which nothing is changed."""
    before = (Order.objects.count(), Account.objects.get(pk=account.pk).version)
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, *args, **kwargs)
    assert refusal.value.reason == reason
    assert (Order.objects.count(), Account.objects.get(pk=account.pk).version) == before
    return refusal.value


def test_a_market_order_is_placing_then_filled_at_the_ask(account: Account) -> None:
    order = desk.place(account, "buy", "10000")
    assert order.status == OrderStatus.PLACING
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.filled_qty, order.avg_price) == (OrderStatus.FILLED, D(10000), D("1.1001"))
    assert [event.kind for event in order.events.all()] == [
        EventKind.PLACED,
        EventKind.ACKNOWLEDGED,
        EventKind.EXECUTED,
    ]
    assert order.events.latest("pk").ask == D("1.1001")


def test_retry_with_same_request_id_returns_the_first_order(account: Account) -> None:
    ticket = Ticket("EURUSD", Side.BUY, OrderType.MARKET, D(1000))
    first = orders.place(account.pk, ticket, request_id="r")
    again = orders.place(account.pk, Ticket("EURUSD", Side.SELL, OrderType.MARKET, D(5000)), request_id="r")
    assert again == first
    assert account.orders.get() == first


def test_two_accounts_may_use_the_same_request_id(account: Account) -> None:
    other = factories.account(of_group=account.group)
    ticket = Ticket("EURUSD", Side.BUY, OrderType.MARKET, D(1000))
    assert orders.place(account.pk, ticket, request_id="r") != orders.place(other.pk, ticket, request_id="r")


def test_a_limit_order_rests_until_the_market_comes(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.09")
    assert (order.status, order.filled_qty, order.held) == (OrderStatus.WORKING, ZERO, D("218.00"))
    factories.quote("EURUSD", "1.0898", "1.0899")
    orders.modify(account.pk, order.pk, qty=D(10000))
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.avg_price, order.held) == (OrderStatus.FILLED, D("1.0899"), ZERO)


def test_a_marketable_limit_fills_at_once_at_the_better_price(account: Account) -> None:
    assert desk.fill(account, "buy", "1000", limit="1.2").avg_price == D("1.1001")
    assert desk.fill(account, "sell", "1000", limit="1.05").avg_price == D("1.1")


def test_depth_that_runs_out_leaves_the_rest_working_until_the_next_book(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000"), ("1.1002", "4000")])
    order = desk.fill(account, "buy", "10000")
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, D(7000))
    assert [(e.qty, e.price) for e in order.executions.order_by("pk")] == [
        (D(3000), D("1.1001")),
        (D(4000), D("1.1002")),
    ]
    Order.objects.filter(pk=order.pk).update(queued=True)
    desk.drain(account)
    order.refresh_from_db()
    assert order.filled_qty == D(7000), "one book is taken from once"

    factories.quote("EURUSD", "1.1", "1.1005", asks=[("1.1005", "5000")])
    Order.objects.filter(pk=order.pk).update(queued=True)
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, D(10000))
    assert order.avg_price == D("1.10026")  # (3000 × 1.1001 + 4000 × 1.1002 + 3000 × 1.1005) / 10000


def test_a_limit_order_takes_no_level_beyond_its_limit(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000"), ("1.1002", "4000")])
    order = desk.fill(account, "buy", "10000", limit="1.1001")
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, D(3000))


def test_working_an_order_twice_books_it_once(account: Account) -> None:
    order = desk.fill(account, "buy", "10000")
    orders.work(account.pk, order.pk)
    assert order.executions.count() == 1


def test_a_stop_order_triggers_and_fills_at_the_market(account: Account) -> None:
    order = desk.fill(account, "sell", "10000", stop="1.09")
    assert order.status == OrderStatus.WORKING
    factories.quote("EURUSD", "1.0890", "1.0891")
    from trading.prices import Prices

    quote = Prices().quote("EURUSD")
    assert quote is not None
    triggers.trigger({order.pk: Touch(quote)})
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.avg_price) == (OrderStatus.FILLED, D("1.089"))
    assert order.triggered_at is not None
    assert EventKind.TRIGGERED in [event.kind for event in order.events.all()]


def test_cancelling_releases_what_the_order_held(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.05")
    assert valuation.value(account).free == D("99790.00")
    orders.cancel(account.pk, order.pk)
    order.refresh_from_db()
    assert (order.status, order.held) == (OrderStatus.CANCELLED, ZERO)
    assert order.final_at is not None
    assert valuation.value(account).free == D(100_000)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (lambda account, order: desk.drain(account), Reason.ORDER_FINAL_FILLED),
        (lambda account, order: orders.cancel(account.pk, order.pk), Reason.ORDER_FINAL_CANCELLED),
    ],
)
def test_a_final_order_is_neither_cancelled_nor_modified(account: Account, finish, reason: Reason) -> None:
    order = desk.place(account, "buy", "1000")
    finish(account, order)
    for attempt in (
        lambda: orders.cancel(account.pk, order.pk),
        lambda: orders.modify(account.pk, order.pk, qty=D(2000)),
    ):
        with pytest.raises(OrderRejected) as refusal:
            attempt()
        assert refusal.value.reason == reason


def test_anothers_order_is_as_unknown_as_a_missing_one(account: Account) -> None:
    order = desk.place(account, "buy", "1000")
    stranger = factories.account(of_group=account.group)
    for order_id in (order.pk, 10**12):
        with pytest.raises(OrderRejected) as refusal:
            orders.cancel(stranger.pk, order_id)
        assert refusal.value.reason == Reason.UNKNOWN_ORDER


def test_modifying_changes_price_quantity_and_what_is_held(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.05")
    orders.modify(account.pk, order.pk, qty=D(20000), limit_price=D("1.06"))
    order.refresh_from_db()
    assert (order.qty, order.limit_price, order.held) == (D(20000), D("1.06"), D("424.00"))
    assert order.events.latest("pk").details == {"old_qty": "10000", "old_limit_price": "1.05"}


def test_modifying_without_a_price_leaves_it(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.05")
    orders.modify(account.pk, order.pk, qty=D(5000))
    order.refresh_from_db()
    assert (order.qty, order.limit_price) == (D(5000), D("1.05"))


def test_a_partly_filled_order_cannot_shrink_below_what_is_filled(account: Account) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(account, "buy", "10000", limit="1.1001")
    with pytest.raises(OrderRejected) as refusal:
        orders.modify(account.pk, order.pk, qty=D(2000))
    assert str(refusal.value) == "The quantity cannot be lower than the 3000 already filled."
    orders.modify(account.pk, order.pk, qty=D(3000))
    order.refresh_from_db()
    assert (order.status, order.held) == (OrderStatus.FILLED, ZERO)


def test_modifying_is_refused_when_the_margin_is_not_there(account: Account) -> None:
    order = desk.fill(account, "buy", "10000", limit="1.05")
    with pytest.raises(OrderRejected) as refusal:
        orders.modify(account.pk, order.pk, qty=D(9_000_000))
    assert refusal.value.reason == Reason.MARGIN
    order.refresh_from_db()
    assert (order.qty, order.held) == (D(10000), D("210.00"))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "sentence", "args", "prices"),
    [
        (
            Reason.UNKNOWN_INSTRUMENT,
            "There is no instrument NOPE in this account.",
            ("buy", "1000", "NOPE"),
            {},
        ),
        (Reason.QTY_STEP, "The quantity for EURUSD must be a multiple of 1000.", ("buy", "1500"), {}),
        (Reason.QTY_TOO_LARGE, "The largest quantity for EURUSD is 10000000.", ("buy", "11000000"), {}),
        (
            Reason.PRICE_STEP,
            "The price for EURUSD must be a multiple of 0.00001.",
            ("buy", "1000"),
            {"limit": "1.000001"},
        ),
        (Reason.PRICE_NOT_POSITIVE, "The price must be above zero.", ("buy", "1000"), {"limit": "0"}),
        (
            Reason.STOP_SIDE_BUY,
            "A stop order to buy must lie above the market (now 1.1001).",
            ("buy", "1000"),
            {"stop": "1.1001"},
        ),
        (
            Reason.STOP_SIDE_SELL,
            "A stop order to sell must lie below the market (now 1.1).",
            ("sell", "1000"),
            {"stop": "1.1"},
        ),
        (
            Reason.MARGIN,
            "Not enough free margin: 110010 USD needed, 100000 USD free.",
            ("buy", "5000000"),
            {},
        ),
    ],
)
def test_a_ticket_is_refused_with_a_sentence(account, reason, sentence, args, prices) -> None:
    assert str(refused(reason, account, *args, **prices)) == sentence


def test_no_price_no_market_order(account: Account) -> None:
    factories.allow(account.group, "GBPUSD")
    refused(Reason.NO_PRICE, account, "buy", "1000", "GBPUSD")


def test_an_old_price_is_not_traded_on(account: Account) -> None:
    factories.allow(account.group, "GBPUSD")
    factories.quote("GBPUSD", "1.3", "1.3001", at_ms=int((datetime.now(UTC).timestamp() - 60) * 1000))
    refused(Reason.NO_PRICE, account, "buy", "1000", "GBPUSD")


def test_the_number_of_open_orders_is_limited(account: Account) -> None:
    factories.change_conditions(account.group, max_open_orders=2)
    desk.place(account, "buy", "1000")
    desk.place(account, "buy", "1000")
    refused(Reason.TOO_MANY_ORDERS, account, "buy", "1000")


@pytest.mark.parametrize("state", [AccountState.NO_TRADING, AccountState.BLOCKED, AccountState.CLOSED])
def test_an_account_that_may_not_trade_does_not(account: Account, state: AccountState) -> None:
    Account.objects.filter(pk=account.pk).update(state=state)
    refused(Reason.ACCOUNT_NO_TRADING, account, "buy", "1000")


def test_a_close_only_account_may_only_reduce(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    Account.objects.filter(pk=account.pk).update(state=AccountState.CLOSE_ONLY)
    refused(Reason.ACCOUNT_CLOSE_ONLY, account, "buy", "1000")
    refused(Reason.ACCOUNT_CLOSE_ONLY, account, "sell", "11000")
    assert desk.fill(account, "sell", "10000").status == OrderStatus.FILLED


def test_a_halted_instrument_takes_no_orders_and_fills_none(account: Account) -> None:
    instrument = factories.instrument("EURUSD")
    waiting = desk.place(account, "buy", "1000")
    type(instrument).objects.update(state=InstrumentState.HALTED)
    refused(Reason.INSTRUMENT_HALTED, account, "buy", "1000")
    desk.drain(account)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.filled_qty) == (OrderStatus.WORKING, ZERO)


@time_machine.travel(datetime(2026, 11, 21, 15, 0, tzinfo=UTC), tick=True)  # a Saturday
def test_a_closed_market_takes_resting_orders_only(db: None) -> None:
    account = factories.account(Profile.EXCHANGE, symbols=["AAPL"])
    factories.quote("AAPL", "200.00", "200.02")
    refusal = refused(Reason.MARKET_CLOSED, account, "buy", "10", "AAPL")
    assert str(refusal) == "The market for AAPL is closed. It opens again at 2026-11-23 14:30 UTC."
    order = desk.fill(account, "buy", "10", "AAPL", limit="210")
    assert (order.status, order.filled_qty) == (OrderStatus.WORKING, ZERO)


# --- positions --------------------------------------------------------------------------------------------------------


def test_a_net_position_grows_shrinks_and_closes(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    factories.quote("EURUSD", "1.10200", "1.10210")
    desk.fill(account, "buy", "30000")
    position = account.positions.open().get()
    assert (position.side, position.qty, position.avg_price) == ("buy", D(40000), D("1.1016"))
    assert position.margin == D("881.28")  # 220.02 + 661.26
    factories.quote("EURUSD", "1.10300", "1.10310")
    desk.fill(account, "sell", "10000")
    position.refresh_from_db()
    assert (position.qty, position.realized_pl, position.margin) == (D(30000), D("14.00"), D("660.96"))
    desk.fill(account, "sell", "30000")
    position.refresh_from_db()
    assert (position.qty, position.realized_pl, position.margin) == (ZERO, D("56.00"), ZERO)
    assert position.closed_at is not None
    assert account.balances.get().total == D("100056.00")


def test_an_order_larger_than_the_position_turns_it(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    order = desk.fill(account, "sell", "25000")
    old, new = Position.objects.order_by("pk")
    assert (old.qty, old.realized_pl) == (ZERO, D("-1.00"))
    assert (new.side, new.qty, new.avg_price) == ("sell", D(15000), D("1.1"))
    fills = order.executions.get().position_fills.order_by("pk")
    assert [(fill.position_id, fill.qty, fill.is_close) for fill in fills] == [
        (old.pk, D(-10000), True),
        (new.pk, D(-15000), False),
    ]


def test_hedging_keeps_a_position_for_each_trade(db: None) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(Profile.FX_HEDGING)
    desk.fill(account, "buy", "10000")
    desk.fill(account, "sell", "4000")
    desk.fill(account, "buy", "2000")
    assert [(p.side, p.qty) for p in account.positions.open().order_by("pk")] == [
        ("buy", D(10000)),
        ("sell", D(4000)),
        ("buy", D(2000)),
    ]


def test_the_parts_of_a_hedging_trade_make_one_position(db: None) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000"), ("1.1003", "9000")])
    account = factories.account(Profile.FX_HEDGING)
    desk.fill(account, "buy", "6000")
    position = account.positions.open().get()
    assert (position.qty, position.avg_price) == (D(6000), D("1.1002"))


@pytest.mark.parametrize("profile", [Profile.FX_NETTING, Profile.FX_HEDGING])
def test_a_position_is_closed_in_parts_and_then_wholly(db: None, profile: Profile) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(profile)
    desk.fill(account, "sell", "10000")
    position = account.positions.open().get()
    order = positions.close(account.pk, position.pk, amount=D(4000), request_id="c1")
    assert (order.side, order.type, order.closes_id) == ("buy", "market", position.pk)
    desk.drain(account)
    position.refresh_from_db()
    assert (position.qty, position.realized_pl) == (D(6000), D("-0.40"))
    positions.close(account.pk, position.pk, request_id="c2")
    desk.drain(account)
    position.refresh_from_db()
    assert (position.qty, position.realized_pl) == (ZERO, D("-1.00"))


def test_a_position_being_closed_is_not_closed_twice(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    position = account.positions.open().get()
    first = positions.close(account.pk, position.pk, request_id="c1")
    assert positions.close(account.pk, position.pk, request_id="c1") == first
    with pytest.raises(OrderRejected) as refusal:
        positions.close(account.pk, position.pk, request_id="c2")
    assert refusal.value.reason == Reason.CLOSING_EXISTS


def test_a_close_of_more_than_there_is_is_refused(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    with pytest.raises(OrderRejected, match="holds only 10000"):
        positions.close(account.pk, account.positions.open().get().pk, amount=D(11000), request_id="c")


def test_a_position_that_is_no_multiple_of_a_greater_step_is_closed_as_a_whole(account: Account) -> None:
    desk.fill(account, "buy", "15000")
    position = account.positions.select_related("instrument").get()
    position.instrument.qty_step = position.instrument.min_qty = D(10000)
    position.instrument.save()
    with pytest.raises(OrderRejected) as refused:
        positions.close(account.pk, position.pk, amount=D(5000), request_id="a")
    assert refused.value.reason is Reason.QTY_STEP
    positions.close(account.pk, position.pk, amount=D(10000), request_id="b")
    positions.close(account.pk, position.pk, request_id="c")
    desk.drain(account)
    assert not account.positions.open().exists()


def test_a_close_whose_position_is_gone_is_cancelled_not_turned(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    close = positions.close(account.pk, account.positions.open().get().pk, request_id="c")
    opposite = desk.place(account, "sell", "10000")
    orders.work(account.pk, opposite.pk)
    desk.drain(account)
    close.refresh_from_db()
    assert (close.status, close.reason) == (OrderStatus.CANCELLED, Reason.POSITION_GONE)
    assert not account.positions.open().exists()


def test_profit_in_another_currency_is_converted_at_the_side_that_costs(db: None) -> None:
    factories.quote("USDJPY", "150.000", "150.010")
    factories.quote("EURUSD", "1.10000", "1.20000")
    account = factories.account(symbols=["USDJPY"], base="EUR")
    factories.instrument("EURUSD")
    desk.fill(account, "buy", "10000", "USDJPY")
    factories.quote("USDJPY", "151.010", "151.020")
    desk.fill(account, "sell", "10000", "USDJPY")
    fill = Execution.objects.latest("pk").position_fills.get()
    # 10,000 JPY gained: sold for dollars at 151.02, those for euros at 1.20
    assert fill.realized_pl == D("55.18")
    assert fill.conversion_rate == (1 / D("151.02") * (1 / D("1.2"))).quantize(D("1E-12"))


def test_commission_per_million_is_charged_to_the_cent(db: None) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    group = factories.group(symbols=["EURUSD"], commission_kind=CommissionKind.PER_MILLION, commission_rate=D(30))
    account = factories.account(of_group=group)
    order = desk.fill(account, "buy", "10000")
    assert order.executions.get().commission == D("0.34")  # 0.33003, rounded up
    assert account.balances.get().total == D("99999.66")


def test_commission_per_share_has_a_least_amount(db: None) -> None:
    group = factories.group(
        Profile.EXCHANGE,
        symbols=["AAPL"],
        commission_kind=CommissionKind.PER_UNIT,
        commission_rate=D("0.005"),
        commission_minimum=D(1),
        margin_rate=D("0.5"),
    )
    with time_machine.travel(datetime(2026, 11, 20, 15, 0, tzinfo=UTC), tick=True):
        factories.quote("AAPL", "199.99", "200.00")
        account = factories.account(of_group=group)
        assert desk.fill(account, "buy", "10", "AAPL").executions.get().commission == D(1)
        assert desk.fill(account, "buy", "300", "AAPL").executions.get().commission == D("1.50")
        assert account.positions.open().get().margin == D(31_000)


def test_a_future_counts_its_contract_size(db: None) -> None:
    with time_machine.travel(datetime(2026, 11, 20, 15, 0, tzinfo=UTC), tick=True):
        factories.quote("ESZ2026", "6000.00", "6000.25")
        group = factories.group(Profile.EXCHANGE)
        factories.allow(group, "ESZ2026", margin_rate=D("0.06"))
        account = factories.account(of_group=group)
        desk.fill(account, "buy", "2", "ESZ2026")
        assert account.positions.open().get().margin == D("36001.50")
        factories.quote("ESZ2026", "6010.25", "6010.50")
        assert valuation.value(account).unrealized_pl == D("1000.00")


def test_state_adds_up(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    desk.fill(account, "buy", "10000", limit="1.05")
    factories.quote("EURUSD", "1.09000", "1.09010")
    value = valuation.value(account)
    assert value.balance == D(100_000)
    assert value.unrealized_pl == D("-101.00")
    assert value.equity == D("99899.00")
    assert (value.margin, value.held) == (D("220.02"), D("210.00"))
    assert value.free == D("99468.98")


def test_reducing_a_net_position_needs_no_margin(account: Account) -> None:
    desk.fill(account, "buy", "4000000")
    assert valuation.value(account).free < D(12_000)
    order = desk.place(account, "sell", "4000000")
    assert order.held == 0
    refused(Reason.MARGIN, account, "sell", "4000000")  # the first one takes all there is to reduce


def test_a_fill_that_lost_its_position_needs_margin_again(account: Account) -> None:
    desk.fill(account, "buy", "4000000")
    reducing = desk.fill(account, "sell", "4000000", limit="1.1002")
    assert reducing.held == 0
    positions.close(account.pk, account.positions.open().get().pk, request_id="c")
    desk.drain(account)
    desk.fill(account, "buy", "4500000", limit="1.0")  # takes the margin that the closed position gave back
    factories.quote("EURUSD", "1.1002", "1.1003")
    Order.objects.filter(pk=reducing.pk).update(queued=True)
    desk.drain(account)
    reducing.refresh_from_db()
    assert (reducing.status, reducing.reason) == (OrderStatus.CANCELLED, Reason.MARGIN)
    assert not account.positions.open().exists()


# --- spot -------------------------------------------------------------------------------------------------------------


def balances(account: Account) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.currency_id: (each.total, each.reserved) for each in account.balances.all()}


def test_spot_buys_one_asset_with_the_other_and_pays_the_fee(spot: Account) -> None:
    order = desk.place(spot, "buy", "0.5", "BTCUSDT")
    # 0.5 × 60,010 × 1.02 (buffer) × 1.001 (fee)
    assert balances(spot)["USDT"] == (D(50_000), D("30635.7051"))
    desk.drain(spot)
    order.refresh_from_db()
    execution = order.executions.get()
    assert (execution.commission, execution.commission_currency_id) == (D("30.005"), "USDT")
    assert balances(spot) == {"BTC": (D("1.5"), ZERO), "USDT": (D("19964.995"), ZERO)}


def test_spot_sells_and_pays_the_fee_from_what_it_receives(spot: Account) -> None:
    order = desk.place(spot, "sell", "0.25", "BTCUSDT")
    assert balances(spot)["BTC"] == (D(1), D("0.25"))
    desk.drain(spot)
    order.refresh_from_db()
    assert balances(spot) == {"BTC": (D("0.75"), ZERO), "USDT": (D("64985"), ZERO)}  # 15,000 − 15


def test_the_fee_in_the_received_asset_is_taken_from_the_coin(spot: Account) -> None:
    factories.change_conditions(spot.group, fee_asset=FeeAsset.RECEIVED)
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT")
    execution = order.executions.get()
    assert (execution.commission, execution.commission_currency_id) == (D("0.0005"), "BTC")
    assert balances(spot) == {"BTC": (D("1.4995"), ZERO), "USDT": (D("19995"), ZERO)}


def test_a_resting_spot_order_reserves_and_its_cancel_releases(spot: Account) -> None:
    order = desk.fill(spot, "buy", "0.5", "BTCUSDT", limit="50000")
    assert balances(spot)["USDT"] == (D(50_000), D("25025"))
    orders.cancel(spot.pk, order.pk)
    assert balances(spot)["USDT"] == (D(50_000), ZERO)


def test_what_is_reserved_cannot_be_spent_again(spot: Account) -> None:
    desk.fill(spot, "sell", "0.8", "BTCUSDT", limit="70000")
    refusal = refused(Reason.BALANCE, spot, "sell", "0.3", "BTCUSDT")
    assert str(refusal) == "Not enough BTC: 0.3 needed, 0.2 available."


def test_spot_is_never_sold_short(db: None) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(1000)})
    refused(Reason.BALANCE, account, "sell", "0.001", "BTCUSDT")
    refused(Reason.BALANCE, account, "buy", "0.1", "BTCUSDT")


def test_a_spot_buy_that_the_market_ran_away_from_is_cancelled_not_overdrawn(db: None) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(62_000)})
    order = desk.place(account, "buy", "1", "BTCUSDT")
    factories.quote("BTCUSDT", "63000.00", "63010.00", size="100")
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.reason) == (OrderStatus.CANCELLED, Reason.HELD_TOO_SMALL)
    assert balances(account) == {"USDT": (D(62_000), ZERO)}


def test_a_partly_filled_spot_order_reserves_for_the_rest(spot: Account) -> None:
    factories.quote("BTCUSDT", "60000", "60010", asks=[("60010.00", "0.2")])
    desk.fill(spot, "buy", "0.5", "BTCUSDT", limit="60010")
    assert balances(spot)["USDT"] == (D("37985.998"), D("18021.003"))
