"""Which of TradingView's symbols ours are."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from marketdata.choices import MappingState
from marketdata.models.instruments import Instrument

FULL_NAME_PATTERN = r"^[^:]+:.+$"  # MAP-2


class SymbolMapping(models.Model):
    """Which TradingView symbol one of ours is (MAP-1). Only published ones are given out."""

    instrument = models.OneToOneField(Instrument, models.CASCADE, related_name="mapping", verbose_name=_("instrument"))
    tradingview_symbol = models.CharField(
        _("TradingView symbol"),
        max_length=128,
        validators=[RegexValidator(FULL_NAME_PATTERN, _("Write the full name with its exchange, as NASDAQ:AAPL."))],
    )
    state = models.CharField(_("state"), max_length=16, choices=MappingState, default=MappingState.DRAFT)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("symbol mapping")
        verbose_name_plural = _("symbol mappings")
        ordering = ["instrument__symbol"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(tradingview_symbol__regex=FULL_NAME_PATTERN), name="mapping_full_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.instrument} → {self.tradingview_symbol}"
