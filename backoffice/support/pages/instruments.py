"""What TradingView's users read of an instrument, and when it trades: both before anybody asks."""

from __future__ import annotations

from datetime import date, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from modeltranslation.utils import build_localized_fieldname

from backoffice.admin import NOTHING
from backoffice.pages import Table, page, render
from marketdata.models import Holiday, Instrument
from marketdata.sessions import Span

DAYS = 35  # of the calendar: five weeks


@page(
    "instruments/<int:pk>/descriptions/",
    title=gettext_lazy("Descriptions"),
    permission="marketdata.view_instrument",
)
def instrument_descriptions(request: HttpRequest, pk: int) -> HttpResponse:
    """The description in all languages side by side with the English one, which is shown where one is missing."""
    instrument = get_object_or_404(Instrument, pk=pk)
    english = getattr(instrument, build_localized_fieldname("description", settings.LANGUAGE_CODE))
    texts = [
        (str(name), code, getattr(instrument, build_localized_fieldname("description", code)))
        for code, name in settings.LANGUAGES
    ]
    missing = [name for name, _code, text in texts if not text]
    rows = [
        [name, code, text or NOTHING, text or english, "" if text else _("missing: English is shown")]
        for name, code, text in texts
    ]
    headers = [_("Language"), _("Code"), _("Ours"), _("What users see"), _("Remark")]
    sentence = (
        _("%(count)s of %(all)s languages are missing; write them on the instrument's page.")
        % {"count": len(missing), "all": len(texts)}
        if missing
        else _("Every language has its own.")
    )
    table: Table = _("side by side"), {"headers": headers, "rows": rows}, ""
    return _shown(request, instrument, _("Descriptions of %(symbol)s"), [sentence], table)


@page(
    "instruments/<int:pk>/sessions/",
    title=gettext_lazy("Trading hours"),
    permission="marketdata.view_instrument",
)
def instrument_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    """The next five weeks, day by day, holidays and early closes included."""
    instrument = get_object_or_404(Instrument, pk=pk)
    today = timezone.now().date()
    days = [today + timedelta(days=number) for number in range(DAYS)]
    holidays = {each.day: each for each in Holiday.objects.filter(calendar=instrument.holiday_calendar, day__in=days)}
    rows = [_day(day, instrument.session.span_of(day), holidays.get(day)) for day in days]
    headers = [_("Trading day"), _("Weekday"), _("Opens (UTC)"), _("Closes (UTC)"), _("Hours"), _("Remark")]
    sentences = [
        _("%(session)s in %(zone)s; holidays: %(calendar)s.")
        % {
            "session": instrument.session_regular,
            "zone": instrument.timezone,
            "calendar": instrument.holiday_calendar or _("no calendar"),
        },
        _("It is open now.") if instrument.session.is_open(timezone.now()) else _("It is closed now."),
    ]
    table: Table = _("the next five weeks"), {"headers": headers, "rows": rows}, ""
    return _shown(request, instrument, _("Trading hours of %(symbol)s"), sentences, table)


def _day(day: date, span: Span | None, holiday: Holiday | None) -> list[str]:
    names = [f"{day:%Y-%m-%d}", date_format(day, "l")]
    remark = holiday.name if holiday else ""
    if span is None:
        return [*names, NOTHING, NOTHING, NOTHING, remark or _("closed")]
    if holiday and holiday.close_time:
        remark = _("%(holiday)s: closes early") % {"holiday": holiday.name}
    hours = (span.end - span.start).total_seconds() / 3600
    return [*names, date_format(span.start, "D H:i"), date_format(span.end, "D H:i"), f"{hours:g}", remark]


def _shown(
    request: HttpRequest, instrument: Instrument, title: str, sentences: list[str], table: Table
) -> HttpResponse:
    names = ("instrument_descriptions", "instrument_sessions", "chart")
    titles = (_("Descriptions"), _("Trading hours"), _("Chart"))
    links = [(_("The instrument"), reverse("admin:marketdata_instrument_change", args=[instrument.pk]))]
    links += [(text, reverse(f"page:{name}", args=[instrument.pk])) for text, name in zip(titles, names, strict=True)]
    context = {"links": links, "sentences": sentences, "tables": [table]}
    return render(request, "backoffice/report.html", title % {"symbol": instrument}, context)
