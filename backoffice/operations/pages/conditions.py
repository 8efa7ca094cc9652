"""Pages of trading conditions: draft, compare, preview, approve, roll back, and explain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from accounts import conditions
from accounts.conditions import ConditionsRefused
from accounts.models import AccountGroup, TradingConditions
from backoffice.admin import link_to, number
from backoffice.operations import impact
from backoffice.operations.forms import AccountField
from backoffice.operations.pages.cash import user_of
from backoffice.operations.resources import next_midnight
from backoffice.pages import Table, confirmed, page, render
from trading.errors import OrderRejected
from trading.explain import Rule, explain

DRAFT = "accounts.draft_tradingconditions"
APPROVE = "accounts.approve_tradingconditions"
VIEW = "accounts.view_tradingconditions"
SHOWN_ROWS = 200  # of instruments and tiers that differ


@page("conditions/draft/<int:group_id>/", title=gettext_lazy("Draft new conditions"), permission=DRAFT)
def conditions_draft(request: HttpRequest, group_id: int) -> HttpResponse:
    """A form that begins with what is in force; what it says is somebody else's to approve."""
    group = get_object_or_404(AccountGroup, pk=group_id)
    base = conditions.latest(group)
    form = _form(request, base)
    if request.method == "POST" and form.is_valid():
        values = {field.name: form.cleaned_data[field.name] for field in conditions.content_fields() if field.editable}
        moment, note = form.cleaned_data["effective_from"], form.cleaned_data["note"]
        try:
            made = conditions.draft(group.pk, moment, values, by=user_of(request), note=note, like=base)
        except ConditionsRefused as refusal:
            form.add_error("effective_from", str(refusal))
        else:
            messages.success(request, _("The draft waits for somebody else's approval."))
            return redirect("page:conditions_compare", made.pk)
    return render(
        request,
        "backoffice/form.html",
        _("New conditions for %(group)s") % {"group": group},
        {
            "form": form,
            "sentences": [
                _("A draft changes nothing. Next you see whom it would affect, and by how much."),
                _("Instruments with margins and swaps, and tiers, begin as they are; change them afterwards."),
            ],
            "button": _("Save the draft"),
            "back": reverse("admin:accounts_accountgroup_change", args=[group.pk]),
        },
    )


def _form(request: HttpRequest, base: TradingConditions | None) -> Any:
    """The model's form with the admin's widgets, and the values of the version it starts from."""
    names = ["effective_from", *(field.name for field in conditions.content_fields() if field.editable), "note"]
    model_admin = admin.site._registry[TradingConditions]
    form_class = forms.modelform_factory(
        TradingConditions,
        fields=names,
        formfield_callback=lambda field, **kwargs: model_admin.formfield_for_dbfield(field, request, **kwargs),
    )
    initial = {field.name: getattr(base, field.name) for field in conditions.content_fields()} if base else {}
    return form_class(request.POST or None, initial={"effective_from": next_midnight(), **initial})


@page("conditions/<int:pk>/compare/", title=gettext_lazy("Compare conditions"), permission=VIEW)
def conditions_compare(request: HttpRequest, pk: int) -> HttpResponse:
    """A version beside another one of its group (the one in force, unless `with` names it), and whom it affects."""
    version = get_object_or_404(TradingConditions.objects.select_related("group"), pk=pk)
    other = _other(version, request.GET.get("with", ""))
    tables = _comparison(version, other) if other else []
    affected = impact.of(version)
    figures = [
        (_("Accounts in the group"), affected.accounts),
        (_("Live orders"), affected.live_orders),
        (_("Open positions"), affected.open_positions),
        (_("Accounts with more orders than it allows"), affected.over_order_limit),
        (_("Positions in instruments it does not offer"), affected.dropped_positions),
        (_("Live orders in instruments it does not offer"), affected.dropped_orders),
        (_("Accounts short of margin with it"), sum(each.is_short_of_margin for each in affected.details)),
    ]
    return render(
        request,
        "backoffice/report.html",
        _("Conditions of %(group)s, version %(number)s") % {"group": version.group, "number": version.pk},
        {
            "links": [
                (
                    _("The version with its instruments and tiers"),
                    reverse("admin:accounts_tradingconditions_change", args=[pk]),
                ),
                *(
                    (
                        _("Compare with version %(number)s") % {"number": earlier.pk},
                        f"{reverse('page:conditions_compare', args=[pk])}?with={earlier.pk}",
                    )
                    for earlier in version.group.conditions.exclude(pk=pk).order_by("-effective_from")[:10]
                ),
            ],
            "sentences": [
                _("Positions keep the margin they were opened with; the table says what they would need if opened now.")
            ],
            "figures": figures,
            "tables": [*tables, _impact_table(affected)],
        },
    )


