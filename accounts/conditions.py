"""Versions of trading conditions: drafted by one person, approved by another, compared, rolled back.

Everything here goes over the fields of the model and over the tables that belong to a version (those that are deleted
with it), so that what joins them is copied and compared as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts.choices import ConditionsState
from accounts.models import AccountGroup, TradingConditions, User

# What says which version it is, not what it says.
BOOKKEEPING = ("id", "group", "effective_from", "state", "note", "drafted_by", "approved_by", "approved_at")


class ConditionsRefused(Exception):
    """The draft or its approval is refused, and nothing was stored. The text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two versions, or one row that belongs to them; values as people read them."""

    label: str
    before: str
    after: str
    is_of_row: bool = False

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
        copy_tables(like, made)
    return made


@transaction.atomic
def own_draft(group: AccountGroup, effective_from: datetime, *, by: User, note: str) -> TradingConditions:
    """The person's draft for this moment; one that says what the last approved version does if there is none yet.

    Raises ConditionsRefused, as `draft` does.
    """
    drafts = group.conditions.filter(state=ConditionsState.DRAFT, drafted_by=by, effective_from=effective_from)
    if found := drafts.first():
        return found
    base = latest(group)
    values = {field.name: getattr(base, field.name) for field in content_fields()} if base else {}
    return draft(group.pk, effective_from, values, by=by, note=note, like=base)


def latest(group: AccountGroup) -> TradingConditions | None:
    """What another version starts from: the last approved one, also if it is yet to come; else a draft."""
    return group.conditions.order_by("state", "-effective_from", "-pk").first()


def roll_back(to: TradingConditions, effective_from: datetime, *, by: User) -> TradingConditions:
    """Draft a version that says what an earlier one said: history goes on, it is not undone."""
    values = {field.name: getattr(to, field.name) for field in content_fields()}
    note = _("Back to version %(number)s") % {"number": to.pk}
    return draft(to.group_id, effective_from, values, by=by, note=note, like=to)


@transaction.atomic
def approve(version_id: int, *, by: User, seen: str | None = None) -> TradingConditions:
    """Let the draft come into force at its moment; never by who drafted it. Raises ConditionsRefused.

    `seen` is the fingerprint of what he was shown: he does not approve what was put in since.
    """
    version = _locked(version_id)
    if version.state != ConditionsState.DRAFT:
        raise ConditionsRefused(_("It is approved already."))
    if version.drafted_by_id == by.pk:
        raise ConditionsRefused(_("You drafted it yourself: somebody else has to approve it."))
    _check_moment(version.group, version.effective_from)
    same = version.group.conditions.approved().filter(effective_from=version.effective_from)
    if same.exists():
        raise ConditionsRefused(_("Another version is approved for the same moment."))
    if seen is not None and seen != fingerprint(version):
        raise ConditionsRefused(_("It was changed since it was shown to you: look at it again."))
    _check_complete(version)
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
    with connection.cursor() as cursor:  # in one statement each, not row by row
        for relation in _tables():
            table, column = relation.related_model._meta.db_table, relation.field.column
            cursor.execute(f'DELETE FROM "{table}" WHERE "{column}" = %s', [version.pk])  # noqa: S608
    version.delete()


def compare(one: TradingConditions, other: TradingConditions) -> list[Difference]:
    """Both versions side by side: every field, and of the tables that belong to them the rows that differ."""
    differences = [
        Difference(str(field.verbose_name), shown(one, field), shown(other, field)) for field in content_fields()
    ]
    for relation in _tables():
        differences += _row_differences(one, other, relation)
    return differences


def fingerprint(version: TradingConditions) -> str:
    """Of the rows that belong to the version: another one once any of them is changed. Its own fields never are."""
    digest = hashlib.sha256()
    with connection.cursor() as cursor:
        for relation in _tables():
            table, column = relation.related_model._meta.db_table, relation.field.column
            cursor.execute(
                f"SELECT string_agg(t::text, E'\\n' ORDER BY t.id) FROM {table} t WHERE {column} = %s",  # noqa: S608
                [version.pk],
            )
            digest.update(repr(cursor.fetchone()).encode())
    return digest.hexdigest()


def copy_tables(source: TradingConditions, target: TradingConditions) -> None:
    """Give a draft the rows of another version, in one statement each: there may be ten thousand."""
    for relation in _tables():
        columns = ", ".join(f'"{field.column}"' for field in _own_fields(relation))
        table, version = relation.related_model._meta.db_table, relation.field.column
        with connection.cursor() as cursor:
            cursor.execute(
                f'INSERT INTO "{table}" ("{version}", {columns})'  # noqa: S608
                f' SELECT %s, {columns} FROM "{table}" WHERE "{version}" = %s ORDER BY id',
                [target.pk, source.pk],
            )


def shown(version: TradingConditions, field: models.Field[Any, Any]) -> str:
    """A field's value in words: a choice by its name, a number without idle zeros."""
    return in_words(field, getattr(version, field.name))


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


