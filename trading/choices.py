"""The wire's words of trading."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Side(models.TextChoices):
    BUY = "buy", _("Buy")
    SELL = "sell", _("Sell")

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for what makes a position longer, -1 for what makes it shorter."""
        return 1 if self is Side.BUY else -1


class OrderType(models.TextChoices):
    MARKET = "market", _("Market")
    LIMIT = "limit", _("Limit")
    STOP = "stop", _("Stop")


class DurationType(models.TextChoices):
    """Ids of `/config`'s durations."""

    GTC = "gtc", _("Good till cancelled")


class EventKind(models.TextChoices):
    PLACED = "placed", _("Placed")
    ACKNOWLEDGED = "acknowledged", _("Acknowledged")
    TRIGGERED = "triggered", _("Triggered")
    EXECUTED = "executed", _("Executed")
    MODIFIED = "modified", _("Modified")
    CANCELLED = "cancelled", _("Cancelled")
    REJECTED = "rejected", _("Rejected")
    CANCEL_ASKED = "cancel_asked", _("Cancel asked of the venue")
    CHANGE_ASKED = "change_asked", _("Change asked of the venue")
    REFUSED = "refused", _("Refused by the venue")
