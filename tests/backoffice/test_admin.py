"""The admin: who may do what on every page, what the pages show, and that acting goes through the services."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import models
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from accounts.choices import AccountEventKind, AccountState, ConditionsState, Profile
from accounts.dossier_models import NumberSeries
from accounts.models import Account, AccountGroup, TradingConditions, User
from accounts.roles import Role
from backoffice.audit.models import Entry
from backoffice.operations import cash
from backoffice.operations.choices import CashKind
from marketdata.choices import InstrumentState
from marketdata.models import Instrument, SymbolGroup
from tests import factories
from tests.trading import desk
from trading.choices import EventKind
from trading.models import Order
from trading.states import OrderStatus

pytestmark = pytest.mark.django_db

admin.autodiscover()  # as the URLs do
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
# What each role may do beside looking, and what it may not even see; written out so that a slip in the table of roles
# is noticed.
MAY: dict[Role, dict[str, set[str]]] = {
    Role.COMPLIANCE: {},
    Role.OPERATIONS: {
        "accounts.Account": {"add", "change"},
        "accounts.AccountGroup": {"add", "change"},
        "accounts.Client": {"add", "change"},
        "accounts.DataSubscription": {"add", "change", "delete"},
        "accounts.NumberSeries": {"add", "change"},
        "axes.AccessAttempt": {"delete"},
        "otp_totp.TOTPDevice": {"add", "delete"},
        "marketdata.Holiday": {"add", "change", "delete"},
        "operations.CashRequest": {"add"},
        "support.Look": {"add"},
    },
    Role.DEALING: {
        "marketdata.Instrument": {"change"},
        "marketdata.BarCorrection": {"add"},
        "support.Look": {"add"},
        "trading.Bust": {"add"},
        "trading.FundingRate": {"add"},
        "trading.VenueRoute": {"add", "change", "delete"},
    },
    Role.SUPPORT: {
        "marketdata.Instrument": {"change"},
        "marketdata.SymbolGroup": {"add", "change"},
        "marketdata.MappedInstrument": {"change"},
        "support.Look": {"add"},
    },
}
TOKENS = {"accounts.AccessToken", "accounts.RenewalToken"}
LOGINS = {"accounts.User", "accounts.OAuthClient", "accounts.ClientSecret", "auth.Group", "axes.AccessAttempt"}
LOGINS |= {"otp_totp.TOTPDevice"}
HIDDEN: dict[Role, set[str]] = {
    Role.COMPLIANCE: set(),
    Role.OPERATIONS: {"admin.LogEntry"},
    Role.DEALING: {"admin.LogEntry", "audit.Entry"} | LOGINS | TOKENS,
    Role.SUPPORT: {"admin.LogEntry", "audit.Entry"} | LOGINS,
}


def staff(role: Role) -> User:
    user = factories.user(f"the-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def browser(role: Role) -> Browser:
    made = Browser()
    made.force_login(staff(role), backend="django.contrib.auth.backends.ModelBackend")
    return made


def superuser() -> Browser:
    made = Browser()
    user = User.objects.create_superuser("the-superuser")
    made.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return made


def url(row: models.Model | type[models.Model], page: str = "changelist") -> str:
    args = [row.pk] if isinstance(row, models.Model) else []
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=args)


@pytest.fixture
def business() -> Account:
    """An account with a position, a fill and two working orders, and so with a row in nearly every table."""
    account = factories.account(number="ADM-1")
    factories.mapping("EURUSD", "DEMO:EURUSD")
    factories.token(account.client.user)
    factories.oauth_client(secret="a-secret-of-the-tests-only")
    factories.quote("EURUSD", "1.10000", "1.10010")
    desk.fill(account, "buy", "10000")
    for limit in ("1.05000", "1.04000"):
        desk.fill(account, "buy", "1000", limit=limit)
    return account


# --- who may do what --------------------------------------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.parametrize("role", MAY)
def test_pages_open_to_a_role_as_its_table_says(role: Role, business: Account) -> None:
    visitor = browser(role)
    for model in MODELS:
        label = model._meta.label
        visible = label not in HIDDEN[role]
        may = MAY[role].get(label, set())
        assert visitor.get(url(model)).status_code == (200 if visible else 403), label
        assert visitor.get(url(model, "add")).status_code == (200 if "add" in may else 403), label
        if row := model._default_manager.first():
            assert visitor.get(url(row, "change")).status_code == (200 if visible else 403), label
            refused = visitor.post(url(row, "change"), {}).status_code == 403
            assert refused == ("change" not in may), label
            assert visitor.get(url(row, "delete")).status_code == (200 if "delete" in may else 403), label


def test_the_auditor_is_offered_no_action(business: Account) -> None:
    visitor = browser(Role.COMPLIANCE)
    for model in MODELS:
        page = visitor.get(url(model)).content.decode()
        assert "_selected_action" not in page, model
        assert "Save" not in page, model


def test_traders_and_strangers_do_not_get_in(business: Account) -> None:
    stranger, trader = Browser(), Browser()
    trader.force_login(business.client.user, backend="django.contrib.auth.backends.ModelBackend")
    for visitor in (stranger, trader):
        for model in MODELS:
            answer = visitor.get(url(model))
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")


def test_roles_are_as_the_table_says_again_after_migrating(transactional_db: None) -> None:
    group = Group.objects.get(name=Role.COMPLIANCE)
    before = set(group.permissions.values_list("codename", flat=True))
    group.permissions.set([Permission.objects.get(codename="change_account")])
    call_command("migrate", verbosity=0)
    assert set(group.permissions.values_list("codename", flat=True)) == before


def test_administrators_do_not_rise_above_themselves() -> None:
    visitor, above = browser(Role.ADMINISTRATOR), User.objects.create_superuser("above")
    own = User.objects.get(username="the-administrator")
    assert visitor.post(url(above, "change"), {}).status_code == 403
    form = {"username": own.username, "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": []}
    visitor.post(url(own, "change"), form)
    own.refresh_from_db()
    assert own.is_superuser is False


# --- what the pages show ----------------------------------------------------------------------------------------------


@pytest.mark.proof
def test_superusers_get_every_page(business: Account) -> None:
    visitor = superuser()
    for model in MODELS:
        assert visitor.get(url(model), {"q": "no' such % \\ thing"}).status_code == 200, model
        assert visitor.get(url(model, "add")).status_code in (200, 403), model
        if row := model._default_manager.first():
            assert visitor.get(url(row, "change")).status_code == 200, model
            assert visitor.get(url(row, "history")).status_code == 200, model


def test_the_overview_counts_what_matters(business: Account) -> None:
    common = {
        "Working orders": "2",
        "Waiting for the venue": "0",
        "Orders in 24 hours": "3",
        "Open positions": "1",
        "Active accounts": "1",
    }
    own = {
        Role.OPERATIONS: {"Cash requests waiting": "0", "Clients to check": "0"},
        Role.DEALING: {"Stop-outs in 24 hours": "0"},
        Role.SUPPORT: {"Symbols without a mapping": "0", "Suggested mappings": "0", "Broken mappings": "0"},
    }
    for role, figures in own.items():
        shown = browser(role).get(reverse("admin:index")).context["figures"]
        assert {str(figure.title): figure.value for figure in shown} == {**figures, **common}, role
    [figure, *_others] = browser(Role.COMPLIANCE).get(reverse("admin:index")).context["figures"]
    assert (figure.title, figure.value) == ("Changes in 24 hours", str(Entry.objects.count()))


def test_the_overview_names_the_parts_that_are_silent() -> None:
    parts = {part.name: part.is_well for part in superuser().get(reverse("admin:index")).context["parts"]}
    assert parts == {"database": True, "redis": True, "worker": False, "feed": False, "engine": False, "stream": False}


def test_the_overview_says_what_waits_for_whom(business: Account) -> None:
    maker = staff(Role.ADMINISTRATOR)
    wish = cash.Wish(CashKind.WITHDRAWAL, business.pk, "USD", Decimal(5), "Bank 1", "k-1")
    cash.ask(wish, by=maker)
    Instrument.objects.update(state=InstrumentState.HALTED)
    texts = {role: _alarms(browser(role)) for role in (Role.OPERATIONS, Role.DEALING)}
    assert {"1 cash request waits for your decision.", "1 instrument is halted."} <= texts[Role.OPERATIONS]
    assert "1 instrument is halted." in texts[Role.DEALING]
    assert not [text for text in texts[Role.DEALING] if "cash" in text]
    own = Browser()
    own.force_login(maker, backend="django.contrib.auth.backends.ModelBackend")
    assert not [text for text in _alarms(own) if "cash" in text]


def _alarms(visitor: Browser) -> set[str]:
    return {alarm.text for alarm in visitor.get(reverse("admin:index")).context["alarms"]}


@pytest.mark.proof
def test_the_sidebar_leads_only_where_the_role_may_go(business: Account) -> None:
    for role in MAY:
        visitor = browser(role)
        for section in visitor.get(reverse("admin:index")).context["sidebar_navigation"]:
            for item in section["items"]:
                assert visitor.get(item["link"]).status_code == 200, (role, item["link"])


def test_the_account_page_shows_money_positions_orders_and_postings(business: Account) -> None:
    page = superuser().get(url(business, "change"))
    tables = {str(panel.title): panel.table for panel in page.context["panels"]}
    assert list(tables) == [
        "timeline",
        "balances",
        "open positions",
        "margin calls and stop-outs",
        "latest orders",
        "latest executions",
        "latest postings",
        "cash requests",
        "data subscriptions",
        "the login's tokens",
        "history",
    ]
    assert [str(cell) for cell in tables["balances"]["rows"][0][1:]] == ["100,000", "0"]
    assert [str(cell) for cell in tables["open positions"]["rows"][0][2:5]] == ["Buy", "10,000", "1.1001"]
    assert len(tables["latest orders"]["rows"]) == 3
    assert [row[-1] for row in tables["latest postings"]["rows"]] == ["100,000"]


def test_the_order_page_tells_its_story(business: Account) -> None:
    order = business.orders.earliest("pk")
    page = superuser().get(url(order, "change"))
    brackets, events, executions = (panel.table["rows"] for panel in page.context["panels"])
    assert brackets == []
    assert [row[1] for row in events] == [
        EventKind.PLACED.label,
        EventKind.ACKNOWLEDGED.label,
        EventKind.EXECUTED.label,
    ]
    assert [row[4] for row in events] == ["1.10000"] * 3  # the bid seen, in the decimals of the instrument
    assert [str(cell) for cell in executions[0][2:5]] == ["Buy", "10,000", "1.10010"]


@pytest.mark.parametrize(("term", "count"), [("ADM-1", 3), ("adm-1", 3), ("NOBODY", 0), ("999999999999999999999", 0)])
def test_orders_are_found_by_account_number(business: Account, term: str, count: int) -> None:
    page = superuser().get(url(Order), {"q": term})
    assert len(page.context["cl"].result_list) == count


def test_orders_are_found_by_their_own_number(business: Account) -> None:
    order = business.orders.latest("pk")
    assert list(superuser().get(url(Order), {"q": str(order.pk)}).context["cl"].result_list) == [order]


def test_an_empty_list_says_so() -> None:
    page = superuser().get(url(Order)).content.decode()
    assert "No order has been placed yet." in page


# --- cancelling orders ------------------------------------------------------------------------------------------------


def cancel(visitor: Browser, orders: models.QuerySet[Order], **extra: str) -> Any:
    selected = [str(pk) for pk in orders.values_list("pk", flat=True)]
    return visitor.post(url(Order), {"action": "cancel_orders", "_selected_action": selected, **extra}, follow=True)


def test_cancelling_asks_first_and_says_what_will_happen(business: Account) -> None:
    page = cancel(browser(Role.DEALING), business.orders.all()).content.decode()
    assert "These 2 orders will be cancelled for their clients." in page
    assert "1 selected order has ended already and stays as it is." in page
    assert business.orders.live().count() == 2


def test_a_dealer_cancels_in_his_own_name(business: Account) -> None:
    page = cancel(browser(Role.DEALING), business.orders.live(), confirmed="yes").content.decode()
    assert "2 orders were cancelled." in page
    cancelled = business.orders.filter(status=OrderStatus.CANCELLED)
    assert cancelled.count() == 2
    for order in cancelled:
        event = order.events.get(kind=EventKind.CANCELLED)
        assert event.by == User.objects.get(username="the-dealing")
        assert order.held == 0


def test_an_order_that_ended_meanwhile_stays_and_its_reason_is_told(business: Account) -> None:
    filled = business.orders.filter(status=OrderStatus.FILLED)
    page = cancel(browser(Role.DEALING), filled, confirmed="yes").content.decode()
    assert "The order is already filled." in page
    assert filled.count() == 1


def test_nothing_live_is_said_before_asking(business: Account) -> None:
    page = cancel(browser(Role.DEALING), business.orders.filter(status=OrderStatus.FILLED)).content.decode()
    assert "there is nothing to cancel" in page


@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.OPERATIONS, Role.SUPPORT])
def test_others_cannot_cancel(business: Account, role: Role) -> None:
    cancel(browser(role), business.orders.live(), confirmed="yes")
    assert business.orders.live().count() == 2


# --- changing things --------------------------------------------------------------------------------------------------


def test_renaming_an_account_raises_its_version_and_leaves_the_rest(business: Account) -> None:
    before = Account.objects.get(pk=business.pk)
    form = {"name": "Renamed", "state": AccountState.BLOCKED, "number": "OTHER", "version": "0"}
    assert browser(Role.OPERATIONS).post(url(business, "change"), form).status_code == 302
    after = Account.objects.get(pk=business.pk)
    assert (after.name, after.state, after.number) == ("Renamed", before.state, before.number)
    assert after.version == before.version + 1
    assert LogEntry.objects.get().get_change_message() == "Changed Name."


def test_an_account_keeps_the_group_it_was_opened_in(business: Account) -> None:
    other = factories.group(Profile.SPOT)
    form = {"name": business.name, "state": business.state, "group": other.pk}
    browser(Role.OPERATIONS).post(url(business, "change"), form)
    assert Account.objects.get(pk=business.pk).group == business.group


def test_operations_open_an_account() -> None:
    client, group = factories.user("newcomer").client, factories.group()
    factories.currency("USD")
    form = {"number": "NEW-1", "name": "New", "client": client.pk, "group": group.pk, "currency": "USD"}
    answer = browser(Role.OPERATIONS).post(url(Account, "add"), {**form, "type": "live", "state": "active"})
    assert answer.status_code == 302
    opened = Account.objects.get(number="NEW-1")
    assert (opened.client, opened.group, opened.version) == (client, group, 0)


def test_a_new_account_takes_the_next_number_of_its_groups_series() -> None:
    client, group = factories.user("newcomer").client, factories.group()
    group.number_series = NumberSeries.objects.create(prefix="FX-", next_number=41, width=5)
    group.save()
    factories.account(number="FX-00041")
    form = {"number": "", "name": "New", "client": client.pk, "group": group.pk, "currency": "USD"}
    browser(Role.OPERATIONS).post(url(Account, "add"), {**form, "type": "live", "state": "active"})
    opened = client.accounts.get()
    assert opened.number == "FX-00042"
    assert (opened.events.get().kind, opened.events.get().by) == (
        AccountEventKind.OPENED,
        User.objects.get(username="the-operations"),
    )


@pytest.mark.parametrize("number", ["lower", "WITH SPACE", "ÜML", ""])
def test_a_wrong_account_number_is_refused_in_a_sentence(number: str) -> None:
    client, group = factories.user("newcomer").client, factories.group()
    factories.currency("USD")
    form = {"number": number, "name": "New", "client": client.pk, "group": group.pk, "currency": "USD"}
    page = browser(Role.OPERATIONS).post(url(Account, "add"), {**form, "type": "live", "state": "active"})
    assert page.context["adminform"].form.errors["number"]
    assert not Account.objects.exists()


def group_form(group: AccountGroup, effective_from: datetime) -> dict[str, Any]:
    """The form of a new group's page, with its first conditions."""
    version = {
        "effective_from_0": effective_from.strftime("%Y-%m-%d"),
        "effective_from_1": effective_from.strftime("%H:%M:%S"),
        "margin_rate": "0.5",
        "margin_call_level": "100",
        "stop_out_level": "50",
        "commission_lot": "100000",
        "commission_kind": "none",
        "commission_rate": "0",
        "commission_minimum": "0",
        "fee_asset": "quote",
        "market_buffer": "0.02",
        "mark_up_pips": "0",
        "max_open_orders": "200",
        "max_quote_age_seconds": "30",
    }
    return {
        "name": group.name,
        "profile": group.profile,
        "conditions-TOTAL_FORMS": "1",
        "conditions-INITIAL_FORMS": "0",
        **{f"conditions-0-{name}": value for name, value in version.items()},
        "instruments-TOTAL_FORMS": "0",
        "instruments-INITIAL_FORMS": "0",
    }


