"""Pages of prices: their sources, the bars made of them and their corrections, and how good the stream is."""

from __future__ import annotations

from typing import Any

import redis
from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import RangeNumericFilter
from unfold.decorators import display

from backoffice.admin import LogAdmin, ReadOnlyAdmin, StaffAdmin
from marketdata import corrections, metrics
from marketdata.choices import FeedState, Resolution
from marketdata.chunks import Bar, unix
from marketdata.models import (
    BadQuotes,
    BarChunk,
    BarCorrection,
    FeedRoute,
    FeedSource,
    Instrument,
    LogPosition,
    Notice,
    OpenBar,
    StreamComparison,
)

BAR_COLUMNS = ("t", "o", "h", "l", "c", "v")


class FeedRouteInline(TabularInline):
    """Which instruments a source has, under which names."""

    model = FeedRoute
    extra = 0
    autocomplete_fields = ("instrument",)
    fields = ("instrument", "source_symbol", "priority", "is_active", "last_tick_at")
    readonly_fields = ("is_active", "last_tick_at")


@admin.register(FeedSource)
class FeedSourceAdmin(StaffAdmin):
    list_display = ("name", "kind", "shown_state", "is_enabled", "last_tick_at", "connects", "last_error")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name__icontains",)
    fields = (
        ("name", "kind", "is_enabled"),
        ("url", "stale_after_seconds"),
        ("state", "last_tick_at", "connects"),
        "last_error",
    )
    readonly_fields = ("state", "last_tick_at", "connects", "last_error")
    inlines = (FeedRouteInline,)
    empty_text = _("There are no price sources. Without one, prices come from the simulator, or not at all.")

    @display(
        description=_("state"),
        ordering="state",
        label={
            FeedState.LIVE: "success",
            FeedState.CONNECTING: "info",
            FeedState.STALE: "warning",
            FeedState.FAILED: "danger",
        },
    )
    def shown_state(self, source: FeedSource) -> tuple[str, str]:
        return source.state, source.get_state_display()


@admin.register(FeedRoute)
class FeedRouteAdmin(StaffAdmin):
    """For each instrument the order in which it listens to its sources, and whose prices it takes now."""

    list_display = ("instrument", "priority", "source", "source_symbol", "is_active", "last_tick_at")
    list_select_related = ("instrument", "source")
    list_filter = ("is_active", "source")
    search_fields = ("instrument__symbol__istartswith", "source_symbol__icontains")
    autocomplete_fields = ("instrument", "source")
    fields = (("instrument", "priority"), ("source", "source_symbol"), ("is_active", "last_tick_at"))
    readonly_fields = ("is_active", "last_tick_at")
    empty_text = _("No instrument has a price source.")


