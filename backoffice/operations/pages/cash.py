"""Pages of the operations desk: asking for cash, deciding on it, papers."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.choices import AccountState
from accounts.models import User
from backoffice.admin import list_url, number
from backoffice.operations import cash
from backoffice.operations.forms import CashForm
from backoffice.operations.models import Attachment, CashRequest
from backoffice.pages import confirmed, page, render


def user_of(request: HttpRequest) -> User:
    return cast(User, request.user)  # the site lets nobody else in


@page("cash/new/", title=gettext_lazy("Ask for cash"), permission="operations.request_cashrequest", moves_money=True)
def cash_new(request: HttpRequest) -> HttpResponse:
    """Ask for money to move; somebody else decides."""
    form = CashForm(request.POST or None, request.FILES or None, initial=_prefilled(request))
    if request.method == "POST" and form.is_valid():
        try:
            asked = _ask(form, user_of(request))
        except cash.CashRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            text = _("Request %(number)s waits for somebody else's decision.") % {"number": asked.pk}
            messages.success(request, text)
            return redirect("admin:operations_cashrequest_change", asked.pk)
    return render(
        request,
        "backoffice/form.html",
        _("Ask for cash"),
        {
            "form": form,
            "sentences": [
                _("Nothing is booked until somebody else approves it. What leaves an account is set aside at once.")
            ],
            "button": _("Ask for approval"),
            "back": list_url(CashRequest),
        },
    )


def _prefilled(request: HttpRequest) -> dict[str, Any]:
    return {name: request.GET[name] for name in ("account", "kind", "currency") if name in request.GET}


def _ask(form: CashForm, user: User) -> CashRequest:
    file = form.cleaned_data["file"]
    attachment = Attachment.keep(file.name, file.content_type, file.read(), by=user) if file else None
    return cash.ask(form.to_wish(), by=user, attachment=attachment)


@page(
    "cash/<int:pk>/approve/",
    title=gettext_lazy("Approve the request"),
    permission="operations.approve_cashrequest",
    moves_money=True,
)
def cash_approve(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _request(pk)
    answer = confirmed(
        request,
        _("Approve the request"),
        [_approval_sentence(asked), _("It is booked at once and cannot be undone, only corrected by another request.")],
        rows=_facts(asked),
        button=_("Approve and book"),
        back=_url(asked),
    )
    return answer or _done(request, asked, lambda: cash.approve(pk, by=user_of(request)), _("It is booked."))


@page("cash/<int:pk>/reject/", title=gettext_lazy("Reject the request"), permission="operations.approve_cashrequest")
def cash_reject(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _request(pk)
    answer = confirmed(
        request,
        _("Reject the request"),
        [_return_sentence(asked)],
        rows=_facts(asked),
        button=_("Reject"),
        back=_url(asked),
        is_dangerous=True,
        asks_reason=True,
    )
    note = request.POST.get("_reason", "")
    return answer or _done(
        request, asked, lambda: cash.reject(pk, by=user_of(request), note=note), _("It is rejected.")
    )


@page("cash/<int:pk>/cancel/", title=gettext_lazy("Cancel the request"), permission="operations.request_cashrequest")
def cash_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    asked = _request(pk)
    answer = confirmed(
        request,
        _("Cancel the request"),
        [_return_sentence(asked)],
        rows=_facts(asked),
        button=_("Cancel the request"),
        back=_url(asked),
        is_dangerous=True,
    )
    return answer or _done(request, asked, lambda: cash.cancel(pk, by=user_of(request)), _("It is cancelled."))


@page("attachments/<int:pk>/", title=gettext_lazy("Attachment"), permission="operations.view_attachment")
def attachment(request: HttpRequest, pk: int) -> HttpResponse:
    """A paper as it was handed in, offered as a file: a browser shall not run what is in it."""
    paper = Attachment.objects.filter(pk=pk).first()
    if paper is None:
        raise Http404
    answer = HttpResponse(bytes(paper.content), content_type=paper.content_type)
    answer["Content-Disposition"] = f'attachment; filename="attachment-{paper.pk}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def _request(pk: int) -> CashRequest:
    asked = CashRequest.objects.select_related("account", "to_account", "currency", "maker").filter(pk=pk).first()
    if asked is None:
        raise Http404
    return asked


def _url(asked: CashRequest) -> str:
    return reverse("admin:operations_cashrequest_change", args=[asked.pk])


def _done(request: HttpRequest, asked: CashRequest, decide: Any, success: str) -> HttpResponse:
    try:
        decide()
    except cash.CashRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, success)
    return redirect(_url(asked))


def _facts(asked: CashRequest) -> list[str]:
    facts = [
        _("Asked for by %(user)s: %(reason)s") % {"user": asked.maker, "reason": asked.reason},
        _("Free in %(account)s now: %(free)s %(currency)s")
        % {
            "account": asked.account,
            "free": number(cash.free(asked.account, asked.currency_id)),
            "currency": asked.currency_id,
        },
    ]
    if asked.account.state != AccountState.ACTIVE:
        facts.append(_("The account is not active: %(state)s") % {"state": asked.account.get_state_display()})
    return facts


def _approval_sentence(asked: CashRequest) -> str:
    words = {
        "amount": number(abs(asked.amount)),
        "currency": asked.currency_id,
        "account": asked.account,
        "kind": asked.get_kind_display(),
    }
    if asked.to_account:
        return _("%(amount)s %(currency)s, set aside in %(account)s, will be credited to %(to_account)s.") % {
            **words,
            "to_account": asked.to_account,
        }
    if asked.takes:
        return _("%(amount)s %(currency)s, set aside in %(account)s, will leave it for good (%(kind)s).") % words
    return _("%(amount)s %(currency)s will be credited to %(account)s (%(kind)s).") % words


def _return_sentence(asked: CashRequest) -> str:
    if not asked.takes:
        return _("The request ends, and nothing is booked.")
    return _("The request ends, and %(amount)s %(currency)s set aside are free again in %(account)s.") % {
        "amount": number(asked.takes),
        "currency": asked.currency_id,
        "account": asked.account,
    }
