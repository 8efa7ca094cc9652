"""Swaps and funding: when they are due, what they come to, and that they are posted once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from accounts import statements
from accounts.choices import Profile, TransferKind
from accounts.models import Account, Posting
from marketdata.choices import SymbolType
from tests import factories
from tests.trading import desk
from trading import charges
from trading.choices import FundingSource, SwapUnit
from trading.models import Charge, ChargeSchedule, FundingRate

D = Decimal
TUESDAY = datetime(2026, 11, 24, 22, tzinfo=UTC)  # 17:00 New York in winter


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-11-24T21:59", "2026-11-24T22:00"),
        ("2026-11-24T22:00", "2026-11-25T22:00"),
        ("2026-11-27T22:00", "2026-11-30T22:00"),  # Friday's is followed by Monday's
        ("2026-11-28T12:00", "2026-11-30T22:00"),
        ("2026-07-01T00:00", "2026-07-01T21:00"),  # summer
        ("2026-10-30T21:00", "2026-11-02T22:00"),  # the clocks went back in between
        ("2026-03-06T22:00", "2026-03-09T21:00"),  # and forth
    ],
)
def test_swaps_are_due_at_five_in_new_york_on_weekdays(after: str, due: str) -> None:
    moment = charges.next_rollover(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert moment == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-11-24T00:00", "2026-11-24T08:00"),
        ("2026-11-24T07:59", "2026-11-24T08:00"),
        ("2026-11-24T16:00", "2026-11-25T00:00"),
    ],
)
def test_funding_is_due_every_eight_hours(after: str, due: str) -> None:
    moment = charges.next_funding(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert moment == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.fixture
def monday(time_machine: Any) -> datetime:
    """Monday noon; the schedule has begun."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    time_machine.move_to(now, tick=False)
    return now


def at(time_machine: Any, moment: datetime) -> datetime:
    """Go to this moment; prices come along."""
    time_machine.move_to(moment, tick=False)
    factories.quote("EURUSD", "1.10000", "1.10010")
    return moment


@pytest.fixture
def account(db: None, monday: datetime) -> Account:
    """10,000 EURUSD long in a USD account; a long pays 6.5 points a day, a short receives 2."""
    factories.quote("EURUSD", "1.10000", "1.10010")
    account = factories.account()
    factories.set_terms(account.group, "EURUSD", swap_long=D("-6.5"), swap_short=D(2))
    assert charges.charge_swaps() == 0
    desk.fill(account, "buy", "10000")
    return account


def amounts(account: Account) -> list[tuple[str, Decimal]]:
    rows = account.charges.order_by("due_at", "pk").values_list("due_at", "amount")
    return [(f"{due:%a}", amount) for due, amount in rows]


def test_a_day_costs_its_points_and_wednesday_three(account: Account, time_machine: Any, monday: datetime) -> None:
    at(time_machine, monday + timedelta(days=5))
    assert charges.charge_swaps() == 5
    # 10,000 × 6.5 × 0.00001 = 0.65
    assert amounts(account) == [("Mon", D("-0.65")), ("Tue", D("-0.65")), ("Wed", D("-1.95")), ("Thu", D("-0.65")),
                                ("Fri", D("-0.65"))]  # fmt: skip
    assert account.balances.get().total == D("100000") - D("4.55")


def test_charging_again_charges_nothing(account: Account, time_machine: Any, monday: datetime) -> None:
    at(time_machine, monday + timedelta(days=1))
    assert charges.charge_swaps() == 1
    ChargeSchedule.objects.update(due_at=datetime(2026, 11, 23, 22, tzinfo=UTC))  # as if it had died before moving on
    before = Account.objects.get(pk=account.pk).version
    assert charges.charge_swaps() == 0
    assert Account.objects.get(pk=account.pk).version == before
    assert Posting.objects.filter(transfer__kind=TransferKind.SWAP).count() == 2


