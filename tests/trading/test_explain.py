"""Explaining terms: every value with its rule, equal to what the engine used, now and at an earlier moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from accounts import conditions
from accounts.choices import CommissionKind, Profile
from accounts.models import Account, AccountGroup, TradingConditions
from marketdata.models import Instrument
from tests import factories
from tests.trading import desk
from trading import margin_terms, tradables
from trading.errors import OrderRejected
from trading.explain import VERSIONED_SINCE, explain
from trading.former_terms import GroupInstrument, SwapTerms
from trading.models import InstrumentTerms, MarginTier

D = Decimal


@pytest.fixture
def account() -> Account:
    group = factories.group(
        symbols=["EURUSD"], commission_kind=CommissionKind.PER_MILLION, commission_rate=D(30), margin_rate=D("0.0333")
    )
    factories.allow(group, "GBPUSD", margin_rate=D("0.05"))
    return factories.account(of_group=group)


def test_every_field_of_the_conditions_is_explained_as_the_engine_reads_it(account: Account) -> None:
    now = timezone.now()
    for symbol in ("EURUSD", "GBPUSD"):
        explanation = explain(account, symbol, now)
        tradable = tradables.find(account, symbol)
        assert explanation.tradable == tradable
        assert explanation.value("margin_rate") == tradable.margin_rate
        in_force = account.group.conditions_at(now)
        for field in conditions.content_fields():
            if field.name != "margin_rate":
                assert explanation.value(field.name) == getattr(in_force, field.name), field.name


def test_the_rule_behind_a_value_is_named(account: Account) -> None:
    rules = {symbol: _rules(account, symbol)["margin_rate"] for symbol in ("EURUSD", "GBPUSD")}
    assert rules["EURUSD"].origin.startswith("version ")
    assert rules["GBPUSD"].origin.startswith("the instrument in version ")
    assert isinstance(rules["EURUSD"].source, TradingConditions)
    assert isinstance(rules["GBPUSD"].source, InstrumentTerms)


def _rules(account: Account, symbol: str):
    return {rule.name: rule for rule in explain(account, symbol, timezone.now()).rules}


def test_a_spot_account_holds_nothing_on_margin() -> None:
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT")
    rule = _rules(account, "BTCUSDT")["margin_rate"]
    assert (rule.value, rule.origin) == (None, "spot: nothing is held on margin")


def test_the_past_is_explained_with_the_rows_of_then(account: Account) -> None:
    first, before = account.group.conditions_at(), timezone.now()
    factories.set_terms(account.group, "GBPUSD", margin_rate=D("0.2"), swap_long=D(-5), swap_short=D(1))
    instrument = Instrument.objects.get(symbol="GBPUSD")
    instrument.max_qty = D(5000)
    instrument.save()
    factories.change_conditions(account.group, commission_rate=D(99))
    then, now = explain(account, "GBPUSD", before), explain(account, "GBPUSD", timezone.now())
    names = ("margin_rate", "max_qty", "commission_rate")
    assert [then.value(name) for name in names] == [D("0.05"), D(10_000_000), D(30)]
    assert [now.value(name) for name in names] == [D("0.2"), D(5000), D(99)]
    sources = [{rule.name: rule for rule in each.rules}["margin_rate"].source for each in (then, now)]
    versions = [source.conditions for source in sources if isinstance(source, InstrumentTerms)]
    assert versions == [first, account.group.conditions_at()]
    assert (now.value("swap_long"), [rule for rule in then.rules if rule.name == "swap_long"]) == (D(-5), [])


def test_an_instrument_taken_away_since_is_still_explained(account: Account) -> None:
    before = timezone.now()
    factories.take_away(account.group, "GBPUSD")
    assert explain(account, "GBPUSD", before).value("margin_rate") == D("0.05")
    with pytest.raises(OrderRejected, match="no instrument GBPUSD"):
        explain(account, "GBPUSD", timezone.now())


def test_what_is_only_no_longer_offered_keeps_its_terms_for_those_who_hold_it(account: Account) -> None:
    factories.set_terms(account.group, "GBPUSD", is_offered=False)
    now = explain(account, "GBPUSD", timezone.now())
    assert (now.value("is_offered"), now.value("margin_rate")) == (False, D("0.05"))
    with pytest.raises(OrderRejected, match="no instrument GBPUSD"):
        tradables.find(account, "GBPUSD")
    held = margin_terms.of(account, Instrument.objects.get(symbol="GBPUSD"), account.group.conditions_at())
    assert held.rate == D("0.05")


def test_the_tiers_that_count_for_the_instrument_are_told(account: Account) -> None:
    author = factories.user(is_staff=True)
    draft = conditions.own_draft(account.group, timezone.now() + timedelta(seconds=1), by=author, note="")
    MarginTier.objects.create(conditions=draft, floor=D(1000), rate=D("0.1"))
    gbpusd = Instrument.objects.get(symbol="GBPUSD")
    MarginTier.objects.create(conditions=draft, instrument=gbpusd, floor=D(500), rate=D("0.3"), maintenance_rate=D(1))
    conditions.approve(draft.pk, by=factories.user(is_staff=True))
    later = timezone.now() + timedelta(seconds=2)
    told = [explain(account, symbol, later).value("tiers") for symbol in ("EURUSD", "GBPUSD")]
    assert told == ["≥ 1000: 0.1", "≥ 500: 0.3 (1)"]


@contextmanager
def written_as_before(*former: Any) -> Iterator[None]:
    """The tables take what they took before the migration."""
    triggers = [(model._meta.db_table, model._meta.triggers[0].get_pgid(model)) for model in former]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with work to come is not altered
        for table, trigger in triggers:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, trigger in triggers:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")


def test_moments_before_versions_had_instruments_are_explained_from_the_trail(account: Account) -> None:
    """As after an upgrade: the former tables have what held until then."""
    MigrationRecorder.Migration.objects.filter(name=VERSIONED_SINCE).update(applied=timezone.now() + timedelta(hours=1))
    with pytest.raises(OrderRejected):
        explain(account, "GBPUSD", timezone.now())
    gbpusd = Instrument.objects.get(symbol="GBPUSD")
    with written_as_before(GroupInstrument, SwapTerms):
        row = GroupInstrument.objects.create(group=account.group, instrument=gbpusd, margin_rate=D("0.07"))
        SwapTerms.objects.create(instrument=gbpusd, long=D(-3), short=D(1))
        before = timezone.now()
        row.margin_rate = D("0.08")
        row.save()
    for at, rate in ((before, D("0.07")), (timezone.now(), D("0.08"))):
        explained = explain(account, "GBPUSD", at)
        assert [explained.value(name) for name in ("margin_rate", "swap_long")] == [rate, D(-3)]
    assert isinstance({rule.name: rule for rule in explained.rules}["margin_rate"].source, GroupInstrument)
    for written in (lambda: row.save(), lambda: row.delete()):
        with pytest.raises(DatabaseError, match="belong to the conditions of a group"), transaction.atomic():
            written()


def test_what_the_engine_held_and_charged_is_what_is_explained(account: Account) -> None:
    factories.quote("GBPUSD", "1.30000", "1.30000")
    order = desk.fill(account, "buy", "100000", "GBPUSD")
    explanation = explain(account, "GBPUSD", order.created_at + timedelta(microseconds=1))
    execution, position = order.executions.get(), account.positions.get()
    assert (explanation.value("margin_rate"), explanation.value("commission_rate")) == (D("0.05"), D(30))
    assert position.margin == D(100_000) * D("1.3") * D("0.05")
    assert execution.commission == D(100_000) * D("1.3") * D(30) / 1_000_000


def test_what_was_never_offered_is_refused(account: Account) -> None:
    factories.instrument("AAPL")
    for symbol in ("AAPL", "NOPE"):
        with pytest.raises(OrderRejected):
            explain(account, symbol, timezone.now())
    early = timezone.now() - timedelta(days=1)  # before the account was opened
    with pytest.raises(OrderRejected):
        explain(account, "EURUSD", early)


def test_without_conditions_in_force_there_is_nothing_to_explain() -> None:
    group = AccountGroup.objects.create(name="Bare", profile=Profile.SPOT)
    factories.instrument("BTCUSDT")
    account = factories.account(of_group=group, deposits={})
    with pytest.raises(TradingConditions.DoesNotExist):
        explain(account, "BTCUSDT", timezone.now())
