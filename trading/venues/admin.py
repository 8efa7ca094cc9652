"""Pages of FIX sessions and what goes over them, of routes, and of alarms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import AccountGroup, User
from backoffice.admin import LogAdmin, Panel, StaffAdmin, Text, list_url
from marketdata.models import Instrument
from trading import routing
from trading.alarms import Alarm, Reconciliation
from trading.venues.choices import LinkState, RequestState
from trading.venues.models import FixMessage, FixSession, VenueRequest, VenueRoute

REQUEST_COLOURS = {
    RequestState.WAITING: "primary",
    RequestState.SENT: "info",
    RequestState.ACCEPTED: "success",
    RequestState.REFUSED: "danger",
    RequestState.WITHDRAWN: "",
}
# What staff may do with sessions: the fields that it sets, and what will happen, said before it does.
OPERATIONS: dict[str, tuple[dict[str, bool], Text, Text]] = {
    "connect": (
        {"is_enabled": True},
        _("Connect"),
        _("We log on to the counterparty, and routes send it orders again."),
    ),
    "disconnect": (
        {"is_enabled": False},
        _("Disconnect"),
        _("We log out. New orders take other routes; those that are there stay there, and fill without our knowing."),
    ),
    "reset": (
        {"reset_wanted": True},
        _("Begin the numbers anew"),
        _(
            "Both sides count from 1 again, at the next logon. What was sent and not received cannot be recovered then:"
            " do it only as agreed with the counterparty. Open orders are asked about."
        ),
    ),
}


@admin.register(FixSession)
class FixSessionAdmin(StaffAdmin):
    """Counterparties. Their numbers and state are the session's own; connecting and resetting is asked for here."""

    list_display = ("name", "shown_state", "state_since", "is_enabled", "next_out", "next_in", "trouble")
    empty_text = _("There is no FIX session: the broker executes every order itself.")
    actions = ("connect", "disconnect", "reset")
    change_form_outer_before_template = "dealing/venue_actions.html"
    readonly_fields = ("state", "state_since", "trouble", "epoch", "next_out", "next_in", "leased_by")
    fieldsets = (
        (None, {"fields": ("name", ("host", "port"), ("sender_comp_id", "target_comp_id"))}),
        (_("Logon"), {"fields": ("username", ("heartbeat_seconds", "resets_at_logon"))}),
        (
            _("State"),
            {
                "fields": (
                    ("state", "state_since"),
                    ("is_enabled", "reset_wanted"),
                    "trouble",
                    ("next_out", "next_in"),
                    ("epoch", "leased_by"),
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: FixSession | None = None) -> Sequence[Any]:
        """Orders keep the session's name; whether it is connected is for the actions."""
        fixed = [*super().get_readonly_fields(request, obj), "is_enabled", "reset_wanted"]
        return [*fixed, "name"] if obj else fixed

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("trading.operate_fixsession")

    @display(
        description=_("state"),
        ordering="state",
        label={LinkState.DISCONNECTED: "", LinkState.CONNECTING: "warning", LinkState.LOGGED_ON: "success"},
    )
    def shown_state(self, session: FixSession) -> tuple[str, str]:
        return session.state, session.get_state_display()

    def panels(self, request: HttpRequest, session: FixSession) -> Iterable[Panel]:
        of_session = {"session__id__exact": session.pk}
        yield Panel(
            _("requests"),
            session.requests.select_related("order"),
            ("id", "created_at", "order", "kind", "cl_ord_id", "state", "sent_at", "answered_at", "text"),
            _("No order went this way yet."),
            list_url(VenueRequest, **of_session),
        )
        yield Panel(
            _("messages"),
            session.messages.all(),
            ("id", "at", "direction", "epoch", "seq", "type", "error"),
            _("Nothing of an order was sent or received yet."),
            list_url(FixMessage, **of_session),
        )

    @admin.action(description=_("Connect"), permissions=["operate"])
    def connect(self, request: HttpRequest, queryset: models.QuerySet[FixSession]) -> HttpResponse | None:
        return self._operate(request, queryset, "connect")

    @admin.action(description=_("Disconnect"), permissions=["operate"])
    def disconnect(self, request: HttpRequest, queryset: models.QuerySet[FixSession]) -> HttpResponse | None:
        return self._operate(request, queryset, "disconnect")

    @admin.action(description=_("Begin the numbers anew"), permissions=["operate"])
    def reset(self, request: HttpRequest, queryset: models.QuerySet[FixSession]) -> HttpResponse | None:
        return self._operate(request, queryset, "reset")

    def _operate(
        self, request: HttpRequest, queryset: models.QuerySet[FixSession], operation: str
    ) -> HttpResponse | None:
        """Ask once more, saying what will happen; then want it of each session. Its process does it within seconds."""
        fields, title, explanation = OPERATIONS[operation]
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "explanation": explanation,
                "operation": operation,
                "sessions": queryset,
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "trading/operate_sessions.html", context)
        assert isinstance(request.user, User)  # the site lets nobody else in
        sessions = list(queryset)
        queryset.update(**fields)
        LogEntry.objects.log_actions(
            user_id=request.user.pk,
            queryset=sessions,
            action_flag=CHANGE,
            change_message=str(title),
        )
        self.message_user(request, _("It is asked for, and done within seconds."), messages.SUCCESS)
        return None


class WhereForm(forms.Form):
    """An order that somebody might place."""

    group: forms.ModelChoiceField = forms.ModelChoiceField(
        AccountGroup.objects.all(), label=_("group"), widget=UnfoldAdminSelectWidget
    )
    instrument: forms.ModelChoiceField = forms.ModelChoiceField(
        Instrument.objects.all(), label=_("instrument"), widget=UnfoldAdminSelectWidget
    )
    qty = forms.DecimalField(
        label=_("quantity"), min_value=0, max_digits=32, decimal_places=12, widget=UnfoldAdminTextInputWidget
    )


@admin.register(VenueRoute)
class VenueRouteAdmin(StaffAdmin):
    list_display = (
        "priority",
        "is_active",
        "group",
        "instrument",
        "symbol_type",
        "min_qty",
        "max_qty",
        "goes_to",
    )
    list_select_related = ("group", "instrument", "session")
    list_filter = ("is_active", "session")
    fields = (
        ("priority", "is_active"),
        ("group", "instrument", "symbol_type"),
        ("min_qty", "max_qty"),
        "session",
    )
    autocomplete_fields = ("group", "instrument")
    empty_text = _("There is no route: the broker executes every order itself.")
    actions_list = ("explain",)

    @admin.display(description=_("goes to"), ordering="session")
    def goes_to(self, route: VenueRoute) -> Text:
        return route.session.name if route.session else _("the broker itself")

    @action(description=_("Which venue would an order go to?"), url_path="explain", permissions=["view"])
    def explain(self, request: HttpRequest) -> HttpResponse:
        """What each route says of an order that somebody might place."""
        form = WhereForm(request.GET or None)
        verdicts: list[routing.Verdict] = []
        if form.is_valid():
            verdicts = list(
                routing.explain(
                    routing.in_order(), *(form.cleaned_data[name] for name in ("group", "instrument", "qty"))
                )
            )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Which venue would an order go to?"),
            "form": form,
            "is_answered": form.is_bound and form.is_valid(),
            "verdicts": verdicts,
            "deciding": next((verdict for verdict in verdicts if verdict.fits), None),
        }
        return TemplateResponse(request, "trading/explain_route.html", context)


@admin.display(description=_("order"))
def order_number(row: Any) -> int | None:
    """The number of the order that something belongs to, which is not read for it."""
    return row.order_id


@admin.register(VenueRequest)
class VenueRequestAdmin(LogAdmin):
    list_display = ("id", "created_at", "session", order_number, "kind", "cl_ord_id", "qty", "shown_state", "text")
    list_select_related = ("session",)
    list_filter = ("state", "kind", "session")
    fields = (
        ("session", "order"),
        ("kind", "state", "text"),
        ("cl_ord_id", "orig_cl_ord_id"),
        ("side", "type", "time_in_force"),
        ("qty", "limit_price", "stop_price"),
        ("filled_before", "held_before", "held_after"),
        ("created_at", "sent_at", "answered_at"),
        ("by", "message"),
    )
    search_lookup = "cl_ord_id"
    search_help_text = _("ClOrdID, or the number of a request")
    empty_text = _("Nothing was asked of a venue yet.")

    @display(description=_("state"), ordering="state", label=REQUEST_COLOURS)
    def shown_state(self, request: VenueRequest) -> tuple[str, str]:
        return request.state, request.get_state_display()


@admin.register(FixMessage)
class FixMessageAdmin(LogAdmin):
    list_display = ("id", "at", "session", "direction", "epoch", "seq", "type", "error")
    list_select_related = ("session",)
    list_filter = ("direction", "type", "session", ("error", admin.EmptyFieldListFilter))
    fields = (("session", "direction"), ("epoch", "seq", "type"), "at", "error", "shown_message")
    readonly_fields = ("shown_message",)
    empty_text = _("Nothing of an order was sent or received yet.")

    @admin.display(description=_("message"))
    def shown_message(self, message: FixMessage) -> str:
        return message.raw.replace("\x01", " | ").strip(" |")


@admin.register(Alarm)
class AlarmAdmin(LogAdmin):
    """What should not be. Nobody resolves an alarm: it ends when what it tells of is gone."""

    list_display = ("id", "shown_state", "subject", "shown_sentence", "account", "first_seen_at", "last_seen_at")
    list_select_related = ("account",)
    list_filter = (("resolved_at", admin.EmptyFieldListFilter), "kind")
    fields = (("kind", "subject"), "shown_sentence", "account", ("first_seen_at", "last_seen_at", "resolved_at"))
    readonly_fields = ("shown_sentence",)
    search_lookup = "subject__startswith"
    search_help_text = _("The beginning of a subject, or the number of an alarm")
    empty_text = _("No alarm was raised yet.")

    @display(description=_("state"), label={"open": "danger", "resolved": "success"})
    def shown_state(self, alarm: Alarm) -> tuple[str, Text]:
        return ("resolved", _("Resolved")) if alarm.resolved_at else ("open", _("Open"))

    @admin.display(description=_("what"))
    def shown_sentence(self, alarm: Alarm) -> str:
        return alarm.sentence


@admin.register(Reconciliation)
class ReconciliationAdmin(LogAdmin):
    list_display = ("id", "at", "accounts", "findings")
    fields = ("at", ("accounts", "findings"), ("last_event", "last_posting"))
    empty_text = _("The books were not compared yet: the worker does it every minute.")
