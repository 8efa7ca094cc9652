"""Publishing mappings: what would change and what is wrong with it, the release, its difference, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from backoffice.admin import NOTHING, list_url
from backoffice.operations.pages.cash import user_of
from backoffice.pages import Table, confirmed, page, render
from backoffice.workbench import coverage
from marketdata import mapping_releases, suggestions
from marketdata.choices import MappingProblem
from marketdata.mapping_releases import Difference, MappingRefused
from marketdata.models import MappedInstrument, MappingRelease

PUBLISH = "marketdata.publish_mappingrelease"
CHANGE = "marketdata.change_mappedinstrument"
VIEW = "marketdata.view_mappingrelease"
SHOWN_ROWS = 200
SHOWN_SYMBOLS = 20


@page("mappings/publish/", title=gettext_lazy("Publish mappings"), permission=PUBLISH)
def mapping_publish(request: HttpRequest) -> HttpResponse:
    """`with_problems` takes the drafts that the check objects to as well, but for collisions."""
    with_problems = request.GET.get("with_problems") == "1"
    pending = mapping_releases.pending()
    taken = mapping_releases.chosen(pending, with_problems=with_problems)
    known = set(taken)
    left_out = [each for each in pending if each not in known]
    back = list_url(MappedInstrument)
    if not taken:
        messages.warning(request, _nothing_to_publish(left_out))
        return redirect(list_url(MappedInstrument, mapping="broken" if left_out else "draft"))
    answer = confirmed(
        request,
        _("Publish mappings"),
        [_summary(taken), _("TradingView fetches them twice a day. An earlier release can be gone back to.")],
        rows=[*_objections(left_out, with_problems=with_problems), *_uncovered(taken)],
        tables=[_table(_("what changes"), taken), *([_table(_("what stays a draft"), left_out)] if left_out else [])],
        button=_("Publish"),
        back=back,
        asks_reason=True,
        hidden=[("seen", mapping_releases.fingerprint(taken))],
    )
    if answer is not None:
        return answer
    try:
        made = mapping_releases.publish(
            by=user_of(request),
            note=_note(request),
            seen=request.POST.get("seen", ""),
            with_problems=with_problems,
        )
    except MappingRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("page:mapping_publish")
    messages.success(request, _("Release %(number)s is published.") % {"number": made.pk})
    return redirect("page:mapping_difference", made.pk)


@page("mappings/<int:pk>/roll-back/", title=gettext_lazy("Roll back mappings"), permission=PUBLISH)
def mapping_roll_back(request: HttpRequest, pk: int) -> HttpResponse:
    release = get_object_or_404(MappingRelease, pk=pk)
    differences = mapping_releases.going_back(release)
    if not differences:
        messages.warning(request, _("Nothing has changed since that release."))
        return redirect("page:mapping_difference", pk)
    title = _("Go back to release %(number)s") % {"number": pk}
    answer = confirmed(
        request,
        title,
        [
            _summary(differences),
            _("It is published as a release of its own. Drafts of these instruments are overwritten, others stay."),
        ],
        rows=_uncovered(differences),
        tables=[_table(_("what changes"), differences)],
        button=title,  # beside the button that leaves the page, which says “Go back”
        back=reverse("page:mapping_difference", args=[pk]),
        is_dangerous=True,
        asks_reason=True,
    )
    if answer is not None:
        return answer
    try:
        made = mapping_releases.roll_back(release, by=user_of(request), note=_note(request))
    except MappingRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("page:mapping_difference", pk)
    text = _("Release %(number)s gives out what release %(earlier)s gave out.")
    messages.success(request, text % {"number": made.pk, "earlier": pk})
    return redirect("page:mapping_difference", made.pk)


@page("mappings/<int:pk>/difference/", title=gettext_lazy("Difference of mappings"), permission=VIEW)
def mapping_difference(request: HttpRequest, pk: int) -> HttpResponse:
    """A release beside the one before it, or beside the one that `with` names."""
    release = get_object_or_404(MappingRelease.objects.select_related("by"), pk=pk)
    earlier = _earlier(release, request.GET.get("with", ""))
    before = mapping_releases.state_at(earlier) if earlier else {}
    after = mapping_releases.state_at(release)
    differences = mapping_releases.between(before, after)
    others = MappingRelease.objects.exclude(pk=pk).order_by("-pk")[:10]
    url = reverse("page:mapping_difference", args=[pk])
    links = [
        *((_("Compare with release %(number)s") % {"number": each.pk}, f"{url}?with={each.pk}") for each in others),
        (_("All releases"), list_url(MappingRelease)),
    ]
    if request.user.has_perm(PUBLISH):
        links.insert(0, (_("Go back to this release…"), reverse("page:mapping_roll_back", args=[pk])))
    return render(
        request,
        "backoffice/report.html",
        _("Release %(number)s of mappings") % {"number": pk},
        {
            "links": links,
            "sentences": [_published(release)],
            "figures": [
                (_("Mapped before"), len(before)),
                (_("Mapped after"), len(after)),
                (_("Changes"), len(differences)),
            ],
            "tables": [_table(_since(earlier), differences)],
        },
    )


@page("mappings/suggest/", title=gettext_lazy("Look for suggestions"), permission=CHANGE)
@require_POST
def mapping_suggest(request: HttpRequest) -> HttpResponse:
    count = suggestions.refresh()
    text = ngettext("%(count)s symbol is suggested.", "%(count)s symbols are suggested.", count)
    messages.success(request, text % {"count": count})
    return redirect(list_url(MappedInstrument, mapping="suggested"))


def _earlier(release: MappingRelease, asked: str) -> MappingRelease | None:
    if asked.isascii() and asked.isdecimal() and len(asked) < 19:
        return MappingRelease.objects.filter(pk=int(asked)).first()
    return MappingRelease.objects.filter(pk__lt=release.pk).order_by("-pk").first()


def _note(request: HttpRequest) -> str:
    return request.POST.get("_reason", "").strip()[:300]


# --- what is said -----------------------------------------------------------------------------------------------------


def _summary(differences: list[Difference]) -> str:
    text = ngettext(
        "With this release %(count)s mapping changes at TradingView.",
        "With this release %(count)s mappings change at TradingView.",
        len(differences),
    )
    return text % {"count": len(differences)}


def _nothing_to_publish(left_out: list[Difference]) -> str:
    if not left_out:
        return _("There is nothing to publish: no draft differs from what is published.")
    return _("All drafts have problems: look at those that are broken, or publish them all the same.")


def _objections(left_out: list[Difference], *, with_problems: bool) -> list[str]:
    if not left_out:
        return []
    if with_problems:
        return [_("Drafts that share one symbol of TradingView cannot be published.")]
    link = format_html('<a class="text-link" href="?with_problems=1">{}</a>', _("Publish them all the same"))
    return [_("Drafts with problems stay drafts."), link]


def _uncovered(differences: Iterable[Difference]) -> list[str]:
    text = _("Accounts of %(group)s are not offered at TradingView what is not mapped: %(symbols)s")
    rows = []
    for group, symbols in coverage.missing_after(differences).items():
        named = ", ".join(symbols[:SHOWN_SYMBOLS])
        rows.append(text % {"group": group, "symbols": named + (" …" if len(symbols) > SHOWN_SYMBOLS else "")})
    return rows


def _published(release: MappingRelease) -> str:
    moment = f"{release.published_at:%Y-%m-%d %H:%M}"
    text = _("Published by %(user)s at %(moment)s UTC: %(note)s")
    return text % {"user": release.by or NOTHING, "moment": moment, "note": release.note}


def _since(earlier: MappingRelease | None) -> str:
    if earlier is None:
        return _("since nothing was mapped")
    return _("since release %(number)s") % {"number": earlier.pk}


def _table(title: str, differences: list[Difference]) -> Table:
    headers = [_("Symbol"), _("Before"), _("After"), _("Problem")]
    rows: list[list[Any]] = [
        [each.symbol, each.before or NOTHING, each.after or NOTHING, _problem(each)]
        for each in differences[:SHOWN_ROWS]
    ]
    if len(differences) > SHOWN_ROWS:
        rows.append([_("%(count)s more") % {"count": len(differences) - SHOWN_ROWS}, "", "", ""])
    return title, {"headers": headers, "rows": rows}, _("Nothing changes.")


def _problem(difference: Difference) -> str:
    return str(MappingProblem(difference.problem).label) if difference.problem else NOTHING
