"""How much margin is needed: tiers, contracts, chosen leverage, and what cannot be sold short."""

from decimal import Decimal

import pytest

from accounts.choices import AccountState, CommissionKind, Profile
from accounts.models import Account
from marketdata.choices import Shortability
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from trading import leverage, orders
from trading.errors import OrderRejected, Reason
from trading.models import MarginTier

D = Decimal


@pytest.fixture
def tiered(db: None) -> Account:
    """2 % up to a value of 100,000 USD, 5 % from there, 10 % from 200,000."""
    factories.quote("EURUSD", "1.00000", "1.00000")
    account = factories.account()
    conditions = account.group.conditions_at()
    MarginTier.objects.create(conditions=conditions, floor=D(100_000), rate=D("0.05"))
    MarginTier.objects.create(conditions=conditions, floor=D(200_000), rate=D("0.10"))
    return account


def test_each_part_of_a_position_has_the_rate_of_its_band(tiered: Account) -> None:
    desk.fill(tiered, "buy", "250000")
    assert tiered.positions.get().margin == D(2000) + D(5000) + D(5000)


def test_growing_in_steps_needs_what_growing_at_once_does(tiered: Account) -> None:
    for qty in ("80000", "100000", "70000"):
        desk.fill(tiered, "buy", qty)
    assert tiered.positions.get().margin == D(12_000)


def test_resting_orders_count_towards_the_bands(tiered: Account) -> None:
    first = desk.place(tiered, "buy", "100000", limit="1.00000")
    second = desk.place(tiered, "buy", "100000", limit="1.00000")
    assert (first.held, second.held) == (D(2000), D(5000))


def test_changing_the_older_of_two_orders_by_a_tick_leaves_both_in_their_bands(tiered: Account) -> None:
    first, second = (desk.fill(tiered, "buy", "100000", limit="0.90000") for _ in range(2))
    assert (first.held, second.held) == (D(1800), D(4200))  # 2 % of 90,000; 2 % of 10,000 and 5 % of 80,000
    for order in (first, second, first):
        orders.modify(tiered.pk, order.pk, qty=D(100_000), limit_price=D("0.89999"))
    assert [each.held for each in tiered.orders.order_by("pk")] == [D("1799.98"), D("4199.92")]


def test_tiers_of_the_instrument_replace_those_for_all(tiered: Account) -> None:
    conditions, instrument = tiered.group.conditions_at(), factories.instrument("EURUSD")
    MarginTier.objects.create(conditions=conditions, instrument=instrument, floor=D(150_000), rate=D("0.20"))
    desk.fill(tiered, "buy", "200000")
    assert tiered.positions.get().margin == D(3000) + D(10_000)


def test_a_tier_never_makes_margin_cheaper(tiered: Account) -> None:
    MarginTier.objects.update(rate=D("0.001"))
    desk.fill(tiered, "buy", "250000")
    assert tiered.positions.get().margin == D(5000)


def test_a_contract_needs_its_own_amount(db: None) -> None:
    factories.instrument("ESZ2026", session_regular="24x7", timezone="Etc/UTC")
    factories.quote("ESZ2026", "5000.00", "5000.25")
    account = factories.account(Profile.EXCHANGE, symbols=["ESZ2026"])
    factories.set_terms(account.group, contract_margin=D(15_000), contract_maintenance=D(13_500))
    desk.fill(account, "buy", "3", "ESZ2026")
    assert account.positions.get().margin == D(45_000)
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "buy", "4", "ESZ2026")
    assert refusal.value.reason is Reason.MARGIN


@pytest.mark.parametrize(("shortability", "reason"), [(Shortability.NONE, Reason.NOT_SHORTABLE), ("hard", None)])
def test_selling_short_needs_a_share_that_can_be_borrowed(db: None, shortability: str, reason: Reason | None) -> None:
    factories.instrument("AAPL", session_regular="24x7", shortability=shortability)
    factories.quote("AAPL", "199.90", "200.00")
    account = factories.account(Profile.EXCHANGE, symbols=["AAPL"])
    if reason is None:
        desk.fill(account, "sell", "10", "AAPL")
        assert account.positions.get().side == "sell"
        return
    with pytest.raises(OrderRejected) as refusal:
        desk.place(account, "sell", "10", "AAPL")
    assert refusal.value.reason is reason
    assert str(refusal.value) == "AAPL cannot be sold short."
    desk.fill(account, "buy", "10", "AAPL")
    desk.fill(account, "sell", "10", "AAPL")  # what is held can be sold
    with pytest.raises(OrderRejected):
        desk.place(account, "sell", "1", "AAPL")
    assert account.orders.count() == 2


def test_the_older_of_two_sales_does_not_grow_beyond_what_both_can_sell(db: None) -> None:
    factories.instrument("AAPL", session_regular="24x7", shortability=Shortability.NONE)
    factories.quote("AAPL", "199.90", "200.00")
    account = factories.account(Profile.EXCHANGE, symbols=["AAPL"])
    desk.fill(account, "buy", "20", "AAPL")
    older, _younger = (desk.fill(account, "sell", "10", "AAPL", limit="250") for _ in range(2))
    orders.modify(account.pk, older.pk, qty=D(10), limit_price=D("249.99"))
    with pytest.raises(OrderRejected, match="cannot be sold short"):
        orders.modify(account.pk, older.pk, qty=D(11))


def test_a_sale_that_became_a_short_one_meanwhile_is_not_filled(db: None) -> None:
    factories.instrument("AAPL", session_regular="24x7")
    factories.quote("AAPL", "199.90", "200.00")
    account = factories.account(Profile.EXCHANGE, symbols=["AAPL"])
    order = desk.place(account, "sell", "10", "AAPL")
    Instrument.objects.update(shortability=Shortability.NONE)
    desk.drain(account)
    order.refresh_from_db()
    assert (order.status, order.reason) == ("cancelled", Reason.NOT_SHORTABLE)


