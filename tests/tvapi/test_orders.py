"""Orders through the API: placed, shown, modified, cancelled, refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.choices import Profile
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import client_of, refused
from trading.models import Order

MARKET = {"instrument": "EURUSD", "side": "buy", "type": "market", "qty": 10000}
LIMIT = {**MARKET, "type": "limit", "limitPrice": "1.09000", "durationType": "gtc"}
STOP = {**MARKET, "type": "stop", "stopPrice": "1.12000", "durationType": "gtc"}


@pytest.fixture
def account(trader):
    factories.instrument("EURUSD", min_qty=Decimal(2000))
    made = factories.account(owner=trader, number="FX")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return made


@pytest.fixture
def place(tv, account):
    def place(form: dict, **query) -> str:
        answer = tv.post("/accounts/FX/orders", {"currentBid": "1.1", "currentAsk": "1.1001", **form}, **query)
        assert answer["s"] == "ok", answer
        return answer["d"]["orderId"]

    return place


def shown(tv) -> dict:
    return {order["id"]: order for order in tv.d("/accounts/FX/orders", locale="en")}


def test_placed_order_is_in_the_next_answer_of_orders(tv, place):
    order_id = place(LIMIT, requestId="r1", locale="en")
    order = shown(tv)[order_id]
    assert order.pop("lastModified") == pytest.approx(timezone.now().timestamp(), abs=60)
    assert order == {
        "id": order_id,
        "instrument": "EURUSD",
        "qty": 10000,
        "side": "buy",
        "type": "limit",
        "limitPrice": Decimal("1.09"),
        "filledQty": 0,
        "duration": {"type": "gtc"},
        "status": "working",
    }


def test_market_order_fills_and_shows_its_average_price_and_no_others(tv, account, place):
    order_id = place(MARKET)
    order = shown(tv)[order_id]
    assert (order["status"], order["filledQty"], order["avgPrice"]) == ("filled", 10000, Decimal("1.1001"))
    assert not order.keys() & {"limitPrice", "stopPrice", "duration", "message"}


def test_what_was_charged_is_a_column_of_its_own(tv, account, place):
    """CFG-8."""
    factories.change_conditions(account.group, commission_kind="per_million", commission_rate=30)
    filled, resting = place({**MARKET, "qty": 100_000}), place(LIMIT)
    assert [column["id"] for column in tv.d("/config", locale="en")["orderCustomFields"]] == ["commission"]
    assert shown(tv)[filled]["customFields"] == [{"id": "commission", "value": "3.31 USD"}]
    assert "customFields" not in shown(tv)[resting]
    [past] = tv.d("/accounts/FX/ordersHistory", locale="de_DE")
    assert past["customFields"] == [{"id": "commission", "value": "3,31 USD"}]


def test_stop_order_has_a_stop_price_only(tv, place):
    order_id = place(STOP)
    order = shown(tv)[order_id]
    assert order["stopPrice"] == Decimal("1.12")
    assert "limitPrice" not in order


def test_same_request_id_gives_the_same_order_again(tv, account, place):
    confirm_id = tv.post("/accounts/FX/previewOrder", MARKET)["d"]["confirmId"]
    first = place(MARKET, requestId="Ab3dE6gH9j", confirmId=confirm_id)
    assert place(MARKET, requestId="Ab3dE6gH9j", confirmId=confirm_id) == first
    assert place(MARKET, requestId="another") != first
    assert account.orders.count() == 2


def test_requests_without_an_id_are_orders_of_their_own(account, place):
    assert place(MARKET) != place(MARKET)


def test_prices_the_user_saw_are_kept_with_the_order(place):
    order = Order.objects.get(pk=place(MARKET))
    details = order.events.get(kind="placed").details
    assert (details["user_bid"], details["user_ask"]) == ("1.1", "1.1001")


def test_empty_fields_count_as_not_sent_and_unknown_ones_are_tolerated(place, account):
    place({**MARKET, "limitPrice": "", "stopLoss": "", "cf_route": "smart", "whatever": "x"})
    assert account.orders.get().limit_price is None


def test_small_quantities_may_be_written_as_a_browser_does(tv, trader):
    account = factories.account(Profile.SPOT, owner=trader, number="S", base="USDT", symbols=())
    factories.instrument("BTCUSDT", min_qty=Decimal("1E-8"), qty_step=Decimal("1E-8"))
    factories.allow(account.group, "BTCUSDT")
    factories.quote("BTCUSDT", "60000.00", "60010.00")
    form = {"instrument": "BTCUSDT", "side": "buy", "type": "limit", "qty": "1e-7", "limitPrice": "50000"}
    assert tv.post("/accounts/S/orders", form)["s"] == "ok"
    assert account.orders.get().qty == Decimal("0.0000001")


def test_modify_changes_quantity_and_price_and_keeps_a_price_not_sent(tv, account, place):
    order_id = place(LIMIT)
    assert tv.put(f"/accounts/FX/orders/{order_id}", {"qty": 20000, "limitPrice": "1.08000"})["s"] == "ok"
    order = shown(tv)[order_id]
    assert (order["qty"], order["limitPrice"], order["status"]) == (20000, Decimal("1.08"), "working")
    assert tv.put(f"/accounts/FX/orders/{order_id}", {"qty": 30000})["s"] == "ok"
    assert (shown(tv)[order_id]["qty"], shown(tv)[order_id]["limitPrice"]) == (30000, Decimal("1.08"))


def test_cancel_works_with_and_without_a_body_and_once(tv, account, place):
    one, two = place(LIMIT), place(LIMIT)
    assert tv.delete(f"/accounts/FX/orders/{one}")["s"] == "ok"
    assert tv.delete(f"/accounts/FX/orders/{two}", {"x": 1}, locale="en")["s"] == "ok"
    assert {order["status"] for order in shown(tv).values()} == {"cancelled"}
    assert refused(tv.delete(f"/accounts/FX/orders/{one}")) == "The order is already cancelled."


REFUSALS = [
    ({"qty": "1000"}, "The smallest quantity for EURUSD is 2000."),
    ({"qty": "20000000"}, "The largest quantity for EURUSD is 10000000."),
    ({"qty": "2500"}, "The quantity for EURUSD must be a multiple of 1000."),
    ({"type": "limit"}, "This order needs a price."),
    ({"type": "limit", "limitPrice": "1.000001"}, "The price for EURUSD must be a multiple of 0.00001."),
    ({"type": "limit", "limitPrice": "-1"}, "The price must be above zero."),
    ({"type": "market", "limitPrice": "1.1"}, "An order of this type does not take that price."),
    ({"type": "stop", "stopPrice": "1.05"}, "A stop order to buy must lie above the market (now 1.1001)."),
    ({"type": "stoplimit", "stopPrice": "1.2"}, "This order needs a price."),
    ({"type": "magic"}, "The field “type” must be one of: market, limit, stop, stoplimit."),
    ({"side": "hold"}, "The field “side” must be one of: buy, sell."),
    ({"durationType": "week"}, "This account does not take orders with the duration week."),
    ({"durationType": "gtd"}, "Please say until when the order is good."),
    (
        {"durationType": "gtd", "durationDateTime": "x"},
        "The field “durationDateTime” must be a moment in Unix seconds.",
    ),
    ({"durationType": "gtd", "durationDateTime": "1"}, "The moment until which the order is good has passed already."),
    ({"durationType": "gtd", "durationDateTime": "99999999999"}, "An order can be good until "),
    (
        {"type": "stop", "stopPrice": "1.2", "durationType": "ioc"},
        "An order of the type Stop cannot have the duration Immediate or cancel.",
    ),
    ({"instrument": "NOPE"}, "There is no instrument NOPE in this account."),
    ({"instrument": "GBPUSD"}, "There is no instrument GBPUSD in this account."),
    ({"instrument": "eur/usd"}, "There is no instrument eur/usd in this account."),
    ({"qty": "6000000"}, "Not enough free margin: "),
    ({"stopLoss": "1.10000"}, "The stop loss must lie below 1.1."),
    ({"takeProfit": "1.10000"}, "The take profit must lie above 1.1."),
    ({"side": "sell", "stopLoss": "1.10010"}, "The stop loss must lie above 1.1001."),
    ({"side": "sell", "takeProfit": "1.10010"}, "The take profit must lie below 1.1001."),
    ({"type": "limit", "limitPrice": "1.05", "stopLoss": "1.06"}, "The stop loss must lie below 1.05."),
    ({"stopLoss": "1.000001"}, "The price for EURUSD must be a multiple of 0.00001."),
    ({"takeProfit": "-1"}, "The price must be above zero."),
    ({"trailingStopPips": "0"}, "The trailing distance for EURUSD must be a multiple of 0.1 pips."),
    ({"trailingStopPips": "1.55"}, "The trailing distance for EURUSD must be a multiple of 0.1 pips."),
    ({"trailingStopPips": "20000"}, "The trailing distance is greater than the price itself."),
    ({"guaranteedStop": "1.0"}, "Guaranteed stops are not offered."),
    ({"qty": ""}, "The field “qty” is missing."),
    ({"qty": "0"}, "The field “qty” must be above zero."),
    ({"qty": "-10000"}, "The field “qty” must be above zero."),
    ({"qty": "0.0000000000001"}, "The field “qty” has too many decimals."),
    ({"qty": "1e999999"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "NaN"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "Infinity"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "1_000"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "１０００"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "0x10"}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": "9" * 400}, "The field “qty” must be a number, written like 1.25."),
    ({"qty": " 10000"}, "The field “qty” must be a number, written like 1.25."),
    ({"currentBid": "x"}, "The field “currentBid” must be a number, written like 1.25."),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSALS)
def test_refused_order_says_why_and_leaves_nothing(tv, account, change, sentence):
    factories.instrument("GBPUSD")
    assert refused(tv.post("/accounts/FX/orders", {**MARKET, **change}, locale="en")).startswith(sentence)
    assert not Order.objects.exists()
    account.refresh_from_db()
    assert tv.d("/accounts/FX/state")["amData"][0][0][4] == "0.00"


def test_order_on_a_closed_market_is_refused_with_its_next_opening(tv, trader, time_machine_monday):
    factories.account(Profile.EXCHANGE, owner=trader, number="X", symbols=["AAPL"])
    factories.quote("AAPL", "180.00", "180.02")
    form = {**MARKET, "instrument": "AAPL", "qty": 1}
    assert refused(tv.post("/accounts/X/orders", form)).startswith("The market for AAPL is closed. It opens again at ")
    assert not Order.objects.exists()


@pytest.fixture
def time_machine_monday(time_machine):
    time_machine.move_to(datetime(2026, 11, 21, 12, tzinfo=UTC))  # a Saturday


def test_request_id_beyond_any_browsers_is_refused(tv, account):
    answer = tv.post("/accounts/FX/orders", MARKET, requestId="r" * 129)
    assert refused(answer) == "The field “requestId” is too long."


STRANGE_ORDER_IDS = [
    "0", "-1", "1.5", "9223372036854775807", "9223372036854775808", "9" * 5000, "abc", "1%2F2", "a%2Fstate", "%0A",
    "1%0A", "%00", "%FF", "%D9%A1", "", "%20", "orders%2F1",
]  # fmt: skip


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_unknown_and_foreign_orders_are_refused_in_the_same_words(tv, account, method):
    stranger = factories.account(number="OTHERS")
    foreign = desk.place(stranger, "buy", "10000", limit="1.0")
    for order_id in [str(foreign.pk), *STRANGE_ORDER_IDS]:
        _status, answer = tv.send(method, f"/accounts/FX/orders/{order_id}", "qty=20000")
        assert refused(answer) == "There is no such order.", order_id
    foreign.refresh_from_db()
    assert (foreign.status, foreign.qty) == ("placing", Decimal(10000))


def test_nobody_changes_an_order_through_its_owners_account(account, place):
    order_id = place(LIMIT)
    stranger = client_of(factories.user())
    assert refused(stranger.delete(f"/accounts/FX/orders/{order_id}")) == "There is no such account."
    assert refused(stranger.put(f"/accounts/FX/orders/{order_id}", {"qty": 1000})) == "There is no such account."
    assert refused(stranger.post("/accounts/FX/orders", MARKET)) == "There is no such account."
    assert account.orders.get().status == "working"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"qty": "x"},
        {"qty": "10000", "stopLoss": "1.09"},
        {"qty": "10000", "durationType": "gtd"},
        {"qty": "10000", "stopPrice": "1.2"},
    ],
)
def test_refused_modification_changes_nothing(tv, account, place, form):
    order_id = place(LIMIT)
    refused(tv.put(f"/accounts/FX/orders/{order_id}", form))
    order = account.orders.get()
    assert (order.qty, order.limit_price, order.revision) == (Decimal(10000), Decimal("1.09"), 0)


def test_rejected_order_carries_its_reason_in_the_language_asked_for(tv, account, time_machine):
    order = desk.place(account, "buy", "10000")
    time_machine.move_to(timezone.now() + timedelta(minutes=5))  # the price is too old by the time the venue looks
    desk.drain(account)
    assert shown(tv)[str(order.pk)]["message"] == {
        "type": "error",
        "text": "There is no current price for EURUSD. Please try again later.",
    }


def test_order_final_in_an_earlier_session_leaves_orders_but_not_the_history(tv, account, place, time_machine):
    done, open_ = place(LIMIT), place({**LIMIT, "limitPrice": "1.08"})
    tv.delete(f"/accounts/FX/orders/{done}")
    time_machine.move_to(timezone.now() + timedelta(hours=23))
    client = client_of(account.client.user)
    assert shown(client).keys() == {done, open_}
    time_machine.shift(timedelta(hours=2))
    client = client_of(account.client.user)
    assert shown(client).keys() == {open_}
    assert [order["id"] for order in client.d("/accounts/FX/ordersHistory")] == [done]


def test_history_has_the_latest_final_orders_first_and_as_many_as_asked(tv, account, place):
    ids = [place(LIMIT) for _ in range(5)]
    for order_id in ids[:4]:
        tv.delete(f"/accounts/FX/orders/{order_id}")
    newest_first = ids[3::-1]
    for most, expected in [(None, newest_first), (2, newest_first[:2]), (0, []), (10**12, newest_first)]:
        query = {} if most is None else {"maxCount": most}
        assert [order["id"] for order in tv.d("/accounts/FX/ordersHistory", **query)] == expected
    for wrong in ("-1", "x", "1.5", "1e3", "٣"):
        answer = tv.get("/accounts/FX/ordersHistory", maxCount=wrong)
        assert refused(answer) == "The field “maxCount” must be a whole number, 0 or more."


def test_number_of_queries_does_not_grow_with_the_orders(tv, account, place, django_assert_max_num_queries):
    for _ in range(6):
        place(LIMIT)
    with django_assert_max_num_queries(14):  # token, account, its snapshot; what it is made on is read anew here
        assert len(shown(tv)) == 6
