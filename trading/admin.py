"""Pages of orders with their story, executions and positions. What staff does here goes through the services."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.db.models.functions import Abs
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from accounts.admin import AccountGroupAdmin, TradingConditionsAdmin
from accounts.choices import ConditionsState
from accounts.models import AccountGroup, TradingConditions, User
from backoffice.admin import NOTHING, LogAdmin, Panel, ReadOnlyAdmin, StaffAdmin, link_to, list_url, number
from trading import orders, venue
from trading.choices import ParentType
from trading.decision_admin import MarginDecisionAdmin as MarginDecisionAdmin
from trading.errors import OrderRejected, sentence
from trading.models import (
    BustedExecution,
    Charge,
    Execution,
    FundingRate,
    InstrumentTerms,
    LatencyReport,
    Leverage,
    MarginTier,
    Order,
    OrderEvent,
    OrderQuerySet,
    Position,
    PositionFill,
)
from trading.states import OrderStatus
from trading.venues.admin import order_number  # Django finds the venues' pages from here, too
from trading.venues.models import VenueRequest

SHOWN_TO_CONFIRM = 100
PROTECTION = _("Protection")

STATUS_COLOURS = {
    OrderStatus.PLACING: "primary",
    OrderStatus.INACTIVE: "warning",
    OrderStatus.WORKING: "info",
    OrderStatus.FILLED: "success",
    OrderStatus.CANCELLED: "",
    OrderStatus.REJECTED: "danger",
}


TERMS_FIELDS = (
    "instrument",
    "is_offered",
    "margin_rate",
    "maintenance_rate",
    "contract_margin",
    "contract_maintenance",
    "max_leverage",
    "swap_long",
    "swap_short",
    "swap_unit",
    "triple_day",
)
MOST_EDITED_BY_HAND = 100  # instruments; more come and go by a table


def _edited_by_hand(request: HttpRequest, version: TradingConditions) -> bool:
    """Whether the page of the version edits its instruments for who looks; else it only shows the first of them."""
    is_own = version.state == ConditionsState.DRAFT and version.drafted_by_id == request.user.pk
    return is_own and version.instruments.count() <= MOST_EDITED_BY_HAND


class InstrumentTermsInline(TabularInline):
    """The instruments of a draft, with what differs for them."""

    model = InstrumentTerms
    fields = TERMS_FIELDS
    autocomplete_fields = ("instrument",)
    hide_title = True
    extra = 0

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[InstrumentTerms]:
        return super().get_queryset(request).select_related("instrument").order_by("instrument__symbol")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_shown(request, obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_shown(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_shown(request, obj) and super().has_delete_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_shown(request, obj) and super().has_view_permission(request, obj)

    def _is_shown(self, request: HttpRequest, version: TradingConditions | None) -> bool:
        return version is None or _edited_by_hand(request, version)


@admin.display(description=_("swap in"))
def swap_in(terms: InstrumentTerms) -> str:
    return terms.get_swap_unit_display() if terms.has_swap else NOTHING


TERMS_SHOWN = (
    "is_offered",
    "margin_rate",
    "maintenance_rate",
    "contract_margin",
    "max_leverage",
    "swap_long",
    "swap_short",
    swap_in,
)


def instruments_panel(version: TradingConditions) -> Panel:
    return Panel(
        _("instruments"),
        version.instruments.select_related("instrument").order_by("instrument__symbol"),
        ("instrument", *TERMS_SHOWN),
        _("It names no instrument: nothing can be traded."),
        list_url(InstrumentTerms, conditions__id__exact=version.pk),
    )


def of_group(request: HttpRequest, group: AccountGroup) -> Iterable[Panel]:
    """What is in force. It changes by another version of the conditions."""
    if version := group.conditions.begun().order_by("-effective_from").first():
        yield instruments_panel(version)


def of_version(request: HttpRequest, version: TradingConditions) -> Iterable[Panel]:
    if not _edited_by_hand(request, version):
        yield instruments_panel(version)


AccountGroupAdmin.more_panels += (of_group,)
TradingConditionsAdmin.more_panels += (of_version,)


@admin.register(InstrumentTerms)
class InstrumentTermsAdmin(ReadOnlyAdmin):
    """Those in force, or of the one version that a link names. They change with the version they belong to."""

    list_display = ("instrument", "group", *TERMS_SHOWN)
    list_select_related = ("instrument", "conditions__group")
    list_filter = ("is_offered", "conditions__group")
    search_fields = ("instrument__symbol__istartswith",)
    search_help_text = _("Symbol: its beginning")
    ordering = ("instrument__symbol", "conditions__group__name")
    fields = (
        "conditions",
        ("instrument", "is_offered"),
        ("margin_rate", "maintenance_rate", "max_leverage"),
        ("contract_margin", "contract_maintenance"),
        ("swap_long", "swap_short"),
        ("swap_unit", "triple_day"),
    )
    empty_text = _("No group has instruments yet: they are part of its conditions.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[InstrumentTerms]:
        rows = super().get_queryset(request)
        is_list = request.path == list_url(InstrumentTerms)
        return rows.in_force() if is_list and "conditions__id__exact" not in request.GET else rows

    @admin.display(description=_("group"), ordering="conditions__group__name")
    def group(self, row: InstrumentTerms) -> AccountGroup:
        return row.conditions.group


@cache
def price(model: type[models.Model], field_name: str) -> Callable[[Any], str]:
    """A column with a price in as many decimals as its instrument is quoted in; an average may have more."""

    @admin.display(description=getattr(model._meta.get_field(field_name), "verbose_name"))  # noqa: B009
    def column(row: Any) -> str:
        value = getattr(row, field_name)
        if value is None:
            return NOTHING
        instrument = row.order.instrument if isinstance(row, OrderEvent) else row.instrument
        decimals = max(_decimals(value), _decimals(instrument.tick_size))
        return number_format(value, decimals, force_grouping=True)

    column.__name__ = field_name
    return column


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


LIMIT, STOP, AVERAGE_FILL = (price(Order, name) for name in ("limit_price", "stop_price", "avg_price"))
EVENT_PRICES = (price(OrderEvent, "bid"), price(OrderEvent, "ask"))
AVERAGE_PRICE = price(Position, "avg_price")
FILL_PRICE = price(Execution, "price")


class MarginTierInline(TabularInline):
    """Bands of value with rates of their own; edited until the conditions are in force."""

    model = MarginTier
    fields = ("instrument", "floor", "rate", "maintenance_rate")
    autocomplete_fields = ("instrument",)
    hide_title = True
    extra = 0


TradingConditionsAdmin.inlines += (InstrumentTermsInline, MarginTierInline)


@admin.display(description=_("details"))
def event_details(event: OrderEvent) -> str:
    return ", ".join(f"{name}: {value}" for name, value in event.details.items()) or NOTHING


def brackets_panel(brackets: models.QuerySet[Order], url: str) -> Panel:
    """The brackets of an order or a position, those that have ended too."""
    return Panel(
        _("stop loss and take profit"),
        brackets.select_related("instrument").order_by("-pk"),
        ("id", "role", "side", "qty", LIMIT, STOP, "trailing_pips", "status", "parent_type"),
        _("Nothing protects it."),
        url,
    )


@admin.register(Order)
class OrderAdmin(LogAdmin):
    list_display = (
        "id",
        "created_at",
        "account",
        "instrument",
        "shown_status",
        "side",
        "type",
        "protects",
        "qty",
        "asked_price",
        "filled",
    )
    list_select_related = ("account", "instrument")
    list_filter = (
        "status",
        "side",
        "type",
        "role",
        ("account", AutocompleteSelectFilter),
        ("instrument", AutocompleteSelectFilter),
    )
    search_lookup = "account__number"
    search_help_text = _("Number of an order or of an account")
    empty_text = _("No order has been placed yet.")
    actions = ("cancel_orders",)
    readonly_fields = ("reason_text", LIMIT, STOP, AVERAGE_FILL)
    fieldsets = (
        (None, {"fields": (("account", "instrument"), ("side", "type"), ("status", "reason_text"))}),
        (
            _("Quantities and prices"),
            {"fields": (("qty", "filled_qty"), (LIMIT, STOP, "if_touched"), (AVERAGE_FILL, "duration", "expires_at"))},
        ),
        (PROTECTION, {"fields": (("role", "parent_type", "trailing_pips"), ("parent", "closes"))}),
        (_("Money held"), {"fields": (("held", "held_currency"),)}),
        (
            _("Handling"),
            {
                "fields": (
                    ("created_at", "updated_at"),
                    ("triggered_at", "final_at"),
                    ("venue", "queued"),
                    ("request_id", "revision"),
                )
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Order | None = None) -> Any:
        """The lines on protection are for orders that protect or close something."""
        shown = super().get_fieldsets(request, obj)
        is_bracket = obj is not None and bool(obj.role or obj.closes_id)
        return [each for each in shown if is_bracket or each[0] != PROTECTION]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("trading.cancel_order")

    @display(description=_("status"), ordering="status", label=STATUS_COLOURS)
    def shown_status(self, order: Order) -> tuple[str, str]:
        return order.status, order.get_status_display()

    @admin.display(description=_("protects"))
    def protects(self, order: Order) -> str:
        """What a bracket is, and what it is there for."""
        if not order.role:
            return NOTHING
        if order.parent_type == ParentType.POSITION:
            parent = _("Position %(id)s") % {"id": order.closes_id}
        else:
            parent = _("Order %(id)s") % {"id": order.parent_id}
        return f"{order.get_role_display()}: {parent}"

    @admin.display(description=_("price"))
    def asked_price(self, order: Order) -> str:
        """What the order waits for; a market order does not."""
        return LIMIT(order) if order.limit_price is not None else STOP(order)

    @admin.display(description=_("filled"))
    def filled(self, order: Order) -> str:
        """How much, and at which price on the average."""
        return f"{number(order.filled_qty)} @ {AVERAGE_FILL(order)}" if order.filled_qty else "0"

    @admin.display(description=_("reason"))
    def reason_text(self, order: Order) -> str:
        """The sentence that the client was given."""
        return sentence(order.reason, order.reason_details) if order.reason else NOTHING

    def panels(self, request: HttpRequest, order: Order) -> Iterable[Panel]:
        if not order.role:
            yield brackets_panel(order.brackets.all(), list_url(Order, parent__id__exact=order.pk))
        yield Panel(
            _("events"),
            order.events.select_related("by"),
            ("at", "kind", "status", "by", *EVENT_PRICES, event_details),
            _("Nothing has happened to the order yet."),
            list_url(OrderEvent, order__id__exact=order.pk),
        )
        yield Panel(
            _("executions"),
            order.executions.select_related("instrument", "commission_currency"),
            ("id", "at", "side", "qty", FILL_PRICE, "commission", "commission_currency", "venue_exec_id"),
            _("Nothing of the order has been filled."),
            list_url(Execution, order__id__exact=order.pk),
        )
        if order.venue != venue.INTERNAL:
            yield Panel(
                _("requests to its venue"),
                order.requests.all(),
                ("id", "created_at", "kind", "cl_ord_id", "qty", "state", "sent_at", "answered_at", "text"),
                _("Nothing was asked of the venue yet."),
                list_url(VenueRequest, order__id__exact=order.pk),
            )

    @admin.action(description=_("Cancel the selected orders"), permissions=["cancel"])
    def cancel_orders(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Ask once more, saying what will happen; then cancel each order by itself, in the user's name."""
        if "confirmed" not in request.POST:
            return self._confirm_cancelling(request, queryset)
        assert isinstance(request.user, User)  # the site lets nobody else in
        cancelled, refused = 0, []
        for order_id, account_id in queryset.order_by("pk").values_list("pk", "account_id"):
            try:
                orders.cancel(account_id, order_id, by=request.user)
            except OrderRejected as refusal:
                refused.append(f"{order_id}: {refusal}")
            else:
                cancelled += 1
        if cancelled:
            text = ngettext("%(count)s order was cancelled.", "%(count)s orders were cancelled.", cancelled)
            self.message_user(request, text % {"count": cancelled}, messages.SUCCESS)
        for text in refused[:SHOWN_TO_CONFIRM]:
            self.message_user(request, text, messages.WARNING)
        if not (cancelled or refused):  # they have left the list's filter while the question was read
            self._nothing_to_cancel(request)
        return None

    def _nothing_to_cancel(self, request: HttpRequest) -> None:
        text = _("None of the selected orders is live: there is nothing to cancel.")
        self.message_user(request, text, messages.INFO)

    def _confirm_cancelling(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        live = queryset.live().select_related("account", "instrument").order_by("pk")
        count = live.count()
        if not count:
            self._nothing_to_cancel(request)
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Cancel the selected orders"),
            "orders": live[:SHOWN_TO_CONFIRM],
            "count": count,
            "hidden_count": max(0, count - SHOWN_TO_CONFIRM),
            "final_count": queryset.count() - count,
            "order_ids": live.values_list("pk", flat=True),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "trading/cancel_orders.html", context)


