"""Explaining terms: every value with its rule, equal to what the engine used, now and at an earlier moment."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import conditions
from accounts.choices import CommissionKind, Profile
from accounts.models import Account, AccountGroup, TradingConditions
from tests import factories
from tests.trading import desk
from trading import tradables
from trading.errors import OrderRejected
from trading.explain import explain
from trading.models import GroupInstrument

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
    assert rules["GBPUSD"].origin == "the group's own value for this instrument"
    assert isinstance(rules["EURUSD"].source, TradingConditions)
    assert isinstance(rules["GBPUSD"].source, GroupInstrument)


def _rules(account: Account, symbol: str):
    return {rule.name: rule for rule in explain(account, symbol, timezone.now()).rules}


def test_a_spot_account_holds_nothing_on_margin() -> None:
    account = factories.account(Profile.SPOT, symbols=["BTCUSDT"], base="USDT")
    rule = _rules(account, "BTCUSDT")["margin_rate"]
    assert (rule.value, rule.origin) == (None, "spot: nothing is held on margin")


def test_the_past_is_explained_with_the_rows_of_then(account: Account) -> None:
    before = timezone.now()
    row = GroupInstrument.objects.get(group=account.group, instrument__symbol="GBPUSD")
    row.margin_rate = D("0.2")
    row.save()
    instrument = row.instrument
    instrument.max_qty = D(5000)
    instrument.save()
    factories.change_conditions(account.group, commission_rate=D(99))
    then, now = explain(account, "GBPUSD", before), explain(account, "GBPUSD", timezone.now())
    names = ("margin_rate", "max_qty", "commission_rate")
    assert [then.value(name) for name in names] == [D("0.05"), D(10_000_000), D(30)]
    assert [now.value(name) for name in names] == [D("0.2"), D(5000), D(99)]


def test_an_instrument_taken_away_since_is_still_explained(account: Account) -> None:
    before = timezone.now()
    GroupInstrument.objects.get(group=account.group, instrument__symbol="GBPUSD").delete()
    assert explain(account, "GBPUSD", before).value("margin_rate") == D("0.05")
    with pytest.raises(OrderRejected, match="no instrument GBPUSD"):
        explain(account, "GBPUSD", timezone.now())


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
    factories.allow(group, "BTCUSDT")
    account = factories.account(of_group=group, deposits={})
    with pytest.raises(TradingConditions.DoesNotExist):
        explain(account, "BTCUSDT", timezone.now())
