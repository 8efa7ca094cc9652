"""Positions and executions through the API."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.choices import CommissionKind, Profile
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import client_of, refused
from trading import positions


@pytest.fixture
def account(trader):
    group = factories.group(
        symbols=["EURUSD", "GBPUSD"], commission_kind=CommissionKind.PER_MILLION, commission_rate=Decimal(30)
    )
    made = factories.account(owner=trader, number="FX", of_group=group)
    factories.quote("EURUSD", "1.10000", "1.10010")
    return made


@pytest.fixture
def bought(account):
    """A position of 20,000 EURUSD, bought at 1.10010."""
    desk.fill(account, "buy", "20000")
    return account.positions.get()


def test_position_shows_its_unsigned_quantity_and_what_closing_now_would_bring(tv, bought):
    factories.quote("EURUSD", "1.10110", "1.10120")
    assert tv.d("/accounts/FX/positions", locale="en") == [
        {
            "id": str(bought.pk),
            "instrument": "EURUSD",
            "qty": 20000,
            "side": "buy",
            "avgPrice": Decimal("1.1001"),
            "unrealizedPl": 20,
        }
    ]


def test_short_position_is_a_sell_valued_at_the_ask(tv, account):
    desk.fill(account, "sell", "10000")
    [position] = tv.d("/accounts/FX/positions")
    assert (position["side"], position["qty"], position["unrealizedPl"]) == ("sell", 10000, -1)


def test_closing_is_an_order_at_the_market_and_leaves_the_position_with_zero_for_a_minute(
    tv, account, bought, time_machine
):
    assert tv.delete(f"/accounts/FX/positions/{bought.pk}")["s"] == "ok"
    [closing, _opening] = tv.d("/accounts/FX/orders")
    assert (closing["side"], closing["type"], closing["qty"]) == ("sell", "market", 20000)
    [closed] = tv.d("/accounts/FX/positions")
    assert (closed["id"], closed["qty"], closed["unrealizedPl"]) == (str(bought.pk), 0, 0)
    assert tv.d("/accounts/FX/state")["unrealizedPl"] == 0
    time_machine.move_to(timezone.now() + timedelta(seconds=61))
    assert tv.d("/accounts/FX/positions") == []


def test_closed_positions_are_hidden_at_once_where_the_setting_says_so(tv, account, bought, settings):
    settings.SHOW_CLOSED_POSITIONS_SECONDS = 0
    tv.delete(f"/accounts/FX/positions/{bought.pk}")
    assert tv.d("/accounts/FX/positions") == []


def test_partial_close_takes_its_amount(tv, account, bought):
    assert tv.delete(f"/accounts/FX/positions/{bought.pk}", {"amount": "5000"})["s"] == "ok"
    assert [position["qty"] for position in tv.d("/accounts/FX/positions")] == [15000]


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("30000", "The position holds only 20000 that can be closed."),
        ("0", "The field “amount” must be above zero."),
        ("-5000", "The field “amount” must be above zero."),
        ("x", "The field “amount” must be a number, written like 1.25."),
        ("1500", "The quantity for EURUSD must be a multiple of 1000."),
    ],
)
def test_wrong_amount_is_refused_and_closes_nothing(tv, account, bought, amount, sentence):
    assert refused(tv.delete(f"/accounts/FX/positions/{bought.pk}", {"amount": amount})) == sentence
    assert account.orders.live().count() == 0


def test_closing_twice_with_one_request_id_is_one_order(tv, account, bought):
    for _ in range(2):
        assert tv.delete(f"/accounts/FX/positions/{bought.pk}", requestId="close-1")["s"] == "ok"
    assert account.orders.filter(closes=bought).count() == 1


def test_a_position_that_is_being_closed_is_not_closed_again(tv, account, bought):
    positions.close(account.pk, bought.pk, request_id="close-1")
    answer = tv.delete(f"/accounts/FX/positions/{bought.pk}", requestId="close-2")
    assert refused(answer) == "This position is being closed already."


def test_hedging_account_shows_each_trade_as_its_own_position(tv, trader):
    account = factories.account(Profile.FX_HEDGING, owner=trader, number="HEDGE")
    factories.quote("EURUSD", "1.10000", "1.10010")
    desk.fill(account, "buy", "10000")
    desk.fill(account, "sell", "5000")
    shown = {(position["side"], position["qty"]) for position in tv.d("/accounts/HEDGE/positions")}
    assert shown == {("buy", 10000), ("sell", 5000)}


STRANGE_IDS = ["0", "-1", "9" * 5000, "9223372036854775807", "abc", "1%2F2", "%0A", "%00", "%FF", "", "a%2Forders"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_unknown_foreign_and_closed_positions_are_refused_in_the_same_words(tv, account, bought, method):
    stranger = factories.account(number="OTHERS")
    desk.fill(stranger, "buy", "10000")
    desk.fill(account, "sell", "20000")
    for position_id in [str(stranger.positions.get().pk), str(bought.pk), *STRANGE_IDS]:
        _status, answer = tv.send(method, f"/accounts/FX/positions/{position_id}")
        assert refused(answer) == "There is no such open position.", position_id
    assert stranger.positions.get().qty == 10000


def test_nobody_closes_a_position_through_its_owners_account(account, bought):
    stranger = client_of(factories.user())
    assert refused(stranger.delete(f"/accounts/FX/positions/{bought.pk}")) == "There is no such account."
    assert account.orders.live().count() == 0


def test_executions_are_the_fills_of_one_instrument_the_latest_first(tv, account, bought):
    desk.fill(account, "sell", "10000")
    factories.quote("GBPUSD", "1.30000", "1.30010")
    desk.fill(account, "buy", "1000", "GBPUSD")
    closing, opening = tv.d("/accounts/FX/executions", instrument="EURUSD", locale="en")
    assert opening.pop("time") == pytest.approx(timezone.now().timestamp(), abs=60)
    assert opening == {
        "id": opening["id"],
        "instrument": "EURUSD",
        "price": Decimal("1.1001"),
        "qty": 20000,
        "side": "buy",
        "orderId": str(account.orders.order_by("pk")[0].pk),
        "isClose": False,
        "positionId": str(bought.pk),
        "commission": Decimal("0.67"),  # 22,002 USD × 30 / 1,000,000 is a little above 0.66
    }
    assert (closing["side"], closing["qty"], closing["isClose"]) == ("sell", 10000, True)
    assert closing["positionId"] == str(bought.pk)


def test_fill_that_turns_a_position_is_shown_once_with_the_position_it_closed(tv, account, bought):
    desk.fill(account, "sell", "50000")
    turning, _opening = tv.d("/accounts/FX/executions", instrument="EURUSD")
    assert (turning["qty"], turning["isClose"], turning["positionId"]) == (50000, True, str(bought.pk))


def test_executions_of_a_spot_account_touch_no_position(tv, trader):
    account = factories.account(
        Profile.SPOT, owner=trader, number="SPOT", symbols=["BTCUSDT"], base="USDT", deposits={"USDT": Decimal(50000)}
    )
    factories.quote("BTCUSDT", "40000.00", "40010.00")
    desk.fill(account, "buy", "0.5", "BTCUSDT")
    [execution] = tv.d("/accounts/SPOT/executions", instrument="BTCUSDT")
    assert execution["isClose"] is False
    assert "positionId" not in execution


@pytest.mark.parametrize(("most", "count"), [(None, 3), (2, 2), (0, 0), (10**20, 3)])
def test_executions_are_as_many_as_asked(tv, account, most, count):
    for _ in range(3):
        desk.fill(account, "buy", "1000")
    query = {} if most is None else {"maxCount": most}
    assert len(tv.d("/accounts/FX/executions", instrument="EURUSD", **query)) == count


def test_executions_of_an_instrument_no_longer_offered_are_still_shown(tv, account, bought):
    factories.take_away(account.group, "EURUSD")
    assert len(tv.d("/accounts/FX/executions", instrument="EURUSD")) == 1


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "The field “instrument” is missing."),
        ({"instrument": "NOPE"}, "There is no instrument NOPE in this account."),
        ({"instrument": "a/b"}, "There is no instrument a/b in this account."),
        ({"instrument": "EURUSD", "maxCount": "-1"}, "The field “maxCount” must be a whole number, 0 or more."),
    ],
)
def test_executions_need_a_known_instrument(tv, account, query, sentence):
    assert refused(tv.get("/accounts/FX/executions", **query)) == sentence


@pytest.mark.django_db(transaction=True)
def test_number_of_queries_does_not_grow_with_positions_and_fills(tv, trader, django_assert_max_num_queries):
    account = factories.account(Profile.FX_HEDGING, owner=trader, number="HEDGE")
    factories.quote("EURUSD", "1.10000", "1.10010")
    for _ in range(5):
        desk.fill(account, "buy", "1000")
    with django_assert_max_num_queries(12):  # token, account, and what its snapshot is made of
        assert len(tv.d("/accounts/HEDGE/positions")) == 5
    with django_assert_max_num_queries(5):  # token, account, whether there are any, fills, their positions
        assert len(tv.d("/accounts/HEDGE/executions", instrument="EURUSD")) == 5
