import itertools
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account, AccountGroup
from marketdata import ticklog
from marketdata.choices import InstrumentState
from marketdata.models import Instrument, LogPosition
from marketdata.quotes import Quote
from tests import factories
from tests.trading import desk
from trading import dispatch, orders, positions, tasks, triggers, venue
from trading.choices import OrderType, Side
from trading.engine import Engine
from trading.models import Order
from trading.states import OrderStatus
from trading.tickets import Brackets
from trading.triggers import Touch
from trading.venue import is_marketable, is_reached
from trading.watch import Watch

D = Decimal


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


@pytest.fixture
def engine(account: Account) -> Engine:
    engine = Engine()
    engine.start()
    return engine


def tell(*orders_: Order) -> None:
    """The news that follows a commit, which a test's transaction never reaches."""
    for order in orders_:
        ticklog.connection().xadd(dispatch.CHANGES, {"id": order.pk})


def step(engine: Engine) -> int:
    return engine.run_once(block_ms=1)


def queued(*orders_: Order) -> list[bool]:
    return [Order.objects.get(pk=order.pk).queued for order in orders_]


@pytest.mark.parametrize(
    ("side", "prices", "short_of", "reaching"),
    [
        ("buy", {"limit": "1.09"}, ("1.08990", "1.09001"), ("1.08989", "1.09000")),
        ("sell", {"limit": "1.11"}, ("1.10999", "1.11009"), ("1.11000", "1.11010")),
        ("buy", {"stop": "1.11"}, ("1.10989", "1.10999"), ("1.10990", "1.11000")),
        ("sell", {"stop": "1.09"}, ("1.09001", "1.09011"), ("1.09000", "1.09010")),
    ],
)
def test_an_order_is_queued_at_its_price_and_not_before(account, engine, side, prices, short_of, reaching) -> None:
    order = desk.fill(account, side, "1000", **prices)
    tell(order)
    step(engine)
    factories.quote("EURUSD", *short_of)
    assert step(engine) == 0
    factories.quote("EURUSD", *reaching)
    assert step(engine) == 1
    desk.drain(account)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED


def test_a_price_that_came_and_went_fills_at_the_book_that_came(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.09")
    tell(order)
    step(engine)
    factories.quote("EURUSD", "1.0890", "1.0891")
    factories.quote("EURUSD", "1.1000", "1.1001")
    assert step(engine) == 1
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.avg_price) == (OrderStatus.FILLED, D("1.0891"))


def test_a_cancelled_or_changed_order_is_not_queued_at_its_old_price(account: Account, engine: Engine) -> None:
    cancelled = desk.fill(account, "buy", "1000", limit="1.09")
    changed = desk.fill(account, "buy", "1000", limit="1.09")
    tell(cancelled, changed)
    step(engine)
    orders.cancel(account.pk, cancelled.pk)
    orders.modify(account.pk, changed.pk, qty=D(1000), limit_price=D("1.08"))
    desk.drain(account)
    tell(cancelled, changed)
    step(engine)
    factories.quote("EURUSD", "1.0889", "1.0890")
    assert step(engine) == 0
    factories.quote("EURUSD", "1.0799", "1.0800")
    assert step(engine) == 1


def test_an_order_is_not_moved_by_a_price_from_before_it(account: Account, engine: Engine) -> None:
    factories.quote("EURUSD", "1.0889", "1.0890")
    factories.quote("EURUSD", "1.1000", "1.1001")
    time.sleep(0.002)  # the log counts in milliseconds
    order = desk.fill(account, "buy", "1000", limit="1.09")
    tell(order)
    assert step(engine) == 0
    assert queued(order) == [False]


