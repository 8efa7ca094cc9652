"""Who may see which groups of symbols: tariffs, and subscriptions to them (PRM-1 … PRM-5).

Groups are named, not linked: a tariff may also name TradingView's own (PRM-2).
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

_GROUP = RegexValidator(r"^[A-Za-z0-9_]{1,64}\Z", _("A group's name has letters, digits and underscores."))
_COUNTRY = RegexValidator(r"^[A-Z]{2}\Z", _("Two capital letters, ISO 3166."))


class DataTariff(models.Model):
    """Groups that are seen together. A group that any tariff names is hidden from everybody who has none with it."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    groups = ArrayField(
        models.CharField(max_length=64, validators=[_GROUP]),
        verbose_name=_("groups of symbols"),
        help_text=_("Names as in /groups, or those that TradingView gave us. Separate several by commas."),
    )
    for_everybody = models.BooleanField(
        _("for everybody"), default=False, help_text=_("Every client of the countries below has it unasked.")
    )
    countries = ArrayField(
        models.CharField(max_length=2, validators=[_COUNTRY]),
        verbose_name=_("countries"),
        blank=True,
        default=list,
        help_text=_("Only clients from these have it; empty: from anywhere. Separate several by commas."),
    )

    class Meta:
        verbose_name = _("data tariff")
        verbose_name_plural = _("data tariffs")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class SubscriptionQuerySet(models.QuerySet["DataSubscription"]):
    def current(self) -> SubscriptionQuerySet:
        now = timezone.now()
        return self.filter(models.Q(ends_at=None) | models.Q(ends_at__gt=now), starts_at__lte=now)


class DataSubscription(models.Model):
    """A trader's, or a data server's: the latter is restricted by its first one, and sees everything without any."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="data_subscriptions", verbose_name=_("login")
    )
    tariff = models.ForeignKey(DataTariff, models.PROTECT, related_name="subscriptions", verbose_name=_("tariff"))
    starts_at = models.DateTimeField(_("starts"), default=timezone.now)
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("data subscription")
        verbose_name_plural = _("data subscriptions")
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at=None) | models.Q(ends_at__gt=models.F("starts_at")),
                name="subscription_ends_after_it_starts",
                violation_error_message=_("It must end after it starts."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.tariff}"
