"""Taking executions back or correcting them: asked for with a preview by one dealer, decided by another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from backoffice.admin import NOTHING, link_to, list_url, number
from backoffice.dealing.forms import BustForm, IntervalBustForm, OneBustForm
from backoffice.operations.pages.cash import user_of
from backoffice.pages import confirmed, page, render
from marketdata.models import Instrument
from trading import busts
from trading.busts import Effect, Wish
from trading.errors import BustRefused
from trading.models import Bust, Execution


@page("busts/new/", title=gettext_lazy("Bust or correct fills"), permission="trading.request_bust")
def bust_new(request: HttpRequest) -> HttpResponse:
    """All fills of a bad interval of prices."""
    form = IntervalBustForm(request.POST or None, initial=request.GET.dict())
    return _asked(request, form, list_url(Bust), [_("All fills of the interval that still count are chosen.")])


@page("executions/<int:pk>/bust/", title=gettext_lazy("Bust or correct the fill"), permission="trading.request_bust")
def bust_execution(request: HttpRequest, pk: int) -> HttpResponse:
    execution = get_object_or_404(Execution.objects.select_related("instrument", "account"), pk=pk)
    form = OneBustForm(request.POST or None, execution=execution)
    back = reverse("admin:trading_execution_change", args=[pk])
    return _asked(request, form, back, [_("%(account)s, execution %(execution)s") % _words(execution)])


@page(
    "busts/<int:pk>/approve/",
    title=gettext_lazy("Approve the bust"),
    permission="trading.approve_bust",
    moves_money=True,
)
def bust_approve(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _bust(pk)

    def ask() -> HttpResponse | None:
        effects = [] if _is_confirmed(request) else busts.effects_of(asked)
        return confirmed(
            request,
            _("Approve the bust"),
            [
                _sentence(len(asked.executions), asked.instrument, asked.price),
                _("It is booked at once: positions, money and fees as shown. What it books is never deleted."),
            ],
            rows=_facts(asked),
            tables=_tables(effects),
            button=_("Approve and book"),
            back=_url(asked),
            is_dangerous=True,
        )

    return _decided(request, asked, ask, lambda: busts.approve(pk, by=user_of(request)), _("It is booked."))


@page("busts/<int:pk>/reject/", title=gettext_lazy("Reject the bust"), permission="trading.approve_bust")
def bust_reject(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _bust(pk)

    def ask() -> HttpResponse | None:
        return confirmed(
            request,
            _("Reject the bust"),
            [_("The request ends, and the fills stay as they are.")],
            rows=_facts(asked),
            button=_("Reject"),
            back=_url(asked),
            is_dangerous=True,
            asks_reason=True,
        )

    note = request.POST.get("_reason", "")
    return _decided(request, asked, ask, lambda: busts.reject(pk, by=user_of(request), note=note), _("It is rejected."))


@page("busts/<int:pk>/withdraw/", title=gettext_lazy("Withdraw the bust"), permission="trading.request_bust")
def bust_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _bust(pk)

    def ask() -> HttpResponse | None:
        return confirmed(
            request,
            _("Withdraw the bust"),
            [_("The request ends, and the fills stay as they are.")],
            rows=_facts(asked),
            button=_("Withdraw the request"),
            back=_url(asked),
            is_dangerous=True,
        )

    return _decided(request, asked, ask, lambda: busts.withdraw(pk, by=user_of(request)), _("It is withdrawn."))


# --- asking -----------------------------------------------------------------------------------------------------------


def _asked(request: HttpRequest, form: BustForm, back: str, sentences: list[str]) -> HttpResponse:
    """The form; once filled in, what would happen; once confirmed, the request."""
    if request.method == "POST" and form.is_valid():
        try:
            return _previewed_or_asked(request, form, back)
        except BustRefused as refusal:
            form.add_error(None, str(refusal))
    context = {
        "form": form,
        "sentences": [
            *sentences,
            _("The next page shows what it would do. Nothing is booked until somebody else approves."),
        ],
        "button": _("Show what would happen"),
        "back": back,
    }
    return render(request, "backoffice/form.html", _("Bust or correct fills"), context)


def _previewed_or_asked(request: HttpRequest, form: BustForm, back: str) -> HttpResponse:
    user, wish = user_of(request), _wish(form)
    effects = [] if _is_confirmed(request) else busts.effects(wish, by=user)
    answer = confirmed(
        request,
        _("Bust or correct fills"),
        [
            _sentence(len(wish.executions), wish.instrument, wish.price),
            _("Nothing is booked until somebody else approves it. Prices and fills that come meanwhile may change it."),
        ],
        tables=_tables(effects),
        button=_("Ask for approval"),
        back=back,
        hidden=_kept(form, wish),
    )
    if answer is not None:
        return answer
    asked = busts.ask(wish, by=user)
    text = _("Request %(number)s waits for somebody else's decision.") % {"number": asked.pk}
    messages.success(request, text)
    return redirect(_url(asked))


def _wish(form: BustForm) -> Wish:
    """What the form asks for: of the executions that were shown, or else of those that it chooses now."""
    given = form.cleaned_data
    chosen = form.chosen() if not given["executions"] or isinstance(form, OneBustForm) else []
    executions = given["executions"] or tuple(execution.pk for execution in chosen)
    instrument = chosen[0].instrument if chosen else given["instrument"]
    return Wish(instrument, executions, given["reason"], given["key"], given["price"])


def _kept(form: BustForm, wish: Wish) -> list[tuple[str, str]]:
    """The form's fields as they were filled in, and the executions that they have chosen."""
    fields = [(name, form.data.get(name, "")) for name in form.fields if name != "executions"]
    return [*fields, ("executions", ",".join(map(str, wish.executions)))]


