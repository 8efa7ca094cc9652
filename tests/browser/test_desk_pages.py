"""Tasks of dealing, support and integrators in a browser: the live desk, stopping, busts, chart, lens, monitor."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.choices import AccountState
from accounts.models import Account, Balance, User
from accounts.roles import Role
from backoffice.admin import NOTHING
from backoffice.operations import jobs, tasks
from backoffice.support.models import Look
from marketdata import bars
from marketdata.choices import InstrumentState, Resolution
from marketdata.chunks import Bar
from marketdata.models import Instrument, MappingRelease
from tests import factories
from tests.browser.staff import act, asked, cells, figure, fits_a_phone, is_refused, listed, log_in, offers, shown
from tests.marketdata.test_mappings import listed as listed_there
from tests.trading import desk
from trading import liquidation, orders
from trading.errors import OrderRejected, Reason
from trading.models import Bust, Order, Position
from trading.venues.models import FixSession, VenueRoute
from tvapi import usage
from tvapi.usage import Tally

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

D = Decimal


@pytest.fixture
def instrument() -> Instrument:
    made = factories.instrument("EURUSD", session_regular="24x7")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return made


@pytest.fixture
def account(instrument: Instrument) -> Account:
    """10,000 euros bought at 1.10010, and an order for 1,000 more at 1.05."""
    account = factories.account(number="WEB-1", of_group=factories.group(symbols=[instrument.symbol]))
    desk.fill(account, "buy", "10000")
    desk.fill(account, "buy", "1000", limit="1.05000")
    return account


@pytest.fixture
def run_queued(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Does the one job that was started, as a worker would."""
    queued: list[int] = []
    monkeypatch.setattr(tasks.run_job, "delay", queued.append)
    return lambda: jobs.run(queued.pop())


# --- the live desk ----------------------------------------------------------------------------------------------------


def test_the_desk_follows_the_market_by_itself(page: Page, account: Account) -> None:
    page.clock.install()
    log_in(page, Role.DEALING)
    page.goto("/admin/desk/exposure/")
    assert cells(page, "By instrument") == [
        ["EURUSD", "1", "10,000", "0", "10,000", "11,000.5", "-1", "Trading"],
    ]
    assert [row[:2] for row in cells(page, "By currency")] == [["EUR", "10,000"], ["USD", "-11,001"]]
    desk.market(account, "1.10100", "1.10110")
    page.clock.run_for(5000)
    expect(page.get_by_role("cell", name="11,010.5", exact=True).first).to_be_visible()
    assert cells(page, "By instrument")[0][6] == "9"
    assert fits_a_phone(page)

    page.locator("#content").get_by_role("link", name="Near the market").click()
    [row] = cells(page, "The nearest first")
    assert row[1:] == ["WEB-1", "EURUSD", "Buy", "Limit", "1,000", "1.05", NOTHING, "1.10100 / 1.10110", "4.641 %"]
    assert fits_a_phone(page)

    page.locator("#content").get_by_role("link", name="Prices").click()
    [row] = cells(page, "Prices, the worst first")
    assert (row[:4], row[5], row[7]) == (["EURUSD", "1.10100", "1.10110", "0.00010"], "well", "Trading")
    expect(figure(page, "Instruments not well")).to_have_text("0")
    assert fits_a_phone(page)


def test_a_margin_call_leads_to_the_kill_switch_of_its_account(
    page: Page, account: Account, run_queued: Callable[[], None]
) -> None:
    Balance.objects.filter(account=account).update(total=D(400))
    desk.market(account, "1.08000", "1.08010")
    liquidation.review(account.pk)
    log_in(page, Role.DEALING)
    page.goto("/admin/desk/margin/")
    assert cells(page, "Margin calls") == [["WEB-1", "90.45 %", "199.00 USD", "220.02", "-42.02", "1", "Active"]]
    expect(page.get_by_text("No position was ever closed for its margin.")).to_be_visible()
    assert fits_a_phone(page)

    page.get_by_role("region", name="Margin calls").get_by_role("link", name="Active").click()
    page.locator("[name=state]").select_option("no_trading")
    page.get_by_text("Cancel the orders").click()
    page.get_by_text("Close the positions").click()
    page.locator("[name=reason]").fill("Fraud")
    assert fits_a_phone(page)
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("WEB-1: No trading, from the next order on.")).to_be_visible()
    expect(page.get_by_text("Orders that will be cancelled: 1.")).to_be_visible()
    expect(page.get_by_text("Positions that will be closed at the market: 1.")).to_be_visible()
    assert fits_a_phone(page)
    assert Order.objects.live().count() == 1
    page.get_by_role("button", name="Do it now").click()
    expect(page.get_by_text("It holds from the next order on.")).to_be_visible()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    run_queued()
    expect(
        page.get_by_text("Orders cancelled: 1, ended already: 0. Positions being closed: 1, not possible: 0.")
    ).to_be_visible()
    desk.drain(account)
    account.refresh_from_db()
    assert account.state == AccountState.NO_TRADING
    assert not Position.objects.open().exists()


