"""Which of TradingView's symbols ours are: chosen, checked, and published as numbered releases."""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.contrib.postgres.functions import TransactionNow
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from backoffice.fields import NumericField
from backoffice.triggers import append_only
from marketdata.choices import MappingProblem, MappingState, SymbolType
from marketdata.models.instruments import Instrument
from marketdata.triggers import published_by_releases

FULL_NAME_PATTERN = r"^[^:]+:.+$"  # MAP-2
FULL_NAME_LENGTH = 128
full_name_validator = RegexValidator(FULL_NAME_PATTERN, _("Write the full name with its exchange, as NASDAQ:AAPL."))


class TradingViewSymbol(models.Model):
    """A symbol that TradingView has, as its list says that was imported last (MAP-2, MAP-3)."""

    full_name = models.CharField(
        _("full name"), max_length=FULL_NAME_LENGTH, unique=True, validators=[full_name_validator]
    )
    code = models.CharField(
        _("code"), max_length=FULL_NAME_LENGTH, db_index=True, help_text=_("Letters and digits behind the exchange.")
    )
    type = models.CharField(_("type"), max_length=16, help_text=_("Our word for it where we have one."))
    currency = models.CharField(_("currency"), max_length=16, blank=True)
    description = models.CharField(_("description"), max_length=300, blank=True)
    words = models.CharField(
        _("words"), max_length=300, db_index=True, help_text=_("The description, as descriptions are compared.")
    )
    tick_size = NumericField(_("tick size"), null=True, blank=True)

    class Meta:
        verbose_name = _("symbol of TradingView")
        verbose_name_plural = _("symbols of TradingView")
        ordering = ["full_name"]
        constraints = [
            models.CheckConstraint(condition=Q(full_name__regex=FULL_NAME_PATTERN), name="tradingview_full_name")
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def exchange(self) -> str:
        return self.full_name.partition(":")[0]


class SymbolMapping(models.Model):
    """What support has chosen for an instrument, and what TradingView was told (MAP-1).

    Choosing changes `tradingview_symbol` alone; `published_symbol` changes with a release, which the database checks.
    """

    instrument = models.OneToOneField(Instrument, models.CASCADE, related_name="mapping", verbose_name=_("instrument"))
    tradingview_symbol = models.CharField(
        _("TradingView symbol"),
        max_length=FULL_NAME_LENGTH,
        blank=True,
        validators=[full_name_validator],
        help_text=_("Empty: not mapped from the next release on."),
    )
    published_symbol = models.CharField(  # noqa: DJ001 (nothing published is no value, so no two have the same)
        _("published"), max_length=FULL_NAME_LENGTH, null=True, default=None, editable=False
    )
    updated_at = models.DateTimeField(_("updated"), auto_now=True)
    # The row of TradingView's list, where it has one; no column and no constraint: the list may lack it.
    target = models.ForeignObject(
        TradingViewSymbol,
        models.DO_NOTHING,
        from_fields=["tradingview_symbol"],
        to_fields=["full_name"],
        related_name="+",
        null=True,
    )

    class Meta:
        verbose_name = _("symbol mapping")
        verbose_name_plural = _("symbol mappings")
        ordering = ["instrument__symbol"]
        indexes = [models.Index(fields=["tradingview_symbol"], name="mapping_target")]
        constraints = [
            models.CheckConstraint(
                condition=Q(tradingview_symbol="") | Q(tradingview_symbol__regex=FULL_NAME_PATTERN),
                name="mapping_full_name",
            ),
            models.CheckConstraint(
                condition=Q(published_symbol=None) | Q(published_symbol__regex=FULL_NAME_PATTERN),
                name="mapping_published_full_name",
            ),
            # Deferred, so that two instruments may swap their symbols in one release.
            models.UniqueConstraint(
                fields=["published_symbol"],
                name="one_instrument_of_a_published_symbol",
                deferrable=models.Deferrable.DEFERRED,
            ),
        ]
        triggers = [published_by_releases()]

    def __str__(self) -> str:
        return f"{self.instrument} → {self.tradingview_symbol}"


class MappingSuggestion(models.Model):
    """The likeliest symbol of TradingView's list for an instrument that has none. Computed, and computed anew."""

    instrument = models.OneToOneField(Instrument, models.CASCADE, related_name="suggestion")
    target = models.ForeignKey(TradingViewSymbol, models.CASCADE, related_name="+", verbose_name=_("suggestion"))
    score = models.PositiveSmallIntegerField(_("score"), help_text=_("Of 100."))
    reasons = models.JSONField(_("reasons"), help_text=_("What agrees, as `Agreement` names it."))

    class Meta:
        verbose_name = _("suggested mapping")
        verbose_name_plural = _("suggested mappings")

    def __str__(self) -> str:
        return f"{self.instrument} → {self.target} ({self.score})"


class MappingRelease(models.Model):
    """Mappings published together: what changed, who said so, and when `/mapping` changed."""

    published_at = models.DateTimeField(_("published"), db_default=TransactionNow(), editable=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", verbose_name=_("by"))
    note = models.CharField(_("note"), max_length=300)
    restores = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", verbose_name=_("goes back to"))

    class Meta:
        verbose_name = _("release of mappings")
        verbose_name_plural = _("releases of mappings")
        permissions = [("publish_mappingrelease", "Can publish mappings and roll them back")]
        ordering = ["-id"]
        triggers = append_only("mapping_releases")

    def __str__(self) -> str:
        return f"{self.pk}"


class MappingChange(models.Model):
    """What one release changed of one instrument; empty where there was, or is, no mapping."""

    release = models.ForeignKey(MappingRelease, models.PROTECT, related_name="changes", verbose_name=_("release"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    before = models.CharField(_("before"), max_length=FULL_NAME_LENGTH, blank=True)
    after = models.CharField(_("after"), max_length=FULL_NAME_LENGTH, blank=True)

    class Meta:
        verbose_name = _("published change")
        verbose_name_plural = _("published changes")
        ordering = ["release", "instrument__symbol"]
        constraints = [
            models.UniqueConstraint(fields=["instrument", "release"], name="one_change_of_a_release"),
            models.CheckConstraint(condition=~Q(before=F("after")), name="mapping_change_changes"),
        ]
        triggers = append_only("mapping_changes")

    def __str__(self) -> str:
        return f"{self.instrument}: {self.before or '–'} → {self.after or '–'}"


class MappedInstrumentQuerySet(models.QuerySet["MappedInstrument"]):
    def with_choices(self) -> MappedInstrumentQuerySet:
        """Each with the full names `chosen` and `given_out`; empty where there is none."""
        return self.annotate(
            chosen=Coalesce("mapping__tradingview_symbol", Value("")),
            given_out=Coalesce("mapping__published_symbol", Value("")),
        )

    def with_states(self) -> MappedInstrumentQuerySet:
        """Each with `mapping_state` and `mapping_problem`: the first thing wrong with what was chosen, or empty."""
        taken = SymbolMapping.objects.filter(tradingview_symbol=OuterRef("mapping__tradingview_symbol"))
        target = "mapping__target"
        # Without a list of TradingView's nothing is known of its symbols, so nothing of them is wrong.
        is_there = Q(**{f"{target}__id__isnull": False}) | ~Exists(TradingViewSymbol.objects.all())
        is_of_currency = Q(**{f"{target}__currency__in": ("", F("quote_currency"))})
        problem = Case(
            When(chosen="", then=Value("")),
            When(Exists(taken.exclude(instrument=OuterRef("pk"))), then=Value(MappingProblem.COLLISION)),
            When(type=SymbolType.FOREX, symbol_group=None, then=Value(MappingProblem.FOREX)),
            When(~is_there, then=Value(MappingProblem.UNKNOWN)),
            When(**{f"{target}__id__isnull": True}, then=Value("")),
            When(~Q(**{f"{target}__type": F("type")}), then=Value(MappingProblem.TYPE)),
            When(~is_of_currency, then=Value(MappingProblem.CURRENCY)),
            default=Value(""),
            output_field=models.CharField(),
        )
        state = Case(
            When(~Q(mapping_problem=""), then=Value(MappingState.BROKEN)),
            When(~Q(chosen=F("given_out")), then=Value(MappingState.DRAFT)),
            When(~Q(chosen=""), then=Value(MappingState.PUBLISHED)),
            When(suggestion__isnull=False, then=Value(MappingState.SUGGESTED)),
            default=Value(MappingState.UNMAPPED),
            output_field=models.CharField(),
        )
        of_choices = self.with_choices()
        return of_choices.annotate(mapping_problem=problem).annotate(mapping_state=state)  # type: ignore[no-redef]

    def counts(self) -> Counter[str]:
        """How many there are in each state."""
        states = self.with_states().order_by().values("mapping_state")  # type: ignore[misc]  # of with_states
        return Counter(dict(states.annotate(count=models.Count("pk")).values_list("mapping_state", "count")))

    def drafts(self) -> MappedInstrumentQuerySet:
        """Those of which something else was chosen than is published."""
        return self.with_choices().exclude(chosen=F("given_out"))  # type: ignore[misc]  # of with_choices

    def free(self) -> MappedInstrumentQuerySet:
        """Those for which nothing was chosen."""
        return self.with_choices().filter(chosen="")  # type: ignore[misc]  # of with_choices


class MappedInstrument(Instrument):
    """An instrument as the mapping workbench sees it: those without a mapping are in its list too."""

    chosen: str
    given_out: str
    mapping_problem: str
    mapping_state: str

    workbench = MappedInstrumentQuerySet.as_manager()

    class Meta:
        proxy = True
        verbose_name = _("mapping")
        verbose_name_plural = _("mappings")