@admin.register(BarChunk)
class BarChunkAdmin(LogAdmin):
    """Closed bars: a day of minutes, or a year of days, in one row."""

    list_display = ("id", "instrument", "resolution", "start", "bar_count")
    list_select_related = ("instrument",)
    list_filter = ("resolution",)
    fields = (("instrument", "resolution", "start"), "price_scale", "bar_count")
    search_lookup = "instrument__symbol"
    search_help_text = _("Symbol, or the number of a row")
    empty_text = _("There are no bars yet. Start the feed, or import some with `manage.py import_bars`.")
    readonly_fields = ("bar_count",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[BarChunk]:
        count = models.Func(models.F("t"), function="cardinality", output_field=models.IntegerField())
        return super().get_queryset(request).annotate(bars_in_chunk=count).defer(*BAR_COLUMNS)

    @admin.display(description=_("bars"))
    def bar_count(self, chunk: BarChunk) -> int:
        return chunk.bars_in_chunk  # type: ignore[attr-defined]


@admin.register(OpenBar)
class OpenBarAdmin(ReadOnlyAdmin):
    list_display = ("instrument", "lane", "minute", "o", "h", "l", "c", "v")
    list_select_related = ("instrument",)
    fields = (("instrument", "lane", "minute"), ("o", "h", "l", "c", "v"), "last_seq")
    empty_text = _("No minute is in progress: the feed is not running, or all markets are closed.")


@admin.register(StreamComparison)
class StreamComparisonAdmin(ReadOnlyAdmin):
    """Whether the charts of TradingView, built from our stream, will be those that it reloads from our history."""

    list_before_template = "marketdata/stream_delays.html"
    list_display = ("hour", "instrument", "compared", "shown_difference", "example", "updated_at")
    list_select_related = ("instrument",)
    list_filter = (("different", RangeNumericFilter),)
    date_hierarchy = "hour"
    search_fields = ("instrument__symbol__istartswith",)
    fields = (("instrument", "hour"), ("compared", "different"), "example", "updated_at")
    empty_text = _("Nothing was compared yet: `manage.py watch_stream` compares, minute by minute.")

    @display(description=_("different"), ordering="different", label={"well": "success", "alarm": "danger"})
    def shown_difference(self, row: StreamComparison) -> tuple[str, str]:
        return "alarm" if row.is_alarming else "well", str(row.different)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            delays = metrics.told()
        except redis.RedisError:
            delays = []
        return super().changelist_view(request, {**(extra_context or {}), "delays": delays})


@admin.register(LogPosition)
class LogPositionAdmin(ReadOnlyAdmin):
    list_display = ("reader", "entry_id", "updated_at")
    fields = ("reader", "entry_id", "updated_at")
    empty_text = _("No reader has stored a position yet.")


class CorrectionForm(forms.ModelForm):
    """The bar as it shall be."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # where Django's own checks of the whole row are
        if not self.errors:
            try:
                corrections.check(*correction_of(self.instance), reason=self.instance.reason)
            except corrections.CorrectionRefused as refusal:
                self.add_error(None, str(refusal))


def correction_of(row: BarCorrection) -> tuple[Instrument, Resolution, Bar]:
    """What the row of the form wants changed."""
    return row.instrument, Resolution(row.resolution), Bar(unix(row.time), row.o, row.h, row.l, row.c, row.v)


@admin.register(BarCorrection)
class BarCorrectionAdmin(StaffAdmin):
    """Closed bars change here and nowhere else; what was corrected stays in this list for ever."""

    form = CorrectionForm
    list_display = ("time", "instrument", "resolution", "version", "old_c", "c", "reason", "by", "at")
    list_select_related = ("instrument", "by")
    list_filter = ("resolution",)
    search_fields = ("instrument__symbol__istartswith", "reason__icontains")
    autocomplete_fields = ("instrument",)
    fields = (("instrument", "resolution"), "time", ("o", "h"), ("l", "c"), "v", "reason")
    empty_text = _("No bar was ever corrected.")

    def get_fields(self, request: HttpRequest, obj: BarCorrection | None = None) -> Any:
        if obj is None:
            return self.fields
        return (*self.fields, ("old_o", "old_h"), ("old_l", "old_c"), "old_v", ("version", "by", "at"))

    def has_change_permission(self, request: HttpRequest, obj: BarCorrection | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BarCorrection | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: BarCorrection, form: Any, change: bool) -> None:
        made = corrections.correct(*correction_of(obj), reason=obj.reason, by=request.user)
        obj.__dict__.update(made.__dict__)


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    list_display = ("at", "instrument", "text", "told_at", "told_by")
    list_select_related = ("instrument", "told_by")
    list_filter = (("told_at", admin.EmptyFieldListFilter),)
    search_fields = ("instrument__symbol__istartswith", "text__icontains")
    fields = (("instrument", "at"), "text", ("told_at", "told_by"))
    actions = ("mark_as_told",)
    empty_text = _("There is nothing to tell TradingView.")

    def has_tell_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("marketdata.tell_notice"))

    @admin.action(description=_("TradingView was told of the selected"), permissions=["tell"])
    def mark_as_told(self, request: HttpRequest, queryset: models.QuerySet[Notice]) -> None:
        queryset.filter(told_at=None).update(told_at=timezone.now(), told_by=request.user)


@admin.register(BadQuotes)
class BadQuotesAdmin(LogAdmin):
    """Ticks that triggered nothing and filled nothing, by day and by what was wrong with them."""

    list_display = ("id", "day", "instrument", "defect", "count", "last_bid", "last_ask", "last_at")
    list_select_related = ("instrument",)
    list_filter = ("defect",)
    fields = (("instrument", "day"), ("defect", "count"), ("last_bid", "last_ask", "last_at"))
    search_lookup = "instrument__symbol"
    search_help_text = _("Symbol")
    empty_text = _("Every tick so far was fit to trade on.")