def test_a_group_is_set_close_only_and_keeps_its_orders(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    page.goto(reverse("admin:accounts_accountgroup_change", args=[account.group_id]))
    page.get_by_role("link", name="Stop trading…").click()
    expect(page.get_by_text("Now: Active.")).to_be_visible()
    page.locator("[name=state]").select_option("close_only")
    page.locator("[name=reason]").fill("Broken feed")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("Orders and positions stay as they are.")).to_be_visible()
    page.get_by_role("button", name="Do it now").click()
    expect(page.get_by_text("It holds from the next order on.")).to_be_visible()
    account.group.refresh_from_db()
    assert account.group.state == AccountState.CLOSE_ONLY
    assert Order.objects.live().count() == 1


def test_an_instrument_is_halted_from_the_list_of_prices(page: Page, account: Account, instrument: Instrument) -> None:
    log_in(page, Role.DEALING)
    page.goto("/admin/desk/prices/")
    page.get_by_role("region", name="Prices, the worst first").get_by_role("link", name="Trading").click()
    page.locator("[name=state]").select_option("halted")
    page.locator("[name=reason]").fill("News")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("EURUSD: Halted, from the next order on.")).to_be_visible()
    page.get_by_role("button", name="Do it now").click()
    expect(page.get_by_text("It holds from the next order on.")).to_be_visible()
    page.goto("/admin/desk/prices/")
    assert cells(page, "Prices, the worst first")[0][7] == "Halted"
    instrument.refresh_from_db()
    assert instrument.state == InstrumentState.HALTED
    with pytest.raises(OrderRejected) as refused:
        desk.place(account, "buy", "1000")
    assert refused.value.reason is Reason.INSTRUMENT_HALTED


def test_a_venue_is_cut_off(page: Page, account: Account) -> None:
    session = FixSession.objects.create(
        name="lp", host="127.0.0.1", port=1, sender_comp_id="US", target_comp_id="LP", is_enabled=True
    )
    VenueRoute.objects.create(priority=1, session=session)
    assert desk.place(account, "buy", "1000").venue == session.venue
    log_in(page, Role.DEALING)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="FIX sessions").click()
    page.get_by_role("link", name="lp").first.click()
    page.get_by_role("link", name="Stop trading…").click()
    page.locator("[name=reason]").fill("It answers late")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("lp: Nothing new goes there, from the next order on.")).to_be_visible()
    page.get_by_role("button", name="Do it now").click()
    expect(page.get_by_text("It holds from the next order on.")).to_be_visible()
    assert desk.place(account, "buy", "1000").venue == "internal"


# --- one position, one order ------------------------------------------------------------------------------------------


def test_one_position_is_closed_and_says_afterwards_what_it_was(page: Page, account: Account) -> None:
    position = account.positions.get()
    log_in(page, Role.DEALING)
    page.goto("/admin/desk/exposure/")
    page.get_by_role("region", name="By instrument").get_by_role("link", name="1", exact=True).click()
    listed(page).get_by_role("link").first.click()
    page.get_by_role("link", name="Close the position…").click()
    expect(page.get_by_text("Buy 10,000 EURUSD of WEB-1 will be closed at the market")).to_be_visible()
    page.get_by_label("Reason").fill("The client asked on the phone")
    assert fits_a_phone(page)
    page.get_by_role("button", name="Close it").click()
    expect(page.get_by_text("closes it.")).to_be_visible()
    desk.drain(account)
    page.goto(reverse("admin:trading_position_change", args=[position.pk]))
    expect(page).to_have_title(f"{position.pk}: buy EURUSD, closed | View position | Back office")
    expect(shown(page, "Opened in all")).to_have_text("10,000")
    assert offers(page, "Close the position") == []
    assert not Position.objects.open().exists()


