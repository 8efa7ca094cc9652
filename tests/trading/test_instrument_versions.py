"""The instruments of a group are part of its conditions: nobody changes them alone, and they begin by the clock."""

import importlib
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import conditions
from accounts.choices import ConditionsState, Profile
from accounts.conditions import ConditionsRefused
from accounts.models import Account, AccountGroup, TradingConditions
from accounts.roles import Role
from backoffice.audit.models import Entry
from backoffice.operations import impact
from marketdata.models import Instrument
from tests import factories
from tests.backoffice.test_admin import browser
from tests.concurrency.test_races import together
from tests.trading import desk
from tests.trading.test_explain import written_as_before
from trading import margin_terms, tradables
from trading.errors import OrderRejected
from trading.former_terms import GroupInstrument, SwapTerms
from trading.models import InstrumentTerms, MarginTier

pytestmark = pytest.mark.django_db
D = Decimal
TOMORROW = timedelta(days=1)


@pytest.fixture
def account() -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(symbols=["EURUSD", "GBPUSD"])


def drafted(group: AccountGroup, after: timedelta = TOMORROW, **terms: Any) -> TradingConditions:
    """A draft that gives EURUSD these terms."""
    draft = conditions.own_draft(group, timezone.now() + after, by=factories.user(is_staff=True), note="Of the tests")
    InstrumentTerms.objects.filter(pk=row(draft).pk).update(**terms)
    return draft


def approve(version: TradingConditions) -> None:
    conditions.approve(version.pk, by=factories.user(is_staff=True))


def row(version: TradingConditions, symbol: str = "EURUSD") -> InstrumentTerms:
    return version.instruments.get(instrument__symbol=symbol)


# --- when they begin --------------------------------------------------------------------------------------------------


def test_an_approved_version_begins_by_the_clock_for_whoever_knows_the_old_one(
    account: Account, time_machine: Any
) -> None:
    version = drafted(account.group, margin_rate=D("0.5"))
    approve(version)
    eurusd = Instrument.objects.get(symbol="EURUSD")

    def rates() -> list[Decimal | None]:
        with transaction.atomic():
            locked = Account.objects.changing(account.pk)
            in_force = locked.conditions_at()
            return [
                tradables.find(locked, "EURUSD").margin_rate,
                tradables.of_account(locked)[0].margin_rate,
                margin_terms.of(locked, eurusd, in_force).rate,
            ]

    assert rates() == [D("0.02")] * 3
    time_machine.move_to(version.effective_from, tick=False)
    assert rates() == [D("0.5")] * 3


def test_what_is_no_longer_offered_cannot_be_opened_from_then_on(account: Account, time_machine: Any) -> None:
    version = drafted(account.group, is_offered=False)
    approve(version)
    desk.place(account, "buy", "1000")
    time_machine.move_to(version.effective_from, tick=False)
    factories.quote("EURUSD", "1.10000", "1.10010")
    with pytest.raises(OrderRejected, match="no instrument EURUSD"):
        desk.place(account, "buy", "1000")
    assert [each.instrument.symbol for each in tradables.of_account(account)] == ["GBPUSD"]


def test_a_draft_raises_no_version_of_the_terms(account: Account) -> None:
    draft = drafted(account.group)
    instrument = factories.instrument("AAPL")
    before = Account.objects.changing(account.pk).terms
    InstrumentTerms.objects.create(conditions=draft, instrument=instrument)
    assert Account.objects.changing(account.pk).terms == before
    approve(draft)
    assert Account.objects.changing(account.pk).terms != before


# --- four eyes --------------------------------------------------------------------------------------------------------


