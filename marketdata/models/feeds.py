"""Where prices come from: sources, and which of them each instrument listens to, in which order."""

from __future__ import annotations

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from marketdata.choices import FeedKind, FeedState
from marketdata.models.instruments import Instrument


class FeedSource(models.Model):
    """A connection to somebody who has prices. What the feed found out of it stands in the lower half."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("kind"), max_length=16, choices=FeedKind)
    url = models.CharField(
        _("address"),
        max_length=300,
        blank=True,
        validators=[RegexValidator(r"^(ws|http)s?://", _("Begin the address with wss:// or https://."))],
        help_text=_("Empty for the public one of its kind."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    stale_after_seconds = models.FloatField(
        _("stale after"),
        default=10.0,
        validators=[MinValueValidator(0.1)],
        help_text=_(
            "Seconds without a price: then an instrument takes its next source, and the connection is renewed."
        ),
    )

    state = models.CharField(_("state"), max_length=16, choices=FeedState, default=FeedState.OFF, editable=False)
    connects = models.PositiveIntegerField(_("connections so far"), default=0, editable=False)
    last_tick_at = models.DateTimeField(_("last price"), null=True, editable=False)
    last_error = models.CharField(_("last error"), max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = _("price source")
        verbose_name_plural = _("price sources")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class FeedRoute(models.Model):
    """An instrument's prices at one source. Those of the first source that is not stale count."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, related_name="routes", verbose_name=_("instrument"))
    source = models.ForeignKey(FeedSource, models.CASCADE, related_name="routes", verbose_name=_("source"))
    source_symbol = models.CharField(_("symbol there"), max_length=64)
    priority = models.PositiveSmallIntegerField(_("priority"), default=1, help_text=_("1 comes first."))

    is_active = models.BooleanField(_("in use"), default=False, editable=False)
    last_tick_at = models.DateTimeField(_("last price"), null=True, editable=False)

    class Meta:
        verbose_name = _("price route")
        verbose_name_plural = _("price routes")
        ordering = ["instrument__symbol", "priority"]
        constraints = [
            models.UniqueConstraint(fields=["instrument", "source"], name="one_route_a_source"),
            models.UniqueConstraint(fields=["instrument", "priority"], name="one_route_a_priority"),
            models.UniqueConstraint(fields=["source", "source_symbol"], name="one_instrument_a_source_symbol"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} ← {self.source}"