def test_what_was_missed_is_charged_by_what_was_held_then(
    account: Account, time_machine: Any, monday: datetime
) -> None:
    at(time_machine, monday + timedelta(days=1))  # Tuesday noon: nobody charged Monday's yet
    desk.fill(account, "sell", "4000")
    at(time_machine, monday + timedelta(days=2))
    desk.fill(account, "sell", "6000")
    assert charges.charge_swaps() == 2
    assert amounts(account) == [("Mon", D("-0.65")), ("Tue", D("-0.39"))]


def test_each_group_has_its_own_terms_and_shorts_have_their_side(
    account: Account, time_machine: Any, monday: datetime
) -> None:
    percents = {"swap_unit": SwapUnit.PERCENT, "swap_long": D("-3.6"), "swap_short": D("1.8")}
    factories.set_terms(account.group, effective_from=monday + timedelta(hours=1), triple_day=0, **percents)
    short = factories.account(base="EUR")
    factories.set_terms(short.group, swap_long=D("-6.5"), swap_short=D(2))
    desk.fill(short, "sell", "10000")
    at(time_machine, monday + timedelta(hours=11))
    assert charges.charge_swaps() == 2
    # 10,000 × 1.1001 × 3.6 % / 360 × 3 days = 3.3003
    assert amounts(account) == [("Mon", D("-3.30"))]
    # 10,000 × 2 points = 0.20 USD, sold at the ask: 0.20 / 1.1001 = 0.18 EUR
    assert amounts(short) == [("Mon", D("0.18"))]


def test_what_is_charged_late_is_charged_on_the_terms_of_its_time(
    account: Account, time_machine: Any, monday: datetime
) -> None:
    factories.set_terms(account.group, effective_from=monday + timedelta(hours=10, seconds=1), swap_long=D(-13))
    at(time_machine, monday + timedelta(hours=35))
    assert charges.charge_swaps() == 2
    assert amounts(account) == [("Mon", D("-0.65")), ("Tue", D("-1.30"))]


def test_what_is_no_longer_offered_is_charged_to_those_who_hold_it(
    account: Account, time_machine: Any, monday: datetime
) -> None:
    factories.set_terms(account.group, effective_from=monday + timedelta(hours=1), is_offered=False)
    at(time_machine, monday + timedelta(hours=11))
    assert charges.charge_swaps() == 1
    assert amounts(account) == [("Mon", D("-0.65"))]


def test_a_charge_without_a_rate_of_conversion_waits_for_it(
    account: Account, time_machine: Any, monday: datetime, empty_redis: Any
) -> None:
    euro = factories.account(base="EUR", of_group=account.group)
    desk.fill(euro, "buy", "10000")
    time_machine.move_to(monday + timedelta(hours=11), tick=False)
    empty_redis.delete("quotes", "quotes:time")
    assert charges.charge_swaps() == 1  # the dollars need none
    factories.quote("EURUSD", "1.10000", "1.10010")
    assert charges.charge_swaps() == 1
    assert charges.charge_swaps() == 0
    assert [len(amounts(each)) for each in (account, euro)] == [1, 1]


@pytest.fixture
def longs_and_shorts(db: None, monday: datetime) -> tuple[Account, Account]:
    factories.quote("BTCUSDT.P", "60059", "60061", size="100")
    factories.quote("BTCUSDT", "59999", "60001", size="100")
    made = [factories.account(Profile.PERPETUAL, symbols=["BTCUSDT.P"], base="USDT") for _ in range(2)]
    assert charges.charge_funding() == 0
    desk.fill(made[0], "buy", "0.5", "BTCUSDT.P")
    desk.fill(made[1], "sell", "0.5", "BTCUSDT.P")
    return made[0], made[1]