def sql(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def statements(version: TradingConditions) -> list[str]:
    instrument = factories.instrument("AAPL").pk
    return [
        f"UPDATE trading_instrumentterms SET margin_rate = 0.001 WHERE conditions_id = {version.pk}",
        f"DELETE FROM trading_instrumentterms WHERE conditions_id = {version.pk}",
        "INSERT INTO trading_instrumentterms (conditions_id, instrument_id, is_offered, swap_unit, triple_day)"
        f" VALUES ({version.pk}, {instrument}, true, 'points', 2)",
        f"UPDATE trading_instrumentterms SET conditions_id = {version.pk} WHERE conditions_id <> {version.pk}",
    ]


def test_sql_does_not_change_the_instruments_of_an_approved_version(account: Account) -> None:
    version = drafted(account.group)
    approve(version)
    for statement in statements(version):
        with pytest.raises(DatabaseError, match="the instruments of an approved version stay"):
            sql(statement)


def test_nor_those_that_the_program_made_itself_once_somebody_trades_on_them() -> None:
    group = factories.group(symbols=["EURUSD", "GBPUSD"])
    version = group.conditions_at()
    sql(statements(version)[0])  # nobody does yet
    factories.account(of_group=group)
    for statement in statements(version)[:3]:
        with pytest.raises(DatabaseError, match="the instruments of an approved version stay"):
            sql(statement)


@pytest.mark.django_db(transaction=True)
def test_nobody_slips_in_while_it_is_being_approved() -> None:
    version = drafted(factories.group(symbols=["EURUSD"]))
    approver = factories.user(is_staff=True)
    has_approved, is_waiting = threading.Event(), threading.Event()

    def approve_slowly() -> None:
        with transaction.atomic():
            conditions.approve(version.pk, by=approver)
            has_approved.set()
            assert is_waiting.wait(10)
            with connection.cursor() as cursor:  # until the other one stands at the lock
                for _try in range(200):
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone()[0]:
                        return
                    cursor.execute("SELECT pg_sleep(0.02)")
            raise AssertionError("the change did not wait")

    def slip_in() -> None:
        assert has_approved.wait(10)
        is_waiting.set()
        version.instruments.update(margin_rate=D("0.001"))

    approval, change = together(approve_slowly, slip_in)
    assert approval is None
    assert "the instruments of an approved version stay" in str(change)
    assert row(version).margin_rate is None


def test_what_was_put_in_after_it_was_shown_is_not_approved(account: Account) -> None:
    version = drafted(account.group, margin_rate=D("0.05"))
    seen = conditions.fingerprint(version)
    changes: list[Callable[[], object]] = [
        lambda: version.instruments.filter(instrument__symbol="EURUSD").update(margin_rate=D("0.9")),
        lambda: MarginTier.objects.create(conditions=version, floor=D(1), rate=D(1)),
        lambda: row(version, "GBPUSD").delete(),
    ]
    for change in changes:
        change()
        with pytest.raises(ConditionsRefused, match="changed since it was shown to you"):
            conditions.approve(version.pk, by=factories.user(is_staff=True), seen=seen)
        seen = conditions.fingerprint(version)
    conditions.approve(version.pk, by=factories.user(is_staff=True), seen=seen)


def test_a_version_without_any_instrument_is_not_approved_where_there_are_some(account: Account) -> None:
    """As the version of the program that is being replaced would draft it."""
    author = factories.user(is_staff=True)
    bare = conditions.draft(account.group_id, timezone.now() + TOMORROW, {}, by=author, note="")
    with pytest.raises(ConditionsRefused, match="It has no rows of “groups' instruments”"):
        approve(bare)
    spot = AccountGroup.objects.create(name="New", profile=Profile.SPOT)
    approve(conditions.draft(spot.pk, timezone.now(), {}, by=author, note=""))  # a group that never had any


def test_who_drafted_it_edits_its_instruments_and_nobody_else(account: Account) -> None:
    visitor, other = browser(Role.OPERATIONS), browser(Role.ADMINISTRATOR)
    visitor.post(
        reverse("page:conditions_draft", args=[account.group_id]),
        {**values_of(account.group.conditions_at()), "effective_from_0": "2099-01-01", "effective_from_1": "00:00"},
    )
    draft = TradingConditions.objects.get(state=ConditionsState.DRAFT)
    assert [each.instrument.symbol for each in draft.instruments.order_by("pk")] == ["EURUSD", "GBPUSD"]
    url = reverse("admin:accounts_tradingconditions_change", args=[draft.pk])
    assert other.post(url, edited(draft, "0.07")).status_code == 403
    assert row(draft).margin_rate is None
    assert b'name="instruments-0-margin_rate"' not in other.get(url).content
    assert visitor.post(url, edited(draft, "0.07")).status_code == 302
    assert row(draft).margin_rate == D("0.07")
    entry = Entry.objects.filter(table_name="trading_instrumentterms", action="update").latest("id")
    assert entry.user_id == draft.drafted_by_id
    approve(draft)
    assert visitor.post(url, edited(draft, "0.01")).status_code == 403


def values_of(version: TradingConditions) -> dict[str, object]:
    given = {field.name: getattr(version, field.name) for field in conditions.content_fields()}
    return {name: value for name, value in given.items() if value is not None and value is not False}


def edited(draft: TradingConditions, rate: str) -> dict[str, object]:
    """The form of the draft's page with another rate for EURUSD."""
    found = row(draft)
    return {
        "instruments-TOTAL_FORMS": 1,
        "instruments-INITIAL_FORMS": 1,
        "instruments-0-id": found.pk,
        "instruments-0-conditions": draft.pk,
        "instruments-0-instrument": found.instrument_id,
        "instruments-0-is_offered": "on",
        "instruments-0-margin_rate": rate,
        "instruments-0-swap_unit": found.swap_unit,
        "instruments-0-triple_day": found.triple_day,
        "tiers-TOTAL_FORMS": 0,
        "tiers-INITIAL_FORMS": 0,
    }


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.OPERATIONS])
def test_a_groups_page_shows_what_is_in_force_and_changes_none_of_it(account: Account, role: Role) -> None:
    url = reverse("admin:accounts_accountgroup_change", args=[account.group_id])
    visitor = browser(role)
    page = visitor.get(url).content.decode()
    assert "GBPUSD" in page
    assert "instruments-TOTAL_FORMS" not in page
    listed = visitor.get(reverse("admin:trading_instrumentterms_changelist")).content.decode()
    assert "GBPUSD" in listed
    assert "/instrumentterms/add/" not in listed


