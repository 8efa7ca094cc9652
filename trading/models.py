"""Orders with their events and executions, and the positions they make."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts import rows
from accounts.models import Account, Currency, User
from backoffice.fields import NumericField
from backoffice.triggers import append_only
from marketdata.models import Instrument
from trading import alarms as _alarms  # noqa: F401 (Django finds an app's models from here)
from trading import former_terms as _former_terms  # noqa: F401
from trading import states
from trading.bust_models import Bust, BustedExecution
from trading.choices import BracketRole, DurationType, EventKind, OrderType, ParentType, RequestKind, Side
from trading.errors import Reason, as_texts
from trading.leases import EngineLease, EngineProcess
from trading.records import Charge, MarginChange, MarginDecision
from trading.states import TRANSITIONS, OrderStatus
from trading.terms import ChargeSchedule, FundingRate, InstrumentTerms, Leverage, MarginTier
from trading.venues.choices import VenueRequestKind
from trading.venues.models import VenueRequest

if TYPE_CHECKING:
    from marketdata.quotes import Quote


__all__ = [
    "Bust",
    "BustedExecution",
    "Charge",
    "ChargeSchedule",
    "EngineLease",
    "EngineProcess",
    "Execution",
    "FundingRate",
    "InstrumentTerms",
    "Leverage",
    "MarginChange",
    "MarginDecision",
    "MarginTier",
    "Order",
    "OrderEvent",
    "Position",
    "PositionFill",
]


class OrderQuerySet(models.QuerySet["Order"]):
    def live(self) -> OrderQuerySet:
        """Placing, inactive or working (transitional, in the contract's words)."""
        return self.filter(status__in=states.LIVE)

    def final(self) -> OrderQuerySet:
        return self.filter(status__in=states.FINAL)

    def brackets(self) -> OrderQuerySet:
        """Stop losses and take profits."""
        return self.exclude(role="")

    def due(self, now: datetime) -> OrderQuerySet:
        """Live beyond the moment until which they are good, and not being cancelled at their venue already."""
        asked = VenueRequest.objects.pending().filter(order=models.OuterRef("pk"), kind=VenueRequestKind.CANCEL)
        return self.live().filter(~models.Exists(asked), expires_at__lte=now)

    def queued(self) -> OrderQuerySet:
        """Waiting to be worked by the venue's drain."""
        return self.filter(queued=True)

    def locked(self) -> OrderQuerySet:
        """Locked in the order everybody locks them; the account is locked before."""
        return self.select_for_update(of=("self",)).order_by("pk")


class Order(models.Model):
    """One order, from the click to its end.

    `held` is what it keeps from being used for others, in `held_currency`: margin, or the spot asset it pays with.
    While `queued` the venue has yet to look at it; `book` is the book that triggered it. `revision` rises with every
    change of its price or quantity, so that who watches the price knows an old one.

    A bracket is an order with a `role`. `parent` is the order it was placed with, and stays; `closes` is the position
    it protects; `parent_type` says which of the two it is tied to now (ORD-12), empty once it is tied to neither
    (BRK-13). Of one parent or position each role is live once, so the two that are live are the pair (BRK-3).
    `stop_price` of a trailing stop is where it has moved to.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="orders", verbose_name=_("account"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="orders", verbose_name=_("instrument"))
    side = models.CharField(_("side"), max_length=4, choices=Side)
    type = models.CharField(_("type"), max_length=16, choices=OrderType)
    qty = NumericField(_("quantity"))
    filled_qty = NumericField(_("filled"), default=Decimal(0))
    avg_price = NumericField(_("average price"), null=True, blank=True)
    limit_price = NumericField(_("limit price"), null=True, blank=True)
    stop_price = NumericField(_("stop price"), null=True, blank=True)
    if_touched = models.BooleanField(_("stop on this side of the market"), default=False)  # ORD-23
    duration = models.CharField(_("duration"), max_length=8, choices=DurationType, default=DurationType.GTC)
    expires_at = models.DateTimeField(_("good till"), null=True, blank=True)
    role = models.CharField(_("role"), max_length=2, choices=BracketRole, blank=True)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="brackets", verbose_name=_("placed with")
    )
    parent_type = models.CharField(_("tied to"), max_length=8, choices=ParentType, blank=True)
    trailing_pips = NumericField(_("trailing distance in pips"), null=True, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=OrderStatus, default=OrderStatus.PLACING)
    reason = models.CharField(_("reason"), max_length=32, choices=Reason, blank=True)
    reason_details = models.JSONField(_("figures of the reason"), default=dict, blank=True)
    closes = models.ForeignKey(
        "Position", models.PROTECT, null=True, blank=True, related_name="closing_orders", verbose_name=_("closes")
    )
    reverses = models.ForeignKey(
        "Position", models.PROTECT, null=True, blank=True, related_name="+", db_index=False, verbose_name=_("reverses")
    )
    request_id = models.CharField(_("request"), max_length=128)
    held = NumericField(_("held"), default=Decimal(0))
    held_currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("held in"))
    venue = models.CharField(_("venue"), max_length=32)
    queued = models.BooleanField(_("queued"), default=True)
    book = models.JSONField(_("book that triggered it"), null=True, blank=True)
    last_book = models.CharField(_("last book used"), max_length=40, blank=True)
    triggered_at = models.DateTimeField(_("triggered"), null=True, blank=True)
    revision = models.PositiveIntegerField(_("revision"), default=0)
    created_at = models.DateTimeField(_("placed"), db_default=Now())
    updated_at = models.DateTimeField(_("last modified"), db_default=Now())
    final_at = models.DateTimeField(_("ended"), null=True, blank=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        permissions = [("cancel_order", "Can cancel order")]
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "request_id"], name="one_order_a_request"),
            models.CheckConstraint(
                condition=Q(filled_qty__gte=0, filled_qty__lte=F("qty"), qty__gt=0), name="order_filled"
            ),
            models.CheckConstraint(condition=Q(held__gte=0), name="order_held_not_negative"),
            models.CheckConstraint(
                condition=(Q(type=OrderType.LIMIT) & Q(limit_price__gt=0, stop_price__isnull=True))
                | (Q(type=OrderType.STOP) & Q(stop_price__gt=0, limit_price__isnull=True))
                | (Q(type=OrderType.STOP_LIMIT) & Q(stop_price__gt=0, limit_price__gt=0))
                | (Q(type=OrderType.MARKET) & Q(stop_price__isnull=True, limit_price__isnull=True)),
                name="order_prices_of_type",
            ),
            models.CheckConstraint(
                condition=Q(status__in=states.LIVE, final_at__isnull=True)
                | Q(status__in=states.FINAL, final_at__isnull=False, held=0, queued=False),
                name="order_final_holds_nothing",
            ),
            models.CheckConstraint(
                condition=~Q(status=OrderStatus.FILLED) | Q(filled_qty=F("qty")), name="order_filled_is_whole"
            ),
            models.CheckConstraint(
                condition=Q(
                    duration__in=[DurationType.GTC, DurationType.IOC, DurationType.FOK], expires_at__isnull=True
                )
                | Q(expires_at__isnull=False) & Q(duration__in=[DurationType.DAY, DurationType.GTD]),
                name="order_expires_by_duration",
            ),
            models.CheckConstraint(
                condition=Q(role="", parent__isnull=True, parent_type="", trailing_pips__isnull=True)
                | Q(role=BracketRole.STOP_LOSS, type=OrderType.STOP)
                | Q(role=BracketRole.TAKE_PROFIT, type=OrderType.LIMIT, trailing_pips__isnull=True),
                name="bracket_type_of_role",
            ),
            models.CheckConstraint(
                condition=Q(role="")
                | Q(parent_type=ParentType.ORDER, parent__isnull=False, closes__isnull=True)
                | Q(parent_type=ParentType.POSITION, closes__isnull=False)
                | Q(parent_type="", parent__isnull=False, closes__isnull=True),
                name="bracket_has_parent",
            ),
            models.CheckConstraint(condition=Q(trailing_pips__gt=0), name="trailing_distance_positive"),
            models.CheckConstraint(
                condition=~Q(status=OrderStatus.INACTIVE) | Q(parent_type=ParentType.ORDER, held=0, queued=False),
                name="only_brackets_are_inactive",
            ),
            models.CheckConstraint(condition=Q(closes__isnull=True) | Q(held=0), name="closing_order_holds_nothing"),
            models.UniqueConstraint(
                fields=["closes", "role"],
                condition=Q(status__in=states.LIVE, parent_type=ParentType.POSITION),
                name="one_live_bracket_a_position_and_role",
            ),
            models.UniqueConstraint(
                fields=["parent", "role"],
                condition=Q(status__in=states.LIVE, closes__isnull=True) & ~Q(role=""),
                name="one_live_bracket_an_order_and_role",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=states.LIVE, expires_at__isnull=False),
                name="orders_to_expire",
            ),
            models.Index(
                fields=["account", "instrument"],
                condition=Q(status__in=states.LIVE) & ~Q(role=""),
                name="brackets_live",
            ),
            models.Index(fields=["account", "-id"]),
            models.Index(fields=["account", "final_at"]),
            models.Index(fields=["id"], condition=Q(queued=True), name="orders_queued"),
            # Lists of what is rare among millions, which would be read from the newest to the oldest for it.
            models.Index(fields=["status", "-id"], name="orders_by_status"),
            models.Index(fields=["role", "-id"], condition=~Q(role=""), name="orders_by_role"),
            models.Index(
                fields=["type", "-id"],
                condition=~Q(type__in=[OrderType.MARKET, OrderType.LIMIT]),
                name="orders_by_rare_type",
            ),
            models.Index(  # with what says how near an order is to the market, so that its row is not looked for
                fields=["instrument"],
                include=["id", "side", "stop_price", "limit_price", "triggered_at"],
                condition=Q(status="working"),
                name="orders_working",
            ),
            BrinIndex(fields=["created_at"], name="orders_by_time"),  # rows lie in this order: it costs next to nothing
        ]
        triggers = [
            pgtrigger.FSM(
                name="status_table",
                field="status",
                transitions=[
                    (before.value, after.value) for before, onward in TRANSITIONS.items() for after in sorted(onward)
                ],
            ),
            pgtrigger.Protect(name="order_never_deleted", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.side} {self.qty} {self.instrument} {self.status}"

    @property
    def leaves_qty(self) -> Decimal:
        """What is still to be filled (FIX LeavesQty)."""
        return self.qty - self.filled_qty

    @property
    def is_final(self) -> bool:
        return OrderStatus(self.status) in states.FINAL

    @property
    def own_price(self) -> Decimal | None:
        """The price it names: the limit where it has one; None for a market order."""
        return self.limit_price if self.limit_price is not None else self.stop_price

    @property
    def awaits_stop(self) -> bool:
        """A stop or stop-limit order whose stop price was not reached yet."""
        return self.stop_price is not None and self.triggered_at is None

    def advance(self, to: OrderStatus, *, at: datetime, reason: Reason | None = None, **details: object) -> None:
        """Change the status, which nothing else does. The caller saves the order and stores the event.

        Raises IllegalTransition unless the table allows the move.
        """
        states.check(self.pk, self.status, to)
        self.status = to
        if reason:
            self.reason, self.reason_details = reason, as_texts(details)
        if to in states.FINAL:
            self.final_at, self.queued = at, False

    def record(self, kind: EventKind, *, by: User | None = None, seen: Quote | None = None, **details: Any) -> None:
        """Store what happened to the order, with the prices seen at the decision. Needs a transaction."""
        event = OrderEvent(
            order=self,
            kind=kind,
            status=self.status,
            by=by,
            bid=seen.bid if seen else None,
            ask=seen.ask if seen else None,
            book=seen.version if seen else "",
            details=as_texts(details),
        )
        rows.insert_later(event)


class UsedConfirmation(models.Model):
    """The `confirmId` of a preview that an order was placed or modified with: each works once (PRV-4)."""

    nonce = models.CharField(_("nonce"), max_length=32, primary_key=True)
    used_at = models.DateTimeField(_("used"), db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("used confirmation")
        verbose_name_plural = _("used confirmations")

    def __str__(self) -> str:
        return self.nonce


class LatencyReport(models.Model):
    """How long a trading request took for its user, as TradingView's page measured it (LAT-2)."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", verbose_name=_("account"))
    transaction_id = models.CharField(_("transaction"), max_length=64)
    kind = models.CharField(_("request"), max_length=16, choices=RequestKind)
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    side = models.CharField(_("side"), max_length=4, choices=Side)
    qty = NumericField(_("quantity"), null=True, blank=True)
    bid = NumericField(_("bid seen"))
    ask = NumericField(_("ask seen"))
    quoted_ms = NumericField(_("time of the price seen"), help_text=_("As the page sends it: Unix milliseconds."))
    round_trip_ms = NumericField(_("round trip in milliseconds"))
    at = models.DateTimeField(_("received"), db_default=Now())

    class Meta:
        verbose_name = _("latency report")
        verbose_name_plural = _("latency reports")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "transaction_id"], name="one_latency_report_a_transaction")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.round_trip_ms} ms"


