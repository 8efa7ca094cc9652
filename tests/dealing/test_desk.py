"""The dealing desk's live pages show what is, and stopping trading does what it says."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.choices import AccountState, Profile
from accounts.models import Account, User
from accounts.roles import Role
from backoffice.operations import jobs
from backoffice.operations.models import Job
from marketdata import quotes, ticklog
from tests import factories
from tests.backoffice.test_admin import browser, staff, url
from tests.trading import desk
from trading import liquidation, orders, valuation
from trading.errors import OrderRejected, Reason
from trading.models import MarginDecision, Order, Position
from trading.states import OrderStatus
from trading.venues.models import FixSession, VenueRoute

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> Account:
    for symbol, bid, ask in (("EURUSD", "1.10000", "1.10010"), ("USDJPY", "150.000", "150.010")):
        factories.instrument(symbol, session_regular="24x7")
        factories.quote(symbol, bid, ask)
    return factories.account(number="DESK-1", of_group=factories.group(symbols=["EURUSD", "USDJPY"]))


def dealer() -> Browser:
    made = Browser()
    user = User.objects.filter(username="the-dealing").first() or staff(Role.DEALING)
    made.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return made


def tables(page: str, **query: str) -> dict[str, list[list[str]]]:
    found = dealer().get(reverse(f"page:{page}"), query).context["tables"]
    return {str(title): [[text(cell) for cell in row] for row in table["rows"]] for title, table, _empty in found}


def text(cell: object) -> str:
    """What a cell says, without its link."""
    return str(cell).replace("</a>", "").rpartition(">")[2]


# --- live pages -------------------------------------------------------------------------------------------------------


def test_exposure_is_summed_by_instrument_and_by_currency(account: Account) -> None:
    other = factories.account(number="DESK-2", of_group=account.group)
    desk.fill(account, "buy", "30000")
    desk.fill(other, "sell", "10000")
    desk.fill(other, "buy", "2000", "USDJPY")
    found = tables("desk_exposure", currency="USD")
    assert found["by instrument"] == [
        ["EURUSD", "2", "30,000", "10,000", "20,000", "22,001", "-4", "Trading"],
        ["USDJPY", "1", "2,000", "0", "2,000", "1,999.93", "-0.13", "Trading"],
    ]
    # 30,000 bought at 1.1001 and 10,000 sold at 1.1; 2,000 dollars bought at 150.01.
    assert [row[:2] for row in found["by currency"]] == [
        ["EUR", "20,000"],
        ["JPY", "-300,020"],
        ["USD", "-20,003"],
    ]


def test_exposure_says_what_nothing_converts(account: Account) -> None:
    factories.currency("CHF")
    desk.fill(account, "buy", "1000")
    address = reverse("page:desk_exposure")
    words = "There is no rate from EUR to CHF: what is in EUR is not converted."
    assert words in dealer().get(address, {"currency": "CHF"}).content.decode()
    assert "There is no rate" not in dealer().get(address, {"currency": "USD"}).content.decode()


def test_the_desk_is_empty_without_trades(account: Account) -> None:
    for page, words in (
        ("desk_exposure", "Nobody holds a position."),
        ("desk_orders", "No order waits for a price."),
        ("desk_margin", "No position was ever closed for its margin."),
        ("desk_prices", "No tick of today was refused."),
    ):
        assert words in dealer().get(reverse(f"page:{page}")).content.decode(), page


def test_orders_near_the_market_come_first(account: Account) -> None:
    far = desk.fill(account, "buy", "1000", limit="1.05000")
    near = desk.fill(account, "sell", "1000", limit="1.10100")
    stop = desk.fill(account, "buy", "1000", "USDJPY", stop="150.100")
    rows = tables("desk_orders")["the nearest first"]
    assert [row[0] for row in rows] == [str(order.pk) for order in (stop, near, far)]
    assert [row[-1] for row in rows] == [f"{share}\N{NO-BREAK SPACE}%" for share in ("0.060", "0.091", "4.554")]


def test_exposure_leads_to_the_open_positions(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    [(_title, table, _empty), _currencies] = dealer().get(reverse("page:desk_exposure")).context["tables"]
    address = str(table["rows"][0][1]).split('"')[3].replace("&amp;", "&")
    shown = dealer().get(address).context["cl"].result_list
    assert [position.closed_at for position in shown] == [None]


def test_margin_calls_and_stop_outs_show_what_was_seen(account: Account) -> None:
    account.balances.update(total=D(3000))
    desk.fill(account, "buy", "100000")
    desk.market(account, "1.08900", "1.08910")
    liquidation.review(account.pk)
    [row] = tables("desk_margin")["margin calls"]
    assert (row[0], row[1]) == ("DESK-1", "85.90\N{NO-BREAK SPACE}%")
    desk.market(account, "1.07900", "1.07910")
    decision = liquidation.review(account.pk)
    assert decision is not None
    [row] = tables("desk_margin")["latest stop-outs"]
    assert row[1:5] == ["DESK-1", "Stop-out: position closed", "40.45\N{NO-BREAK SPACE}%", "890 USD"]
    seen = "100,000 EURUSD, opened at 1.1001, seen at 1.07900, rate 1: P/L -2,110"
    assert row[6] == f"position {decision.position_id}: {seen}"
    assert row[7:] == [str(decision.order_id), "–"]
    desk.drain(account)
    [row] = tables("desk_margin")["latest stop-outs"]
    assert row[7:] == [str(decision.order_id), "1.079"]


def test_a_stop_out_says_how_many_orders_it_cancelled_and_how_much_it_does_not_show(account: Account) -> None:
    group = account.group
    group.profile = Profile.FX_HEDGING
    group.save()
    account.balances.update(total=D(3000))
    for qty in ("50000", "20000", "10000", "10000", "10000"):
        desk.fill(account, "buy", qty)
    desk.fill(account, "buy", "1000", limit="1.05000")
    desk.market(account, "1.07900", "1.07910")
    liquidation.review(account.pk)
    [row] = tables("desk_margin")["latest stop-outs"]
    assert row[2] == "Stop-out: orders cancelled"
    assert row[6].startswith("Orders that were cancelled: 1; position ")
    assert row[6].endswith("; and 2 more")


def two_margin_calls(account: Account) -> None:
    """The second account's is the worse one."""
    better, worse = account, factories.account(number="DESK-2", of_group=account.group)
    for each, cash in ((better, 3000), (worse, 2500)):
        each.balances.update(total=D(cash))
        desk.fill(each, "buy", "100000")
    desk.market(account, "1.08900", "1.08910")
    for each in (better, worse):
        liquidation.review(each.pk)


