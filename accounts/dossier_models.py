"""What is written down about clients and accounts: numbers to come, events, notes."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.choices import AccountEventKind
from backoffice.triggers import append_only


class NumberSeries(models.Model):
    """Numbers for new accounts: the prefix, then the next whole number in at least `width` digits."""

    prefix = models.CharField(
        _("prefix"),
        max_length=20,
        unique=True,
        validators=[RegexValidator(r"^[A-Z0-9-]{1,20}\Z", _("Use capitals, digits and dashes."))],
    )
    next_number = models.PositiveBigIntegerField(_("next number"), default=1)
    width = models.PositiveSmallIntegerField(_("digits at least"), default=6, validators=[MaxValueValidator(12)])

    class Meta:
        verbose_name = _("number series")
        verbose_name_plural = _("number series")
        ordering = ["prefix"]

    def __str__(self) -> str:
        return f"{self.prefix}{self.next_number:0{self.width}d}"


class AccountEvent(models.Model):
    """What happened to an account beside trading: opened, or its state changed, by whom and why. Never changed."""

    account = models.ForeignKey("accounts.Account", models.PROTECT, related_name="events", verbose_name=_("account"))
    at = models.DateTimeField(_("at"), db_default=Now())
    kind = models.CharField(_("event"), max_length=16, choices=AccountEventKind)
    before = models.CharField(_("before"), max_length=16, blank=True)
    after = models.CharField(_("after"), max_length=16, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by")
    )

    class Meta:
        verbose_name = _("account event")
        verbose_name_plural = _("account events")
        ordering = ["-id"]
        triggers = append_only("account_event")

    def __str__(self) -> str:
        return f"{self.account_id} {self.kind}"


class ClientNote(models.Model):
    """Something worth remembering of a client. Never changed: a correction is another note."""

    client = models.ForeignKey("accounts.Client", models.PROTECT, related_name="notes", verbose_name=_("client"))
    at = models.DateTimeField(_("at"), db_default=Now())
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("by"))
    text = models.CharField(_("note"), max_length=2000)

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        ordering = ["-id"]
        triggers = append_only("client_note")

    def __str__(self) -> str:
        return self.text[:80]