# --- compared, rolled back, previewed ---------------------------------------------------------------------------------


def changed(one: TradingConditions, other: TradingConditions) -> dict[str, tuple[str, str]]:
    return {each.label: (each.before, each.after) for each in conditions.compare(one, other) if each.is_change}


def test_comparing_names_the_instruments_that_differ_and_how(account: Account) -> None:
    first = account.group.conditions_at()
    draft = drafted(account.group, margin_rate=D("0.05"), swap_long=D(-5), swap_short=D(1))
    row(draft, "GBPUSD").delete()
    InstrumentTerms.objects.create(conditions=draft, instrument=factories.instrument("USDJPY"), max_leverage=30)
    MarginTier.objects.create(conditions=draft, floor=D(1000), rate=D("0.1"))
    assert changed(first, draft) == {
        "Groups' instruments: EURUSD": (
            "margin rate –, swap long –, swap short –", "margin rate 0.05, swap long -5, swap short 1"
        ),
        "Groups' instruments: GBPUSD": ("offered yes", "–"),
        "Groups' instruments: USDJPY": ("–", "offered yes, highest leverage 30"),
        "Margin tiers: all 1000": ("–", "margin rate 0.1"),
    }  # fmt: skip


def test_rolling_back_brings_the_instruments_of_then(account: Account) -> None:
    first = account.group.conditions_at()
    factories.set_terms(account.group, "EURUSD", margin_rate=D("0.5"))
    factories.take_away(account.group, "GBPUSD")
    again = conditions.roll_back(first, timezone.now() + TOMORROW, by=factories.user(is_staff=True))
    assert changed(first, again) == {}
    assert row(again, "GBPUSD").is_offered


