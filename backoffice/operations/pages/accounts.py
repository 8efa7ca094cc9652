"""Pages of clients and accounts: states with reasons, the identity check, notes, papers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.choices import AccountState, KycState
from accounts.dossier_models import ClientNote
from accounts.models import Account, Client
from backoffice.admin import NOTHING, link_to, number
from backoffice.operations import account_life
from backoffice.operations.account_life import ChangeRefused
from backoffice.operations.choices import DocumentKind
from backoffice.operations.forms import AttachmentField
from backoffice.operations.models import Attachment, ClientDocument
from backoffice.operations.pages.cash import user_of
from backoffice.pages import live, page, render
from trading import exposure, valuation
from trading.errors import OrderRejected
from trading.prices import Prices
from trading.valuation import Asset


class StateForm(forms.Form):
    state = forms.ChoiceField(
        label=gettext_lazy("New state"), choices=AccountState.choices, widget=UnfoldAdminSelectWidget
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=UnfoldAdminTextareaWidget)


class KycForm(StateForm):
    state = forms.ChoiceField(
        label=gettext_lazy("Identity check"), choices=KycState.choices, widget=UnfoldAdminSelectWidget
    )


class NoteForm(forms.Form):
    text = forms.CharField(label=gettext_lazy("Note"), max_length=2000, widget=UnfoldAdminTextareaWidget)


class DocumentForm(forms.Form):
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=DocumentKind.choices, widget=UnfoldAdminSelectWidget)
    file = AttachmentField(label=gettext_lazy("File"), help_text=gettext_lazy("PDF, picture or text, up to 2 MB."))


@page("accounts/<int:pk>/state/", title=gettext_lazy("Change the state"), permission="accounts.change_account")
def account_state(request: HttpRequest, pk: int) -> HttpResponse:
    account = get_object_or_404(Account, pk=pk)
    form = StateForm(request.POST or None, initial={"state": account.state})

    def save(given: dict[str, Any]) -> None:
        state = AccountState(given["state"])
        account_life.set_state(pk, state, reason=given["reason"], by=user_of(request))

    meanings = [f"{state.label}: {meaning}" for state, meaning in account_life.MEANING.items()]
    return _answer(
        request,
        _("State of %(account)s") % {"account": account},
        form,
        save,
        sentences=[_("Now: %(state)s.") % {"state": account.get_state_display()}, *meanings],
        button=_("Change the state"),
        back=reverse("admin:accounts_account_change", args=[pk]),
    )


@page("accounts/<int:pk>/figures/", title=gettext_lazy("Live figures"), permission="trading.view_position")
def account_figures(request: HttpRequest, pk: int) -> HttpResponse:
    """What the account is worth at the prices of the moment; renewed by itself."""
    account = get_object_or_404(Account.objects.select_related("group", "currency"), pk=pk)
    links = [(_("The account"), reverse("admin:accounts_account_change", args=[pk]))]
    title = _("Live figures of %(account)s") % {"account": account}
    away = _("The prices cannot be read at the moment. The page tries again by itself.")
    return live(request, title, lambda: _figures(account), away=away, always={"links": links})


def _figures(account: Account) -> dict[str, Any]:
    try:
        figures, table = _margin(account) if account.profile.has_positions else _spot(account)
    except OrderRejected as refusal:  # a rate into the account's currency is not known at the moment
        return {"sentences": [str(refusal)]}
    return {"figures": figures, "tables": [table]}


def _margin(account: Account) -> tuple[list[Any], tuple[str, dict[str, Any], str]]:
    positions = valuation.open_positions(account)
    prices = Prices()
    portfolio = valuation.portfolio(account, positions)
    value = valuation.appraise(portfolio, account.currency, prices)
    figures = [
        (_("Balance"), value.balance),
        (_("Unrealized profit or loss"), value.unrealized_pl),
        (_("Equity"), value.equity),
        (_("Margin of positions"), value.margin),
        (_("Held by orders"), value.held),
        (_("Free"), value.free),
    ]
    rows = [
        [
            link_to(position),
            position.get_side_display(),
            number(position.qty),
            number(position.avg_price),
            number(position.margin),
            number(profit),
        ]
        for position, profit in zip(positions, value.profits, strict=True)
    ]
    headers = [_("Position"), _("Side"), _("Quantity"), _("Average price"), _("Margin"), _("Profit or loss")]
    shown = [(name, f"{number(amount)} {account.currency_id}") for name, amount in figures]
    if positions:
        kept = exposure.upkeeps(account, account.conditions_at(), positions)
        level = exposure.shown(portfolio, kept, account.currency, prices).level
        shown.append((_("Margin level"), NOTHING if level is None else f"{number(round(level, 2))} %"))
    return shown, (_("open positions"), {"headers": headers, "rows": rows}, _("The account holds no position."))


def _spot(account: Account) -> tuple[list[Any], tuple[str, dict[str, Any], str]]:
    prices = Prices()
    balances = account.balances.select_related("currency").order_by("currency")
    values = [
        (each, valuation.appraise_asset(Asset(each.currency_id, each.total), account.currency, prices).value)
        for each in balances
    ]
    total = sum((value for _balance, value in values if value is not None), Decimal(0))
    rows = [
        [
            balance.currency_id,
            number(balance.total),
            number(balance.reserved),
            number(balance.available),
            number(None if value is None else account.currency.round_cash(value)),
        ]
        for balance, value in values
    ]
    headers = [_("Asset"), _("Total"), _("Reserved"), _("Available"), _("Worth in %(c)s") % {"c": account.currency_id}]
    shown = [(_("Worth of all assets"), f"{number(account.currency.round_cash(total))} {account.currency_id}")]
    return shown, (_("balances"), {"headers": headers, "rows": rows}, _("No money was ever booked here."))


@page("clients/<int:pk>/kyc/", title=gettext_lazy("Identity check"), permission="accounts.verify_client")
def client_kyc(request: HttpRequest, pk: int) -> HttpResponse:
    client = get_object_or_404(Client, pk=pk)
    form = KycForm(request.POST or None, initial={"state": client.kyc_state})

    def save(given: dict[str, Any]) -> None:
        account_life.set_kyc(pk, KycState(given["state"]), reason=given["reason"], by=user_of(request))

    return _answer(
        request,
        _("Identity check of %(client)s") % {"client": client},
        form,
        save,
        sentences=[_("Now: %(state)s.") % {"state": client.get_kyc_state_display()}],
        button=_("Record the result"),
        back=reverse("admin:accounts_client_change", args=[pk]),
    )


@page("clients/<int:pk>/note/", title=gettext_lazy("Add a note"), permission="accounts.add_clientnote")
def client_note(request: HttpRequest, pk: int) -> HttpResponse:
    client = get_object_or_404(Client, pk=pk)

    def save(given: dict[str, Any]) -> None:
        ClientNote.objects.create(client=client, by=user_of(request), text=given["text"])

    return _answer(
        request,
        _("Note on %(client)s") % {"client": client},
        NoteForm(request.POST or None),
        save,
        sentences=[_("Every role reads it, nobody changes it: a correction is another note.")],
        button=_("Add the note"),
        back=reverse("admin:accounts_client_change", args=[pk]),
    )


@page("clients/<int:pk>/document/", title=gettext_lazy("Add a document"), permission="operations.add_clientdocument")
def client_document(request: HttpRequest, pk: int) -> HttpResponse:
    client = get_object_or_404(Client, pk=pk)

    @transaction.atomic
    def save(given: dict[str, Any]) -> None:
        file = given["file"]
        kept = Attachment.keep(file.name, file.content_type, file.read(), by=user_of(request))
        ClientDocument.objects.create(client=client, kind=given["kind"], attachment=kept)

    return _answer(
        request,
        _("Document of %(client)s") % {"client": client},
        DocumentForm(request.POST or None, request.FILES or None),
        save,
        sentences=[],
        button=_("Keep the document"),
        back=reverse("admin:accounts_client_change", args=[pk]),
    )


def _answer(
    request: HttpRequest,
    title: str,
    form: forms.Form,
    save: Callable[[dict[str, Any]], None],
    *,
    sentences: list[str],
    button: str,
    back: str,
) -> HttpResponse:
    """The form, or after it was saved the page it belongs to."""
    if request.method == "POST" and form.is_valid():
        try:
            save(form.cleaned_data)
        except ChangeRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("It is recorded."))
            return redirect(back)
    context = {"form": form, "sentences": sentences, "button": button, "back": back}
    return render(request, "backoffice/form.html", title, context)
