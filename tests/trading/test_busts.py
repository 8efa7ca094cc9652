"""Busted executions: the books are as if they had never been, to the cent, and two people did it."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, transaction
from django.db.models import Sum

from accounts.choices import CommissionKind, Profile
from accounts.models import Account, Balance, User
from accounts.roles import Role
from tests import factories
from tests.trading import desk
from trading import busts
from trading.busts import Wish
from trading.choices import BustState, EventKind
from trading.errors import BustRefused, Reason
from trading.models import Bust, BustedExecution, Execution, Order, Position

D = Decimal
MARKETS = {
    Profile.FX_NETTING: ("EURUSD", "10000", "1.10000", "1.10010", "1.25000", "1.25010"),
    Profile.FX_HEDGING: ("EURUSD", "10000", "1.10000", "1.10010", "1.25000", "1.25010"),
    Profile.PERPETUAL: ("BTCUSDT.P", "0.1", "60000.00", "60010.00", "75000.00", "75010.00"),
    Profile.EXCHANGE: ("AAPL", "10", "200.00", "200.10", "260.00", "260.10"),
    Profile.SPOT: ("BTCUSDT", "0.1", "60000.00", "60010.00", "75000.00", "75010.00"),
}


def dealer(name: str) -> User:
    user = factories.user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=Role.DEALING))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def maker(db: None) -> User:
    return dealer("maker")


@pytest.fixture
def checker(db: None) -> User:
    return dealer("checker")


def account_of(profile: Profile) -> Account:
    symbol = MARKETS[profile][0]
    # An open market at every hour; the instruments' own sessions are other tests' matter.
    factories.instrument(symbol, session_regular="24x7")
    group = factories.group(
        profile, symbols=[symbol], commission_kind=CommissionKind.PERCENT, commission_rate=D("0.05")
    )
    base = "USDT" if "USDT" in symbol else "USD"
    deposits = {base: D(100_000), "BTC": D(2)} if profile is Profile.SPOT else None
    return factories.account(of_group=group, base=base, deposits=deposits)


def wish(*orders: Order, price: str | None = None) -> Wish:
    fills = Execution.objects.standing().filter(order__in=orders)
    number = D(price) if price else None
    return Wish(orders[0].instrument, tuple(fills.values_list("pk", flat=True)), "Bad tick", uuid4().hex, number)


def bust(wanted: Wish, maker: User, checker: User) -> Bust:
    return busts.approve(busts.ask(wanted, by=maker).pk, by=checker)


def standing(account: Account) -> Any:
    """Balances, open positions and what was realized by any: what a bust has to restore."""
    balances = list(account.balances.order_by("currency").values_list("currency", "total", "reserved"))
    positions = account.positions.open().order_by("pk").values_list("side", "qty", "avg_price", "margin")
    return balances, list(positions), account.positions.aggregate(sum=Sum("realized_pl"))["sum"] or 0


@pytest.mark.parametrize("profile", MARKETS)
def test_a_bust_restores_the_books_to_the_cent(profile: Profile, maker: User, checker: User) -> None:
    symbol, qty, bid, ask, bad_bid, bad_ask = MARKETS[profile]
    account = account_of(profile)
    factories.quote(symbol, bid, ask, size="10000000")
    desk.fill(account, "buy", qty, symbol)
    before = standing(account)
    factories.quote(symbol, bad_bid, bad_ask, size="10000000")
    bad = desk.fill(account, "buy", qty, symbol)
    assert standing(account) != before
    bust(wish(bad), maker, checker)
    assert standing(account) == before


@pytest.mark.parametrize("profile", MARKETS)
def test_what_came_later_is_booked_as_if_the_bad_fill_had_never_been(
    profile: Profile, maker: User, checker: User
) -> None:
    symbol, qty, bid, ask, bad_bid, bad_ask = MARKETS[profile]
    hit, spared = (account_of(profile) for _ in range(2))
    for account in (hit, spared):
        factories.quote(symbol, bid, ask, size="10000000")
        desk.fill(account, "buy", qty, symbol)
        if account is hit:
            factories.quote(symbol, bad_bid, bad_ask, size="10000000")
            bad = desk.fill(account, "buy", qty, symbol)
            factories.quote(symbol, bid, ask, size="10000000")
        desk.fill(account, "sell", qty, symbol)
        desk.fill(account, "buy", qty, symbol)
    bust(wish(bad), maker, checker)
    assert standing(hit) == standing(spared)


@pytest.mark.parametrize("profile", MARKETS)
def test_a_correction_books_the_fill_at_the_right_price(profile: Profile, maker: User, checker: User) -> None:
    symbol, qty, bid, ask, bad_bid, bad_ask = MARKETS[profile]
    hit, spared = (account_of(profile) for _ in range(2))
    for account, prices in ((hit, (bad_bid, bad_ask)), (spared, (bid, ask))):
        factories.quote(symbol, *prices, size="10000000")
        order = desk.fill(account, "buy", qty, symbol)
        factories.quote(symbol, bid, ask, size="10000000")
        desk.fill(account, "buy", qty, symbol)
    bad = hit.orders.order_by("pk")[0]
    bust(wish(bad, price=ask), maker, checker)
    assert standing(hit) == standing(spared)
    bad.refresh_from_db()
    assert (bad.status, bad.filled_qty, bad.avg_price) == ("filled", D(qty), D(ask))
    assert order.pk != bad.pk


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return account_of(Profile.FX_NETTING)


def test_a_closing_fill_that_is_busted_opens_its_position_again(account: Account, maker: User, checker: User) -> None:
    desk.fill(account, "buy", "10000")
    before = standing(account)
    closing = desk.fill(account, "sell", "10000")
    position = Position.objects.get()
    assert position.closed_at is not None
    bust(wish(closing), maker, checker)
    assert standing(account) == before
    position.refresh_from_db()
    assert (position.qty, position.closed_at, position.realized_pl) == (10_000, None, 0)


def test_a_later_close_of_what_never_was_stands_and_is_a_position_of_its_side(
    account: Account, maker: User, checker: User
) -> None:
    opening = desk.fill(account, "buy", "10000")
    desk.fill(account, "sell", "10000")
    bust(wish(opening), maker, checker)
    position = Position.objects.open().get()
    assert (position.side, position.qty, position.avg_price) == ("sell", 10_000, D("1.1"))


def test_a_position_that_is_gone_takes_its_protection_with_it(account: Account, maker: User, checker: User) -> None:
    order = desk.fill(account, "buy", "10000", sl="1.05", tp="1.2")
    bust(wish(order), maker, checker)
    ended = account.orders.brackets()
    assert {(each.status, each.reason) for each in ended} == {("cancelled", Reason.POSITION_CLOSED)}
    assert not account.positions.open().exists()


def test_protection_follows_what_is_left(account: Account, maker: User, checker: User) -> None:
    desk.fill(account, "buy", "10000", sl="1.05")
    order = desk.fill(account, "buy", "5000")
    assert account.orders.live().get().qty == 15_000
    bust(wish(order), maker, checker)
    assert account.orders.live().get().qty == 10_000


def test_spot_protection_of_a_busted_order_ends(maker: User, checker: User) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    spot = account_of(Profile.SPOT)
    before = standing(spot)
    order = desk.fill(spot, "buy", "0.1", "BTCUSDT", sl="50000", tp="70000")
    bust(wish(order), maker, checker)
    assert standing(spot) == before
    assert not spot.orders.live().exists()


def test_an_asset_that_was_spent_cannot_be_taken_back(maker: User, checker: User) -> None:
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    spot = account_of(Profile.SPOT)
    order = desk.fill(spot, "buy", "0.1", "BTCUSDT")
    desk.fill(spot, "sell", "2.1", "BTCUSDT")
    asked = busts.ask(wish(order), by=maker)
    before = standing(spot)
    with pytest.raises(BustRefused, match=r"has only 0 BTC free, and 0\.1 would leave it"):
        busts.approve(asked.pk, by=checker)
    assert standing(spot) == before
    assert Bust.objects.get().state == BustState.REQUESTED


def test_a_busted_order_stays_filled_and_says_what_happened(account: Account, maker: User, checker: User) -> None:
    order = desk.fill(account, "buy", "10000")
    made = bust(wish(order), maker, checker)
    order.refresh_from_db()
    assert (order.status, order.filled_qty, order.reason) == ("filled", 10_000, Reason.FILL_BUSTED)
    event = order.events.get(kind=EventKind.BUSTED)
    assert (event.by, event.details["bust"], event.details["reason"]) == (checker, str(made.pk), "Bad tick")
    assert not Execution.objects.standing().exists()


def test_a_corrected_fill_can_be_busted_too(account: Account, maker: User, checker: User) -> None:
    before = standing(account)
    order = desk.fill(account, "buy", "10000")
    bust(wish(order, price="1.09000"), maker, checker)
    assert Position.objects.open().get().avg_price == D("1.09")
    bust(wish(order), maker, checker)
    assert standing(account) == before


def test_the_preview_says_what_the_bust_then_does_and_changes_nothing(
    account: Account, maker: User, checker: User
) -> None:
    order = desk.fill(account, "buy", "10000", sl="1.05")
    before = standing(account)
    version = Account.objects.get(pk=account.pk).version
    [effect] = busts.effects(wish(order), by=maker)
    assert effect.balances == [("USD", D("99994.49"), D(100_000))]
    assert effect.positions == [("EURUSD", D(10_000), D(0))]
    assert effect.fees == [("USD", D("5.51"), D(0))]
    assert effect.ended == list(account.orders.brackets().values_list("pk", flat=True))
    assert (standing(account), Account.objects.get(pk=account.pk).version) == (before, version)
    assert not Bust.objects.exists()


def test_the_fills_of_a_bad_interval_are_found(account: Account) -> None:
    good = desk.fill(account, "buy", "10000")
    factories.quote("EURUSD", "1.25000", "1.25010")
    bad = desk.fill(account, "buy", "1000")
    first, last = (each.executions.get() for each in (good, bad))
    at: dict[str, Any] = {"since": first.at, "until": last.at}
    assert busts.chosen(good.instrument, **at) == [first, last]
    assert busts.chosen(good.instrument, **at, low=D("1.2")) == [last]
    assert busts.chosen(good.instrument, **at, high=D("1.2")) == [first]


# --- four eyes --------------------------------------------------------------------------------------------------------


def test_nobody_approves_what_he_asked_for_himself(account: Account, maker: User) -> None:
    asked = busts.ask(wish(desk.fill(account, "buy", "10000")), by=maker)
    before = standing(account)
    with pytest.raises(BustRefused, match="somebody else has to approve it"):
        busts.approve(asked.pk, by=maker)
    assert standing(account) == before


def bust_past_the_service(asked: Bust) -> None:
    BustedExecution.objects.create(bust=asked, execution=Execution.objects.get())
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what a commit does


def test_the_database_refuses_it_too(account: Account, maker: User, checker: User) -> None:
    asked = busts.ask(wish(desk.fill(account, "buy", "10000")), by=maker)
    with pytest.raises(DatabaseError, match="bust_four_eyes"), transaction.atomic():
        Bust.objects.update(state="approved", checker=maker, decided_at="2026-01-01T00:00Z")
    with pytest.raises(DatabaseError, match="Cannot update rows"), transaction.atomic():
        Bust.objects.update(maker=checker)
    with pytest.raises(DatabaseError, match="no approved bust names the execution"), transaction.atomic():
        bust_past_the_service(asked)


def test_what_is_decided_is_not_decided_again(account: Account, maker: User, checker: User) -> None:
    made = bust(wish(desk.fill(account, "buy", "10000")), maker, checker)
    for decide in (lambda: busts.approve(made.pk, by=checker), lambda: busts.withdraw(made.pk, by=maker)):
        with pytest.raises(BustRefused, match="It is decided already: approved"):
            decide()
    with pytest.raises(DatabaseError), transaction.atomic():
        Bust.objects.update(decision="other")


def test_requests_that_cannot_be_carried_out_are_refused(account: Account, maker: User, checker: User) -> None:
    order = desk.fill(account, "buy", "10000")
    for price, sentence in (("1.100001", "a multiple of"), ("1.10010", "has that price already")):
        with pytest.raises(BustRefused, match=sentence):
            busts.ask(wish(order, price=price), by=maker)
    busts.ask(wish(order), by=maker)
    with pytest.raises(BustRefused, match="decide that one first"):
        busts.ask(wish(order), by=maker)
    with pytest.raises(BustRefused, match="Your role does not allow that"):
        busts.ask(wish(order), by=factories.user("auditor", is_staff=True))
    assert Bust.objects.count() == 1
    assert Balance.objects.get().total == D("99994.49")
