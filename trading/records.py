"""What is recorded of money: margin calls and stop-outs, changes of margin, charges. Written once, for ever."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Currency, User
from backoffice.fields import NumericField
from backoffice.triggers import append_only
from trading.choices import ChargeKind, DecisionKind


class MarginDecision(models.Model):
    """One decision about an account's margin, with all it was made of, so that it can be made again.

    `inputs` holds the account's balance, its levels, and each position with its prices and rates (`levels.Inputs`).
    An account has one decision for each of its versions at most, so nothing is decided twice on one state.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="margin_decisions", verbose_name=_("account"))
    version = models.BigIntegerField(_("account's version"))
    at = models.DateTimeField(_("at"), db_default=Now())
    kind = models.CharField(_("decision"), max_length=20, choices=DecisionKind)
    level = NumericField(_("level, %"), null=True, blank=True, help_text=_("Empty: nothing is open."))
    equity = NumericField(_("equity"))
    margin = NumericField(_("margin to be kept"))
    position = models.ForeignKey(
        "trading.Position",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="margin_decisions",
        verbose_name=_("closes position"),
    )
    order = models.OneToOneField(
        "trading.Order",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="margin_decision",
        verbose_name=_("closing order"),
    )
    inputs = models.JSONField(_("inputs"))

    class Meta:
        verbose_name = _("margin decision")
        verbose_name_plural = _("margin decisions")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "version"], name="one_decision_a_version"),
            models.CheckConstraint(
                condition=Q(kind=DecisionKind.CLOSE, position__isnull=False, order__isnull=False)
                | ~Q(kind=DecisionKind.CLOSE) & Q(position__isnull=True, order__isnull=True),
                name="stop_out_closes_a_position",
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"]), BrinIndex(fields=["at"], name="decisions_by_time")]
        triggers = append_only("margin_decision")

    def __str__(self) -> str:
        return f"{self.pk}: {self.account}, {self.get_kind_display()}"


class MarginChange(models.Model):
    """A change of the margin that a position holds by something else than a fill: a new leverage."""

    position = models.ForeignKey(
        "trading.Position", models.PROTECT, related_name="margin_changes", verbose_name=_("position")
    )
    at = models.DateTimeField(_("at"), db_default=Now())
    amount = NumericField(_("amount"))
    leverage = models.PositiveIntegerField(_("new leverage"))
    by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by"))

    class Meta:
        verbose_name = _("change of margin")
        verbose_name_plural = _("changes of margin")
        ordering = ["id"]
        triggers = append_only("margin_change")

    def __str__(self) -> str:
        return f"{self.position_id} {self.amount:+}"


class Charge(models.Model):
    """A swap or funding payment of one position at one due time, as it was computed. Posted under its `reference`.

    `amount` is what the client receives, below zero what he pays; zero charges are kept too, as proof that they were
    looked at. `rate` and `price` are those of the formula, `conversion_rate` led to the account's currency.
    """

    kind = models.CharField(_("kind"), max_length=16, choices=ChargeKind)
    due_at = models.DateTimeField(_("due"))
    account = models.ForeignKey(Account, models.PROTECT, related_name="charges", verbose_name=_("account"))
    position = models.ForeignKey("trading.Position", models.PROTECT, related_name="charges", verbose_name=_("position"))
    qty = NumericField(_("quantity"), help_text=_("Signed, as it was at the due time."))
    days = models.PositiveSmallIntegerField(_("days"), default=1)
    rate = NumericField(_("rate"))
    price = NumericField(_("price"), null=True, blank=True)
    conversion_rate = NumericField(_("conversion rate"))
    amount = NumericField(_("client's change"))
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))
    booked_at = models.DateTimeField(_("booked"), db_default=Now())

    class Meta:
        verbose_name = _("charge")
        verbose_name_plural = _("charges")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "position", "due_at"], name="one_charge_a_due_time"),
        ]
        indexes = [models.Index(fields=["account", "-id"])]
        triggers = append_only("charge")

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """The cause of its posting in the ledger."""
        return f"{self.kind}:{self.position_id}:{self.due_at:%Y%m%dT%H%MZ}"
