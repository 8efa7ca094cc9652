"""The trader lens: an account as its client sees it, now or at a past minute. Every look is recorded with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import redis
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import get_language_info, gettext_lazy
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.choices import AccountState
from accounts.models import Account
from backoffice.admin import NOTHING, link_to, number
from backoffice.operations.pages.cash import user_of
from backoffice.pages import Table, page, render
from backoffice.support import answers, past
from backoffice.support.answers import Answer
from backoffice.support.models import Look
from trading.errors import Reason, sentence
from trading.models import Order, OrderEvent
from tvapi import locales

FOUND = 50  # accounts
LASTS = timedelta(minutes=15)  # then a new look is asked for, with its own reason
ORDERS = 50
SEARCHED = {"number__istartswith", "client__name__icontains", "client__user__username__startswith"}


class SearchForm(forms.Form):
    q = forms.CharField(
        label=gettext_lazy("Client or account"),
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("Number or login: its beginning; or part of the client's name."),
    )


def language_name(locale: str) -> str:
    """In the language itself, with the site's name for it: two sites may have one language."""
    name = str(get_language_info(locales.language(locale))["name_local"])
    return f"{capfirst(name)} ({locale})"


class LookForm(forms.Form):
    locale = forms.ChoiceField(
        label=gettext_lazy("Language"),
        choices=[(code, name) for name, code in sorted((language_name(code), code) for code in locales.LANGUAGES)],
        initial="en",
        widget=UnfoldAdminSelectWidget,
        help_text=gettext_lazy("As TradingView's site of the client names it."),
    )
    moment = forms.DateTimeField(
        label=gettext_lazy("At"),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("UTC, for example 2026-03-01 14:30. Empty: now."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("Kept with your name: a ticket's number, or what the client asked."),
    )

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account

    def clean_moment(self) -> Any:
        moment = self.cleaned_data["moment"]
        if moment and moment > timezone.now():
            raise ValidationError(_("That moment is still to come."))
        if moment and moment < self.account.opened_at:
            raise ValidationError(
                _("The account was opened later, at %(at)s.") % {"at": f"{self.account.opened_at:%Y-%m-%d %H:%M}"}
            )
        if moment and past.is_archived(self.account, moment):
            raise ValidationError(_("What happened to the orders of that time is in the archive."))
        return moment


@page("lens/", title=gettext_lazy("Trader lens"), permission="support.add_look", section="support", icon="eyeglasses")
def lens(request: HttpRequest) -> HttpResponse:
    """Find the account."""
    form = SearchForm(request.GET if "q" in request.GET else None)
    context: dict[str, Any] = {
        "form": form,
        "sentences": [_("You see what TradingView shows the client. You change nothing, and every look is recorded.")],
    }
    if form.is_valid():
        context["tables"] = [_found(form.cleaned_data["q"].strip())]
    return render(request, "backoffice/report.html", _("Trader lens"), context)


def _found(term: str) -> Table:
    wanted = Q()
    for lookup in SEARCHED:
        wanted |= Q(**{lookup: term})
    accounts = Account.objects.filter(wanted).exclude(state=AccountState.CLOSED).select_related("client", "group")
    rows = [
        [
            format_html('<a class="text-link" href="{}">{}</a>', reverse("page:lens_account", args=[each.pk]), each),
            each.client.name,
            str(each.group),
            each.get_state_display(),
        ]
        for each in accounts.order_by("number")[:FOUND]
    ]
    headers = [_("Account"), _("Client"), _("Group"), _("State")]
    return _("accounts"), {"headers": headers, "rows": rows}, _("No account is called that. Look at the spelling.")


@page("lens/account/<int:pk>/", title=gettext_lazy("Trader lens"), permission="support.add_look")
def lens_account(request: HttpRequest, pk: int) -> HttpResponse:
    """Say why, then look."""
    account = get_object_or_404(Account.objects.exclude(state=AccountState.CLOSED), pk=pk)
    form = LookForm(request.POST or None, account=account)
    if request.method == "POST" and form.is_valid():
        look = Look.objects.create(account=account, by=user_of(request), **form.cleaned_data)
        return redirect("page:lens_look", look.pk)
    context = {
        "form": form,
        "sentences": [_("Your look is recorded with the reason, for compliance and for the client.")],
        "button": _("Look"),
        "back": reverse("page:lens"),
    }
    return render(request, "backoffice/form.html", _("Look at %(account)s") % {"account": account}, context)


@page("lens/look/<int:pk>/", title=gettext_lazy("Trader lens"), permission="support.add_look")
def lens_look(request: HttpRequest, pk: int) -> HttpResponse:
    """What is seen: the endpoints' answers, and the story of one order. Others, and later, one asks for a look anew."""
    look = get_object_or_404(Look.objects.select_related("account__client__user", "account__group"), pk=pk)
    again = reverse("page:lens_account", args=[look.account_id])
    if look.by_id != request.user.pk or timezone.now() - look.at > LASTS:
        return redirect(again)
    return render(
        request,
        "support/look.html",
        _("%(account)s as its client sees it") % {"account": look.account},
        {
            "look": look,
            "language": language_name(look.locale),
            "again": again,
            "answers": _answers(look),
            "tables": [_orders(look), *_story(look, request.GET.get("order", ""))],
        },
    )


def _answers(look: Look) -> list[Answer]:
    try:
        if look.moment:
            return answers.then(look.account, look.locale, look.moment)
        return answers.now(look.account, look.locale)
    except redis.RedisError:
        return [Answer(_("The prices cannot be read at the moment: the client sees an error too."), "")]


def _orders(look: Look) -> Table:
    """The latest orders of the moment; each leads to its story."""
    until = look.moment or timezone.now()
    latest = look.account.orders.filter(created_at__lte=until).select_related("instrument").order_by("-pk")[:ORDERS]
    rows = [
        [
            format_html('<a class="text-link" href="?order={}#story">{}</a>', each.pk, each.pk),
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            str(each.instrument),
            each.get_side_display(),
            each.get_type_display(),
            number(each.qty),
            each.get_status_display(),
        ]
        for each in latest
    ]
    headers = [_("Order"), _("Placed (UTC)"), _("Instrument"), _("Side"), _("Type"), _("Quantity"), _("Status now")]
    return _("orders: choose one for its story"), {"headers": headers, "rows": rows}, _("No order was placed.")


def _story(look: Look, number_of_order: str) -> Iterable[Table]:
    if not number_of_order.isascii() or not number_of_order.isdecimal():
        return
    order = look.account.orders.filter(pk=int(number_of_order)).select_related("instrument").first()
    if order is None:
        return
    rows = [_event_row(order, event, look.locale) for event in order.events.select_related("by").order_by("pk")]
    headers = [
        _("At (UTC)"),
        _("Event"),
        _("Status"),
        _("By"),
        _("Bid"),
        _("Ask"),
        _("Details"),
        _("Told to the client"),
    ]
    title = _("story of order %(order)s") % {"order": order.pk}
    yield title, {"headers": headers, "rows": rows}, _("Nothing has happened to the order yet.")


def _event_row(order: Order, event: OrderEvent, locale: str) -> list[object]:
    details = {name: value for name, value in event.details.items() if name != "reason"}
    return [
        f"{event.at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        event.get_kind_display(),
        event.get_status_display(),
        link_to(event.by) if event.by else _("the system"),
        number(event.bid),
        number(event.ask),
        ", ".join(f"{name}: {value}" for name, value in details.items()) or NOTHING,
        _told(order, event, locale),
    ]


def _told(order: Order, event: OrderEvent, locale: str) -> str:
    """The sentence that came with the event, in the client's language; his notification shows the order's last one."""
    reason = event.details.get("reason", "")
    if reason not in Reason.values:
        return NOTHING
    figures = order.reason_details if reason == order.reason else event.details
    with translation.override(locales.language(locale)):
        try:
            return sentence(reason, figures)
        except KeyError:  # the event keeps no figures
            return str(Reason(reason).label)
