"""Instruments, their groups, and the days on which their markets are closed."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from backoffice.fields import NumericField, plain
from marketdata.choices import BarSource, InstrumentState, Shortability, SymbolType
from marketdata.sessions import Calendar, Session, validate_session, validate_timezone
from marketdata.triggers import MOST_GROUPS, group_rules, symbols_of_groups

SYMBOL_PATTERN = r"^[A-Z0-9._]+$"  # SYM-4
GROUP_PATTERN = r"^[a-z]+_[a-z_]+$"  # GRP-5


class SymbolGroup(models.Model):  # type: ignore[django-manager-missing]  # modeltranslation brings the manager
    """A set of symbols that TradingView asks for, and may hide, as one (GRP-1)."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(GROUP_PATTERN, _("Use small Latin letters and underscores, after the prefix."))],
        help_text=_("Begins with the broker's prefix and never changes, for example demo_forex."),
    )
    description = models.CharField(_("description"), max_length=200, blank=True)
    symbols_version = models.BigIntegerField(
        _("version of its symbols"), default=0, editable=False, help_text=_("Rises with every change of a symbol.")
    )

    class Meta:
        verbose_name = _("symbol group")
        verbose_name_plural = _("symbol groups")
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=models.Q(name__regex=GROUP_PATTERN), name="symbol_group_name")]
        triggers = group_rules()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """GRP-3, GRP-5, with sentences; the database enforces the same."""
        prefix = f"{settings.BROKER_ID}_"
        if not self.pk and not self.name.startswith(prefix):
            raise ValidationError({"name": _("Begin the name with %(prefix)s.") % {"prefix": prefix}})
        if not self.pk and SymbolGroup.objects.count() >= MOST_GROUPS:
            raise ValidationError(
                _("TradingView takes %(count)d groups, and there are as many already.") % {"count": MOST_GROUPS}
            )