def _row_differences(one: TradingConditions, other: TradingConditions, relation: Any) -> list[Difference]:
    """By row of the table, in the order of their names. The database compares: there may be ten thousand."""
    fields = _own_fields(relation)
    key = _key_of(relation)
    rows = [
        relation.related_model._default_manager.filter(**{relation.field.name: version})
        .order_by()
        .values_list(*(field.attname for field in fields))
        for version in (one, other)
    ]
    before, after = (
        {tuple(row[fields.index(field)] for field in key): row for row in these.difference(those)}
        for these, those in (rows, reversed(rows))
    )
    names = {
        field: field.related_model._default_manager.in_bulk({identity[key.index(field)] for identity in before | after})
        for field in key
        if field.related_model
    }
    title = capfirst(str(relation.related_model._meta.verbose_name_plural))
    found = []
    for identity in before | after:
        words = (
            str(names[field].get(value, _("all")) if field in names else value)
            for field, value in zip(key, identity, strict=True)
        )
        texts = _texts(fields, key, before.get(identity), after.get(identity))
        found.append(Difference(f"{title}: {' '.join(words)}", *texts, is_of_row=True))
    return sorted(found, key=lambda each: each.label)


def _key_of(relation: Any) -> list[models.Field[Any, Any]]:
    """What names a row within its version: the other fields of the constraint that it is there once."""
    meta = relation.related_model._meta
    unique = (each.fields for each in meta.constraints if isinstance(each, models.UniqueConstraint))
    names = next(names for names in unique if relation.field.name in names)
    return [meta.get_field(name) for name in names if name != relation.field.name]


def _texts(fields: Sequence[Any], key: Sequence[Any], before: Any, after: Any) -> tuple[str, str]:
    """Both rows in words: what differs, or, of a row that only one version has, all that it says."""
    nothing = [None] * len(fields)
    said = [each for each in zip(fields, before or nothing, after or nothing, strict=True) if each[0] not in key]
    if before and after:
        said = [(field, old, new) for field, old, new in said if old != new]
        return _text((field, old) for field, old, _new in said), _text((field, new) for field, _old, new in said)
    values = [(field, new if after else old) for field, old, new in said]
    text = _text((f, value) for f, value in values if isinstance(value, bool) or value not in (None, f.get_default()))
    return ("–", text) if after else (text, "–")


def _text(values: Iterable[tuple[Any, Any]]) -> str:
    return ", ".join(f"{field.verbose_name} {in_words(field, value)}" for field, value in values)


def in_words(field: models.Field[Any, Any], value: object) -> str:
    """A value as people read it: a choice by its name."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(dict(field.flatchoices).get(value, value)) if field.choices else str(value)


def _check_complete(version: TradingConditions) -> None:
    """Refuse a version without rows of a table that each must have, where the one in force has them: a group is stopped
    by its state, not by taking everything away."""
    current = version.group.conditions.begun().order_by("-effective_from").first()
    for relation in _tables():
        if current is None or not getattr(relation.related_model, "is_part_of_every_version", False):
            continue
        owners = relation.related_model._default_manager.filter(**{f"{relation.field.name}__in": [version, current]})
        if set(owners.order_by().values_list(relation.field.name, flat=True).distinct()) == {current.pk}:
            raise ConditionsRefused(
                _("It has no rows of “%(table)s”, and the version in force has: draft it anew.")
                % {"table": relation.related_model._meta.verbose_name_plural}
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
