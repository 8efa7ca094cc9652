"""Brackets, order types and durations as TradingView's page sees them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.choices import Profile
from tests import factories
from tests.tvapi.contract import refused
from trading import positions

D = Decimal
LIMIT = {
    "instrument": "EURUSD",
    "side": "buy",
    "type": "limit",
    "qty": 10000,
    "limitPrice": "1.09",
    "currentBid": "1.1",
    "currentAsk": "1.1001",
}
MARKET = {**LIMIT, "type": "market", "limitPrice": ""}
PAIR = {"stopLoss": "1.08", "takeProfit": "1.12"}


@pytest.fixture
def account(trader):
    made = factories.account(owner=trader, number="FX")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return made


def place(tv, form: dict, account: str = "FX") -> str:
    answer = tv.post(f"/accounts/{account}/orders", form)
    assert answer["s"] == "ok", answer
    return answer["d"]["orderId"]


def shown(tv, account: str = "FX") -> dict[str, dict]:
    return {order["id"]: order for order in tv.d(f"/accounts/{account}/orders", locale="en")}


def brackets(tv, parent: str, account: str = "FX") -> dict[str, dict]:
    """By type: stop loss and take profit."""
    return {each["type"]: each for each in shown(tv, account).values() if each.get("parentId") == parent}


def test_the_next_answer_shows_the_parent_with_its_inactive_brackets(tv, account):
    """BRK-5."""
    order_id = place(tv, {**LIMIT, **PAIR})
    orders = shown(tv)
    assert len(orders) == 3
    assert orders[order_id]["status"] == "working"
    assert not orders[order_id].keys() & {"parentId", "parentType", "isTrailingStop", "trailingStopPips"}
    stop, limit = (brackets(tv, order_id)[kind] for kind in ("stop", "limit"))
    for bracket in (stop, limit):
        assert (bracket["status"], bracket["side"], bracket["qty"]) == ("inactive", "sell", 10000)
        assert (bracket["parentType"], bracket["filledQty"]) == ("order", 0)
    assert (stop["stopPrice"], limit["limitPrice"]) == (D("1.08"), D("1.12"))
    assert "limitPrice" not in stop
    assert "stopPrice" not in limit


def test_filled_the_brackets_work_for_the_position(tv, account):
    """BRK-15."""
    place(tv, {**MARKET, **PAIR})
    [position] = tv.d("/accounts/FX/positions")
    pair = brackets(tv, position["id"])
    assert len(pair) == 2
    assert {each["status"] for each in pair.values()} == {"working"}
    assert {each["parentType"] for each in pair.values()} == {"position"}


def test_a_removed_bracket_is_shown_cancelled(tv, account):
    """BRK-7."""
    order_id = place(tv, {**LIMIT, **PAIR})
    assert tv.put(f"/accounts/FX/orders/{order_id}", {"qty": 10000, "takeProfit": "1.13"})["s"] == "ok"
    pair = brackets(tv, order_id)
    assert (pair["stop"]["status"], pair["stop"]["message"]["text"]) == ("cancelled", "It was removed.")
    assert (pair["limit"]["status"], pair["limit"]["limitPrice"]) == ("inactive", D("1.13"))


def test_a_positions_brackets_are_set_and_removed_by_put(tv, account):
    """BRK-17."""
    place(tv, MARKET)
    [position] = tv.d("/accounts/FX/positions")
    path = f"/accounts/FX/positions/{position['id']}"
    answer = tv.put(path, {**PAIR, "currentAsk": "1.1001", "currentBid": "1.1"})
    assert answer["d"].keys() == {"transactionId"}
    pair = brackets(tv, position["id"])
    assert {(each["status"], each["qty"]) for each in pair.values()} == {("working", 10000)}
    assert tv.put(path, {"stopLoss": "1.085"})["s"] == "ok"
    pair = brackets(tv, position["id"])
    assert (pair["stop"]["status"], pair["stop"]["stopPrice"]) == ("working", D("1.085"))
    assert pair["limit"]["status"] == "cancelled"
    assert refused(tv.put(path, {"stopLoss": "1.2"})) == "The stop loss must lie below 1.1."
    assert tv.put(path, {})["s"] == "ok"
    assert brackets(tv, position["id"])["stop"]["status"] == "cancelled"


def test_only_a_trailing_stop_has_its_pips(tv, account):
    """BRK-20, BRK-21."""
    order_id = place(tv, {**LIMIT, "stopLoss": "1.05", "trailingStopPips": "50", "takeProfit": "1.12"})
    pair = brackets(tv, order_id)
    assert (pair["stop"]["isTrailingStop"], pair["stop"]["trailingStopPips"]) == (True, 50)
    assert pair["stop"]["stopPrice"] == D("1.085")
    for each in (shown(tv)[order_id], pair["limit"]):
        assert not each.keys() & {"isTrailingStop", "trailingStopPips"}


def test_spot_brackets_leave_their_order_when_it_is_filled(tv, trader):
    """BRK-13."""
    factories.account(
        Profile.SPOT, owner=trader, number="S", symbols=["BTCUSDT"], base="USDT", deposits={"USDT": D(50_000)}
    )
    factories.quote("BTCUSDT", "60000.00", "60010.00", size="100")
    form = {**MARKET, "instrument": "BTCUSDT", "qty": "0.5", "stopLoss": "55000", "takeProfit": "65000"}
    order_id = place(tv, form, "S")
    assert not brackets(tv, order_id, "S")
    pair = [each for each in shown(tv, "S").values() if each["id"] != order_id]
    assert {(each["status"], each["qty"]) for each in pair} == {("working", D("0.5"))}
    assert not any(each.keys() & {"parentId", "parentType"} for each in pair)
    [bitcoin] = [each for each in tv.d("/accounts/S/balances") if each["symbol"] == "BTC"]
    assert (bitcoin["reserved"], bitcoin["available"]) == (D("0.5"), 0)


def test_native_reverse_turns_the_position(tv, account):
    """POS-5."""
    place(tv, MARKET)
    [position] = tv.d("/accounts/FX/positions")
    path = f"/accounts/FX/positions/{position['id']}"
    assert refused(tv.put(path, {"side": "buy"})) == "The position is on that side already."
    assert refused(tv.put(path, {"side": "hold"})) == "The field “side” must be one of: buy, sell."
    assert tv.put(path, {"side": "sell", "currentAsk": "1.1001", "currentBid": "1.1"})["s"] == "ok"
    turned, closed = tv.d("/accounts/FX/positions")
    assert (turned["side"], turned["qty"], closed["qty"]) == ("sell", 10000, 0)


def test_a_stop_limit_order_has_both_prices(tv, account):
    order_id = place(tv, {**LIMIT, "type": "stoplimit", "stopPrice": "1.11", "limitPrice": "1.112"})
    order = shown(tv)[order_id]
    assert (order["type"], order["stopPrice"], order["limitPrice"]) == ("stoplimit", D("1.11"), D("1.112"))


def test_a_duration_with_a_date_shows_it(tv, account):
    """ORD-22."""
    until = int((timezone.now() + timedelta(days=2)).timestamp())
    gtd = place(tv, {**LIMIT, "durationType": "gtd", "durationDateTime": until})
    day = place(tv, {**LIMIT, "durationType": "day"})
    assert shown(tv)[gtd]["duration"] == {"type": "gtd", "datetime": until}
    assert shown(tv)[day]["duration"] == {"type": "day"}
    assert tv.put(f"/accounts/FX/orders/{gtd}", {"qty": 10000, "durationType": "gtc"})["s"] == "ok"
    assert shown(tv)[gtd]["duration"] == {"type": "gtc"}


# --- previews ---------------------------------------------------------------------------------------------------------


def preview(tv, form: dict, **change: object) -> dict:
    answer = tv.post("/accounts/FX/previewOrder", {**form, **change}, locale="en")
    assert answer["s"] == "ok", answer
    return answer["d"]


def test_a_preview_says_what_the_order_would_cost_and_stores_nothing(tv, account):
    """PRV-3, PRV-4."""
    factories.change_conditions(account.group, commission_kind="per_million", commission_rate=30)
    before = type(account).objects.get(pk=account.pk).version
    estimate = preview(tv, {**LIMIT, **PAIR})
    rows = {row["title"]: row["value"] for section in estimate["sections"] for row in section["rows"]}
    assert rows == {
        "Price": "1.09",
        "Value": "10,900 USD",
        "Commission": "0.33 USD",
        "Margin": "218 USD",
        "Stop loss": "-100 USD",
        "Take profit": "300 USD",
    }
    assert not estimate.keys() & {"errors", "warnings"}
    assert not account.orders.exists()
    assert type(account).objects.get(pk=account.pk).version == before


def test_a_preview_says_what_would_be_refused_and_confirms_nothing(tv, account):
    estimate = preview(tv, LIMIT, qty=9_000_000, type="market", limitPrice="")
    assert estimate["errors"] == ["Not enough free margin: 198018 USD needed, 100000 USD free."]
    assert "confirmId" not in estimate
    assert preview(tv, LIMIT, stopLoss="1.2")["errors"] == ["The stop loss must lie below 1.09."]


def test_a_preview_warns_of_a_limit_that_is_filled_at_once(tv, account):
    assert preview(tv, LIMIT, limitPrice="1.2")["warnings"] == [
        "The market is at the limit price already: the order is filled at once."
    ]


def test_a_preview_of_nothing_is_refused(tv, account):
    for change, sentence in [
        ({"instrument": "GBPUSD"}, "There is no instrument GBPUSD in this account."),
        ({"id": "999"}, "There is no such order."),
        ({"id": "x"}, "There is no such order."),
        ({"qty": "0"}, "The field “qty” must be above zero."),
    ]:
        assert refused(tv.post("/accounts/FX/previewOrder", {**LIMIT, **change}, locale="en")) == sentence


def test_a_confirmation_works_once_and_for_its_own_contents(tv, account):
    """PRV-4."""
    confirm_id = preview(tv, {**LIMIT, **PAIR})["confirmId"]
    other = tv.post("/accounts/FX/orders", {**LIMIT, **PAIR, "qty": 20000}, confirmId=confirm_id)
    assert refused(other).startswith("The order is not the one that was confirmed.")
    unprotected = tv.post("/accounts/FX/orders", LIMIT, confirmId=confirm_id)
    assert refused(unprotected).startswith("The order is not the one that was confirmed.")
    assert not account.orders.exists()
    first = tv.post("/accounts/FX/orders", {**LIMIT, **PAIR}, confirmId=confirm_id, requestId="r1")
    again = tv.post("/accounts/FX/orders", {**LIMIT, **PAIR}, confirmId=confirm_id, requestId="r1")
    assert first["d"]["orderId"] == again["d"]["orderId"]
    used = tv.post("/accounts/FX/orders", {**LIMIT, **PAIR}, confirmId=confirm_id, requestId="r2")
    assert refused(used).startswith("This confirmation was used already.")
    assert account.orders.count() == 3


@pytest.mark.parametrize("confirm_id", ["112358", "a:b:c", "é", "x" * 512])
def test_an_unknown_confirmation_is_refused(tv, account, confirm_id):
    answer = tv.post("/accounts/FX/orders", LIMIT, confirmId=confirm_id)
    assert refused(answer).startswith("This confirmation is unknown or too old.")
    assert not account.orders.exists()


def test_a_confirmation_of_another_account_or_of_long_ago_is_refused(tv, trader, account, time_machine):
    factories.account(owner=trader, number="OTHER", of_group=account.group)
    confirm_id = preview(tv, LIMIT)["confirmId"]
    answer = tv.post("/accounts/OTHER/orders", LIMIT, confirmId=confirm_id)
    assert refused(answer).startswith("The order is not the one that was confirmed.")
    time_machine.move_to(timezone.now() + timedelta(minutes=11))
    answer = tv.post("/accounts/FX/orders", LIMIT, confirmId=confirm_id)
    assert refused(answer).startswith("This confirmation is unknown or too old.")


def test_a_change_is_previewed_and_confirmed_like_a_new_order(tv, account):
    order_id = place(tv, {**LIMIT, **PAIR})
    confirm_id = preview(tv, {**LIMIT, **PAIR}, qty=20000, id=order_id)["confirmId"]
    path = f"/accounts/FX/orders/{order_id}"
    change = {"qty": 20000, "limitPrice": "1.09", **PAIR}
    wrong = tv.put(path, {**change, "qty": 30000}, confirmId=confirm_id)
    assert refused(wrong).startswith("The order is not the one that was confirmed.")
    assert tv.put(path, change, confirmId=confirm_id)["s"] == "ok"
    assert shown(tv)[order_id]["qty"] == 20000
    assert refused(tv.put(path, change, confirmId=confirm_id)).startswith("This confirmation was used already.")


# --- latency ----------------------------------------------------------------------------------------------------------


def test_five_requests_carry_a_transaction_id_each_of_its_own(tv, account):
    """LAT-1."""
    answers = [tv.post("/accounts/FX/orders", LIMIT), tv.post("/accounts/FX/orders", MARKET)]
    resting = answers[0]["d"]["orderId"]
    answers.append(tv.put(f"/accounts/FX/orders/{resting}", {"qty": 20000}))
    answers.append(tv.delete(f"/accounts/FX/orders/{resting}"))
    [position] = tv.d("/accounts/FX/positions")
    answers.append(tv.put(f"/accounts/FX/positions/{position['id']}", {"stopLoss": "1.08"}))
    answers.append(tv.delete(f"/accounts/FX/positions/{position['id']}"))
    assert len({answer["d"]["transactionId"] for answer in answers}) == 6


REPORT = {
    "transactionId": "1adf4578-cdf",
    "transactionType": "place_order",
    "instrument": "EURUSD",
    "side": "buy",
    "ask": "1.287367",
    "bid": "1.28554",
    "timestamp": "1548406235000",
    "roundTripDuration": "183.5",
    "qty": "1",
}


def test_what_the_page_measured_is_kept_once(tv, account):
    """LAT-2."""
    from trading.models import LatencyReport

    assert tv.post("/accounts/FX/trackLatency", REPORT) == {"s": "ok"}
    assert tv.post("/accounts/FX/trackLatency", {**REPORT, "roundTripDuration": "1"}, locale="en") == {"s": "ok"}
    report = LatencyReport.objects.get()
    assert (report.kind, report.round_trip_ms, report.quoted_ms) == ("place_order", D("183.5"), D(1548406235000))
    assert (report.account, report.qty, report.ask) == (account, D(1), D("1.287367"))


@pytest.mark.parametrize(
    "change",
    [
        {"transactionId": ""},
        {"transactionId": "x" * 65},
        {"transactionType": "other"},
        {"instrument": "NOPE"},
        {"timestamp": "today"},
        {"roundTripDuration": "NaN"},
    ],
)
def test_a_broken_report_is_refused(tv, account, change):
    from trading.models import LatencyReport

    refused(tv.post("/accounts/FX/trackLatency", {**REPORT, **change}))
    assert not LatencyReport.objects.exists()


STOP = {**LIMIT, "type": "stop", "limitPrice": "", "stopPrice": "1.12"}


def previewed_and_changed(tv, of: str, **change: object) -> tuple[dict, str]:
    """The preview of a change, and the sentence that the change itself is refused with, if it is."""
    order = {name: value for name, value in shown(tv)[of].items() if name in ("instrument", "side", "type", "qty")}
    estimate = preview(tv, order, id=of, **change)
    confirm_id = estimate.get("confirmId", "")
    answer = tv.put(f"/accounts/FX/orders/{of}", {"qty": order["qty"], **change}, confirmId=confirm_id, locale="en")
    return estimate, answer.get("errmsg", "")


@pytest.mark.parametrize("duration", ["day", "gtd"])
def test_a_previewed_change_without_a_duration_keeps_it(tv, account, duration):
    until = int((timezone.now() + timedelta(days=2)).timestamp())
    date = {"durationDateTime": until} if duration == "gtd" else {}
    of = place(tv, {**LIMIT, "durationType": duration, **date})
    estimate, refusal = previewed_and_changed(tv, of, qty=20000)
    assert (refusal, "errors" in estimate) == ("", False)
    due = account.orders.get().expires_at
    rows = {row["title"]: row["value"] for section in estimate["sections"] for row in section["rows"]}
    assert rows["Good till"] == f"{due:%Y-%m-%d %H:%M} UTC"
    assert shown(tv)[of]["duration"] == {"type": duration, **({"datetime": until} if date else {})}


def test_a_bracket_is_previewed_as_a_bracket(tv, account):
    """Not as an order of its own, which would lie on the wrong side of the market or too far from it."""
    factories.change_conditions(account.group, price_band=D("0.01"))
    of = brackets(tv, place(tv, {**STOP, "stopPrice": "1.105", "stopLoss": "1.104"}))["stop"]["id"]
    for price in ("1.1045", "1.05"):
        estimate, refusal = previewed_and_changed(tv, of, stopPrice=price)
        assert (refusal, "errors" in estimate) == ("", False)
        assert account.orders.get(pk=of).stop_price == D(price)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"qty": 20000}, "A stop loss or take profit always has the quantity of what it protects."),
        ({"stopPrice": "1.13"}, "The stop loss must lie below 1.12."),
        ({"takeProfit": "1.2"}, "A stop loss or take profit cannot itself have a stop loss or take profit."),
    ],
)
def test_what_a_bracket_is_refused_its_preview_says(tv, account, change, sentence):
    of = brackets(tv, place(tv, {**STOP, "stopLoss": "1.115"}))["stop"]["id"]
    estimate, refusal = previewed_and_changed(tv, of, **change)
    assert (estimate["errors"], refusal) == ([sentence], sentence)
    assert "confirmId" not in estimate


def test_brackets_of_a_partly_filled_order_are_previewed_against_the_market(tv, account):
    factories.quote("EURUSD", "1.10000", "1.10010", size="4000")
    of = place(tv, {**LIMIT, "limitPrice": "1.1001"})
    factories.quote("EURUSD", "1.09500", "1.10020")
    estimate, refusal = previewed_and_changed(tv, of, stopLoss="1.098")
    assert (estimate["errors"], refusal) == (
        ["The stop loss must lie below 1.095."],
        "The stop loss must lie below 1.095.",
    )


def test_brackets_of_a_closing_order_are_refused_by_its_preview(tv, account):
    place(tv, MARKET)
    of = str(positions.close(account.pk, account.positions.get().pk, request_id="close-1").pk)
    estimate, refusal = previewed_and_changed(tv, of, stopLoss="1.2")
    sentence = "An order that closes a position takes no stop loss or take profit."
    assert (estimate["errors"], refusal) == ([sentence], sentence)


def test_an_order_that_moves_beyond_its_bracket_is_refused_by_its_preview_too(tv, account):
    of = place(tv, {**LIMIT, **PAIR})
    estimate, refusal = previewed_and_changed(tv, of, limitPrice="1.075", **PAIR)
    sentence = "The stop loss must lie below 1.075."
    assert (estimate["errors"], refusal) == ([sentence], sentence)
