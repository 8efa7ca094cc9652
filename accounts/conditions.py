"""Versions of trading conditions: drafted by one person, approved by another, compared, rolled back.

Everything here goes over the fields of the model and over the tables that belong to a version (those that are deleted
with it), so that what joins them is copied and compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.choices import ConditionsState
from accounts.models import AccountGroup, TradingConditions, User

# What says which version it is, not what it says.
BOOKKEEPING = ("id", "group", "effective_from", "state", "note", "drafted_by", "approved_by", "approved_at")


class ConditionsRefused(Exception):
    """The draft or its approval is refused, and nothing was stored. The text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two versions, or one table that belongs to them; values as people read them."""

    label: str
    before: str
    after: str

    @property
    def is_change(self) -> bool:
        return self.before != self.after


def content_fields() -> list[models.Field[Any, Any]]:
    """The fields that say what the conditions are."""
    return [field for field in TradingConditions._meta.concrete_fields if field.name not in BOOKKEEPING]


@transaction.atomic
def draft(
    group_id: int,
    effective_from: datetime,
    values: Mapping[str, Any],
    *,
    by: User,
    note: str,
    like: TradingConditions | None = None,
) -> TradingConditions:
    """Store a version for somebody else to approve. `like` is the version whose tables are copied with it.

    Raises ConditionsRefused for a moment that is not in the future; the first version of a group may begin at once.
    """
    group = AccountGroup.objects.select_for_update().get(pk=group_id)
    _check_moment(group, effective_from)
    made = TradingConditions.objects.create(
        group=group, effective_from=effective_from, state=ConditionsState.DRAFT, drafted_by=by, note=note, **values
    )
    if like:
        _copy_tables(like, made)
    return made


def roll_back(to: TradingConditions, effective_from: datetime, *, by: User) -> TradingConditions:
    """Draft a version that says what an earlier one said: history goes on, it is not undone."""
    values = {field.name: getattr(to, field.name) for field in content_fields()}
    note = _("Back to version %(number)s") % {"number": to.pk}
    return draft(to.group_id, effective_from, values, by=by, note=note, like=to)


@transaction.atomic
def approve(version_id: int, *, by: User) -> TradingConditions:
    """Let the draft come into force at its moment; never by who drafted it. Raises ConditionsRefused."""
    version = _locked(version_id)
    if version.state != ConditionsState.DRAFT:
        raise ConditionsRefused(_("It is approved already."))
    if version.drafted_by_id == by.pk:
        raise ConditionsRefused(_("You drafted it yourself: somebody else has to approve it."))
    _check_moment(version.group, version.effective_from)
    same = version.group.conditions.approved().filter(effective_from=version.effective_from)
    if same.exists():
        raise ConditionsRefused(_("Another version is approved for the same moment."))
    version.state, version.approved_by, version.approved_at = ConditionsState.APPROVED, by, timezone.now()
    version.save(update_fields=["state", "approved_by", "approved_at"])
    return version


@transaction.atomic
def withdraw(version_id: int) -> TradingConditions:
    """Make an approved version a draft again, before it is in force. Raises ConditionsRefused."""
    version = _locked(version_id)
    if version.state != ConditionsState.APPROVED:
        raise ConditionsRefused(_("It is not approved."))
    if version.effective_from <= timezone.now():
        raise ConditionsRefused(_("It is in force already: draft another version."))
    if version.drafted_by_id is None:
        raise ConditionsRefused(_("The system made it: draft another version for the same moment or later."))
    version.state, version.approved_by, version.approved_at = ConditionsState.DRAFT, None, None
    version.save(update_fields=["state", "approved_by", "approved_at"])
    return version


@transaction.atomic
def discard(version_id: int) -> None:
    """Delete a draft. Raises ConditionsRefused."""
    version = _locked(version_id)
    if version.state != ConditionsState.DRAFT:
        raise ConditionsRefused(_("It is approved: it stays in the history."))
    version.delete()


def compare(one: TradingConditions, other: TradingConditions) -> list[Difference]:
    """Both versions side by side, field by field and table by table."""
    differences = [
        Difference(str(field.verbose_name), shown(one, field), shown(other, field)) for field in content_fields()
    ]
    for relation in _tables():
        label = str(relation.related_model._meta.verbose_name_plural)
        differences.append(Difference(label, _rows_text(one, relation), _rows_text(other, relation)))
    return differences


def shown(version: TradingConditions, field: models.Field[Any, Any]) -> str:
    """A field's value in words: a choice by its name, a number without idle zeros."""
    if field.choices:
        return str(getattr(version, f"get_{field.name}_display")())
    value = getattr(version, field.name)
    return "–" if value is None or value == "" else str(value)


def tables_text(version: TradingConditions) -> Iterator[tuple[str, str]]:
    """(name, rows in words) of every table that belongs to the version."""
    for relation in _tables():
        yield str(relation.related_model._meta.verbose_name_plural), _rows_text(version, relation)


def _tables() -> list[Any]:
    """The relations of tables whose rows belong to a version: they would be deleted with it."""
    return [
        relation
        for relation in TradingConditions._meta.related_objects
        if relation.one_to_many and getattr(relation, "on_delete", None) is models.CASCADE
    ]


def _own_fields(relation: Any) -> list[models.Field[Any, Any]]:
    fields = relation.related_model._meta.concrete_fields
    return [field for field in fields if not field.primary_key and field != relation.field]


def _rows_text(version: TradingConditions, relation: Any) -> str:
    rows = relation.related_model._default_manager.filter(**{relation.field.name: version})
    texts = [", ".join(f"{f.verbose_name} {getattr(row, f.name)}" for f in _own_fields(relation)) for row in rows]
    return "; ".join(texts) or "–"


def _copy_tables(source: TradingConditions, target: TradingConditions) -> None:
    for relation in _tables():
        manager = relation.related_model._default_manager
        manager.bulk_create(
            relation.related_model(
                **{relation.field.name: target},
                **{field.attname: getattr(row, field.attname) for field in _own_fields(relation)},
            )
            for row in manager.filter(**{relation.field.name: source})
        )


def _locked(version_id: int) -> TradingConditions:
    found = TradingConditions.objects.filter(pk=version_id).values_list("group_id", flat=True).first()
    if found is None:
        raise ConditionsRefused(_("There is no such version."))
    AccountGroup.objects.select_for_update().get(pk=found)
    version = TradingConditions.objects.select_related("group").filter(pk=version_id).first()
    if version is None:
        raise ConditionsRefused(_("There is no such version."))
    return version


def _check_moment(group: AccountGroup, moment: datetime) -> None:
    now = timezone.now()
    is_traded = group.conditions.begun(now).exists()
    if is_traded and moment <= now:
        raise ConditionsRefused(
            _("Its moment has passed: choose one in the future, so that nothing changes backwards.")
        )