class OrderEvent(models.Model):
    """One thing that happened to an order: who, when, why, at which prices. Never changed."""

    order = models.ForeignKey(Order, models.PROTECT, related_name="events", verbose_name=_("order"))
    at = models.DateTimeField(_("at"), db_default=Now())
    kind = models.CharField(_("event"), max_length=16, choices=EventKind)
    status = models.CharField(_("status after"), max_length=16, choices=OrderStatus)
    by = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
        help_text=_("Empty: the system."),
    )
    bid = NumericField(_("bid seen"), null=True, blank=True)
    ask = NumericField(_("ask seen"), null=True, blank=True)
    book = models.CharField(_("book seen"), max_length=40, blank=True)
    details = models.JSONField(_("details"), default=dict, blank=True)

    class Meta:
        verbose_name = _("order event")
        verbose_name_plural = _("order events")
        ordering = ["id"]
        triggers = append_only("order_event")

    def __str__(self) -> str:
        return f"{self.order_id} {self.kind}"


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def standing(self) -> ExecutionQuerySet:
        """Those that count in the books: not busted."""
        return self.filter(busted=None)

    def counted(self) -> ExecutionQuerySet:
        """Those that make an order's filled quantity: what was only taken back was filled all the same (ORD-2)."""
        return self.filter(busted__replacement=None)