@admin.register(OrderEvent)
class OrderEventAdmin(LogAdmin):
    list_display = ("id", "at", order_number, "kind", "status", "by", *EVENT_PRICES, event_details)
    list_select_related = ("by", "order__instrument")
    list_filter = ("kind",)
    fields = (("order", "at"), ("kind", "status", "by"), (*EVENT_PRICES, "book"), event_details)
    readonly_fields = (*EVENT_PRICES, event_details)
    search_lookup = "order__account__number"
    search_help_text = _("Number of an account or of an event")
    empty_text = _("Nothing has happened to any order yet.")


@admin.register(Execution)
class ExecutionAdmin(LogAdmin):
    list_display = (
        "id",
        "at",
        "account",
        "instrument",
        "side",
        "qty",
        FILL_PRICE,
        "commission",
        "commission_currency",
        order_number,
    )
    list_select_related = ("account", "instrument", "commission_currency")
    list_filter = ("side", ("account", AutocompleteSelectFilter), ("instrument", AutocompleteSelectFilter))
    fields = (
        ("account", "order", "instrument"),
        ("side", "qty", FILL_PRICE),
        ("commission", "commission_currency"),
        ("at", "venue", "venue_exec_id"),
        "taken_back",
    )
    readonly_fields = (FILL_PRICE, "taken_back")
    search_lookup = "account__number"
    search_help_text = _("Number of an execution or of an account")
    empty_text = _("Nothing has been filled yet.")
    change_form_outer_before_template = "dealing/execution_actions.html"

    @admin.display(description=_("taken back by"))
    def taken_back(self, execution: Execution) -> str:
        busted = BustedExecution.objects.filter(execution=execution).select_related("bust__instrument").first()
        return link_to(busted.bust) if busted else NOTHING

    def panels(self, request: HttpRequest, execution: Execution) -> Iterable[Panel]:
        yield Panel(
            _("what it did to positions"),
            execution.position_fills.select_related("position__instrument"),
            ("position", "qty", "is_close", "margin", "realized_pl", "conversion_rate"),
            _("It made no position: a spot account holds the assets themselves."),
        )


