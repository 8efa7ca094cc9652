"""Reports: an account's statement, the trial balance, the end of the day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import get_language_info, gettext_lazy
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminDateWidget, UnfoldAdminSelectWidget

from accounts.models import Account
from backoffice.admin import list_url, number
from backoffice.operations import day_end, statements
from backoffice.operations.models import DayEnd
from backoffice.pages import confirmed, page, render

LONGEST_STATEMENT = timedelta(days=366)


class PeriodForm(forms.Form):
    first = forms.DateField(label=gettext_lazy("From"), widget=UnfoldAdminDateWidget)
    last = forms.DateField(label=gettext_lazy("Until"), widget=UnfoldAdminDateWidget)
    language = forms.ChoiceField(
        label=gettext_lazy("Language of the PDF"),
        choices=[(code, get_language_info(code)["name_local"]) for code, _name in settings.LANGUAGES],
        widget=UnfoldAdminSelectWidget,
        required=False,
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        first, last = given.get("first"), given.get("last")
        if first and last and first > last:
            raise ValidationError(_("The period ends before it begins."))
        if first and last and (last - first > LONGEST_STATEMENT or last.year > 9000):
            raise ValidationError(_("A statement covers a year at most."))
        return given


@page(
    "accounts/<int:pk>/statement/",
    title=gettext_lazy("Statement"),
    permission="accounts.view_posting",
    may_lag=True,
)
def account_statement(request: HttpRequest, pk: int) -> HttpResponse:
    """The account's money over some days, as a page, or with `format` as CSV, or as PDF in the language chosen."""
    account = get_object_or_404(Account.objects.select_related("client", "currency"), pk=pk)
    form = PeriodForm(request.GET if "first" in request.GET else _this_month())
    if not form.is_valid():
        return render(request, "backoffice/report.html", _("Statement"), {"form": form})
    first, last = form.cleaned_data["first"], form.cleaned_data["last"]
    language = form.cleaned_data["language"] or translation.get_language()
    wanted = request.GET.get("format")
    if wanted == "pdf":
        return _pdf(account, first, last, language)
    of = statements.statement(account, first, last)
    if wanted == "csv":
        return _file(statements.as_csv(of).encode(), "text/csv; charset=utf-8", f"{account.number}.csv")
    address = f"{reverse('page:account_statement', args=[pk])}?first={first}&last={last}&language={language}&format="
    return render(
        request,
        "backoffice/report.html",
        _("Statement of account %(number)s") % {"number": account.number},
        {
            "form": form,
            "links": [
                ("CSV", f"{address}csv"),
                ("PDF", f"{address}pdf"),
                (_("The account"), reverse("admin:accounts_account_change", args=[pk])),
            ],
            "sentences": [] if of.sections else [_("No money was ever booked in this account.")],
            "tables": [_section(section) for section in of.sections],
        },
    )


def _this_month() -> dict[str, Any]:
    today = timezone.now().date()
    return {"first": today.replace(day=1), "last": today, "language": translation.get_language()}


def _pdf(account: Account, first: date, last: date, language: str | None) -> HttpResponse:
    from backoffice.operations.statement_pdf import as_pdf  # when wanted: it takes long to load

    with translation.override(language):
        content = as_pdf(statements.statement(account, first, last))
    return _file(content, "application/pdf", f"{account.number}.pdf")


def _file(content: bytes, content_type: str, name: str) -> HttpResponse:
    return HttpResponse(
        content, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _section(section: statements.Section) -> tuple[str, dict[str, Any], str]:
    headers = [_("At (UTC)"), _("Kind"), _("Reference"), _("Amount"), _("Balance")]
    rows = [
        ["", _("Opening balance"), "", "", number(section.opening)],
        *(
            [f"{line.at:%Y-%m-%d %H:%M:%S}", line.kind, line.reference, number(line.amount), number(line.balance)]
            for line in section.lines
        ),
        ["", _("Closing balance"), "", "", number(section.closing)],
    ]
    return section.currency, {"headers": headers, "rows": rows}, ""


@page(
    "books/trial-balance/",
    title=gettext_lazy("Trial balance"),
    permission="accounts.view_posting",
    section="books",
    icon="balance",
    may_lag=True,
)
def trial_balance(request: HttpRequest) -> HttpResponse:
    lines = statements.trial_balance()
    headers = [_("Currency"), _("Ledger accounts"), _("Debit"), _("Credit")]
    rows = [
        [
            line.currency,
            line.kind.label,
            number(line.total) if line.total > 0 else "",
            number(-line.total) if line.total < 0 else "",
        ]
        for line in lines
    ]
    off = [f"{currency}: {number(total)}" for currency, total in statements.sums(lines) if total]
    verdict = (
        _("The books do not balance: %(sums)s. Tell whoever answers for the system at once.") % {"sums": ", ".join(off)}
        if off
        else _("In every currency debits equal credits.")
    )
    return render(
        request,
        "backoffice/report.html",
        _("Trial balance"),
        {
            "sentences": [verdict] if lines else [],
            "tables": [(_("all postings"), {"headers": headers, "rows": rows}, _("No money was booked yet."))],
        },
    )


@page("books/end-of-day/", title=gettext_lazy("Run the end of day"), permission="operations.run_dayend")
def day_end_run(request: HttpRequest) -> HttpResponse:
    day = day_end.yesterday()
    answer = confirmed(
        request,
        _("Run the end of day"),
        [
            _("The report of %(day)s is made: books and audit trail are recomputed, which takes a while.")
            % {"day": f"{day:%Y-%m-%d}"},
            _("It is made once and never changed; the worker makes it by itself every night."),
        ],
        button=_("Make the report"),
        back=list_url(DayEnd),
    )
    if answer:
        return answer
    report = day_end.run(day)
    messages.success(request, _("The report is there."))
    return redirect("admin:operations_dayend_change", report.pk)