def test_longs_pay_shorts_the_premium(longs_and_shorts: tuple[Account, Account], time_machine: Any) -> None:
    time_machine.move_to(datetime(2026, 11, 23, 16, 0, 5, tzinfo=UTC), tick=False)
    factories.quote("BTCUSDT.P", "60059", "60061", size="100")
    factories.quote("BTCUSDT", "59999", "60001", size="100")
    assert charges.charge_funding() == 2
    rate = FundingRate.objects.get()
    # premium (60,060 - 60,000) / 60,000 = 0.001, drawn towards 0.0001 by 0.0005 at most
    assert (rate.rate, rate.source, rate.mark, rate.index) == (D("0.0005"), FundingSource.PREMIUM, D(60060), D(60000))
    # 0.5 × 60,060 × 0.0005 = 15.015
    assert [each.charges.get().amount for each in longs_and_shorts] == [D("-15.02"), D("15.02")]


def test_a_rate_of_the_table_comes_before_a_computed_one(
    longs_and_shorts: tuple[Account, Account], time_machine: Any
) -> None:
    due = datetime(2026, 11, 23, 16, tzinfo=UTC)
    FundingRate.objects.create(instrument=factories.instrument("BTCUSDT.P"), due_at=due, rate=D("-0.0002"))
    time_machine.move_to(due, tick=False)
    assert charges.charge_funding() == 0  # the price is four hours old: it waits
    factories.quote("BTCUSDT.P", "59999", "60001", size="100")
    assert charges.charge_funding() == 2
    assert [each.charges.get().amount for each in longs_and_shorts] == [D(6), D(-6)]
    assert Posting.objects.filter(transfer__kind=TransferKind.FUNDING).aggregate(sum=Sum("amount"))["sum"] == 0


def test_a_perpetual_without_a_price_holds_up_no_other(
    longs_and_shorts: tuple[Account, Account], time_machine: Any
) -> None:
    factories.instrument(
        "ETHUSDT.P",
        type=SymbolType.CRYPTO,
        base_currency="ETH",
        quote_currency="USDT",
        qty_step=D("0.01"),
        min_qty=D("0.01"),
    )
    factories.quote("ETHUSDT.P", "2999", "3001", size="100")
    other = factories.account(Profile.PERPETUAL, symbols=["ETHUSDT.P"], base="USDT")
    desk.fill(other, "buy", "1", "ETHUSDT.P")
    first = datetime(2026, 11, 23, 16, tzinfo=UTC)
    for due in (first, first + timedelta(hours=8)):
        for symbol in ("BTCUSDT.P", "ETHUSDT.P"):
            FundingRate.objects.create(instrument=factories.instrument(symbol), due_at=due, rate=D("0.0001"))
        time_machine.move_to(due, tick=False)
        factories.quote("ETHUSDT.P", "2999", "3001", size="100")
        assert charges.charge_funding() == 1
    assert [len(amounts(each)) for each in (*longs_and_shorts, other)] == [0, 0, 2]
    assert ChargeSchedule.objects.get().due_at == first
    factories.quote("BTCUSDT.P", "59999", "60001", size="100")
    assert charges.charge_funding() == 4
    assert ChargeSchedule.objects.get().due_at == first + timedelta(hours=16)


def test_the_statement_shows_charges_with_the_running_balance(
    account: Account, time_machine: Any, monday: datetime
) -> None:
    at(time_machine, monday + timedelta(days=2))
    charges.charge_swaps()
    Charge.objects.get(due_at=datetime(2026, 11, 24, 22, tzinfo=UTC))
    statement = statements.of(account, datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    assert [(each.kind, each.amount, each.balance) for each in statement.movements] == [
        (TransferKind.DEPOSIT, D(100_000), D(100_000)),
        (TransferKind.SWAP, D("-0.65"), D("99999.35")),
        (TransferKind.SWAP, D("-0.65"), D("99998.70")),
    ]
    assert (statement.opening, statement.closing) == (D(0), D("99998.70"))
    assert statement.total(TransferKind.SWAP) == D("-1.30")
    assert statements.totals(account)[TransferKind.SWAP] == D("-1.30")
