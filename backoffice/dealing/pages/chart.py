"""An instrument's chart as TradingView draws it: our bars, the latest quote, and our clients' executions marked."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import redis
from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backoffice.admin import link_to, number
from backoffice.pages import page, render
from marketdata import bars, quotes
from marketdata.choices import Resolution
from marketdata.models import Instrument
from trading.models import Execution

BARS = 600
MOST_BARS = 1500
MARKED = 300  # executions
LISTED = 20
SPANS = {"1": 60, "1D": 86_400}  # seconds of a bar


class DataForm(forms.Form):
    """What the script asks for: so many bars, and the executions after the last one that it knows."""

    resolution = forms.ChoiceField(choices=[(each.value, each.label) for each in Resolution])
    count = forms.IntegerField(min_value=1, max_value=MOST_BARS, required=False)
    after = forms.IntegerField(min_value=0, max_value=2**63 - 1, required=False)


@page("instruments/<int:pk>/chart/", title=gettext_lazy("Chart"), permission="trading.view_execution")
def chart(request: HttpRequest, pk: int) -> HttpResponse:
    instrument = get_object_or_404(Instrument, pk=pk)
    resolution = Resolution.DAY if request.GET.get("resolution") == Resolution.DAY else Resolution.MINUTE
    latest = _executions(instrument).order_by("-at", "-pk")[:LISTED]
    rows = [
        [
            link_to(each, f"{each.at:%Y-%m-%d %H:%M:%S}"),
            link_to(each.account),
            each.get_side_display(),
            number(each.qty),
            number(each.price),
        ]
        for each in latest
    ]
    headers = [_("At (UTC)"), _("Account"), _("Side"), _("Quantity"), _("Price")]
    return render(
        request,
        "dealing/chart.html",
        _("Chart of %(symbol)s") % {"symbol": instrument},
        {
            "instrument": instrument,
            "resolution": resolution.value,
            "resolutions": Resolution.choices,
            "decimals": _decimals(instrument),
            "tables": [(_("latest executions"), {"headers": headers, "rows": rows}, _("Nobody traded it yet."))],
        },
    )


@page("instruments/<int:pk>/chart/data/", title=gettext_lazy("Chart"), permission="trading.view_execution")
def chart_data(request: HttpRequest, pk: int) -> HttpResponse:
    """Bars, executions and the latest quote, for the chart's script. Times are Unix seconds of the bars' beginnings."""
    instrument = get_object_or_404(Instrument, pk=pk)
    form = DataForm({"resolution": Resolution.MINUTE, **request.GET.dict()})
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    given = form.cleaned_data
    found = bars.history(instrument, given["resolution"], 0, int(time.time()), given["count"] or BARS)
    span = SPANS[given["resolution"]]
    since = found.t[0] if found.t else 0
    return JsonResponse(
        {
            "bars": [
                {"time": t, "open": o, "high": h, "low": low, "close": c}
                for t, o, h, low, c in zip(found.t, found.o, found.h, found.l, found.c, strict=True)
            ],
            "executions": _marks(instrument, since, given["after"] or 0, span),
            "quote": _quote(instrument),
        }
    )


def _executions(instrument: Instrument) -> Any:
    return Execution.objects.standing().filter(instrument=instrument).select_related("account")


def _marks(instrument: Instrument, since: int, after: int, span: int) -> list[dict[str, Any]]:
    """The latest executions from the first bar on, each with the bar that it falls into; oldest first."""
    shown = _executions(instrument).filter(at__gte=datetime.fromtimestamp(since, UTC), pk__gt=after)
    marks = [
        {
            "id": each.pk,
            "time": int(each.at.timestamp()) // span * span,
            "side": each.side,
            "qty": float(each.qty),
            "price": float(each.price),
            "text": f"{number(each.qty)} @ {number(each.price)}",
        }
        for each in shown.order_by("-at", "-pk")[:MARKED]
    ]
    return marks[::-1]


def _quote(instrument: Instrument) -> dict[str, float] | None:
    """None while there is no price, or it cannot be read."""
    try:
        quote = quotes.get(instrument.symbol)
    except redis.RedisError:
        return None
    return {"bid": float(quote.bid), "ask": float(quote.ask)} if quote else None


def _decimals(instrument: Instrument) -> int:
    exponent = instrument.tick_size.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
