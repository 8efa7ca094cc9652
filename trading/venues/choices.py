"""The words of venues: what is asked of them, what became of it, and what they report."""

from enum import Enum, auto

from django.db import models
from django.utils.translation import gettext_lazy as _


class Handling(Enum):
    """Where what a venue is asked happens."""

    HERE = auto()  # with us, in this transaction: the caller goes on
    THERE = auto()  # it is stored and will be sent; a report will tell what came of it


class VenueRequestKind(models.TextChoices):
    NEW = "new", _("New order")  # FIX D
    CANCEL = "cancel", _("Cancel")  # FIX F
    REPLACE = "replace", _("Replace")  # FIX G


class RequestState(models.TextChoices):
    WAITING = "waiting", _("Waiting to be sent")
    SENT = "sent", _("Sent, no answer yet")
    ACCEPTED = "accepted", _("Accepted")
    REFUSED = "refused", _("Refused")
    WITHDRAWN = "withdrawn", _("Withdrawn before it was sent")


PENDING = (RequestState.WAITING, RequestState.SENT)


class LinkState(models.TextChoices):
    """Of a FIX session."""

    DISCONNECTED = "disconnected", _("Disconnected")
    CONNECTING = "connecting", _("Connecting")
    LOGGED_ON = "logged_on", _("Logged on")


class Direction(models.TextChoices):
    OUT = "out", _("Sent")
    IN = "in", _("Received")
