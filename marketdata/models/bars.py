"""Bars: closed ones and their corrections, those in progress, and how far their builder has come."""

from __future__ import annotations

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import TransactionNow
from django.db import models
from django.utils.translation import gettext_lazy as _

from backoffice.fields import NumericField
from backoffice.triggers import append_only
from marketdata.choices import Resolution
from marketdata.models.instruments import Instrument
from marketdata.triggers import bars_only_grow


class BarChunk(models.Model):
    """Closed bars of one instrument: a UTC day of minutes, or a calendar year of days, in one row.

    The arrays run in step. `t` counts from `start` in units of the resolution (minute of the day, day of the year, from
    0), rising; prices are integers of 10**-price_scale, volumes of 10**-8. A bar once in is never changed or removed
    (BAR-10): the database compares.
    """

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="chunks", verbose_name=_("instrument"))
    resolution = models.CharField(_("resolution"), max_length=4, choices=Resolution)
    start = models.DateField(_("first day"))
    price_scale = models.PositiveSmallIntegerField(_("price decimals"))
    t = ArrayField(models.SmallIntegerField())
    o = ArrayField(models.BigIntegerField())
    h = ArrayField(models.BigIntegerField())
    l = ArrayField(models.BigIntegerField())  # noqa: E741 (the wire's word)
    c = ArrayField(models.BigIntegerField())
    v = ArrayField(models.BigIntegerField())

    class Meta:
        verbose_name = _("bars")
        verbose_name_plural = _("bars")
        constraints = [
            models.UniqueConstraint(fields=["instrument", "resolution", "start"], name="one_chunk_a_period"),
            models.CheckConstraint(
                condition=models.Q(
                    o__len=models.F("t__len"),
                    h__len=models.F("t__len"),
                    l__len=models.F("t__len"),
                    c__len=models.F("t__len"),
                    v__len=models.F("t__len"),
                ),
                name="bar_columns_in_step",
            ),
        ]
        triggers = bars_only_grow()

    def __str__(self) -> str:
        return f"{self.instrument} {self.resolution} {self.start}"


class OpenBar(models.Model):
    """The minute in progress of an instrument, one for each lane: live prices, or one replay of recorded ones."""

    instrument = models.ForeignKey(Instrument, models.CASCADE, related_name="open_bars", verbose_name=_("instrument"))
    lane = models.CharField(_("lane"), max_length=100, blank=True, help_text=_("Empty for live prices."))
    minute = models.DateTimeField(_("minute"))
    o = NumericField()
    h = NumericField()
    l = NumericField()  # noqa: E741 (the wire's word)
    c = NumericField()
    v = NumericField()
    last_seq = models.BigIntegerField(
        _("last tick"), default=0, help_text=_("Number of the lane's last tick in this bar; earlier ones came twice.")
    )

    class Meta:
        verbose_name = _("open bar")
        verbose_name_plural = _("open bars")
        constraints = [models.UniqueConstraint(fields=["instrument", "lane"], name="one_open_bar_a_lane")]

    def __str__(self) -> str:
        return f"{self.instrument} {self.minute:%Y-%m-%d %H:%M}"


class BarCorrection(models.Model):
    """A closed bar that staff has replaced: the values before and after, who did it and why.

    Only together with such a row, written in the same transaction, does the database let a closed bar change (BAR-10).
    """

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    resolution = models.CharField(_("resolution"), max_length=4, choices=Resolution)
    time = models.DateTimeField(_("time of the bar"), help_text=_("UTC; of a day 00:00."))
    version = models.PositiveIntegerField(_("version"), help_text=_("The bar as it was first is 1."))
    old_o = NumericField(_("old open"))
    old_h = NumericField(_("old high"))
    old_l = NumericField(_("old low"))
    old_c = NumericField(_("old close"))
    old_v = NumericField(_("old volume"))
    o = NumericField(_("open"))
    h = NumericField(_("high"))
    l = NumericField(_("low"))  # noqa: E741 (the wire's word)
    c = NumericField(_("close"))
    v = NumericField(_("volume"), help_text=_("0 takes the bar out of the history (HIST-7)."))
    reason = models.CharField(_("reason"), max_length=300)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("by"))
    at = models.DateTimeField(_("at"), db_default=TransactionNow(), editable=False)

    class Meta:
        verbose_name = _("correction of a bar")
        verbose_name_plural = _("corrections of bars")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "resolution", "time", "version"], name="one_version_of_a_bar"
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="correction_has_a_reason"),
        ]
        triggers = append_only("bar_corrections")

    def __str__(self) -> str:
        return f"{self.instrument} {self.resolution} {self.time:%Y-%m-%d %H:%M}"


class Notice(models.Model):
    """Something that a person must tell TradingView: what was in the charts before is not right any more (DQ-3)."""

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    text = models.CharField(_("text"), max_length=500)
    at = models.DateTimeField(_("at"), auto_now_add=True)
    told_at = models.DateTimeField(_("told at"), null=True, blank=True)
    told_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("told by")
    )

    class Meta:
        verbose_name = _("notice for TradingView")
        verbose_name_plural = _("notices for TradingView")
        permissions = [("tell_notice", "Can mark notice for TradingView as told")]
        ordering = ["-id"]
        triggers = [
            pgtrigger.Protect(name="notices_stay", operation=pgtrigger.Delete),
            pgtrigger.ReadOnly(name="notices_say_what_they_said", fields=["instrument", "text", "at"]),
        ]

    def __str__(self) -> str:
        return self.text


class StreamComparison(models.Model):
    """How the minutes of `/tv/streaming` and of `/history` agree, by instrument and hour (DQ-1)."""

    ALARM_PERCENT = 1  # TradingView takes nobody above 5
    LEAST_COMPARED = 20  # minutes; an alarm over fewer would be one over nothing

    instrument = models.ForeignKey(Instrument, models.CASCADE, related_name="+", verbose_name=_("instrument"))
    hour = models.DateTimeField(_("hour"))
    compared = models.PositiveIntegerField(_("minutes compared"), default=0)
    different = models.PositiveIntegerField(_("different"), default=0)
    example = models.CharField(_("last difference"), max_length=300, blank=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("comparison of stream and history")
        verbose_name_plural = _("comparisons of stream and history")
        ordering = ["-hour", "instrument__symbol"]
        constraints = [models.UniqueConstraint(fields=["instrument", "hour"], name="one_comparison_an_hour")]

    def __str__(self) -> str:
        return f"{self.instrument} {self.hour:%Y-%m-%d %H:%M}"

    @property
    def is_alarming(self) -> bool:
        """Whether more differs than we let pass."""
        return self.different * 100 > self.ALARM_PERCENT * max(self.compared, self.LEAST_COMPARED)


class LogPosition(models.Model):
    """How far a reader has come in the tick log, stored in the transaction that stores what it read."""

    reader = models.CharField(_("reader"), max_length=32, primary_key=True)
    entry_id = models.CharField(_("entry"), max_length=40, default="0-0")
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("log position")
        verbose_name_plural = _("log positions")

    def __str__(self) -> str:
        return f"{self.reader} {self.entry_id}"