@pytest.fixture
def perp(db: None) -> Account:
    """10:1 by the group, up to 50:1; half a coin at 60,000 holds 3,000, a resting order for 0.1 at 50,000 500."""
    factories.quote("BTCUSDT.P", "60000", "60000", size="100")
    group = factories.group(Profile.PERPETUAL, symbols=["BTCUSDT.P"], margin_rate=D("0.1"))
    factories.set_terms(group, max_leverage=50)
    account = factories.account(of_group=group, base="USDT", deposits={"USDT": D(10_000)})
    desk.fill(account, "buy", "0.5", "BTCUSDT.P")
    desk.fill(account, "buy", "0.1", "BTCUSDT.P", limit="50000")
    return account


def holds(account: Account) -> tuple[Decimal, Decimal]:
    return account.positions.get().margin, account.orders.live().get().held


def test_higher_leverage_sets_margin_free(perp: Account) -> None:
    assert holds(perp) == (D(3000), D(500))
    assert leverage.choose(perp.pk, "BTCUSDT.P", D("25")) == 25
    assert holds(perp) == (D(1200), D(200))
    assert leverage.choice(perp, "BTCUSDT.P").current == 25
    desk.fill(perp, "buy", "0.5", "BTCUSDT.P")
    assert perp.positions.get().margin == D(2400)


def test_lower_leverage_takes_margin_or_is_refused_with_nothing_changed(perp: Account) -> None:
    assert leverage.choose(perp.pk, "BTCUSDT.P", D("4.9")) == 4  # whole steps
    assert holds(perp) == (D(7500), D(1250))
    with pytest.raises(OrderRejected) as refusal:
        leverage.choose(perp.pk, "BTCUSDT.P", D(3))
    assert refusal.value.reason is Reason.MARGIN
    assert holds(perp) == (D(7500), D(1250))
    assert leverage.choice(perp, "BTCUSDT.P").current == 4


def test_an_order_that_turns_a_position_is_margined_anew_less_what_closing_sets_free(perp: Account) -> None:
    orders.cancel(perp.pk, perp.orders.live().get().pk)
    desk.fill(perp, "sell", "1", "BTCUSDT.P", limit="66000")  # opens 0.5 at 66,000, and sets free that at 60,000
    assert holds(perp) == (D(3000), D(300))
    for chosen, held in ((10, D(300)), (20, D(150))):
        leverage.choose(perp.pk, "BTCUSDT.P", D(chosen))
        assert holds(perp) == (D(30_000) / chosen, held)


def test_leverage_leaves_orders_in_their_bands(perp: Account) -> None:
    MarginTier.objects.create(conditions=perp.group.conditions_at(), floor=D(32_000), rate=D("0.15"))
    orders.modify(perp.pk, perp.orders.live().get().pk, qty=D("0.1"))
    desk.fill(perp, "buy", "0.1", "BTCUSDT.P", limit="50000")
    before = list(perp.orders.live().order_by("pk").values_list("held", flat=True))
    assert before == [D(650), D(750)]  # 10 % of 2,000 and 15 % of 3,000; 15 % of 5,000
    leverage.choose(perp.pk, "BTCUSDT.P", D(10))
    assert list(perp.orders.live().order_by("pk").values_list("held", flat=True)) == before


@pytest.mark.parametrize("state", [AccountState.NO_TRADING, AccountState.BLOCKED])
def test_an_account_that_may_not_trade_has_its_leverage_stay(perp: Account, state: AccountState) -> None:
    perp.state = state
    perp.save(update_fields=["state"])
    with pytest.raises(OrderRejected, match="cannot trade at the moment"):
        leverage.choose(perp.pk, "BTCUSDT.P", D(25))
    with pytest.raises(OrderRejected, match="cannot trade at the moment"):
        leverage.preview(perp, "BTCUSDT.P", D(25))
    assert holds(perp) == (D(3000), D(500))


@pytest.mark.parametrize("asked", ["0.5", "50.5", "51", "1000000"])
def test_leverage_beyond_the_instruments_limits_is_refused(perp: Account, asked: str) -> None:
    with pytest.raises(OrderRejected) as refusal:
        leverage.choose(perp.pk, "BTCUSDT.P", D(asked))
    assert str(refusal.value) == "The leverage for BTCUSDT.P must lie between 1 and 50."


def test_a_closed_position_gives_back_what_leverage_made_of_it(perp: Account) -> None:
    leverage.choose(perp.pk, "BTCUSDT.P", D(25))
    desk.fill(perp, "sell", "0.2", "BTCUSDT.P")
    assert perp.positions.get().margin == D(720)
    desk.fill(perp, "sell", "0.3", "BTCUSDT.P")
    assert perp.positions.get().margin == 0


def test_only_crypto_derivatives_have_leverage(db: None) -> None:
    with pytest.raises(OrderRejected) as refusal:
        leverage.choice(factories.account(), "EURUSD")
    assert refusal.value.reason is Reason.NO_LEVERAGE


def test_commission_per_lot(db: None) -> None:
    factories.quote("EURUSD", "1.10000", "1.10010")
    group = factories.group(
        symbols=["EURUSD"],
        commission_kind=CommissionKind.PER_LOT,
        commission_rate=D("3.5"),
        commission_minimum=D("0.1"),
    )
    account = factories.account(of_group=group)
    desk.fill(account, "buy", "250000")
    desk.fill(account, "buy", "1000")
    assert [each.commission for each in account.executions.order_by("pk")] == [D("8.75"), D("0.10")]