@admin.register(Position)
class PositionAdmin(LogAdmin):
    list_display = (
        "id",
        "account",
        "instrument",
        "side",
        "qty",
        AVERAGE_PRICE,
        "margin",
        "realized_pl",
        "opened_at",
        "closed_at",
    )
    list_select_related = ("account", "instrument")
    list_filter = (
        ("closed_at", admin.EmptyFieldListFilter),
        "side",
        ("account", AutocompleteSelectFilter),
        ("instrument", AutocompleteSelectFilter),
    )
    fields = (
        ("account", "instrument", "side"),
        ("qty", "opened_qty", AVERAGE_PRICE),
        ("margin", "realized_pl"),
        ("opened_at", "closed_at", "opened_by"),
    )
    readonly_fields = ("opened_qty", AVERAGE_PRICE)
    search_lookup = "account__number"
    search_help_text = _("Number of a position or of an account")
    change_form_outer_before_template = "dealing/position_actions.html"
    empty_text = _("There has been no position yet.")

    @admin.display(description=_("opened in all"))
    def opened_qty(self, position: Position) -> str:
        """What it was, also once it is closed; what a bust took back does not count."""
        opened = position.fills.standing().filter(is_close=False)
        return number(opened.aggregate(units=models.Sum(Abs("qty")))["units"])

    def panels(self, request: HttpRequest, position: Position) -> Iterable[Panel]:
        brackets = position.closing_orders.exclude(role="")
        yield brackets_panel(brackets, list_url(Order, closes__id__exact=position.pk))
        yield Panel(
            _("fills"),
            position.fills.select_related("execution__instrument").order_by("pk"),
            ("execution", "qty", "is_close", "margin", "realized_pl", "conversion_rate"),
            _("A position is made of fills."),
            list_url(PositionFill, position__id__exact=position.pk),
        )
        yield Panel(
            _("swaps and funding"),
            position.charges.select_related("currency"),
            ("id", "due_at", "kind", "days", "rate", "price", "conversion_rate", "amount", "currency"),
            _("Holding it has cost nothing so far."),
            list_url(Charge, position__id__exact=position.pk),
        )