class Execution(models.Model):
    """A fill, once per venue's execution id. Never changed: one that was wrong is busted by a row of its own."""

    order = models.ForeignKey(Order, models.PROTECT, related_name="executions", verbose_name=_("order"))
    account = models.ForeignKey(Account, models.PROTECT, related_name="executions", verbose_name=_("account"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    side = models.CharField(_("side"), max_length=4, choices=Side)
    qty = NumericField(_("quantity"))
    price = NumericField(_("price"))
    commission = NumericField(_("commission"), default=Decimal(0))
    commission_currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("commission in"))
    venue = models.CharField(_("venue"), max_length=32)
    venue_exec_id = models.CharField(_("venue's execution id"), max_length=64)
    at = models.DateTimeField(_("at"), db_default=Now())

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = _("execution")
        verbose_name_plural = _("executions")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["venue", "venue_exec_id"], name="one_execution_a_venue_id"),
            models.CheckConstraint(condition=Q(qty__gt=0, price__gt=0, commission__gte=0), name="execution_positive"),
        ]
        indexes = [
            models.Index(fields=["account", "instrument", "-id"]),
            models.Index(fields=["instrument", "at"]),  # charts, and the fills of a bad interval
        ]
        triggers = append_only("execution")

    def __str__(self) -> str:
        return f"{self.pk}: {self.side} {self.qty} {self.instrument} @ {self.price}"