def test_what_cannot_be_done_says_why_and_changes_nothing(page: Page, account: Account, instrument: Instrument) -> None:
    position, order = account.positions.get(), account.orders.live().get()
    log_in(page, Role.DEALING)
    Instrument.objects.filter(pk=instrument.pk).update(state=InstrumentState.HALTED)
    page.goto(reverse("page:position_close", args=[position.pk]))
    page.get_by_label("Reason").fill("Too large")
    page.get_by_role("button", name="Close it").click()
    expect(page.get_by_text("Trading in EURUSD is halted.")).to_be_visible()
    assert list(account.orders.live()) == [order]
    Instrument.objects.filter(pk=instrument.pk).update(state=InstrumentState.TRADING)
    page.goto("/admin/trading/order/?status__exact=working")
    act(page, "cancel_orders", "WEB-1")
    orders.cancel(account.pk, order.pk)  # by its client, while the dealer reads
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.get_by_text("None of the selected orders is live: there is nothing to cancel.")).to_be_visible()
    assert list(order.events.filter(kind="cancelled").values_list("by", flat=True)) == [None]


# --- busts ------------------------------------------------------------------------------------------------------------


def test_all_fills_of_a_bad_interval_are_corrected_by_two_and_not_by_one(page: Page, account: Account) -> None:
    desk.market(account, "1.25000", "1.25010")
    others = factories.account(number="WEB-2", of_group=account.group)
    for each in (account, others):
        desk.fill(each, "buy", "5000")
    desk.market(account, "1.10000", "1.10010")
    log_in(page, Role.DEALING)
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Busts and corrections").click()
    page.locator("a[href$='/bust/add/']").first.click()
    today = f"{timezone.now():%Y-%m-%d}"
    fields = {"instrument": "eurusd", "since": f"{today} 00:00", "until": f"{today} 23:59:59", "low": "1.2"}
    for name, value in {**fields, "price": "1.1001", "reason": "Bad ticks"}.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("2 fills of EURUSD will be booked again at 1.1001")).to_be_visible()
    assert [row[0] for row in cells(page, "What it does")] == ["WEB-1", "WEB-2"]
    assert fits_a_phone(page)
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_text("You asked for this: somebody else decides.")).to_be_visible()
    bust = Bust.objects.get()
    assert offers(page, "Approve", "Withdraw") == ["Withdraw"]
    asked(page, f"busts/{bust.pk}/approve/", {"confirmed": "yes"})
    bust.refresh_from_db()
    assert bust.state == "requested"

    log_in(page, Role.DEALING, "second-dealer")
    page.get_by_role("link", name="1 bust waits for your decision.").click()
    listed(page).get_by_role("link").first.click()
    page.get_by_role("link", name="Approve…").click()
    page.get_by_role("button", name="Approve and book").click()
    expect(page.get_by_text("It is booked.")).to_be_visible()
    assert others.positions.open().get().avg_price == D("1.1001")
    assert account.positions.open().get().avg_price == D("1.1001")


def test_a_bad_fill_is_taken_back_by_two(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    execution = account.executions.get()
    page.goto(reverse("admin:trading_execution_change", args=[execution.pk]))
    page.get_by_role("link", name="Bust or correct…").click()
    page.locator("[name=reason]").fill("Bad tick")
    assert fits_a_phone(page)
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("1 fill of EURUSD will be taken back, as if it had never been.")).to_be_visible()
    assert cells(page, "What it does") == [["WEB-1", "1", "Position EURUSD", "10,000", "0", "-10,000"]]
    assert fits_a_phone(page)
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_text("You asked for this: somebody else decides.")).to_be_visible()
    expect(page.get_by_role("link", name="Approve…")).to_have_count(0)
    assert Position.objects.open().exists()

    log_in(page, Role.ADMINISTRATOR)
    page.get_by_role("link", name="1 bust waits for your decision.").click()
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("link", name="Approve…").click()
    expect(page.get_by_text("Asked for by the-dealing: Bad tick")).to_be_visible()
    assert cells(page, "What it does") == [["WEB-1", "1", "Position EURUSD", "10,000", "0", "-10,000"]]
    page.get_by_role("button", name="Approve and book").click()
    expect(page.get_by_text("It is booked.")).to_be_visible()
    assert fits_a_phone(page)
    assert Bust.objects.get().state == "approved"
    assert not Position.objects.open().exists()