def test_a_new_group_needs_conditions() -> None:
    form = {"name": "Bare", "profile": Profile.SPOT, "conditions-TOTAL_FORMS": "0", "conditions-INITIAL_FORMS": "0"}
    form |= {"instruments-TOTAL_FORMS": "0", "instruments-INITIAL_FORMS": "0"}
    assert browser(Role.OPERATIONS).post(url(AccountGroup, "add"), form).status_code == 200
    assert not AccountGroup.objects.exists()


def test_a_new_groups_conditions_begin_as_a_draft_of_who_adds_it() -> None:
    moment = timezone.now() - timedelta(days=1)
    form = group_form(AccountGroup(name="New", profile=Profile.SPOT), moment)
    assert browser(Role.OPERATIONS).post(url(AccountGroup, "add"), form).status_code == 302
    group = AccountGroup.objects.get()
    draft = group.conditions.get()
    assert (draft.state, draft.drafted_by, draft.margin_rate) == (
        ConditionsState.DRAFT,
        User.objects.get(username="the-operations"),
        Decimal("0.5"),
    )
    with pytest.raises(TradingConditions.DoesNotExist):
        group.conditions_at()


def test_dealing_halts_an_instrument_and_changes_nothing_else() -> None:
    instrument = factories.instrument("EURUSD")
    form = {"state": InstrumentState.HALTED, "description_en": "Renamed", "min_qty": "5", "symbol_group": ""}
    assert browser(Role.DEALING).post(url(instrument, "change"), form).status_code == 302
    before, after = instrument, Instrument.objects.get(pk=instrument.pk)
    assert after.state == InstrumentState.HALTED
    assert (after.description, after.min_qty, after.symbol_group) == (
        before.description,
        before.min_qty,
        before.symbol_group,
    )


