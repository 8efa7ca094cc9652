"""The trail: one row for each change of each tracked row, chained by hash in the order of the commits."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from backoffice.fields import plain
from backoffice.triggers import no_truncate


class ExactDecoder(json.JSONDecoder):
    """Numbers as they were written: an amount is no float."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, parse_float=lambda text: plain(Decimal(text)))


class Action(models.TextChoices):
    INSERT = "insert", _("Added")
    UPDATE = "update", _("Changed")
    DELETE = "delete", _("Deleted")
    TRUNCATE = "truncate", _("Table emptied")


class EntryQuerySet(models.QuerySet["Entry"]):
    def of(self, row: models.Model) -> EntryQuerySet:
        """The history of one row, the latest first."""
        return self.filter(table_name=row._meta.db_table, row_id=str(row.pk)).order_by("-id")


class Entry(models.Model):
    """One change. `before` and `after` hold what differs; of a row added or deleted, all of it.

    `seq` numbers the entries without gaps in the order of their commits, and `hash` is SHA-256 of the previous entry's
    hash and this entry's content. Both are empty until the commit. The user is a number and a login, not a foreign key:
    the entry says who it was, whatever becomes of him.
    """

    seq = models.BigIntegerField(_("number"), null=True, unique=True)
    at = models.DateTimeField(_("at"))
    action = models.CharField(_("what"), max_length=8, choices=Action)
    table_name = models.CharField(_("table"), max_length=63)
    row_id = models.CharField(_("row"), max_length=64)
    user_id = models.BigIntegerField(_("user's number"), null=True)
    username = models.CharField(_("user"), max_length=150, blank=True)
    source = models.CharField(_("by way of"), max_length=200)
    db_user = models.CharField(_("database user"), max_length=63)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    before = models.JSONField(_("before"), null=True, decoder=ExactDecoder)
    after = models.JSONField(_("after"), null=True, decoder=ExactDecoder)
    hash = models.CharField(_("hash"), max_length=64, null=True)  # noqa: DJ001 (not sealed yet is not the same as "")

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        permissions = [("export_entry", "Can export audit entry")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["table_name", "row_id", "-id"]),
            models.Index(fields=["username", "-id"]),
            models.Index(fields=["at"]),
            models.Index(fields=["id"], condition=models.Q(hash=None), name="audit_unsealed"),
        ]
        triggers = [no_truncate("audit_entry")]

    def __str__(self) -> str:
        return f"{self.seq}: {self.action} {self.table_name} {self.row_id}"

    @property
    def model(self) -> type[models.Model] | None:
        """The model of the table, or None for a table that no longer is one."""
        models_of_tables = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
        return models_of_tables.get(self.table_name)

    @property
    def subject(self) -> str:
        """What was changed, in people's words."""
        name = str(self.model._meta.verbose_name) if self.model else self.table_name
        return f"{capfirst(name)} {self.row_id}"

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """(column, before, after) of everything that differs."""
        before, after = self.before or {}, self.after or {}
        return [(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]


class Head(models.Model):
    """The end of the chain, the one row of its table: who deletes the latest entries would have to change it too."""

    seq = models.BigIntegerField(_("number"))
    hash = models.CharField(_("hash"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("end of the audit trail")
        verbose_name_plural = _("end of the audit trail")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_audit_head")]
        triggers = [no_truncate("audit_head")]

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"
