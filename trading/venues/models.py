"""Counterparties, what is asked of them (the outbox), the messages with them, and the rules of who gets which order."""

from __future__ import annotations

import pgtrigger
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import AccountGroup, User
from backoffice.fields import NumericField
from marketdata.choices import SymbolType
from marketdata.models import Instrument
from trading.choices import OrderType, Side
from trading.venues.choices import PENDING, Direction, LinkState, RequestState, VenueRequestKind

PREFIX = "fix:"  # of the names of such venues, as orders and executions keep them


class FixSession(models.Model):
    """A FIX 4.4 session with one counterparty, which we begin.

    `next_out` and `next_in` are the numbers (MsgSeqNum) of the next message in either direction. Each moves in the
    transaction that stores what it stands for, so a message is neither lost nor taken twice. A reset of the numbers
    begins a new `epoch`. `leased_by` is the process that runs the session until `leased_until`.
    """

    name = models.SlugField(_("name"), max_length=24, unique=True)
    host = models.CharField(_("host"), max_length=253)
    port = models.PositiveIntegerField(_("port"), validators=[MinValueValidator(1), MaxValueValidator(65535)])
    sender_comp_id = models.CharField(_("our name (SenderCompID)"), max_length=64)
    target_comp_id = models.CharField(_("its name (TargetCompID)"), max_length=64)
    username = models.CharField(
        _("login"),
        max_length=64,
        blank=True,
        help_text=_("Sent with the logon. The password comes from the environment (FIX_PASSWORDS)."),
    )
    heartbeat_seconds = models.PositiveIntegerField(
        _("heartbeat in seconds"), default=30, validators=[MinValueValidator(1), MaxValueValidator(3600)]
    )
    resets_at_logon = models.BooleanField(
        _("counts anew at each logon"),
        default=False,
        help_text=_("For counterparties that ask for it. What was sent shortly before cannot be recovered then."),
    )
    is_enabled = models.BooleanField(_("to be connected"), default=False)
    reset_wanted = models.BooleanField(_("numbers begin anew at the next logon"), default=False)
    state = models.CharField(_("state"), max_length=16, choices=LinkState, default=LinkState.DISCONNECTED)
    state_since = models.DateTimeField(_("since"), db_default=Now())
    trouble = models.CharField(_("last trouble"), max_length=200, blank=True)
    epoch = models.PositiveIntegerField(_("epoch"), default=1)
    next_out = models.PositiveIntegerField(_("next number sent"), default=1)
    next_in = models.PositiveIntegerField(_("next number expected"), default=1)
    leased_by = models.CharField(_("run by"), max_length=64, blank=True)
    leased_until = models.DateTimeField(_("run until"), null=True, blank=True)

    class Meta:
        verbose_name = _("FIX session")
        verbose_name_plural = _("FIX sessions")
        permissions = [("operate_fixsession", "Can connect, disconnect and reset FIX session")]
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(next_out__gte=1, next_in__gte=1), name="fix_numbers_begin_at_one"),
            models.UniqueConstraint(
                fields=["host", "port", "sender_comp_id", "target_comp_id"], name="one_fix_session_a_counterparty"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def venue(self) -> str:
        """The name of this venue in orders and executions."""
        return f"{PREFIX}{self.name}"


class FixMessage(models.Model):
    """A message as it was sent or received. Sent ones are kept to be sent again when the counterparty missed them.

    `error` is set while a report could not be booked; it is tried again until it is.
    """

    session = models.ForeignKey(FixSession, models.PROTECT, related_name="messages", verbose_name=_("session"))
    epoch = models.PositiveIntegerField(_("epoch"))
    direction = models.CharField(_("direction"), max_length=3, choices=Direction)
    seq = models.PositiveIntegerField(_("number"))
    type = models.CharField(_("type"), max_length=2)
    raw = models.TextField(_("message"))
    error = models.CharField(_("not booked because"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("FIX message")
        verbose_name_plural = _("FIX messages")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["session", "epoch", "direction", "seq"], name="one_fix_message_a_number"),
        ]
        indexes = [models.Index(fields=["id"], condition=~Q(error=""), name="fix_messages_unbooked")]
        triggers = [pgtrigger.Protect(name="fix_message_never_deleted", operation=pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.session} {self.direction} {self.epoch}/{self.seq} {self.type}"


class VenueRequestQuerySet(models.QuerySet["VenueRequest"]):
    def pending(self) -> VenueRequestQuerySet:
        """Not answered yet."""
        return self.filter(state__in=PENDING)

    def sendable(self) -> VenueRequestQuerySet:
        """Waiting, with nothing before them: a cancel waits for a replace on its way, a replace for anything."""
        on_the_way = VenueRequest.objects.filter(order=OuterRef("order"), state=RequestState.SENT)
        return self.filter(state=RequestState.WAITING).exclude(
            Q(Exists(on_the_way.exclude(kind=VenueRequestKind.NEW)), kind=VenueRequestKind.CANCEL)
            | Q(Exists(on_the_way), kind=VenueRequestKind.REPLACE)
        )


class VenueRequest(models.Model):
    """What a venue is asked to do with an order: stored with the decision, sent after it, and what became of it.

    `cl_ord_id` is ours and names the request for ever (FIX ClOrdID). The fields of the order are those it shall have.
    While a replace is pending the order holds the larger of `held_before` and `held_after`.
    """

    order = models.ForeignKey("trading.Order", models.PROTECT, related_name="requests", verbose_name=_("order"))
    session = models.ForeignKey(FixSession, models.PROTECT, related_name="requests", verbose_name=_("session"))
    kind = models.CharField(_("request"), max_length=8, choices=VenueRequestKind)
    state = models.CharField(_("state"), max_length=9, choices=RequestState, default=RequestState.WAITING)
    cl_ord_id = models.CharField(_("ClOrdID"), max_length=32, unique=True)
    orig_cl_ord_id = models.CharField(_("ClOrdID before"), max_length=32, blank=True)
    side = models.CharField(_("side"), max_length=4, choices=Side)
    type = models.CharField(_("type"), max_length=16, choices=OrderType)
    qty = NumericField(_("quantity"))
    limit_price = NumericField(_("limit price"), null=True, blank=True)
    stop_price = NumericField(_("stop price"), null=True, blank=True)
    time_in_force = models.CharField(_("TimeInForce"), max_length=1)
    filled_before = NumericField(_("filled before"))
    held_before = NumericField(_("held before"))
    held_after = NumericField(_("held after"))
    by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by"))
    message = models.ForeignKey(
        FixMessage, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("message")
    )
    text = models.CharField(_("its answer"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("decided"), db_default=Now())
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)

    objects = VenueRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("venue request")
        verbose_name_plural = _("venue requests")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "kind"], condition=Q(state__in=PENDING), name="one_pending_request_a_kind"
            ),
            models.UniqueConstraint(
                fields=["order"], condition=Q(kind=VenueRequestKind.NEW), name="one_new_request_an_order"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[RequestState.WAITING, RequestState.WITHDRAWN], sent_at__isnull=True)
                | Q(sent_at__isnull=False, message__isnull=False)
                & ~Q(state__in=[RequestState.WAITING, RequestState.WITHDRAWN]),
                name="request_sent_has_message",
            ),
        ]
        indexes = [
            models.Index(fields=["session", "state", "id"], condition=Q(state__in=PENDING), name="requests_pending"),
        ]

    def __str__(self) -> str:
        return f"{self.cl_ord_id} {self.kind}"