def test_support_describes_an_instrument_and_does_not_resume_it() -> None:
    instrument = factories.instrument("EURUSD", state=InstrumentState.HALTED)
    group = SymbolGroup.objects.create(name="demo_other")
    form = {
        "state": InstrumentState.TRADING,
        "description_en": "Euro",
        "description_de": "Euro!",
        "symbol_group": group.pk,
    }
    assert browser(Role.SUPPORT).post(url(instrument, "change"), form).status_code == 302
    fields = ("state", "description_en", "description_de", "symbol_group")
    after = Instrument.objects.values_list(*fields).get(pk=instrument.pk)
    assert after == (InstrumentState.HALTED, "Euro", "Euro!", group.pk)


def test_symbol_groups_keep_their_names_and_stay() -> None:
    group = SymbolGroup.objects.create(name="demo_forex")
    visitor = browser(Role.SUPPORT)
    visitor.post(url(group, "change"), {"name": "demo_other", "description": "Pairs"})
    group.refresh_from_db()
    assert (group.name, group.description) == ("demo_forex", "Pairs")
    assert visitor.post(url(group, "delete"), {"post": "yes"}).status_code == 403


def test_locked_logins_are_freed_by_operations() -> None:
    locked = AccessAttempt.objects.create(username="trader", failures_since_start=10)
    assert browser(Role.OPERATIONS).post(url(locked, "delete"), {"post": "yes"}).status_code == 302
    assert not AccessAttempt.objects.exists()