class PositionQuerySet(models.QuerySet["Position"]):
    def open(self) -> PositionQuerySet:
        return self.filter(closed_at=None)

    def locked(self) -> PositionQuerySet:
        return self.select_for_update(of=("self",)).order_by("pk")


class Position(models.Model):
    """What an account holds of an instrument: one net position, or in hedging groups one for each trade (POS-2).

    `qty` is never signed, `side` tells the direction (POS-1). `margin` is what it holds in the account's currency: that
    of the fills that made it, at their prices and rates.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="positions", verbose_name=_("account"))
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="+", verbose_name=_("instrument"))
    side = models.CharField(_("side"), max_length=4, choices=Side)
    qty = NumericField(_("quantity"))
    avg_price = NumericField(_("average price"))
    margin = NumericField(_("margin"), default=Decimal(0))
    realized_pl = NumericField(_("realized P/L"), default=Decimal(0))
    opened_by = models.ForeignKey(
        Order,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="opened_positions",
        verbose_name=_("opened by"),
        help_text=_("Hedging: the trade whose position this is. Empty for net positions."),
    )
    opened_at = models.DateTimeField(_("opened"), db_default=Now())
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    objects = PositionQuerySet.as_manager()

    class Meta:
        verbose_name = _("position")
        verbose_name_plural = _("positions")
        permissions = [("close_position", "Can close positions of clients")]
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "instrument"],
                condition=Q(opened_by=None, closed_at=None),
                name="one_net_position",
            ),
            models.UniqueConstraint(
                fields=["opened_by"], condition=Q(closed_at=None), name="one_open_position_a_trade"
            ),
            models.CheckConstraint(
                condition=Q(qty__gt=0, closed_at__isnull=True) | Q(qty=0, margin=0, closed_at__isnull=False),
                name="closed_position_is_empty",
            ),
            models.CheckConstraint(condition=Q(margin__gte=0), name="position_margin_not_negative"),
        ]
        # Those closed a moment ago are still shown (POS-6), and an account that holds each trade by itself has many.
        indexes = [models.Index(fields=["account", "closed_at"], name="positions_shown")]

    def __str__(self) -> str:
        if self.closed_at:  # it has no quantity any more
            return f"{self.pk}: {self.side} {self.instrument}, closed"
        return f"{self.pk}: {self.side} {self.qty} {self.instrument}"

    @property
    def signed_qty(self) -> Decimal:
        return self.qty * Side(self.side).sign


class PositionFillQuerySet(models.QuerySet["PositionFill"]):
    def standing(self) -> PositionFillQuerySet:
        """Without those that a bust reversed, and without the reversals."""
        return self.filter(reverses=None, reversal=None)


class PositionFill(models.Model):
    """The part of an execution that made a position larger or smaller. Never changed.

    A fill that turns a net position has two: one closes, one opens. `qty` is signed, buys > 0, so that a position's
    quantity is the sum of its fills. `realized_pl` is in the account's currency, by way of `conversion_rate`. A bust
    adds the opposite (`reverses`) of every fill that it undoes, and fills anew where later ones turn out otherwise.
    """

    execution = models.ForeignKey(Execution, models.PROTECT, related_name="position_fills", verbose_name=_("execution"))
    position = models.ForeignKey(Position, models.PROTECT, related_name="fills", verbose_name=_("position"))
    qty = NumericField(_("quantity"))
    is_close = models.BooleanField(_("closes"))
    margin = NumericField(_("margin"), help_text=_("Taken by opening, given back by closing (negative)."))
    realized_pl = NumericField(_("realized P/L"), default=Decimal(0))
    conversion_rate = NumericField(_("conversion rate"))
    bust = models.ForeignKey(
        Bust,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="fills",
        verbose_name=_("written by bust"),
    )
    reverses = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="reversal", verbose_name=_("reverses")
    )

    objects = PositionFillQuerySet.as_manager()

    class Meta:
        verbose_name = _("position fill")
        verbose_name_plural = _("position fills")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["execution", "position", "bust"],
                condition=Q(reverses=None),
                nulls_distinct=False,
                name="one_fill_a_position",
            ),
            models.CheckConstraint(condition=~Q(qty=0), name="position_fill_not_zero"),
        ]
        triggers = append_only("position_fill")

    def __str__(self) -> str:
        return f"{self.position_id} {self.qty:+}"
