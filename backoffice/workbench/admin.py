"""The mapping workbench: every instrument with its symbol at TradingView, the releases, and TradingView's list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from backoffice.admin import NOTHING, LogAdmin, Panel, ReadOnlyAdmin, StaffAdmin, list_url, number
from marketdata import mappings, suggestions
from marketdata.choices import MappingProblem, MappingState
from marketdata.models import (
    MappedInstrument,
    MappingChange,
    MappingRelease,
    TradingViewSymbol,
)

SHOWN_CANDIDATES = 10


class MappingStateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "mapping"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return MappingState.choices

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(mapping_state=self.value()) if self.value() else queryset


class MappingForm(forms.ModelForm):
    tradingview_symbol = forms.CharField(
        label=_("TradingView symbol"),
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("The full name with its exchange, as NASDAQ:AAPL. Empty: not mapped from the next release on."),
    )

    class Meta:
        model = MappedInstrument
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["tradingview_symbol"] = self.instance.chosen

    def clean_tradingview_symbol(self) -> str:
        return mappings.check_full_name(self.cleaned_data["tradingview_symbol"])


@admin.register(MappedInstrument)
class MappedInstrumentAdmin(StaffAdmin):
    """Choosing makes drafts; `/mapping` changes when they are published."""

    form = MappingForm
    list_display = ("symbol", "description", "type", "shown_state", "remark", "shown_choice", "shown_published")
    list_filter = (MappingStateFilter, "type", "symbol_group")
    list_select_related = ("suggestion__target",)
    search_fields = (
        "symbol__istartswith", "description__icontains", "mapping__tradingview_symbol__icontains",
    )  # fmt: skip
    search_help_text = _("The beginning of our symbol, or part of the description or of TradingView's symbol")
    list_before_template = "workbench/actions.html"
    fields = ("symbol", "description", ("type", "quote_currency", "exchange_listed"), "tradingview_symbol", "remark")
    readonly_fields = ("symbol", "description", "type", "quote_currency", "exchange_listed", "remark")
    actions = ("accept_suggestions", "take_back_drafts", "leave_unmapped")
    empty_text = _("There are no instruments yet: each has its line here.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[MappedInstrument]:
        return MappedInstrument.workbench.with_states().order_by("symbol")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: MappedInstrument, form: Any, change: bool) -> None:
        mappings.choose({obj.pk: form.cleaned_data["tradingview_symbol"]})

    @display(
        description=_("state"),
        ordering="mapping_state",
        label={
            MappingState.SUGGESTED: "info",
            MappingState.DRAFT: "warning",
            MappingState.PUBLISHED: "success",
            MappingState.BROKEN: "danger",
        },
    )
    def shown_state(self, instrument: MappedInstrument) -> tuple[str, Any]:
        return instrument.mapping_state, MappingState(instrument.mapping_state).label

    @admin.display(description=_("chosen"), ordering="chosen")
    def shown_choice(self, instrument: MappedInstrument) -> str:
        return instrument.chosen or NOTHING

    @admin.display(description=_("published"), ordering="given_out")
    def shown_published(self, instrument: MappedInstrument) -> str:
        return instrument.given_out or NOTHING

    @admin.display(description=_("problem or suggestion"), ordering="suggestion__score")
    def remark(self, instrument: MappedInstrument) -> str:
        """What is wrong with the choice; where there is none, what is suggested, its score and why."""
        if instrument.mapping_problem:
            return str(MappingProblem(instrument.mapping_problem).label)
        suggestion = getattr(instrument, "suggestion", None)
        if suggestion is None or instrument.mapping_state != MappingState.SUGGESTED:
            return NOTHING
        return format_html(
            "{} · {} · {}", suggestion.target, suggestion.score, suggestions.in_words(suggestion.reasons)
        )

    def panels(self, request: HttpRequest, instrument: MappedInstrument) -> Iterable[Panel]:
        found = {each.target.pk: each for each in suggestions.candidates(instrument)[:SHOWN_CANDIDATES]}

        @admin.display(description=_("score"))
        def score(row: TradingViewSymbol) -> str:
            return str(found[row.pk].score)

        @admin.display(description=_("agrees in"))
        def reasons(row: TradingViewSymbol) -> str:
            return suggestions.in_words(found[row.pk].reasons)

        places = [models.When(pk=pk, then=place) for place, pk in enumerate(found)]
        by_score = TradingViewSymbol.objects.filter(pk__in=found).order_by(models.Case(*places) if places else "pk")
        yield Panel(
            _("candidates"),
            by_score,
            ("full_name", score, reasons, "type", "currency", "description"),
            _("TradingView's list has nothing of this name or description. Import it anew, or search it yourself."),
            list_url(TradingViewSymbol),
        )
        yield Panel(
            _("published changes"),
            MappingChange.objects.filter(instrument=instrument.pk).select_related("release").order_by("-release_id"),
            ("release", "before", "after"),
            _("It was never published."),
        )

    # --- many at once -------------------------------------------------------------------------------------------------

    @admin.action(description=_("Accept the suggestions of the selected"), permissions=["change"])
    def accept_suggestions(self, request: HttpRequest, queryset: models.QuerySet[MappedInstrument]) -> None:
        count = mappings.accept(queryset.values_list("pk", flat=True))
        text = ngettext("%(count)s suggestion is a draft now.", "%(count)s suggestions are drafts now.", count)
        messages.success(request, text % {"count": count})

    @admin.action(description=_("Take back the drafts of the selected"), permissions=["change"])
    def take_back_drafts(self, request: HttpRequest, queryset: models.QuerySet[MappedInstrument]) -> None:
        count = mappings.take_back(queryset.values_list("pk", flat=True))
        text = ngettext("%(count)s draft was taken back.", "%(count)s drafts were taken back.", count)
        messages.success(request, text % {"count": count})

    @admin.action(description=_("Leave the selected without a mapping"), permissions=["change"])
    def leave_unmapped(self, request: HttpRequest, queryset: models.QuerySet[MappedInstrument]) -> None:
        count = mappings.choose(dict.fromkeys(queryset.values_list("pk", flat=True), ""))
        text = ngettext(
            "%(count)s instrument is not mapped from the next release on.",
            "%(count)s instruments are not mapped from the next release on.",
            count,
        )
        messages.success(request, text % {"count": count})


@admin.register(MappingRelease)
class MappingReleaseAdmin(ReadOnlyAdmin):
    list_display = ("id", "published_at", "by", "note", "change_count", "restores")
    list_select_related = ("by", "restores")
    date_hierarchy = "published_at"
    search_fields = ("note__icontains",)
    fields = (("published_at", "by"), "note", "restores")
    empty_text = _("Nothing was published yet: `/mapping` is empty.")
    change_form_outer_before_template = "workbench/release_actions.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[MappingRelease]:
        return super().get_queryset(request).annotate(changes_in_release=models.Count("changes"))

    @admin.display(description=_("changes"))
    def change_count(self, release: MappingRelease) -> int:
        return release.changes_in_release  # type: ignore[attr-defined]

    def panels(self, request: HttpRequest, release: MappingRelease) -> Iterable[Panel]:
        yield Panel(_("changes"), release.changes.select_related("instrument"), ("instrument", "before", "after"), "")


@admin.register(TradingViewSymbol)
class TradingViewSymbolAdmin(LogAdmin):
    """TradingView's list, to look things up in."""

    list_display = ("full_name", "type", "currency", "shown_tick", "description")
    list_filter = ("type",)
    fields = (("full_name", "type", "currency"), "description", "tick_size")
    ordering = ("full_name",)
    sortable_by = ("full_name",)
    empty_text = _("No list was imported yet: `manage.py import_tradingview_symbols FILE`.")
    search_help_text = _("The beginning of the full name, or the symbol without its exchange")

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        term = search_term.strip().upper()
        if not term:
            return queryset, False
        wanted = models.Q(full_name__startswith=term) | models.Q(code=suggestions.code_of(term))
        return queryset.filter(wanted), False

    @admin.display(description=_("tick size"))
    def shown_tick(self, symbol: TradingViewSymbol) -> str:
        return number(symbol.tick_size)