# --- deciding ---------------------------------------------------------------------------------------------------------


def _decided(
    request: HttpRequest,
    asked: Bust,
    ask: Callable[[], HttpResponse | None],
    decide: Callable[[], object],
    success: str,
) -> HttpResponse:
    """The question, or after the answer the request's page with what became of it."""
    try:
        if answer := ask():
            return answer
        decide()
    except BustRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, success)
    return redirect(_url(asked))


def _is_confirmed(request: HttpRequest) -> bool:
    return request.POST.get("confirmed") == "yes"


def _bust(pk: int) -> Bust:
    asked = Bust.objects.select_related("instrument", "maker").filter(pk=pk).first()
    if asked is None:
        raise Http404
    return asked


def _url(asked: Bust) -> str:
    return reverse("admin:trading_bust_change", args=[asked.pk])


# --- what is said -----------------------------------------------------------------------------------------------------


def _words(execution: Execution) -> dict[str, Any]:
    return {"account": execution.account, "execution": execution}


def _sentence(count: int, instrument: Instrument, price: Any) -> str:
    if price is None:
        text = ngettext(
            "%(count)s fill of %(symbol)s will be taken back, as if it had never been.",
            "%(count)s fills of %(symbol)s will be taken back, as if they had never been.",
            count,
        )
    else:
        text = ngettext(
            "%(count)s fill of %(symbol)s will be booked again at %(price)s, as if it had been filled there.",
            "%(count)s fills of %(symbol)s will be booked again at %(price)s, as if they had been filled there.",
            count,
        )
    return text % {"count": count, "symbol": instrument, "price": number(price)}


def _facts(asked: Bust) -> list[str]:
    return [_("Asked for by %(user)s: %(reason)s") % {"user": asked.maker, "reason": asked.reason}]


def _tables(effects: Iterable[Effect]) -> list[tuple[str, dict[str, list[Any]], str]]:
    """For each account what changes: position, money, fees, and the orders that end."""
    rows = [row for effect in effects for row in _rows(effect)]
    headers = [_("Account"), _("Fills"), _("What"), _("Before"), _("After"), _("Difference")]
    return [(_("what it does"), {"headers": headers, "rows": rows}, "")] if rows else []


def _rows(effect: Effect) -> list[list[object]]:
    account, fills = link_to(effect.account), str(effect.executions)
    changes = [
        *((_("Position %(name)s"), each) for each in effect.positions),
        *((_("Balance %(name)s"), each) for each in effect.balances),
        *((_("Fees %(name)s"), each) for each in effect.fees),
    ]
    rows: list[list[object]] = [
        [account, fills, words % {"name": name}, number(before), number(after), number(after - before)]
        for words, (name, before, after) in changes
    ]
    if effect.ended:
        numbers = ", ".join(map(str, effect.ended))
        rows.append([account, fills, _("Orders that end"), numbers, NOTHING, NOTHING])
    return rows
