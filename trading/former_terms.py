"""A group's instruments and swaps as they were kept before they belonged to versions of its conditions.

Read by the version of the program that is being replaced, and to explain moments of that time; written by nobody.
"""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import AccountGroup
from backoffice.fields import NumericField
from marketdata.models import Instrument
from trading.choices import SwapUnit, Weekday


def _stays(name: str) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
        func="""
            RAISE EXCEPTION 'instruments and swaps belong to the conditions of a group: draft another version'
                USING ERRCODE = 'restrict_violation';
        """,
    )


class GroupInstrument(models.Model):
    group = models.ForeignKey(AccountGroup, models.CASCADE, related_name="+", verbose_name=_("group"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    margin_rate = NumericField(_("margin rate"), null=True, blank=True)
    maintenance_rate = NumericField(_("maintenance rate"), null=True, blank=True)
    contract_margin = NumericField(_("margin of a contract"), null=True, blank=True)
    contract_maintenance = NumericField(_("maintenance of a contract"), null=True, blank=True)
    max_leverage = models.PositiveIntegerField(_("highest leverage"), null=True, blank=True)

    class Meta:
        verbose_name = _("group's instrument")
        verbose_name_plural = _("groups' instruments")
        ordering = ["group", "instrument"]
        constraints = [
            models.UniqueConstraint(fields=["group", "instrument"], name="one_instrument_a_group"),
            models.CheckConstraint(condition=Q(margin_rate__gte=0), name="instrument_margin_not_negative"),
            models.CheckConstraint(
                condition=(Q(maintenance_rate__gte=0) | Q(maintenance_rate__isnull=True))
                & (Q(contract_margin__gt=0) | Q(contract_margin__isnull=True))
                & (Q(contract_maintenance__gt=0) | Q(contract_maintenance__isnull=True))
                & (Q(max_leverage__gte=1) | Q(max_leverage__isnull=True)),
                name="instrument_terms_positive",
            ),
        ]
        triggers = [_stays("former_instruments_stay")]

    def __str__(self) -> str:
        return f"{self.group} {self.instrument}"


class SwapTerms(models.Model):
    """For all groups, or one of them."""

    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    group = models.ForeignKey(
        AccountGroup, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("group")
    )
    unit = models.CharField(_("unit"), max_length=8, choices=SwapUnit, default=SwapUnit.POINTS)
    long = NumericField(_("long"))
    short = NumericField(_("short"))
    triple_day = models.PositiveSmallIntegerField(_("triple day"), choices=Weekday, default=Weekday.WEDNESDAY)

    class Meta:
        verbose_name = _("swap terms")
        verbose_name_plural = _("swap terms")
        ordering = ["instrument", "group"]
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "group"], nulls_distinct=False, name="one_swap_terms_an_instrument"
            )
        ]
        triggers = [_stays("former_swaps_stay")]

    def __str__(self) -> str:
        return f"{self.instrument} {self.group or '*'}"