def test_a_missed_message_is_made_up_by_the_comparison(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.09")
    engine._compare_at = 0.0
    step(engine)
    factories.quote("EURUSD", "1.0889", "1.0890")
    assert step(engine) == 1
    assert queued(order) == [True]


def test_an_engine_goes_on_where_the_last_one_was_killed(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "sell", "1000", stop="1.09")
    tell(order)
    engine._save_at = 0.0
    step(engine)
    assert LogPosition.objects.get(reader="engine").entry_id == ticklog.last_id()
    factories.quote("EURUSD", "1.0899", "1.0900")  # nobody is watching
    factories.quote("EURUSD", "1.1000", "1.1001")
    successor = Engine()
    successor.start()
    assert step(successor) == 1
    order.refresh_from_db()
    assert order.triggered_at is not None


def test_a_log_that_was_lost_is_read_from_its_new_beginning(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "sell", "1000", stop="1.09")
    LogPosition.objects.update_or_create(reader="engine", defaults={"entry_id": "9999999999999-0"})
    time.sleep(0.002)
    factories.quote("EURUSD", "1.0899", "1.0900")
    successor = Engine()
    successor.start()
    assert step(successor) == 1
    assert queued(order) == [True]


def test_a_trailing_stop_goes_on_where_the_killed_engine_left_it(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "10000", trail="50")
    stop_loss = order.brackets.get()
    tell(stop_loss)
    step(engine)
    time.sleep(0.002)
    factories.quote("EURUSD", "1.10500", "1.10510")
    engine._ratchet_at = engine._save_at = 0.0
    step(engine)
    stop_loss.refresh_from_db()
    assert stop_loss.stop_price == D("1.1")
    factories.quote("EURUSD", "1.09990", "1.10000")  # nobody is watching
    factories.quote("EURUSD", "1.10400", "1.10410")
    successor = Engine()
    successor.start()
    assert step(successor) == 1
    desk.drain(account)
    stop_loss.refresh_from_db()
    assert (stop_loss.status, stop_loss.avg_price) == (OrderStatus.FILLED, D("1.0999"))


def test_moves_that_were_not_stored_are_made_again_from_the_log(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "10000", trail="50")
    tell(order.brackets.get())
    engine._save_at = 0.0
    step(engine)
    time.sleep(0.002)
    factories.quote("EURUSD", "1.10500", "1.10510")
    engine._ratchet_at = engine._save_at = time.monotonic() + 60
    step(engine)  # and killed before it stores anything
    assert order.brackets.get().stop_price == D("1.095")
    successor = Engine()
    successor.start()
    step(successor)
    assert order.brackets.get().stop_price == D("1.1")


def test_a_stop_that_moved_in_the_same_batch_is_reached_where_it_moved_to(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "10000", trail="50")
    tell(order.brackets.get())
    step(engine)
    time.sleep(0.002)
    for bid in ("1.10500", "1.09980", "1.12000"):
        factories.quote("EURUSD", bid, str(D(bid) + D("0.0001")))
    assert step(engine) == 1
    desk.drain(account)
    stop_loss = order.brackets.get()
    assert (stop_loss.stop_price, stop_loss.avg_price) == (D("1.1"), D("1.0998"))


def test_an_account_changes_where_its_trailing_stop_moves_and_not_where_an_order_is_only_queued(
    account: Account,
) -> None:
    moving = desk.fill(account, "buy", "10000", trail="50").brackets.get()
    resting = desk.place(account, "buy", "10000", limit="1.08")
    quote, version = desk.quote_at("EURUSD", "1.0700"), Account.objects.get(pk=account.pk).version
    triggers.trigger({resting.pk: Touch(quote)})
    assert Account.objects.get(pk=account.pk).version == version
    triggers.trigger({moving.pk: Touch(quote, stop_price=D("1.1"))})
    assert Order.objects.get(pk=moving.pk).stop_price == D("1.1")
    assert Account.objects.get(pk=account.pk).version == version + 1


def test_of_a_pair_the_one_reached_first_is_executed(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "buy", "10000", sl="1.09", tp="1.12")
    tell(*order.brackets.all())
    step(engine)
    time.sleep(0.002)
    factories.quote("EURUSD", "1.12000", "1.12010")
    factories.quote("EURUSD", "1.08000", "1.08010")
    assert step(engine) == 1
    desk.drain(account)
    assert account.positions.get().realized_pl == D("199.00")  # 10,000 × (1.12 − 1.1001)


def test_replayed_prices_move_no_orders(account: Account, engine: Engine) -> None:
    order = desk.fill(account, "sell", "1000", stop="1.09")
    tell(order)
    step(engine)
    recorded = ticklog.Tick("EURUSD", 1399507200000, D("1.05"), D("1.06"), lane="recorded", seq=1)
    ticklog.append([recorded])
    assert step(engine) == 0
    assert queued(order) == [False]


def test_a_halted_market_moves_no_orders(account: Account) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.09")
    Instrument.objects.update(state=InstrumentState.HALTED)
    engine = Engine()
    engine.start()
    factories.quote("EURUSD", "1.0889", "1.0890")
    assert step(engine) == 0
    assert queued(order) == [False]


def test_what_depth_did_not_hold_is_queued_with_the_next_book(account: Account, engine: Engine) -> None:
    factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
    order = desk.fill(account, "buy", "10000")
    tell(order)
    step(engine)
    for filled in ("6000", "9000", "10000"):
        time.sleep(0.002)
        factories.quote("EURUSD", "1.1", "1.1001", asks=[("1.1001", "3000")])
        assert step(engine) == 1
        desk.drain(account)
        tell(order)
        step(engine)
        order.refresh_from_db()
        assert order.filled_qty == D(filled)
    assert order.status == OrderStatus.FILLED


def test_the_drain_works_off_its_shard_only(account: Account, settings) -> None:
    settings.ORDER_SHARDS = 2
    other = factories.account(of_group=account.group)
    while other.pk % 2 == account.pk % 2:
        other = factories.account(of_group=account.group)
    mine, others = desk.place(account, "buy", "1000"), desk.place(other, "buy", "1000")
    assert tasks.drain(account.pk % 2) == 1
    assert queued(mine, others) == [False, True]


def test_a_drain_that_takes_long_leaves_the_rest_to_another(account: Account, settings, monkeypatch) -> None:
    """A worker that is told to stop waits for it."""
    settings.ORDER_SHARDS = 1
    first, second = desk.place(account, "buy", "1000"), desk.place(account, "buy", "1000")
    nudged: list[int] = []
    monkeypatch.setattr(tasks.drain, "delay", nudged.append)
    monkeypatch.setattr(tasks, "WAITING_READ", 1)
    monkeypatch.setattr(tasks, "DRAIN_SECONDS", 0.0)
    assert tasks.drain(0) == 1
    assert (queued(first, second), nudged) == ([False, True], [0])


def test_an_order_that_cannot_be_worked_does_not_stop_the_others(account: Account, settings, caplog) -> None:
    settings.ORDER_SHARDS = 1
    broken = factories.account(symbols=["GBPUSD"])
    factories.quote("GBPUSD", "1.3", "1.3001")
    stuck = desk.place(broken, "buy", "1000", "GBPUSD")
    without_conditions = AccountGroup.objects.create(name="Without conditions", profile=broken.group.profile)
    Account.objects.filter(pk=broken.pk).update(group=without_conditions)
    fine = desk.place(account, "buy", "1000")
    tasks.drain(0)
    assert queued(stuck, fine) == [True, False]
    assert f"order {stuck.pk} could not be worked" in caplog.text


def test_the_sweeper_nudges_what_a_crash_left_queued(account: Account, monkeypatch) -> None:
    order = desk.place(account, "buy", "1000")
    nudged: list[int] = []
    monkeypatch.setattr(tasks.drain, "delay", nudged.append)
    assert tasks.sweep() == 0
    Order.objects.filter(pk=order.pk).update(updated_at=timezone.now() - timedelta(seconds=3))
    assert tasks.sweep() == 1
    assert nudged == [dispatch.shard_of(account.pk)]


def test_many_requests_make_one_nudge(account: Account, monkeypatch) -> None:
    nudged: list[int] = []
    monkeypatch.setattr(tasks.drain, "delay", nudged.append)
    for _ in range(5):
        dispatch.nudge(3)
    assert nudged == [3]
    dispatch.nudge_taken(3)
    dispatch.nudge(3)
    assert nudged == [3, 3]


def test_watching_agrees_with_a_plain_scan() -> None:
    """Every price of a grid against every order of a grid, heaps against the plain definition."""
    moment = timezone.now()
    instrument = Instrument(pk=1, symbol="X")
    kinds = [
        (OrderType.LIMIT, False),
        (OrderType.STOP, False),
        (OrderType.STOP, True),
        (OrderType.STOP_LIMIT, False),
        (OrderType.STOP_LIMIT, True),
    ]
    made = []
    for number, (side, (kind, if_touched), price) in enumerate(itertools.product(Side, kinds, range(90, 111)), start=1):
        order = Order(pk=number, side=side, type=kind, status=OrderStatus.WORKING, queued=False, updated_at=moment)
        order.venue, order.instrument, order.if_touched = venue.INTERNAL, instrument, if_touched
        if kind is OrderType.LIMIT:
            order.limit_price = D(price)
        else:
            order.stop_price = D(price)
        if kind is OrderType.STOP_LIMIT:
            order.limit_price = D(100)
        made.append(order)
    later = int(moment.timestamp() * 1000) + 1
    for bid in range(88, 112):
        watch = Watch()
        watch.replace(made)
        quote = Quote("X", D(bid), D(bid + 1), (), (), moment, "1-1")
        plain = [
            order.pk
            for order in made
            if (is_reached(order, quote) if order.awaits_stop else is_marketable(order, quote))
        ]
        assert sorted(watch.take(quote, later)) == plain


# --- what changes between a price and the order it reaches ------------------------------------------------------------


def test_a_stop_moved_away_meanwhile_is_not_executed_at_its_old_price(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ORD-20: the price reached what the engine knew, and the client's change came first to the database."""
    order = desk.fill(account, "sell", "10000", stop="1.0950")
    engine = Engine()
    engine.start()
    trigger = triggers.trigger

    def late(touched: Mapping[int, Touch]) -> list[tuple[int, int]]:
        orders.modify(account.pk, order.pk, qty=D(10000), stop_price=D("1.0900"))
        desk.drain(account)
        return trigger(touched)

    monkeypatch.setattr(triggers, "trigger", late)
    time.sleep(0.002)
    factories.quote("EURUSD", "1.09500", "1.09510")
    assert step(engine) == 0
    order.refresh_from_db()
    assert (order.status, order.queued, order.triggered_at) == (OrderStatus.WORKING, False, None)
    monkeypatch.setattr(triggers, "trigger", trigger)
    time.sleep(0.002)
    factories.quote("EURUSD", "1.09000", "1.09010")
    assert step(engine) == 1, "it is watched at its new price, though no news came"


def moved_and_not_stored(account: Account) -> tuple[Engine, Order]:
    """A trailing stop, and the engine that has followed the market with it and has told nobody yet."""
    desk.fill(account, "buy", "10000", trail="20")
    stop = Order.objects.brackets().get()
    engine = Engine()
    engine.start()
    engine._ratchet_at = engine._save_at = engine._compare_at = time.monotonic() + 60
    time.sleep(0.002)
    factories.quote("EURUSD", "1.10500", "1.10510")
    step(engine)
    return engine, stop


def test_where_a_trailing_stop_has_moved_to_is_not_lost_when_it_is_resized(account: Account) -> None:
    """BRK-23: it is stored a little later than it moves."""
    engine, stop = moved_and_not_stored(account)
    positions.close(account.pk, account.positions.get().pk, amount=D(5000), request_id="half")
    desk.drain(account)
    tell(stop)
    step(engine)
    stop.refresh_from_db()
    assert (stop.qty, stop.stop_price) == (5000, D("1.10300"))


def test_a_trailing_stop_given_another_distance_is_not_where_the_old_one_took_it(account: Account) -> None:
    engine, stop = moved_and_not_stored(account)
    positions.protect(account.pk, account.positions.get().pk, Brackets(trailing_pips=D(50)))
    desk.drain(account)
    tell(stop)
    step(engine)
    stop.refresh_from_db()
    assert stop.stop_price == D("1.10000")


def test_a_stop_loss_is_watched_while_its_take_profit_waits_for_more(
    db: None, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    """BRK-2: with the mark-up of its group the touched take profit is not filled."""
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account(of_group=factories.group(symbols=["EURUSD"], mark_up_pips=D(1)))
    desk.fill(account, "buy", "10000", sl="1.0990", tp="1.1010")
    engine = Engine()
    engine.start()
    for bid, ask in (("1.10100", "1.10110"), ("1.09800", "1.09810")):
        engine._compare_at = time.monotonic() + 60
        time.sleep(0.002)
        factories.quote("EURUSD", bid, ask)
        step(engine)
        with django_capture_on_commit_callbacks(execute=True):
            desk.drain(account)
        step(engine)  # the news
    assert account.positions.get().closed_at


def test_an_order_queued_again_while_its_shard_is_drained_is_worked_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another drain that was told of it finds the account taken, and leaves it."""
    order = desk.place(account, "buy", "10000", limit="1.09")
    worked: list[int] = []
    work = orders.work

    def reached_again(account_id: int, order_id: int, *, leave_to_others: bool) -> bool:
        is_ours = work(account_id, order_id, leave_to_others=leave_to_others)
        if not worked:
            Order.objects.filter(pk=order_id).update(queued=True)
        worked.append(order_id)
        return is_ours

    monkeypatch.setattr(orders, "work", reached_again)
    assert tasks.drain(dispatch.shard_of(account.pk)) == 2
    assert worked == [order.pk] * 2
    assert queued(order) == [False]
