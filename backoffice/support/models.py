"""Who looked through a client's eyes, at what and why."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from backoffice.triggers import append_only


class Look(models.Model):
    """One look at an account as its client sees it. Never changed: it is the record of itself."""

    by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("by"))
    at = models.DateTimeField(_("at"), db_default=Now())
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", verbose_name=_("account"))
    moment = models.DateTimeField(_("moment looked at"), null=True, blank=True, help_text=_("Empty: as it was then."))
    locale = models.CharField(_("language"), max_length=8)
    reason = models.CharField(_("reason"), max_length=500)

    class Meta:
        verbose_name = _("look")
        verbose_name_plural = _("looks of staff")
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=~models.Q(reason=""), name="look_has_reason")]
        triggers = append_only("look")

    def __str__(self) -> str:
        return f"{self.pk}: {self.account}"
