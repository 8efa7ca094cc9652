"""Versions of trading conditions: four eyes, immutable once approved, compared, rolled back."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts import conditions
from accounts.choices import CommissionKind, ConditionsState
from accounts.conditions import ConditionsRefused
from accounts.models import AccountGroup, TradingConditions
from tests import factories
from tests.concurrency.test_races import together
from trading.models import MarginTier

pytestmark = pytest.mark.django_db
D = Decimal
TOMORROW = timedelta(days=1)


def drafted(group: AccountGroup, by: Any = None, after: timedelta = TOMORROW, **values: Any) -> TradingConditions:
    by = by or factories.user(is_staff=True)
    moment = timezone.now() + after
    return conditions.draft(group.pk, moment, {"margin_rate": D("0.05"), **values}, by=by, note="New regulation")


def test_a_draft_changes_nothing_and_an_approved_version_begins_at_its_moment() -> None:
    group = factories.group()
    version = drafted(group)
    later = version.effective_from + timedelta(seconds=1)
    assert group.conditions_at(later).margin_rate == D("0.02")
    conditions.approve(version.pk, by=factories.user(is_staff=True))
    assert group.conditions_at(later) == version
    assert group.conditions_at().margin_rate == D("0.02")


def test_who_drafted_does_not_approve() -> None:
    author = factories.user(is_staff=True)
    version = drafted(factories.group(), by=author)
    with pytest.raises(ConditionsRefused, match="You drafted it yourself"):
        conditions.approve(version.pk, by=author)
    assert TradingConditions.objects.get(pk=version.pk).state == ConditionsState.DRAFT


def test_sql_does_not_let_him_either() -> None:
    version = drafted(factories.group())
    with pytest.raises(DatabaseError, match="conditions_four_eyes"):
        sql(f"UPDATE accounts_tradingconditions SET state = 'approved', approved_by_id = drafted_by_id {only(version)}")
    with pytest.raises(DatabaseError, match="not rewritten"):
        sql(f"UPDATE accounts_tradingconditions SET drafted_by_id = NULL, state = 'approved' {only(version)}")


def sql(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def only(version: TradingConditions) -> str:
    return f"WHERE id = {version.pk}"


@pytest.mark.parametrize(
    "change", ["margin_rate = 1", "effective_from = now() - interval '9 years'", "state = 'draft'"]
)
def test_a_version_in_force_is_never_changed(change: str) -> None:
    group = factories.group()
    with pytest.raises(DatabaseError, match="in force is not changed"):
        sql(f"UPDATE accounts_tradingconditions SET {change}")
    assert group.conditions_at().margin_rate == D("0.02")


def test_a_version_is_not_rewritten_and_an_approved_one_not_deleted() -> None:
    version = drafted(factories.group())
    with pytest.raises(DatabaseError, match="not rewritten"):
        sql(f"UPDATE accounts_tradingconditions SET margin_rate = 1 {only(version)}")
    conditions.approve(version.pk, by=factories.user(is_staff=True))
    with pytest.raises(DatabaseError, match="not deleted"):
        sql(f"DELETE FROM accounts_tradingconditions {only(version)}")


def test_nothing_begins_in_the_past() -> None:
    group = factories.group()
    with pytest.raises(ConditionsRefused, match="Its moment has passed"):
        drafted(group, after=-TOMORROW)
    late = drafted(group, after=TOMORROW)
    after = timezone.now() + 2 * TOMORROW
    with time_machine.travel(after), pytest.raises(ConditionsRefused, match="Its moment has passed"):
        conditions.approve(late.pk, by=factories.user(is_staff=True))


def test_the_first_version_of_a_group_may_begin_at_once() -> None:
    group = AccountGroup.objects.create(name="New", profile="spot")
    version = drafted(group, after=-TOMORROW)
    conditions.approve(version.pk, by=factories.user(is_staff=True))
    assert group.conditions_at() == version


def test_two_versions_cannot_begin_at_one_moment() -> None:
    group = factories.group()
    first = drafted(group)
    second = conditions.draft(group.pk, first.effective_from, {}, by=factories.user(is_staff=True), note="Another")
    conditions.approve(first.pk, by=factories.user(is_staff=True))
    with pytest.raises(ConditionsRefused, match="for the same moment"):
        conditions.approve(second.pk, by=factories.user(is_staff=True))


def test_an_approved_version_is_withdrawn_before_it_begins_and_discarded() -> None:
    group = factories.group()
    version = drafted(group)
    conditions.approve(version.pk, by=factories.user(is_staff=True))
    conditions.withdraw(version.pk)
    assert group.conditions_at(version.effective_from).margin_rate == D("0.02")
    conditions.discard(version.pk)
    assert group.conditions.count() == 1


def test_a_version_in_force_is_not_withdrawn() -> None:
    with pytest.raises(ConditionsRefused, match="in force already"):
        conditions.withdraw(factories.group().conditions_at().pk)


def test_comparing_names_every_field_and_marks_what_differs() -> None:
    group = factories.group(commission_kind=CommissionKind.PERCENT, commission_rate=D("0.1"))
    differences = conditions.compare(group.conditions_at(), drafted(group))
    changed = {each.label: (each.before, each.after) for each in differences if each.is_change}
    assert changed == {
        "margin rate": ("0.02", "0.05"),
        "commission": ("Percent of turnover", "None"),
        "commission rate": ("0.1", "0"),
    }
    assert len(differences) >= len(conditions.content_fields())


def test_rolling_back_drafts_the_old_values_as_a_new_version() -> None:
    group = factories.group(commission_rate=D("7.5"))
    first = group.conditions_at()
    factories.change_conditions(group, commission_rate=D(9))
    again = conditions.roll_back(first, timezone.now() + TOMORROW, by=factories.user(is_staff=True))
    assert not [each for each in conditions.compare(first, again) if each.is_change]
    assert (again.state, again.pk != first.pk) == (ConditionsState.DRAFT, True)
    assert group.conditions_at().commission_rate == D(9)


@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_make_one() -> None:
    version = drafted(factories.group())
    people = [factories.user(is_staff=True) for _ in range(2)]
    results = together(*[partial(conditions.approve, version.pk, by=person) for person in people])
    assert sorted(type(result).__name__ for result in results) == ["ConditionsRefused", "TradingConditions"]


def test_the_tiers_of_an_approved_version_stay_and_are_copied_with_it() -> None:
    group = factories.group()
    version = drafted(group)
    tier = MarginTier.objects.create(conditions=version, floor=D(1000), rate=D("0.1"))
    conditions.approve(version.pk, by=factories.user(is_staff=True))
    for statement in (
        f"UPDATE trading_margintier SET rate = 0 WHERE id = {tier.pk}",
        f"DELETE FROM trading_margintier WHERE id = {tier.pk}",
        f"INSERT INTO trading_margintier (conditions_id, floor, rate) VALUES ({version.pk}, 2000, 0.2)",
    ):
        with pytest.raises(DatabaseError, match="the tiers of an approved version stay"):
            sql(statement)
    again = conditions.roll_back(version, version.effective_from + TOMORROW, by=factories.user(is_staff=True))
    assert [(each.floor, each.rate) for each in again.tiers.all()] == [(D(1000), D("0.1"))]
    conditions.discard(again.pk)
    assert MarginTier.objects.get() == tier