# --- the chart --------------------------------------------------------------------------------------------------------


def test_the_chart_shows_what_comes_and_moves_by_keys(page: Page, account: Account, instrument: Instrument) -> None:
    minute = int(time.time()) // 60 * 60
    bars.write(instrument, [Bar(minute - 60 * n, D("1.1"), D("1.2"), D("1.0"), D("1.15"), D(5)) for n in range(90)])
    page.clock.install()
    log_in(page, Role.DEALING)
    page.goto(reverse("page:chart", args=[instrument.pk]))
    expect(page.locator("#chart canvas").first).to_be_visible()
    expect(page.locator("#chart-state")).to_be_hidden()  # it has nothing to complain of
    assert [row[1:] for row in cells(page, "Latest executions")] == [["WEB-1", "Buy", "10,000", "1.1001"]]
    page.locator("#chart").focus()
    before = page.locator("#chart").screenshot()
    page.locator("#chart").press("ArrowLeft")
    page.wait_for_function("() => new Promise(requestAnimationFrame)")
    page.clock.run_for(100)
    assert page.locator("#chart").screenshot() != before
    desk.fill(account, "sell", "4000")
    page.clock.run_for(10_000)
    expect(page.get_by_role("cell", name="4,000", exact=True)).to_be_visible()
    assert [row[2:] for row in cells(page, "Latest executions")] == [
        ["Sell", "4,000", "1.1"],
        ["Buy", "10,000", "1.1001"],
    ]
    fills = [
        {"time": 60, "side": "buy", "qty": 1000, "price": 1.1, "text": "1,000 @ 1.1"},
        {"time": 60, "side": "sell", "qty": 500, "price": 1.2, "text": "500 @ 1.2"},
        {"time": 60, "side": "buy", "qty": 3000, "price": 1.2, "text": "3,000 @ 1.2"},
    ]
    summed = page.evaluate("(marked) => Chart.prototype.summed.call({ marked, precision: 5 })", fills)
    assert [arrow["text"] for arrow in summed] == ["4,000 @ 1.17500 (2)", "500 @ 1.2"]
    later = [{**fill, "time": 60 * minute} for minute, fill in enumerate(fills)]
    for pixels, texts in ((10, ["", "500 @ 1.2", "3,000 @ 1.2"]), (50, ["1,000 @ 1.1", "500 @ 1.2", "3,000 @ 1.2"])):
        spaced = page.evaluate(
            """([marked, pixels]) => Chart.prototype.spaced.call({
              marked, precision: 5, summed: Chart.prototype.summed,
              chart: { timeScale: () => ({ timeToCoordinate: (time) => (time / 60) * pixels }) },
            })""",
            [later, pixels],
        )
        assert [arrow["text"] for arrow in spaced] == texts
    assert fits_a_phone(page)


def test_a_closed_bar_is_corrected_with_its_reason(page: Page, instrument: Instrument) -> None:
    minute = int(time.time()) // 60 * 60 - 600
    bars.write(instrument, [Bar(minute, D("1.1"), D("1.9"), D("1.0"), D("1.15"), D(5))])
    log_in(page, Role.DEALING)
    page.goto("/admin/marketdata/barcorrection/add/")
    page.locator(".field-instrument .select2-selection").click()
    page.locator(".select2-search__field").fill("eur")
    page.get_by_role("option", name="EURUSD").click()
    page.locator("[name=resolution]").select_option("1")
    day, clock = f"{datetime.fromtimestamp(minute, UTC):%Y-%m-%d %H:%M:%S}".split()
    figures = {"time_0": day, "time_1": clock, "o": "1.1", "h": "1.2", "l": "1.0", "c": "1.15", "v": "5"}
    for name, value in {**figures, "reason": "Bad tick"}.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(listed(page)).to_contain_text("Bad tick")
    assert bars.history(instrument, Resolution.MINUTE, minute, minute + 60, 1).h == [1.2]


# --- what is for others -----------------------------------------------------------------------------------------------


