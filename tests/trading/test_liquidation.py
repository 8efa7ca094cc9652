"""Margin calls and stop-outs: what is decided, in which order, from what, and never twice."""

from decimal import Decimal
from typing import Any

import pytest

from accounts.choices import Profile, TransferKind
from accounts.models import Account, AccountGroup, Transfer
from tests import factories
from tests.trading import desk
from trading import exposure, levels, liquidation, positions
from trading.choices import DecisionKind
from trading.marginwatch import MarginWatch
from trading.models import MarginDecision
from trading.states import OrderStatus

D = Decimal


@pytest.fixture
def group(db: None) -> AccountGroup:
    factories.quote("EURUSD", "1.10000", "1.10010")
    factories.quote("GBPUSD", "1.30000", "1.30010")
    return factories.group(symbols=["EURUSD", "GBPUSD"], protects_negative_balance=True)


@pytest.fixture
def account(group: AccountGroup) -> Account:
    """5,000 USD; 200,000 EURUSD bought at 1.1001 hold 4,400.40, 10,000 GBPUSD at 1.3001 hold 260.02."""
    account = factories.account(of_group=group, deposits={"USD": D(5000)})
    desk.fill(account, "buy", "200000")
    desk.fill(account, "buy", "10000", "GBPUSD")
    return account


def kinds(account: Account) -> list[str]:
    return list(account.margin_decisions.order_by("pk").values_list("kind", flat=True))


def fall(bid: str) -> None:
    """EURUSD moves to this bid; margin is 4,660.42, so 50 % is an equity of 2,330.21."""
    factories.quote("EURUSD", bid, str(D(bid) + D("0.00010")))


def test_nothing_is_decided_above_the_margin_call_and_the_account_is_not_touched(account: Account) -> None:
    before = Account.objects.get(pk=account.pk).version
    assert liquidation.review(account.pk) is None
    assert Account.objects.get(pk=account.pk).version == before


def test_a_margin_call_is_made_once_until_the_level_is_restored(account: Account) -> None:
    fall("1.09850")  # equity 5000 - 320 - 1 = 4,679: above 100 %
    assert liquidation.review(account.pk) is None
    fall("1.09800")  # 4,579
    decision = liquidation.review(account.pk)
    assert decision is not None
    assert (decision.kind, decision.equity, decision.margin) == (DecisionKind.CALL, D(4579), D("4660.42"))
    assert decision.level == D("98.2529")
    assert liquidation.review(account.pk) is None
    fall("1.10000")
    assert liquidation.review(account.pk).kind == DecisionKind.RESTORED  # type: ignore[union-attr]
    assert liquidation.review(account.pk) is None
    assert kinds(account) == ["call", "restored"]


def test_a_position_that_is_no_multiple_of_a_greater_step_is_stopped_out(group: AccountGroup) -> None:
    account = factories.account(of_group=group, deposits={"USD": D(400)})
    desk.fill(account, "buy", "15000")
    instrument = account.positions.get().instrument
    instrument.qty_step = instrument.min_qty = D(10000)
    instrument.save()
    fall("1.08000")
    assert liquidation.review(account.pk).kind == DecisionKind.CLOSE  # type: ignore[union-attr]
    desk.drain(account)
    assert not account.positions.open().exists()


def test_orders_are_cancelled_first_then_the_worst_position_is_closed_until_the_level_is_restored(
    account: Account,
) -> None:
    resting = desk.fill(account, "buy", "1000", limit="1.00000")
    fall("1.08500")  # equity 5,000 - 3,020 - 1 = 1,979: 42.46 %
    assert liquidation.review(account.pk).kind == DecisionKind.CANCEL_ORDERS  # type: ignore[union-attr]
    resting.refresh_from_db()
    assert resting.status == OrderStatus.CANCELLED
    closing = liquidation.review(account.pk)
    assert closing is not None
    assert (closing.kind, closing.position) == (DecisionKind.CLOSE, account.positions.get(instrument__symbol="EURUSD"))
    assert liquidation.review(account.pk) is None  # it is being closed
    desk.drain(account)
    assert [position.instrument.symbol for position in account.positions.open()] == ["GBPUSD"]
    assert liquidation.review(account.pk).kind == DecisionKind.RESTORED  # type: ignore[union-attr]
    assert kinds(account) == ["cancel_orders", "close", "restored"]


