"""Executions taken back: asked for by one person, approved by another, booked once (docs/decisions/busts.md)."""

from __future__ import annotations

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from backoffice.fields import NumericField
from backoffice.triggers import append_only, no_truncate
from marketdata.models import Instrument
from trading.choices import BUST_TRANSITIONS, BustState


class BustQuerySet(models.QuerySet["Bust"]):
    def waiting(self) -> BustQuerySet:
        return self.filter(state=BustState.REQUESTED)


class Bust(models.Model):
    """Fills at a wrong price that shall be taken back, or with `price` be booked again at the right one.

    `executions` are those chosen when it was asked for; what happens later joins no request. The database holds the
    four eyes: the checker is another than the maker, and what was asked never changes.
    """

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    executions = ArrayField(models.BigIntegerField(), verbose_name=_("executions"))
    price = NumericField(
        _("right price"),
        null=True,
        blank=True,
        help_text=_("The fills are booked again at this price. Empty: they are taken back altogether."),
    )
    reason = models.CharField(_("reason"), max_length=500)
    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    state = models.CharField(_("state"), max_length=16, choices=BustState, default=BustState.REQUESTED)
    maker = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("asked for by"))
    requested_at = models.DateTimeField(_("asked for at"), db_default=Now())
    checker = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decision = models.CharField(_("note of the decision"), max_length=500, blank=True)

    objects = BustQuerySet.as_manager()

    class Meta:
        verbose_name = _("bust")
        verbose_name_plural = _("busts and corrections")
        permissions = [("request_bust", "Can ask for busts"), ("approve_bust", "Can decide on busts")]
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gt=0) | Q(price__isnull=True), name="bust_price_positive"),
            models.CheckConstraint(condition=Q(executions__len__gt=0), name="bust_names_executions"),
            models.CheckConstraint(condition=~Q(checker=F("maker")), name="bust_four_eyes"),
            models.CheckConstraint(
                condition=Q(state="requested", checker=None, decided_at=None)
                | Q(state__in=["approved", "rejected"], checker__isnull=False, decided_at__isnull=False)
                | Q(state="cancelled", checker=None, decided_at__isnull=False),
                name="bust_state_is_complete",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="bust_state_table",
                field="state",
                transitions=[
                    (before.value, after.value) for before, ends in BUST_TRANSITIONS.items() for after in ends
                ],
            ),
            pgtrigger.Protect(
                name="bust_begins_asked_for", operation=pgtrigger.Insert, condition=~pgtrigger.Q(new__state="requested")
            ),
            pgtrigger.ReadOnly(
                name="bust_stays_as_asked",
                fields=["instrument", "executions", "price", "reason", "key", "maker", "requested_at"],
            ),
            pgtrigger.Protect(
                name="bust_decision_stays", operation=pgtrigger.Update, condition=~pgtrigger.Q(old__state="requested")
            ),
            pgtrigger.Protect(name="bust_never_deleted", operation=pgtrigger.Delete),
            no_truncate("bust"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.instrument}"


class BustedExecution(models.Model):
    """An execution that counts no longer, with the one that was booked in its place, if there is one. Never changed.

    By the end of the transaction its bust must be approved and name it: the database refuses others, so nobody goes
    round the second pair of eyes.
    """

    execution = models.OneToOneField(
        "trading.Execution", models.PROTECT, related_name="busted", verbose_name=_("execution")
    )
    bust = models.ForeignKey(Bust, models.PROTECT, related_name="booked", verbose_name=_("bust"))
    replacement = models.OneToOneField(
        "trading.Execution",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="replaces",
        verbose_name=_("booked again as"),
    )

    class Meta:
        verbose_name = _("busted execution")
        verbose_name_plural = _("busted executions")
        ordering = ["id"]
        triggers = [
            *append_only("busted_execution"),
            pgtrigger.Trigger(
                name="busted_by_approval",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                func="""
                    IF NOT EXISTS (
                        SELECT FROM trading_bust
                         WHERE id = NEW.bust_id AND state = 'approved' AND NEW.execution_id = ANY (executions)
                    ) THEN
                        RAISE EXCEPTION 'no approved bust names the execution' USING ERRCODE = 'restrict_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id}"
