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


class DecisionKind(models.TextChoices):
    """What was decided of an account whose margin runs out."""

    CALL = "call", _("Margin call")
    CANCEL_ORDERS = "cancel_orders", _("Stop-out: orders cancelled")
    CLOSE = "close", _("Stop-out: position closed")
    RESTORED = "restored", _("Level restored")
    PROTECTED = "protected", _("Negative balance made good")


class ChargeKind(models.TextChoices):
    SWAP = "swap", _("Swap")
    FUNDING = "funding", _("Funding")


class SwapUnit(models.TextChoices):
    POINTS = "points", _("Points (price steps) a day")
    PERCENT = "percent", _("Percent of the value a year")


class FundingSource(models.TextChoices):
    TABLE = "table", _("Written by hand")
    PREMIUM = "premium", _("Computed from the premium")


class Weekday(models.IntegerChoices):
    """As `datetime.weekday()` counts."""

    MONDAY = 0, _("Monday")
    TUESDAY = 1, _("Tuesday")
    WEDNESDAY = 2, _("Wednesday")
    THURSDAY = 3, _("Thursday")
    FRIDAY = 4, _("Friday")
