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
    STOP_LIMIT = "stoplimit", _("Stop limit")


class DurationType(models.TextChoices):
    """Ids of `/config`'s durations."""

    GTC = "gtc", _("Good till cancelled")
    DAY = "day", _("Day")
    GTD = "gtd", _("Good till date")
    IOC = "ioc", _("Immediate or cancel")
    FOK = "fok", _("Fill or kill")

    @property
    def is_immediate(self) -> bool:
        """Filled at the first look at the market or not at all, so it never rests."""
        return self in (DurationType.IOC, DurationType.FOK)


class BracketRole(models.TextChoices):
    """What a bracket does for its parent (BRK-2)."""

    STOP_LOSS = "sl", _("Stop loss")
    TAKE_PROFIT = "tp", _("Take profit")


class ParentType(models.TextChoices):
    """What a bracket is tied to (ORD-12)."""

    ORDER = "order", _("Order")
    POSITION = "position", _("Position")


class RequestKind(models.TextChoices):
    """The trading requests whose latency is tracked (LAT-1)."""

    PLACE_ORDER = "place_order", _("Placing an order")
    MODIFY_ORDER = "modify_order", _("Modifying an order")
    CANCEL_ORDER = "cancel_order", _("Cancelling an order")
    MODIFY_POSITION = "modify_position", _("Modifying a position")
    CLOSE_POSITION = "close_position", _("Closing a position")


class EventKind(models.TextChoices):
    PLACED = "placed", _("Placed")
    ACKNOWLEDGED = "acknowledged", _("Acknowledged")
    ACTIVATED = "activated", _("Put to work")
    RESIZED = "resized", _("Quantity followed")
    TRIGGERED = "triggered", _("Triggered")
    EXECUTED = "executed", _("Executed")
    MODIFIED = "modified", _("Modified")
    CANCELLED = "cancelled", _("Cancelled")
    REJECTED = "rejected", _("Rejected")
    CANCEL_ASKED = "cancel_asked", _("Cancel asked of the venue")
    CHANGE_ASKED = "change_asked", _("Change asked of the venue")
    REFUSED = "refused", _("Refused by the venue")
    BUSTED = "busted", _("Fill taken back or corrected")


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


class BustState(models.TextChoices):
    REQUESTED = "requested", _("Waits for approval")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    CANCELLED = "cancelled", _("Withdrawn")


BUST_TRANSITIONS: dict[BustState, tuple[BustState, ...]] = {
    BustState.REQUESTED: (BustState.APPROVED, BustState.CANCELLED, BustState.REJECTED),
}