def _other(version: TradingConditions, asked: str) -> TradingConditions | None:
    versions = version.group.conditions.exclude(pk=version.pk)
    if asked.isascii() and asked.isdecimal() and len(asked) < 19:
        return versions.filter(pk=int(asked)).first()
    try:
        current = version.group.conditions_at()
    except TradingConditions.DoesNotExist:
        return None
    return current if current.pk != version.pk else versions.order_by("-effective_from").first()


def _comparison(version: TradingConditions, other: TradingConditions) -> list[Table]:
    """The fields, and of instruments and tiers those that differ."""
    columns = [_("Version %(number)s") % {"number": each.pk} for each in (other, version)]
    differences = conditions.compare(other, version)
    fields = [
        [each.label, each.before, each.after, _("changes") if each.is_change else ""]
        for each in sorted(differences, key=lambda each: not each.is_change)
        if not each.is_of_row
    ]
    rows = [[each.label, each.before, each.after] for each in differences if each.is_of_row]
    if hidden := len(rows) - SHOWN_ROWS:
        rows = [*rows[:SHOWN_ROWS], *([[_and_more(hidden), "", ""]] if hidden > 0 else ())]
    return [
        (
            _("instruments and margin tiers that differ"),
            {"headers": [_("Row"), *columns], "rows": rows},
            _("Instruments, swaps and margin tiers are the same."),
        ),
        (_("side by side"), {"headers": [_("Field"), *columns, _("Changes")], "rows": fields}, ""),
    ]


def _and_more(count: int) -> str:
    return ngettext("and %(count)s more", "and %(count)s more", count) % {"count": count}


def _impact_table(affected: impact.Impact) -> Table:
    headers = [
        _("Account"),
        _("Margin now"),
        _("Margin with it"),
        _("Change"),
        _("Swap of a night now"),
        _("Swap of a night with it"),
        _("Equity"),
        _("Remark"),
    ]
    rows = [
        [
            link_to(each.account),
            number(each.margin_now),
            number(each.margin_then),
            number(each.change),
            number(each.swap_now),
            number(each.swap_then),
            number(each.equity),
            _("short of margin") if each.is_short_of_margin else "",
        ]
        for each in affected.details
    ]
    return _("accounts with positions"), {"headers": headers, "rows": rows}, _("No account of the group holds any.")