def test_the_worst_margin_call_comes_first(account: Account) -> None:
    two_margin_calls(account)
    assert [row[0] for row in tables("desk_margin")["margin calls"]] == ["DESK-2", "DESK-1"]


def test_more_margin_calls_than_are_shown_are_told(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backoffice.dealing.pages.desk.WARNED_ACCOUNTS", 1)
    two_margin_calls(account)
    page = dealer().get(reverse("page:desk_margin"))
    assert "2 accounts are below their margin call. Shown are the 1 that fell the lowest." in page.content.decode()
    assert [row[0] for row in tables("desk_margin")["margin calls"]] == ["DESK-2"]


def test_pages_bear_that_a_rate_is_missing(account: Account) -> None:
    """Euros cannot be reckoned in while nobody quotes them: the other figures are shown all the same."""
    held = factories.account(number="DESK-2", of_group=account.group, base="EUR")
    held.balances.update(total=D(50))
    desk.fill(held, "buy", "2000", "USDJPY")
    desk.market(held, "148.000", "148.010", "USDJPY")
    liquidation.review(held.pk)
    ticklog.connection().hdel(ticklog.QUOTES, "EURUSD")
    [row] = tables("desk_margin")["margin calls"]
    assert row[:5] == ["DESK-2", "–", "–", "–", "–"]
    figures = dealer().get(reverse("page:account_figures", args=[held.pk]))
    assert (figures.status_code, figures.context["sentences"] != []) == (200, True)
    version = held.group.conditions_at()
    compared = dealer().get(reverse("page:conditions_compare", args=[version.pk]))
    assert compared.status_code == 200


def test_live_figures_read_the_accounts_money_once(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    with CaptureQueriesContext(connection) as statements:
        page = dealer().get(reverse("page:account_figures", args=[account.pk]))
    assert dict(page.context["figures"])["Margin level"] == "45,449.96 %"
    assert sum(valuation.MONEY in each["sql"] for each in statements.captured_queries) == 1


def test_a_stop_out_is_recomputed_by_hand_from_its_page(account: Account) -> None:
    account.balances.update(total=D(3000))
    desk.fill(account, "buy", "100000")
    desk.market(account, "1.07900", "1.07910")
    liquidation.review(account.pk)
    decision = MarginDecision.objects.latest("pk")
    page = dealer().get(reverse("admin:trading_margindecision_change", args=[decision.pk])).content.decode()
    assert "To be kept: 2,200.2, what it holds" in page
    assert "3,000 - 2,110 = 890" in page
    assert "890 / 2,200.2 = 40.4509 %" in page


def test_prices_that_are_old_come_first(account: Account) -> None:
    ticklog.connection().hdel(ticklog.QUOTES, "USDJPY")
    rows = tables("desk_prices")["prices, the worst first"]
    assert [(row[0], row[5]) for row in rows] == [("USDJPY", "too old"), ("EURUSD", "well")]
    assert quotes.get("USDJPY") is None


def test_a_page_without_redis_says_so(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    def away(*args: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr("backoffice.dealing.feed_health.look", away)
    answer = dealer().get(reverse("page:desk_prices"))
    assert (answer.status_code, "cannot be read at the moment" in answer.content.decode()) == (200, True)


# --- stopping ---------------------------------------------------------------------------------------------------------


def stop(kind: str, pk: int, **form: str) -> Any:
    address = reverse("page:stop", args=[kind, pk])
    return dealer().post(address, {"reason": "Fraud", "confirmed": "yes", **form}, follow=True)


def run_job() -> str:
    job = Job.objects.get()
    jobs.run(job.pk)
    job.refresh_from_db()
    return job.message


def test_the_kill_switch_of_an_account_stops_cancels_and_closes(account: Account) -> None:
    desk.fill(account, "buy", "10000", sl="1.05")
    desk.fill(account, "buy", "1000", limit="1.05000")
    address = reverse("page:stop", args=["account", account.pk])
    asked = dealer().post(address, {"state": "no_trading", "cancels": "on", "closes": "on", "reason": "Fraud"})
    page = asked.content.decode()
    assert "Orders that will be cancelled: 1." in page
    assert "Positions that will be closed at the market: 1." in page
    assert Account.objects.get().state == AccountState.ACTIVE
    stop("account", account.pk, state="no_trading", cancels="on", closes="on")
    with pytest.raises(OrderRejected) as refused:
        desk.place(account, "buy", "1000")
    assert refused.value.reason is Reason.ACCOUNT_NO_TRADING
    assert run_job() == ("Orders cancelled: 1, ended already: 0. Positions being closed: 1, not possible: 0.")
    desk.drain(account)
    assert not Position.objects.open().exists()
    assert not Order.objects.live().exists()
    assert Order.objects.get(closes__isnull=False, role="").events.first().by.username == "the-dealing"  # type: ignore[union-attr]


def test_stop_losses_stay_when_positions_do(account: Account) -> None:
    desk.fill(account, "buy", "10000", sl="1.05")
    stop("account", account.pk, state="close_only", cancels="on")
    run_job()
    assert Order.objects.live().get().role == "sl"


def test_a_group_is_stopped_as_a_whole_and_resumed(account: Account) -> None:
    other = factories.account(number="DESK-2")
    stop("group", account.group_id, state="close_only")
    assert not Job.objects.exists()
    with pytest.raises(OrderRejected) as refused:
        desk.place(account, "buy", "1000")
    assert refused.value.reason is Reason.ACCOUNT_CLOSE_ONLY
    assert desk.place(other, "buy", "1000")
    stop("group", account.group_id, state="active")
    assert desk.place(account, "buy", "1000")


def test_closing_is_allowed_in_a_close_only_group(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    stop("group", account.group_id, state="close_only")
    desk.fill(account, "sell", "10000")
    assert not Position.objects.open().exists()


def test_the_desk_does_not_set_free_what_operations_blocked(account: Account) -> None:
    Account.objects.update(state=AccountState.BLOCKED)
    address = reverse("page:stop", args=["account", account.pk])
    asked = dealer().post(address, {"state": "close_only", "reason": "Fraud"}).content.decode()
    assert "DESK-1 stays as it is, Blocked: only operations ease that." in asked
    stop("account", account.pk, state="close_only")
    assert Account.objects.get().state == AccountState.BLOCKED


def test_an_instrument_is_halted_and_its_orders_cancelled(account: Account) -> None:
    waiting = desk.fill(account, "buy", "1000", limit="1.05000")
    spared = desk.fill(account, "buy", "1000", "USDJPY", limit="149.000")
    stop("instrument", waiting.instrument_id, state="halted", cancels="on")
    run_job()
    waiting.refresh_from_db()
    spared.refresh_from_db()
    assert (waiting.status, spared.status) == (OrderStatus.CANCELLED, OrderStatus.WORKING)
    with pytest.raises(OrderRejected) as refused:
        desk.place(account, "buy", "1000")
    assert refused.value.reason is Reason.INSTRUMENT_HALTED


def test_a_venue_gets_nothing_new(account: Account) -> None:
    session = FixSession.objects.create(
        name="lp", host="127.0.0.1", port=1, sender_comp_id="US", target_comp_id="LP", is_enabled=True
    )
    route = VenueRoute.objects.create(priority=1, session=session)
    assert desk.place(account, "buy", "1000").venue == session.venue
    page = stop("venue", session.pk, state="off").content.decode()
    assert "It holds from the next order on." in page
    route.refresh_from_db()
    assert route.is_active is False
    assert desk.place(account, "buy", "1000").venue == "internal"


@pytest.mark.parametrize(
    ("kind", "status"), [("account", 403), ("group", 403), ("instrument", 403), ("venue", 403), ("planet", 404)]
)
def test_only_dealing_stops(account: Account, kind: str, status: int) -> None:
    address = reverse("page:stop", args=[kind, account.pk])
    for role in (Role.SUPPORT, Role.COMPLIANCE):
        visitor = browser(role)
        assert visitor.post(address, {"state": "no_trading", "confirmed": "yes"}).status_code == status
    assert Account.objects.get().state == AccountState.ACTIVE


def test_a_job_that_is_stopped_keeps_what_is_done(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fill(account, "buy", "1000", limit="1.05000")
    desk.fill(account, "buy", "1000", limit="1.04000")
    stop("account", account.pk, state="no_trading", cancels="on")
    monkeypatch.setattr(jobs, "SECONDS_BETWEEN_SIGNS", 0)
    cancel = orders.cancel

    def cancel_and_stop(*args: Any, **kwargs: Any) -> Order:
        Job.objects.update(cancel_asked=True)
        return cancel(*args, **kwargs)

    monkeypatch.setattr(orders, "cancel", cancel_and_stop)
    assert run_job().startswith("It was stopped half way. Orders cancelled: 1,")
    assert Order.objects.live().count() == 1


def test_one_position_is_closed_in_the_dealers_name(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    Account.objects.update(state=AccountState.NO_TRADING)
    position = Position.objects.get()
    assert "Close the position…" in dealer().get(url(position, "change")).content.decode()
    address = reverse("page:position_close", args=[position.pk])
    assert "Buy 10,000 EURUSD of DESK-1 will be closed" in dealer().get(address).content.decode()
    dealer().post(address, {"confirmed": "yes", "_reason": "Client asked by telephone"})
    desk.drain(account)
    assert not Position.objects.open().exists()
    assert account.profile is Profile.FX_NETTING
