"""Closing positions and stopping trading: halts, close-only, the kill switch; each says first what will happen."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from accounts.models import Account
from backoffice.admin import number
from backoffice.dealing import kill_switch
from backoffice.dealing.kill_switch import SCOPES, Scope
from backoffice.operations.account_life import ChangeRefused
from backoffice.operations.pages.cash import user_of
from backoffice.pages import confirmed, page, render
from trading import positions
from trading.errors import OrderRejected
from trading.models import Position


@page(
    "positions/<int:pk>/close/",
    title=gettext_lazy("Close the position"),
    permission="trading.close_position",
    moves_money=True,
)
def position_close(request: HttpRequest, pk: int) -> HttpResponse:
    """One position, at the market, in the dealer's name."""
    position = get_object_or_404(Position.objects.open().select_related("account", "instrument"), pk=pk)
    back = reverse("admin:trading_position_change", args=[pk])
    answer = confirmed(
        request,
        _("Close the position"),
        [
            _("%(side)s %(qty)s %(symbol)s of %(account)s will be closed at the market, for the client's account.")
            % {
                "side": position.get_side_display(),
                "qty": number(position.qty),
                "symbol": position.instrument,
                "account": position.account,
            }
        ],
        button=_("Close it"),
        back=back,
        is_dangerous=True,
        asks_reason=True,
    )
    if answer:
        return answer
    try:
        order = positions.close(
            position.account_id, pk, request_id=f"desk:{uuid4()}", by=user_of(request), as_desk=True
        )
    except OrderRejected as refusal:
        messages.error(request, str(refusal))
        return redirect(back)
    messages.success(request, _("Order %(order)s closes it.") % {"order": order.pk})
    return redirect("admin:trading_order_change", order.pk)


class StopForm(forms.Form):
    state = forms.ChoiceField(label=gettext_lazy("From now on"), widget=UnfoldAdminSelectWidget)
    cancels = forms.BooleanField(
        label=gettext_lazy("Cancel the orders"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=gettext_lazy("All that may still open something. Stop losses and take profits of positions stay."),
    )
    closes = forms.BooleanField(
        label=gettext_lazy("Close the positions"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=gettext_lazy("All of them, at the market, for the clients' account."),
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=UnfoldAdminTextareaWidget)

    def __init__(self, scope: Scope, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["state"].choices = scope.states  # type: ignore[attr-defined]
        if scope.positions is None:
            del self.fields["closes"]


@page("desk/stop/<str:kind>/<int:pk>/", title=gettext_lazy("Stop trading"), permission="trading.view_order")
def stop(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """For an account, a group, an instrument or a venue; each has a right of its own."""
    scope = SCOPES.get(kind)
    if scope is None:
        raise Http404
    if not request.user.has_perm(scope.permission):
        raise PermissionDenied
    row = scope.model._default_manager.filter(pk=pk).first()
    if row is None:
        raise Http404
    back = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[pk])
    title = _("Stop trading: %(kind)s %(name)s") % {"kind": scope.name, "name": row}
    form = StopForm(scope, request.POST or None, initial={"state": getattr(row, "state", "")})
    if request.method == "POST" and form.is_valid():
        try:
            return _asked_or_stopped(request, title, kind, row, form, back)
        except ChangeRefused as refusal:
            form.add_error(None, str(refusal))
    now = getattr(row, "get_state_display", None)
    sentences = [_("Now: %(state)s.") % {"state": now()}] if now and kind != "venue" else []
    context = {"form": form, "sentences": sentences, "button": _("Show what would happen"), "back": back}
    return render(request, "backoffice/form.html", title, context)


def _asked_or_stopped(
    request: HttpRequest, title: str, kind: str, row: models.Model, form: StopForm, back: str
) -> HttpResponse:
    scope, given = SCOPES[kind], form.cleaned_data
    cancels, closes = given["cancels"], given.get("closes", False)
    answer = confirmed(
        request,
        title,
        _consequences(scope, row, given["state"], cancels=cancels, closes=closes),
        button=_("Do it now"),
        back=back,
        is_dangerous=True,
        hidden=[(name, form.data.get(name, "")) for name in form.fields if form.data.get(name)],
    )
    if answer:
        return answer
    job = kill_switch.stop(
        kind, row, given["state"], cancels=cancels, closes=closes, reason=given["reason"], by=user_of(request)
    )
    messages.success(request, _("It holds from the next order on."))
    return redirect("page:job", job.pk) if job else redirect(back)


def _consequences(scope: Scope, row: models.Model, state: str, *, cancels: bool, closes: bool) -> list[str]:
    if isinstance(row, Account) and kill_switch.stays(row, state):
        words = {"name": row, "state": row.get_state_display()}
        sentences = [_("%(name)s stays as it is, %(state)s: only operations ease that.") % words]
    else:
        words = {"name": row, "state": dict(scope.states)[state]}
        sentences = [_("%(name)s: %(state)s, from the next order on.") % words]
    if cancels:
        count = kill_switch.live_orders(scope, row).count()
        sentences.append(_("Orders that will be cancelled: %(count)s.") % {"count": count})
    if closes:
        count = kill_switch.open_positions(scope, row).count()
        sentences.append(_("Positions that will be closed at the market: %(count)s.") % {"count": count})
    if not (cancels or closes):
        sentences.append(_("Orders and positions stay as they are."))
    return sentences
