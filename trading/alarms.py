"""What should not be: raised once for each subject, seen by staff, resolved by itself when it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account
from trading.errors import as_texts


class AlarmKind(models.TextChoices):
    """The label is the sentence, with its figures as placeholders."""

    ORDER_STUCK = "order_stuck", _("The order waits for its venue since %(since)s.")
    REQUEST_UNANSWERED = "request_unanswered", _("The venue does not answer: %(kind)s, sent at %(since)s.")
    VENUE_DIFFERS = "venue_differs", _("The venue says %(theirs)s filled, our books %(ours)s.")
    REPORT_UNBOOKED = "report_unbooked", _("A report of the venue could not be booked: %(error)s")
    SESSION_AWAY = "session_away", _("The session is not connected since %(since)s. %(trouble)s")
    FILLS_DIFFER = "fills_differ", _("The order says %(order)s filled, its executions make %(executions)s.")
    POSITION_DIFFERS = "position_differs", _("The position says %(position)s, its fills make %(fills)s.")
    BALANCE_DIFFERS = "balance_differs", _("The balance says %(balance)s, its postings make %(postings)s.")
    RESERVE_DIFFERS = "reserve_differs", _("The balance reserves %(reserved)s, its orders hold %(held)s.")
    EVENTS_ASTRAY = "events_astray", _("%(count)s order events lie in no month's partition.")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be now. `subject` names it for people and tells it from others of its kind."""

    kind: AlarmKind
    subject: str
    account_id: int | None = None
    details: dict[str, Any] = field(default_factory=dict, compare=False)


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def open(self) -> AlarmQuerySet:
        return self.filter(resolved_at=None)


class Alarm(models.Model):
    """Something that was not as it should be, from when it was first seen until it was gone."""

    kind = models.CharField(_("kind"), max_length=24, choices=AlarmKind)
    subject = models.CharField(_("subject"), max_length=120)
    account = models.ForeignKey(
        Account, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("account")
    )
    details = models.JSONField(_("figures"), default=dict, blank=True)
    first_seen_at = models.DateTimeField(_("first seen"), db_default=Now())
    last_seen_at = models.DateTimeField(_("last seen"), db_default=Now())
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(resolved_at=None), name="one_open_alarm_a_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}"

    @property
    def sentence(self) -> str:
        details: dict[str, str] = self.details
        return str(AlarmKind(self.kind).label) % details


class Reconciliation(models.Model):
    """One comparison of our books with themselves and with the venues.

    It looked at what changed after the comparison before it: order events and postings up to these ids.
    """

    at = models.DateTimeField(_("at"), db_default=Now())
    last_event = models.BigIntegerField(_("last order event"))
    last_posting = models.BigIntegerField(_("last posting"))
    accounts = models.PositiveIntegerField(_("accounts looked at"))
    findings = models.PositiveIntegerField(_("findings"))

    class Meta:
        verbose_name = _("reconciliation")
        verbose_name_plural = _("reconciliations")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.pk}"


def sound(found: Iterable[Finding]) -> None:
    """Raise an alarm for each finding, or say of those already raised that they are still so."""
    found = list(found)
    Alarm.objects.bulk_create(
        [
            Alarm(
                kind=each.kind,
                subject=each.subject,
                account_id=each.account_id,
                details=as_texts(each.details),
            )
            for each in found
        ],
        ignore_conflicts=True,
    )
    for each in found:
        Alarm.objects.open().filter(kind=each.kind, subject=each.subject).update(
            last_seen_at=Now(), details=as_texts(each.details)
        )


@transaction.atomic
def settle(found: Iterable[Finding], *, looked_at: datetime) -> None:
    """These findings are all there was at that moment: raise them, and resolve the alarms that were not seen since."""
    sound(set(found))
    Alarm.objects.open().filter(last_seen_at__lt=looked_at).update(resolved_at=Now())
