"""On which terms instruments are traded and held: a group's instruments with their swaps, margin tiers, leverage chosen
by the client, funding."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pgtrigger
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, TradingConditions
from backoffice.fields import NumericField
from backoffice.triggers import append_only
from marketdata.models import Instrument
from trading.choices import FundingSource, SwapUnit, Weekday


class InstrumentTermsQuerySet(models.QuerySet["InstrumentTerms"]):
    def offered(self) -> InstrumentTermsQuerySet:
        return self.filter(is_offered=True)

    def in_force(self, at: datetime | None = None) -> InstrumentTermsQuerySet:
        """Those of the version that is or was in force in each group."""
        return self.filter(conditions__in=TradingConditions.objects.latest_begun(at).values("pk"))


class InstrumentTerms(models.Model):
    """An instrument in one version of a group's conditions: whether its accounts may trade it (INS-9), and what differs
    for it there. One that is no longer offered keeps its terms for those who still hold it.

    A swap is what holding it over 17:00 New York costs (below zero) or brings.
    """

    conditions = models.ForeignKey(
        TradingConditions, models.CASCADE, related_name="instruments", verbose_name=_("trading conditions")
    )
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    is_offered = models.BooleanField(_("offered"), default=True)
    margin_rate = NumericField(
        _("margin rate"), null=True, blank=True, help_text=_("Empty: the rate of the group's conditions.")
    )
    maintenance_rate = NumericField(
        _("maintenance rate"), null=True, blank=True, help_text=_("Empty: the rate of the group's conditions.")
    )
    contract_margin = NumericField(
        _("margin of a contract"),
        null=True,
        blank=True,
        help_text=_("Futures: an amount in the instrument's currency, instead of a rate."),
    )
    contract_maintenance = NumericField(
        _("maintenance of a contract"), null=True, blank=True, help_text=_("Empty: the margin held.")
    )
    max_leverage = models.PositiveIntegerField(
        _("highest leverage"),
        null=True,
        blank=True,
        help_text=_("Crypto derivatives: what clients may choose. Empty: what the margin rate allows."),
    )
    swap_long = NumericField(_("swap long"), null=True, blank=True, help_text=_("Below zero the client pays."))
    swap_short = NumericField(_("swap short"), null=True, blank=True, help_text=_("Below zero the client pays."))
    swap_unit = models.CharField(_("swap in"), max_length=8, choices=SwapUnit, default=SwapUnit.POINTS)
    triple_day = models.PositiveSmallIntegerField(
        _("triple day"), choices=Weekday, default=Weekday.WEDNESDAY, help_text=_("Stands for the weekend too.")
    )

    objects = InstrumentTermsQuerySet.as_manager()

    # A version without any, while the one in force has some, is nobody's wish.
    is_part_of_every_version = True

    class Meta:
        verbose_name = _("group's instrument")
        verbose_name_plural = _("groups' instruments")
        ordering = ["conditions", "instrument"]
        constraints = [
            models.UniqueConstraint(fields=["conditions", "instrument"], name="one_row_an_instrument"),
            models.CheckConstraint(
                condition=(Q(margin_rate__gte=0) | Q(margin_rate__isnull=True))
                & (Q(maintenance_rate__gte=0) | Q(maintenance_rate__isnull=True))
                & (Q(contract_margin__gt=0) | Q(contract_margin__isnull=True))
                & (Q(contract_maintenance__gt=0) | Q(contract_maintenance__isnull=True))
                & (Q(max_leverage__gte=1) | Q(max_leverage__isnull=True)),
                name="terms_not_negative",
                violation_error_message=_("Rates, amounts and leverages are not below zero."),
            ),
            models.CheckConstraint(
                condition=Q(swap_long__isnull=True, swap_short__isnull=True)
                | Q(swap_long__isnull=False, swap_short__isnull=False),
                name="swap_on_both_sides",
                violation_error_message=_("A swap is given for both sides, long and short, or for neither."),
            ),
        ]
        triggers = [
            # What somebody approved stays as it was approved. What the program made itself, for a new group, stays too
            # once somebody trades on it. The lock lets nobody slip in between an approval and its commit.
            pgtrigger.Trigger(
                name="instrument_stays_as_approved",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                declare=[("version", "record")],
                func="""
                    FOR version IN
                        SELECT state, approved_by_id, group_id FROM accounts_tradingconditions
                         WHERE id IN (OLD.conditions_id, NEW.conditions_id) FOR SHARE
                    LOOP
                        IF version.state = 'approved' AND (
                            version.approved_by_id IS NOT NULL
                            OR EXISTS (SELECT FROM accounts_account WHERE group_id = version.group_id)
                        ) THEN
                            RAISE EXCEPTION 'the instruments of an approved version stay'
                                USING ERRCODE = 'restrict_violation';
                        END IF;
                    END LOOP;
                    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conditions.group} {self.instrument}"

    @property
    def has_swap(self) -> bool:
        return self.swap_long is not None