class VenueOrder(models.Model):
    """How an order stands at its venue, as the venue said last."""

    order = models.OneToOneField(
        "trading.Order", models.PROTECT, primary_key=True, related_name="at_venue", verbose_name=_("order")
    )
    session = models.ForeignKey(FixSession, models.PROTECT, related_name="orders", verbose_name=_("session"))
    cl_ord_id = models.CharField(_("ClOrdID in force"), max_length=32)
    venue_order_id = models.CharField(_("its number there"), max_length=64, blank=True)
    is_open = models.BooleanField(_("open there"), default=True)
    cum_qty = NumericField(_("filled there"), default=0)
    told_at = models.DateTimeField(_("last told"), null=True, blank=True)
    ask_wanted = models.BooleanField(_("to be asked about"), default=False)

    class Meta:
        verbose_name = _("order at a venue")
        verbose_name_plural = _("orders at venues")

    def __str__(self) -> str:
        return f"{self.order_id} {self.venue_order_id}"


class VenueRoute(models.Model):
    """A rule of who executes: of those that fit an order the one with the lowest number decides.

    What is left empty fits everything. `min_qty` and `max_qty` are in units, both included. Without a session the
    broker executes itself, which is also what happens when no rule fits.
    """

    priority = models.PositiveIntegerField(_("number"), unique=True, help_text=_("The lowest that fits decides."))
    group = models.ForeignKey(
        AccountGroup, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("group")
    )
    instrument = models.ForeignKey(
        Instrument, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("instrument")
    )
    symbol_type = models.CharField(_("type of instrument"), max_length=16, choices=SymbolType, blank=True)
    min_qty = NumericField(_("smallest quantity"), null=True, blank=True, validators=[MinValueValidator(0)])
    max_qty = NumericField(_("largest quantity"), null=True, blank=True, validators=[MinValueValidator(0)])
    session = models.ForeignKey(
        FixSession,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="routes",
        verbose_name=_("goes to"),
        help_text=_("Empty: the broker executes itself."),
    )
    is_active = models.BooleanField(_("in force"), default=True)

    class Meta:
        verbose_name = _("venue route")
        verbose_name_plural = _("venue routes")
        ordering = ["priority"]
        constraints = [
            models.CheckConstraint(
                condition=Q(min_qty__isnull=True) | Q(max_qty__isnull=True) | Q(min_qty__lte=F("max_qty")),
                name="route_sizes_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.priority}"

    def clean(self) -> None:
        if self.min_qty is not None and self.max_qty is not None and self.min_qty > self.max_qty:
            raise ValidationError({"max_qty": _("The largest quantity is below the smallest.")})