def test_orders_placed_meanwhile_do_not_put_the_closing_off(account: Account) -> None:
    desk.fill(account, "buy", "1000", limit="1.00000")
    fall("1.08500")
    liquidation.review(account.pk)
    desk.fill(account, "sell", "1000", limit="1.20000")  # needs no margin, so it is taken
    assert liquidation.review(account.pk).kind == DecisionKind.CLOSE  # type: ignore[union-attr]
    assert [order.closes_id for order in account.orders.live()] == [
        account.positions.get(instrument__symbol="EURUSD").pk
    ]


def test_every_decision_can_be_made_again_from_what_is_stored_with_it(account: Account) -> None:
    desk.fill(account, "buy", "1000", limit="1.00000")
    for bid in ("1.09800", "1.08500", "1.08500", "1.08400"):
        fall(bid)
        liquidation.review(account.pk)
        desk.drain(account)
    fall("1.10000")
    liquidation.review(account.pk)
    assert kinds(account) == ["call", "cancel_orders", "close", "restored"]
    for decision in account.margin_decisions.all():
        figures, verdict = liquidation.recompute(MarginDecision.objects.get(pk=decision.pk))
        assert (figures.level, figures.equity, figures.margin) == (decision.level, decision.equity, decision.margin)
        assert (verdict.kind, verdict.position) == (decision.kind, decision.position_id)


def test_a_decision_on_changed_inputs_would_have_been_another(account: Account) -> None:
    fall("1.08500")
    decision = liquidation.review(account.pk)
    assert decision is not None
    changed = levels.load({**decision.inputs, "balance": "9000"})
    assert levels.verdict(changed).kind is None


def test_after_a_gap_the_negative_balance_is_made_good_once(account: Account) -> None:
    desk.drain(account)
    factories.quote("EURUSD", "1.05000", "1.05010")  # loses 10,020
    factories.quote("GBPUSD", "1.29000", "1.29010")
    steps: list[Any] = []
    for _ in range(6):
        steps.append(liquidation.review(account.pk))
        desk.drain(account)
    assert [step.kind for step in steps if step] == ["close", "close", "protected"]
    [correction] = Transfer.objects.filter(kind=TransferKind.NEGATIVE_BALANCE)
    assert {posting.amount for posting in correction.postings.all()} == {D("-5121"), D("5121")}
    assert account.balances.get().total == 0
    assert liquidation.review(account.pk) is None


def test_without_protection_a_debt_stays(account: Account) -> None:
    factories.change_conditions(account.group, protects_negative_balance=False)
    factories.quote("EURUSD", "1.05000", "1.05010")
    for _ in range(6):
        liquidation.review(account.pk)
        desk.drain(account)
    assert account.balances.get().total < 0