@page("conditions/<int:pk>/approve/", title=gettext_lazy("Approve conditions"), permission=APPROVE, moves_money=True)
def conditions_approve(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(TradingConditions.objects.select_related("group"), pk=pk)
    affected = impact.of(version)
    other = _other(version, "")
    shown = conditions.fingerprint(version)
    changes = [each for each in conditions.compare(other, version) if each.is_change] if other else []
    rows = [f"{each.label}: {each.before} → {each.after}" for each in changes[:SHOWN_ROWS]]
    answer = confirmed(
        request,
        _("Approve conditions"),
        [
            _("From %(moment)s UTC on, all %(count)s accounts of %(group)s trade on this version.")
            % {
                "moment": f"{version.effective_from:%Y-%m-%d %H:%M}",
                "count": affected.accounts,
                "group": version.group,
            },
            _("Once it is in force it is never changed; another version can follow."),
            _("Accounts short of margin with it: %(short)s. Positions in instruments it does not offer: %(dropped)s.")
            % {
                "short": sum(each.is_short_of_margin for each in affected.details),
                "dropped": affected.dropped_positions,
            },
        ],
        rows=[*rows, *([_and_more(len(changes) - SHOWN_ROWS)] if len(changes) > SHOWN_ROWS else ())],
        hidden=[("seen", shown)],
        button=_("Approve"),
        back=reverse("page:conditions_compare", args=[pk]),
    )
    seen = request.POST.get("seen", "")
    return answer or _act(
        request, version, lambda: conditions.approve(pk, by=user_of(request), seen=seen), _("It is approved.")
    )


@page("conditions/<int:pk>/withdraw/", title=gettext_lazy("Withdraw conditions"), permission=APPROVE)
def conditions_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(TradingConditions.objects.select_related("group"), pk=pk)
    answer = confirmed(
        request,
        _("Withdraw conditions"),
        [_("The version becomes a draft again and does not come into force; what is in force goes on.")],
        button=_("Withdraw"),
        back=reverse("admin:accounts_tradingconditions_change", args=[pk]),
        is_dangerous=True,
        asks_reason=True,
    )
    return answer or _act(request, version, lambda: conditions.withdraw(pk), _("It is a draft again."))


@page("conditions/<int:pk>/discard/", title=gettext_lazy("Discard a draft"), permission=DRAFT)
def conditions_discard(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(TradingConditions.objects.select_related("group"), pk=pk)
    answer = confirmed(
        request,
        _("Discard a draft"),
        [_("The draft is deleted. The audit trail keeps what it said.")],
        button=_("Discard"),
        back=reverse("admin:accounts_tradingconditions_change", args=[pk]),
        is_dangerous=True,
    )
    return answer or _act(request, version, lambda: conditions.discard(pk), _("The draft is discarded."))


@page("conditions/<int:pk>/roll-back/", title=gettext_lazy("Roll back conditions"), permission=DRAFT)
def conditions_roll_back(request: HttpRequest, pk: int) -> HttpResponse:
    """Draft what an earlier version said, for a minute that leaves somebody else the time to approve."""
    version = get_object_or_404(TradingConditions.objects.select_related("group"), pk=pk)
    moment = (timezone.now() + timedelta(hours=1)).replace(second=0, microsecond=0)
    answer = confirmed(
        request,
        _("Roll back conditions"),
        [
            _("A new draft with the values of version %(number)s is made, to be in force from %(moment)s UTC on.")
            % {"number": version.pk, "moment": f"{moment:%Y-%m-%d %H:%M}"},
            _("It changes nothing before somebody else approves it."),
        ],
        button=_("Draft it"),
        back=reverse("admin:accounts_tradingconditions_change", args=[pk]),
    )
    return answer or _act(
        request, version, lambda: conditions.roll_back(version, moment, by=user_of(request)), _("The draft waits.")
    )


def _act(request: HttpRequest, version: TradingConditions, act: Callable[[], object], success: str) -> HttpResponse:
    try:
        act()
    except ConditionsRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, success)
    return redirect("admin:accounts_accountgroup_change", version.group_id)


class ExplainForm(forms.Form):
    account = AccountField(label=gettext_lazy("Account"), max_length=32)
    symbol = forms.CharField(label=gettext_lazy("Symbol"), max_length=64, widget=UnfoldAdminTextInputWidget)
    at = forms.SplitDateTimeField(label=gettext_lazy("At (UTC)"), required=False, widget=UnfoldAdminSplitDateTimeWidget)


@page(
    "conditions/explain/",
    title=gettext_lazy("Explain terms"),
    permission=VIEW,
    section="clients",
    icon="help",
)
def conditions_explain(request: HttpRequest) -> HttpResponse:
    """For an account, a symbol and a moment: which rule gave which value."""
    form = ExplainForm(request.GET if "symbol" in request.GET else None, initial=request.GET.dict())
    tables: list[Any] = []
    sentences = [_("Name an account and a symbol: you see which rule gives which value, now or at an earlier moment.")]
    if form.is_bound and form.is_valid():
        sentences, tables = _explained(form)
    return render(
        request,
        "backoffice/report.html",
        _("Explain terms"),
        {"form": form, "sentences": sentences, "tables": tables},
    )


def _explained(form: ExplainForm) -> tuple[list[str], list[Any]]:
    account, at = form.cleaned_data["account"], form.cleaned_data["at"] or timezone.now()
    try:
        explanation = explain(account, form.cleaned_data["symbol"].strip().upper(), at)
    except OrderRejected as refusal:
        return [str(refusal)], []
    except TradingConditions.DoesNotExist:
        return [_("No conditions were in force for the group at that moment: it could not trade.")], []
    rows = [[rule.label, _value(rule), rule.origin, link_to(rule.source)] for rule in explanation.rules]
    headers = [_("Value of"), _("Value"), _("Comes from"), _("Page")]
    moment = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return [_("As of %(moment)s.") % {"moment": moment}], [(_("terms"), {"headers": headers, "rows": rows}, "")]


def _value(rule: Rule) -> object:
    """The value in words: a choice by its name."""
    fields = {field.name: field for field in rule.source._meta.concrete_fields}
    if field := fields.get(rule.name):
        return conditions.in_words(field, rule.value)
    return "–" if rule.value is None or rule.value == "" else rule.value