class Instrument(models.Model):  # type: ignore[django-manager-missing]
    """What can be traded, or looked at, under one symbol.

    Prices are in `quote_currency`; one unit of quantity is worth `price * contract_size` of it.
    """

    symbol = models.CharField(
        _("symbol"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(SYMBOL_PATTERN, _("Use capitals, digits, dots and underscores."))],
    )
    description = models.CharField(_("description"), max_length=200)
    type = models.CharField(_("type"), max_length=16, choices=SymbolType)
    is_cfd = models.BooleanField(_("CFD"), default=False, help_text=_("A CFD on an instrument of this type."))
    base_currency = models.CharField(_("base currency"), max_length=16, blank=True, help_text=_("Pairs only."))
    quote_currency = models.CharField(_("quote currency"), max_length=16)
    exchange_listed = models.CharField(_("exchange listed"), max_length=32)
    exchange_traded = models.CharField(_("exchange traded"), max_length=32)
    symbol_group = models.ForeignKey(
        SymbolGroup,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="instruments",
        verbose_name=_("symbol group"),
        help_text=_("Empty when the charts' data come from TradingView's own symbol."),
    )
    state = models.CharField(_("state"), max_length=16, choices=InstrumentState, default=InstrumentState.TRADING)
    shortability = models.CharField(_("shortability"), max_length=8, choices=Shortability, default=Shortability.EASY)

    minmovement = models.PositiveIntegerField(
        _("min. movement"), default=1, help_text=_("A price step is min. movement / price scale.")
    )
    pricescale = models.PositiveBigIntegerField(_("price scale"), validators=[MinValueValidator(1)])
    minmovement2 = models.PositiveIntegerField(
        _("min. movement 2"), default=0, help_text=_("Forex: ticks in a pip. Fractions: the second divisor.")
    )
    fractional = models.BooleanField(_("fractional"), default=False)
    contract_size = NumericField(
        _("contract size"), default=Decimal(1), help_text=_("Money per whole unit of price and unit of quantity.")
    )
    min_qty = NumericField(_("smallest quantity"))
    max_qty = NumericField(_("largest quantity"))
    qty_step = NumericField(_("quantity step"))

    timezone = models.CharField(_("time zone"), max_length=64, default="Etc/UTC", validators=[validate_timezone])
    session_regular = models.CharField(_("regular session"), max_length=200, validators=[validate_session])
    session_premarket = models.CharField(_("pre-market"), max_length=200, blank=True, validators=[validate_session])
    session_postmarket = models.CharField(_("post-market"), max_length=200, blank=True, validators=[validate_session])
    holiday_calendar = models.CharField(
        _("holiday calendar"),
        max_length=16,
        blank=True,
        help_text=_("Calendar of the holidays table, for example NYSE."),
    )

    root = models.CharField(_("root"), max_length=16, blank=True, help_text=_("Futures only."))
    root_description = models.CharField(_("root description"), max_length=200, blank=True)
    expiration = models.DateField(_("expiration"), null=True, blank=True)
    isin = models.CharField("ISIN", max_length=12, blank=True)
    wkn = models.CharField("WKN", max_length=6, blank=True)

    bar_source = models.CharField(_("bars are made of"), max_length=8, choices=BarSource, default=BarSource.TRADE)
    has_daily = models.BooleanField(_("own daily bars"), default=False)
    has_no_volume = models.BooleanField(_("no volume"), default=False)

    class Meta:
        verbose_name = _("instrument")
        verbose_name_plural = _("instruments")
        permissions = [
            ("state_instrument", "Can halt instrument and resume it"),
            ("describe_instrument", "Can change descriptions and symbol group of instrument"),
        ]
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(condition=models.Q(symbol__regex=SYMBOL_PATTERN), name="instrument_symbol"),
            models.CheckConstraint(
                condition=models.Q(minmovement__gt=0, pricescale__gt=0, contract_size__gt=0),
                name="instrument_price_format",
            ),
            models.CheckConstraint(
                condition=models.Q(qty_step__gt=0, min_qty__gt=0, max_qty__gte=models.F("min_qty")),
                name="instrument_quantities",
            ),
        ]
        triggers = symbols_of_groups()

    def __str__(self) -> str:
        return self.symbol

    @property
    def tick_size(self) -> Decimal:
        """The smallest price step (PRC-1)."""
        return plain(Decimal(self.minmovement) / Decimal(self.pricescale))

    @property
    def pip_size(self) -> Decimal:
        """A pip: for currency pairs `minmovement2` ticks, else the tick (INS-1)."""
        return plain(self.tick_size * self.minmovement2) if self.is_currency_pair else self.tick_size

    @property
    def is_currency_pair(self) -> bool:
        return self.type == SymbolType.FOREX and self.minmovement2 > 0 and not self.fractional

    @cached_property
    def session(self) -> Session:
        """When it trades, holidays included."""
        return Session.parse(self.session_regular, self.timezone, Calendar.named(self.holiday_calendar))

    def round_price(self, price: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
        """The nearest price on the instrument's grid."""
        tick = self.tick_size
        return plain((price / tick).to_integral_value(rounding=rounding) * tick)


class Holiday(models.Model):
    """A day on which a calendar's markets are closed, or close early. Our own data: SES-10 knows none."""

    calendar = models.CharField(_("calendar"), max_length=16)
    day = models.DateField(_("day"))
    name = models.CharField(_("name"), max_length=100)
    close_time = models.TimeField(
        _("early close"), null=True, blank=True, help_text=_("Exchange's time; empty when closed all day.")
    )

    class Meta:
        verbose_name = _("holiday")
        verbose_name_plural = _("holidays")
        ordering = ["calendar", "day"]
        constraints = [models.UniqueConstraint(fields=["calendar", "day"], name="one_holiday_a_day")]

    def __str__(self) -> str:
        return f"{self.calendar} {self.day} {self.name}"
