"""The integration monitor: how TradingView's pages and servers fare with us. It renews itself."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.choices import EnvironmentPair
from backoffice.admin import NOTHING, list_url
from backoffice.integration import alarms
from backoffice.pages import Table, live, page
from marketdata import metrics
from marketdata.metrics import Delays
from marketdata.models import StreamComparison
from tvapi import usage
from tvapi.usage import Key, Tally

SPANS = [("5", gettext_lazy("5 minutes")), ("60", gettext_lazy("an hour"))]


class SpanForm(forms.Form):
    minutes = forms.ChoiceField(label=gettext_lazy("In the last"), choices=SPANS, widget=UnfoldAdminSelectWidget)


@page(
    "integration/monitor/",
    title=gettext_lazy("Monitor"),
    permission="conformance.view_conformancerun",
    section="integration",
    icon="monitoring",
)
def integration_monitor(request: HttpRequest) -> HttpResponse:
    form = SpanForm(request.GET if "minutes" in request.GET else {"minutes": "5"})
    away = _("The counts cannot be read at the moment. The page tries again by itself.")
    return live(request, _("Integration monitor"), lambda: _monitor(form), away=away, always={"form": form})


def _monitor(form: SpanForm) -> dict[str, Any]:
    if not form.is_valid():
        return {}
    minutes = int(form.cleaned_data["minutes"])
    tallies, delays = usage.of_minutes(minutes), metrics.told()
    compared, different = alarms.compared()
    whole = Tally()
    for tally in tallies.values():
        whole.merge(tally)
    refused = tallies_of(tallies, alarms.TOKENS)
    return {
        "links": [(_("Comparisons of bars"), list_url(StreamComparison))],
        "figures": [
            (_("Requests"), str(whole.requests)),
            (_("Failures"), str(whole.errors)),
            (_("Kept from pages (CORS)"), str(whole.cors_refused)),
            (_("Tokens refused"), str(sum(tally.errors for tally in refused))),
            (_("Readers of the stream"), str(sum(each.connections for each in delays))),
            (_("Bars that differ in 24 h"), f"{different} / {compared}"),
        ],
        "tables": [_alarms(), _requests(tallies), _streams(delays)],
    }


def tallies_of(tallies: dict[Key, Tally], endpoint: str) -> list[Tally]:
    return [tally for (_pair, name), tally in tallies.items() if name == endpoint]


def _alarms() -> Table:
    rows = [[text] for text in alarms.all_now()]
    return _("alarms"), {"headers": [_("What")], "rows": rows}, _("TradingView has nothing to complain of.")


def _requests(tallies: dict[Key, Tally]) -> Table:
    headers = [
        _("Environments"), _("Endpoint"), _("Requests"), _("Failures"), _("CORS"), "p50", "p95", "p99",
    ]  # fmt: skip
    rows = [
        [
            _pair(pair),
            endpoint,
            str(tally.requests),
            f"{tally.errors} ({tally.errors * 100 // tally.requests} %)" if tally.errors else "0",
            str(tally.cors_refused),
            *(_up_to(tally.percentile(part)) for part in (0.50, 0.95, 0.99)),
        ]
        for (pair, endpoint), tally in tallies.items()
    ]
    return _("requests by environments and endpoint"), {"headers": headers, "rows": rows}, _("Nobody has asked yet.")


def _pair(pair: str) -> str:
    if pair == usage.NO_PAIR:
        return _("server to server")
    if pair == usage.UNKNOWN_PAIR:
        return _("a foreign page")
    return str(EnvironmentPair(pair).label)


def _up_to(milliseconds: int | None) -> str:
    if milliseconds is None:
        return NOTHING
    return f"≥ {milliseconds} ms" if milliseconds == usage.EDGES_MS[-1] else f"≤ {milliseconds} ms"


def _streams(delays: list[Delays]) -> Table:
    headers = [_("Process"), _("Readers"), _("Dropped"), _("Lines in a minute"), "p50", "p99", _("Slowest")]
    rows = [
        [
            each.process, str(each.connections), str(each.dropped), str(each.lines),
            f"{each.p50_ms} ms", f"{each.p99_ms} ms", f"{each.most_ms} ms",
        ]
        for each in delays
    ]  # fmt: skip
    return _("streams"), {"headers": headers, "rows": rows}, _("Nobody reads the stream of prices.")