def test_tasks_of_others_are_neither_offered_nor_done(page: Page, account: Account) -> None:
    log_in(page, Role.DEALING)
    for address, names in (
        (f"accounts/account/{account.pk}/change/", ("Change the state", "Ask for cash", "Save")),
        (f"accounts/accountgroup/{account.group_id}/change/", ("Draft new conditions", "Save")),
        (f"accounts/client/{account.client_id}/change/", ("Identity check", "Add a document", "Add a note", "Save")),
        ("marketdata/mappedinstrument/", ("Publish…", "Import…", "Look for suggestions", "Run")),
    ):
        page.goto(f"/admin/{address}")
        assert offers(page, *names) == [], address
    assert is_refused(
        page,
        f"accounts/{account.pk}/state/",
        f"clients/{account.client_id}/kyc/",
        f"conditions/draft/{account.group_id}/",
        "bulk/import/",
        "cash/new/",
        "mappings/publish/",
        "accounts/user/",
        "accounts/accesstoken/",
        "audit/entry/",
    )


# --- support ----------------------------------------------------------------------------------------------------------


def test_support_looks_through_the_clients_eyes(page: Page, account: Account) -> None:
    log_in(page, Role.SUPPORT)
    page.goto("/admin/lens/?q=nobody")
    expect(page.get_by_text("No account is called that. Look at the spelling.")).to_be_visible()
    page.locator("[name=q]").fill("web")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("link", name="WEB-1").click()
    page.locator("[name=locale]").select_option("de_DE")
    page.locator("[name=reason]").fill("Ticket 17")
    assert fits_a_phone(page)
    page.get_by_role("button", name="Look", exact=True).click()
    expect(page.get_by_text("Language: Deutsch (de_DE). Reason: Ticket 17")).to_be_visible()
    expect(page.locator("pre", has_text='"unrealizedPl": -1').first).to_be_visible()
    order = account.orders.earliest("pk")
    page.get_by_role("link", name=str(order.pk), exact=True).click()
    story = cells(page, f"Story of order {order.pk}")
    assert story[-1][1:3] + story[-1][4:6] == ["Executed", "Filled", "1.1", "1.1001"]
    assert fits_a_phone(page)
    assert [(look.by.username, look.reason) for look in Look.objects.all()] == [("the-support", "Ticket 17")]


def test_a_mapping_is_published_after_its_difference_was_seen(page: Page) -> None:
    factories.instrument("AAPL")
    listed_there("NASDAQ:AAPL")
    factories.mapping("AAPL", "NASDAQ:AAPL", is_published=False)
    log_in(page, Role.SUPPORT)
    page.goto(reverse("admin:marketdata_mappedinstrument_changelist"))
    page.get_by_role("link", name="Publish…").click()
    expect(page.get_by_text("With this release 1 mapping changes at TradingView.")).to_be_visible()
    assert cells(page, "What changes") == [["AAPL", NOTHING, "NASDAQ:AAPL", NOTHING]]
    page.get_by_label("Reason").fill("New share")
    assert fits_a_phone(page)
    page.get_by_role("button", name="Publish", exact=True).click()
    release = MappingRelease.objects.get()
    expect(page.get_by_text(f"Release {release.pk} is published.")).to_be_visible()
    assert cells(page, "Since nothing was mapped") == [["AAPL", NOTHING, "NASDAQ:AAPL", NOTHING]]
    expect(figure(page, "Mapped after")).to_have_text("1")
    assert fits_a_phone(page)
    assert (release.note, release.by) == ("New share", User.objects.get(username="the-support"))


# --- integrators ------------------------------------------------------------------------------------------------------


def test_the_monitor_fills_and_alarms_by_itself(page: Page) -> None:
    page.clock.install()
    log_in(page, Role.COMPLIANCE)
    page.goto("/admin/integration/monitor/")
    expect(page.get_by_text("TradingView has nothing to complain of.")).to_be_visible()
    expect(page.get_by_text("Nobody has asked yet.")).to_be_visible()
    tally = Tally()
    for _request in range(20):
        tally.add(30, 401, is_error=True, is_cors_refused=False, is_timed=True)
    usage.tell(usage.Taken({("", "POST oauth2/token"): tally}))
    page.clock.run_for(5000)
    expect(figure(page, "Failures")).to_have_text("20")
    assert cells(page, "Alarms") == [
        ["server: 20 tokens were refused in 5 minutes."],
        ["server, POST oauth2/token: 100 % failures."],
    ]
    assert cells(page, "Requests by environments and endpoint") == [
        ["server to server", "POST oauth2/token", "20", "20 (100 %)", "0", "≤ 50 ms", "≤ 50 ms", "≤ 50 ms"]
    ]
    assert fits_a_phone(page)