def test_ten_thousand_instruments_are_copied_compared_and_approved(account: Account) -> None:
    made = Instrument.objects.bulk_create(
        Instrument(
            symbol=f"S{number:05}", description="x", type="stock", quote_currency="USD", exchange_listed="X",
            exchange_traded="X", pricescale=100, min_qty=D(1), max_qty=D(10), qty_step=D(1), session_regular="24x7",
        )
        for number in range(10_000)
    )  # fmt: skip
    rows = [InstrumentTerms(instrument=instrument) for instrument in made]

    def add(terms: Any) -> None:
        for each in rows:
            each.conditions = terms.instance
        terms.bulk_create(rows)

    version = factories.change_terms(account.group, add)
    with CaptureQueriesContext(connection) as asked:
        draft = drafted(account.group, margin_rate=D("0.05"))
        differences = changed(version, draft)
        approve(draft)
        conditions.discard(drafted(account.group).pk)
    assert draft.instruments.count() == 10_002
    assert differences == {"Groups' instruments: EURUSD": ("margin rate –", "margin rate 0.05")}
    assert len(asked) < 100
    page = browser(Role.OPERATIONS).get(reverse("admin:accounts_tradingconditions_change", args=[draft.pk]))
    assert b"S00009" not in page.content  # the first of them, and a link to all


def test_a_preview_says_what_margins_swaps_and_instruments_change_for_whom(account: Account) -> None:
    factories.quote("GBPUSD", "1.30000", "1.30000")
    desk.fill(account, "buy", "100000")
    desk.fill(account, "sell", "10000", "GBPUSD")
    desk.place(account, "buy", "1000", "GBPUSD", limit="1.1")
    draft = drafted(account.group, contract_margin=D("0.1"), swap_long=D("-6.5"), swap_short=D(1))
    draft.instruments.filter(instrument__symbol="GBPUSD").update(is_offered=False)
    MarginTier.objects.create(conditions=draft, floor=D(3000), rate=D("0.5"))
    seen = impact.of(draft)
    assert (seen.open_positions, seen.dropped_positions, seen.dropped_orders) == (2, 1, 1)
    [detail] = seen.details
    # 110,005 × 2 % and 13,000 × 2 %; then 0.1 for each euro, and 3,000 × 2 % + 10,000 × 50 %
    assert (detail.margin_now, detail.margin_then) == (D("2200.10") + D(260), D(10_000) + D(5060))
    assert (detail.swap_now, detail.swap_then) == (D(0), D("-6.50"))


# --- the migration ----------------------------------------------------------------------------------------------------


def test_todays_rows_become_those_of_every_version(account: Account) -> None:
    """With the swaps of the group, else those for all; what is held and no longer offered keeps its swap."""
    fill = importlib.import_module("trading.migrations.0009_instruments_of_versions").FILL
    factories.quote("GBPUSD", "1.30000", "1.30000")
    desk.fill(account, "buy", "1000", "GBPUSD")
    draft = drafted(account.group)
    spot = factories.group(Profile.SPOT)
    eurusd, gbpusd, usdjpy = map(factories.instrument, ("EURUSD", "GBPUSD", "USDJPY"))
    with written_as_before(GroupInstrument, SwapTerms, InstrumentTerms):
        InstrumentTerms.objects.all().delete()
        terms = {"margin_rate": D("0.07"), "maintenance_rate": D("0.01"), "contract_margin": D(3)}
        GroupInstrument.objects.create(
            group=account.group, instrument=eurusd, contract_maintenance=D(2), max_leverage=9, **terms
        )
        GroupInstrument.objects.create(group=spot, instrument=eurusd)
        for instrument in (eurusd, gbpusd, usdjpy):
            SwapTerms.objects.create(instrument=instrument, long=D(-1), short=D(1))
        SwapTerms.objects.create(
            instrument=eurusd, group=account.group, unit="percent", long=D(-2), short=D(2), triple_day=4
        )
        with connection.cursor() as cursor:
            cursor.execute(fill)
    for version in (account.group.conditions_at(), draft):
        found = row(version)
        assert (found.contract_maintenance, found.max_leverage, found.is_offered) == (D(2), 9, True)
        assert {name: getattr(found, name) for name in terms} == terms
        assert (found.swap_unit, found.swap_long, found.swap_short, found.triple_day) == ("percent", D(-2), D(2), 4)
        held = row(version, "GBPUSD")
        assert (held.is_offered, held.margin_rate, held.swap_long, held.triple_day) == (False, None, D(-1), 2)
        assert version.instruments.count() == 2
    assert row(spot.conditions_at()).swap_long is None