@admin.register(PositionFill)
class PositionFillAdmin(LogAdmin):
    list_display = ("id", "position", "execution", "qty", "is_close", "margin", "realized_pl", "conversion_rate")
    list_select_related = ("position__instrument", "execution__instrument")
    fields = (("position", "execution"), ("qty", "is_close", "margin"), ("realized_pl", "conversion_rate"))
    search_lookup = "position__account__number"
    search_help_text = _("Number of an account or of a fill")
    empty_text = _("There has been no position yet.")


@admin.register(LatencyReport)
class LatencyReportAdmin(LogAdmin):
    """How long trading requests took for users."""

    list_display = ("id", "at", "account", "kind", "instrument", "side", "qty", "round_trip_ms")
    list_select_related = ("account", "instrument")
    list_filter = ("kind", ("account", AutocompleteSelectFilter))
    fields = (
        ("account", "kind", "transaction_id"),
        ("instrument", "side", "qty"),
        ("bid", "ask", "quoted_ms"),
        ("round_trip_ms", "at"),
    )
    search_lookup = "account__number"
    search_help_text = _("Number of an account or of a report")
    empty_text = _("No page has told yet how long its requests took.")


# --- margin and charges -----------------------------------------------------------------------------------------------


@admin.register(Leverage)
class LeverageAdmin(ReadOnlyAdmin):
    """What clients of crypto derivatives chose over the API."""

    list_display = ("account", "instrument", "leverage", "updated_at")
    list_select_related = ("account", "instrument")
    list_filter = (("account", AutocompleteSelectFilter), ("instrument", AutocompleteSelectFilter))
    fields = (("account", "instrument"), ("leverage", "updated_at"))
    empty_text = _("No client has chosen a leverage yet: the rates of the groups hold.")