def test_a_stale_price_of_an_open_market_decides_nothing(account: Account, time_machine: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    fall("1.08500")
    time_machine.move_to(timezone.now() + timedelta(seconds=31))
    assert liquidation.review(account.pk) is None
    fall("1.08500")
    factories.quote("GBPUSD", "1.30000", "1.30010")
    assert liquidation.review(account.pk) is not None


def test_a_crossed_price_decides_nothing(account: Account) -> None:
    factories.quote("EURUSD", "1.08500", "1.08400")
    assert liquidation.review(account.pk) is None
    assert kinds(account) == []


def test_what_the_client_is_closing_himself_is_not_closed_again(account: Account) -> None:
    fall("1.08500")
    position = account.positions.get(instrument__symbol="EURUSD")
    positions.close(account.pk, position.pk, request_id="mine")
    assert liquidation.review(account.pk) is None
    desk.drain(account)
    assert account.positions.open().count() == 1
    assert kinds(account) == []


def test_a_blocked_account_is_stopped_out_too(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(state="blocked")
    fall("1.08500")
    assert liquidation.review(account.pk).kind == DecisionKind.CLOSE  # type: ignore[union-attr]
    desk.drain(account)
    assert account.positions.open().count() == 1


def test_maintenance_rates_make_the_level_not_what_positions_hold(db: None) -> None:
    """Bought 100 shares at 200.00 on half; a quarter of the market value must be kept."""
    factories.instrument("AAPL", session_regular="24x7")
    factories.quote("AAPL", "199.90", "200.00")
    group = factories.group(
        Profile.EXCHANGE, symbols=["AAPL"], margin_rate=D("0.5"), maintenance_rate=D("0.25"), stop_out_level=D(100)
    )
    account = factories.account(of_group=group, deposits={"USD": D(10_000)})
    desk.fill(account, "buy", "100", "AAPL")
    factories.quote("AAPL", "133.40", "133.50")  # equity 3,340; to be kept 3,335
    assert liquidation.review(account.pk) is None
    factories.quote("AAPL", "133.20", "133.30")  # equity 3,320; to be kept 3,330
    decision = liquidation.review(account.pk)
    assert decision is not None
    assert (decision.kind, decision.equity, decision.margin) == (DecisionKind.CLOSE, D(3320), D(3330))


def test_the_watch_acts_on_prices_and_goes_on_to_the_end(account: Account) -> None:
    watch = MarginWatch()
    assert watch.run_once() == 0
    fall("1.09800")
    assert watch.run_once() == 1
    fall("1.08500")
    assert watch.run_once() == 1
    desk.drain(account)
    assert watch.run_once() == 1
    assert kinds(account) == ["call", "close", "restored"]
    assert watch.run_once() == 0


def test_a_watch_that_was_killed_is_followed_by_one_that_knows_no_less(account: Account) -> None:
    desk.fill(account, "buy", "1000", limit="1.00000")
    fall("1.08500")
    for _ in range(4):
        assert MarginWatch().run_once() in (0, 1)
    assert kinds(account) == ["cancel_orders", "close"]  # whoever looks meanwhile, nothing is closed twice
    desk.drain(account)
    for _ in range(3):
        MarginWatch().run_once()
    assert kinds(account) == ["cancel_orders", "close", "restored"]


def test_an_unmoved_account_is_not_looked_at_again(account: Account, django_assert_num_queries: Any) -> None:
    watch = MarginWatch()
    watch.run_once()
    with django_assert_num_queries(1):  # who is at risk
        watch.run_once()


def test_the_statements_of_a_pass_do_not_grow_with_the_accounts(
    account: Account, group: AccountGroup, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        desk.fill(factories.account(of_group=group), "buy", "10000")
    watch = MarginWatch()
    with django_assert_max_num_queries(9):
        watch.run_once()
    fall("1.09950")
    with django_assert_max_num_queries(1):
        watch.run_once()


def test_last_decisions_are_those_of_each_account(account: Account) -> None:
    fall("1.09800")
    liquidation.review(account.pk)
    assert exposure.last_decisions([account.pk]) == {account.pk: "call"}
    assert exposure.warned_accounts() == [account.pk]


def test_accounts_with_a_warning_are_those_whose_latest_decision_is_one_the_lowest_first(
    account: Account, group: AccountGroup
) -> None:
    lower = factories.account(of_group=group, deposits={"USD": D(4700)})
    desk.fill(lower, "buy", "210000")
    untouched = factories.account(of_group=group)
    desk.fill(untouched, "buy", "1000")
    all_of_them = (account, lower, untouched)
    fall("1.09800")
    for each in all_of_them:
        liquidation.review(each.pk)
    assert exposure.warned_accounts() == [lower.pk, account.pk]
    fall("1.09950")  # enough for the first one
    for each in all_of_them:
        liquidation.review(each.pk)
    assert exposure.warned_accounts() == [lower.pk]


def test_a_decision_cannot_be_changed(account: Account) -> None:
    from django.db import ProgrammingError, transaction

    fall("1.09800")
    decision = liquidation.review(account.pk)
    assert decision is not None
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
        MarginDecision.objects.filter(pk=decision.pk).update(level=1)