class MarginTier(models.Model):
    """From a value of the position on, what margin each further unit of value needs. Part of a group's conditions.

    Below the first tier the usual rate counts. A tier never makes margin cheaper than that rate.
    """

    conditions = models.ForeignKey(
        TradingConditions, models.CASCADE, related_name="tiers", verbose_name=_("trading conditions")
    )
    instrument = models.ForeignKey(
        Instrument,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("instrument"),
        help_text=_("Empty: for all instruments without tiers of their own."),
    )
    floor = NumericField(
        _("from a value of"),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Quantity × price × contract size, in the account's currency."),
    )
    rate = NumericField(_("margin rate"), validators=[MinValueValidator(Decimal(0))])
    maintenance_rate = NumericField(
        _("maintenance rate"), null=True, blank=True, help_text=_("Empty: as below the first tier.")
    )

    class Meta:
        verbose_name = _("margin tier")
        verbose_name_plural = _("margin tiers")
        ordering = ["conditions", "instrument", "floor"]
        constraints = [
            models.UniqueConstraint(
                fields=["conditions", "instrument", "floor"], nulls_distinct=False, name="one_tier_a_floor"
            ),
            models.CheckConstraint(condition=Q(floor__gt=0, rate__gte=0), name="tier_not_negative"),
        ]
        triggers = [
            # What somebody approved stays as it was approved, the tables that belong to it too.
            pgtrigger.Trigger(
                name="tier_stays_as_approved",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func="""
                    IF EXISTS (
                        SELECT FROM accounts_tradingconditions
                         WHERE id IN (OLD.conditions_id, NEW.conditions_id)
                           AND state = 'approved' AND approved_by_id IS NOT NULL
                    ) THEN
                        RAISE EXCEPTION 'the tiers of an approved version stay' USING ERRCODE = 'restrict_violation';
                    END IF;
                    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument or '*'} {self.floor}+: {self.rate}"


class Leverage(models.Model):
    """The leverage that a client chose for an instrument of his account (LEV-3). None chosen: the group's rate."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="leverages", verbose_name=_("account"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    leverage = models.PositiveIntegerField(_("leverage"), validators=[MinValueValidator(1)])
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("leverage")
        verbose_name_plural = _("leverages")
        ordering = ["account", "instrument"]
        constraints = [
            models.UniqueConstraint(fields=["account", "instrument"], name="one_leverage_an_instrument"),
            models.CheckConstraint(condition=Q(leverage__gte=1), name="leverage_at_least_one"),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.instrument} {self.leverage}:1"


class FundingRate(models.Model):
    """What longs of a perpetual pay shorts at one funding time, as a part of their value; below zero shorts pay.

    Written by hand before its time, or computed from the premium at its time. Never changed: charges were made by it.
    """

    instrument = models.ForeignKey(
        Instrument, models.PROTECT, related_name="funding_rates", verbose_name=_("instrument")
    )
    due_at = models.DateTimeField(_("due"))
    rate = NumericField(_("rate"), help_text=_("0.0001 is 0.01 %."))
    source = models.CharField(_("source"), max_length=8, choices=FundingSource, default=FundingSource.TABLE)
    mark = NumericField(_("mark price"), null=True, blank=True, help_text=_("Empty: taken at the due time."))
    index = NumericField(_("index price"), null=True, blank=True)
    created_at = models.DateTimeField(_("stored"), db_default=Now())

    class Meta:
        verbose_name = _("funding rate")
        verbose_name_plural = _("funding rates")
        ordering = ["-due_at", "instrument"]
        constraints = [models.UniqueConstraint(fields=["instrument", "due_at"], name="one_funding_rate_a_time")]
        triggers = append_only("funding_rate")

    def __str__(self) -> str:
        return f"{self.instrument} {self.due_at:%Y-%m-%d %H:%M} {self.rate}"


class ChargeSchedule(models.Model):
    """When charges of a kind are due next. A task that was down finds here what it missed."""

    kind = models.CharField(_("kind"), max_length=16, primary_key=True)
    due_at = models.DateTimeField(_("due next"))

    class Meta:
        verbose_name = _("charge schedule")
        verbose_name_plural = _("charge schedules")

    def __str__(self) -> str:
        return f"{self.kind} {self.due_at:%Y-%m-%d %H:%M}"