@admin.register(Charge)
class ChargeAdmin(LogAdmin):
    """Swaps and funding, as they were computed and posted."""

    list_display = ("id", "due_at", "kind", "account", "position", "qty", "days", "rate", "amount", "currency")
    list_select_related = ("account", "position__instrument", "currency")
    list_filter = ("kind", ("account", AutocompleteSelectFilter))
    fields = (
        ("account", "position", "kind"),
        ("due_at", "booked_at", "days"),
        ("qty", "rate", "price"),
        ("conversion_rate", "amount", "currency"),
        "posted_as",
    )
    readonly_fields = ("posted_as",)
    search_lookup = "account__number"
    search_help_text = _("Number of a charge or of an account")
    empty_text = _("No swap and no funding was due yet.")

    @admin.display(description=_("transfer"))
    def posted_as(self, charge: Charge) -> str:
        return charge.reference


@admin.register(FundingRate)
class FundingRateAdmin(StaffAdmin):
    """A rate may be written before its time, and stays: charges were made by it."""

    list_display = ("due_at", "instrument", "rate", "source", "mark", "index")
    list_select_related = ("instrument",)
    list_filter = ("source", ("instrument", AutocompleteSelectFilter))
    autocomplete_fields = ("instrument",)
    fields = (("instrument", "due_at"), ("rate", "source"), ("mark", "index"))
    readonly_fields = ("source", "mark", "index")
    empty_text = _("No funding was due yet.")

    def has_change_permission(self, request: HttpRequest, obj: FundingRate | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: FundingRate | None = None) -> bool:
        return False
