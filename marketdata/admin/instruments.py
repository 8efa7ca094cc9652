"""Pages of instruments with their groups and holidays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from modeltranslation.utils import build_localized_fieldname
from unfold.decorators import display

from backoffice.admin import Panel, StaffAdmin, list_url
from marketdata import definitions, suggestions
from marketdata.admin.prices import BAR_COLUMNS
from marketdata.choices import InstrumentState
from marketdata.models import BarChunk, Holiday, Instrument, SymbolGroup, SymbolMapping
from marketdata.triggers import MOST_SYMBOLS

DEFAULT_DESCRIPTION = build_localized_fieldname("description", settings.LANGUAGE_CODE)
DESCRIPTIONS = tuple(build_localized_fieldname("description", code) for code, _language in settings.LANGUAGES)


class InstrumentForm(forms.ModelForm):
    """Looks at the definition as a whole, for those who may change it: halting must not fail for a wrong name."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # where Django's own checks of the whole row are
        if "pricescale" in self.fields and not self.errors:
            for name, sentence in definitions.problems(self.instance):
                self.add_error(name if name in self.fields else None, str(sentence))

    def clean_symbol_group(self) -> SymbolGroup | None:
        group: SymbolGroup | None = self.cleaned_data["symbol_group"]
        if group and group.instruments.exclude(pk=self.instance.pk).count() >= MOST_SYMBOLS:
            raise forms.ValidationError(
                _("%(group)s has %(count)d symbols already, and TradingView takes no more."),
                params={"group": group, "count": MOST_SYMBOLS},
            )
        return group


@admin.register(Instrument)
class InstrumentAdmin(StaffAdmin):
    """Whoever may change instruments changes all of them; dealing only their state, support only texts and group."""

    form = InstrumentForm
    list_display = ("symbol", "description", "type", "shown_state", "symbol_group", "quote_currency", "session_regular")
    list_filter = ("state", "type", "symbol_group")
    list_select_related = ("symbol_group",)
    search_fields = ("symbol__istartswith", "description__icontains")
    search_help_text = _("The beginning of the symbol, or part of the description")
    empty_text = _("There are no instruments yet. Add one; its accounts' groups then say who may trade it.")
    fieldsets = (
        (
            None,
            {"fields": (("symbol", "type"), "is_cfd", DEFAULT_DESCRIPTION, ("state", "shortability"), "symbol_group")},
        ),
        (
            _("Money"),
            {"fields": (("base_currency", "quote_currency"), "contract_size", ("exchange_listed", "exchange_traded"))},
        ),
        (
            _("Prices and quantities"),
            {
                "fields": (
                    ("minmovement", "pricescale"),
                    ("minmovement2", "fractional"),
                    ("min_qty", "max_qty", "qty_step"),
                ),
                "description": _("TradingView takes over a new price format only after somebody there has agreed."),
            },
        ),
        (
            _("Trading hours"),
            {
                "fields": (
                    ("timezone", "holiday_calendar"),
                    ("session_regular", "session_premarket", "session_postmarket"),
                ),
                "description": _(
                    "In TradingView's notation: 0930-1600, 1700-1600:23456 (1 is Sunday) or 24x7. "
                    "Holidays belong into the holiday calendar."
                ),
            },
        ),
        (_("Bars"), {"fields": (("bar_source", "has_daily", "has_no_volume"),)}),
        (
            _("Futures and securities"),
            {"classes": ("collapse",), "fields": (("root", "root_description", "expiration"), ("isin", "wkn"))},
        ),
        (
            _("Description in other languages"),
            {
                "classes": ("collapse",),
                "fields": tuple(name for name in DESCRIPTIONS if name != DEFAULT_DESCRIPTION),
                "description": _("Where one is empty, the English description is shown."),
            },
        ),
    )
    change_form_outer_before_template = "dealing/instrument_actions.html"
    fixed_once_listed = ("symbol", "type", "is_cfd", "base_currency", "quote_currency", "contract_size")
    # Permission beside `change`: the fields it opens.
    limited_rights = {"state": ("state",), "describe": ("symbol_group", *DESCRIPTIONS)}

    def has_change_permission(self, request: HttpRequest, obj: Instrument | None = None) -> bool:
        return super().has_change_permission(request, obj) or bool(self._opened_fields(request))

    def has_delete_permission(self, request: HttpRequest, obj: Instrument | None = None) -> bool:
        return False  # it is in orders and bars

    def save_model(self, request: HttpRequest, obj: Instrument, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        suggestions.renew([obj.pk])

    def get_readonly_fields(self, request: HttpRequest, obj: Instrument | None = None) -> Sequence[Any]:
        fixed = super().get_readonly_fields(request, obj)
        if obj is None:
            return fixed
        if super().has_change_permission(request, obj):
            return [*fixed, *map(self._shown, self.fixed_once_listed)]
        opened = self._opened_fields(request)
        names = {field.name for field in Instrument._meta.concrete_fields}
        return [*fixed, *(self._shown(name) for name in sorted(names.difference(opened)))]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and db_field.name == DEFAULT_DESCRIPTION:
            field.required = True
        return field

    def _opened_fields(self, request: HttpRequest) -> set[str]:
        """The fields that a limited right lets the user edit."""
        return {
            name
            for right, names in self.limited_rights.items()
            if request.user.has_perm(f"marketdata.{right}_instrument")
            for name in names
        }

    @display(
        description=_("state"),
        ordering="state",
        label={
            InstrumentState.TRADING: "success",
            InstrumentState.CLOSE_ONLY: "warning",
            InstrumentState.HALTED: "danger",
        },
    )
    def shown_state(self, instrument: Instrument) -> tuple[str, str]:
        return instrument.state, instrument.get_state_display()

    def panels(self, request: HttpRequest, instrument: Instrument) -> Iterable[Panel]:
        yield Panel(
            _("symbol mapping"),
            SymbolMapping.objects.filter(instrument=instrument),
            ("tradingview_symbol", "published_symbol", "updated_at"),
            _("Not mapped yet: accounts that trade it cannot be offered at TradingView (MAP-3)."),
        )
        yield Panel(
            _("latest bars"),
            BarChunk.objects.filter(instrument=instrument).defer(*BAR_COLUMNS).order_by("-start"),
            ("id", "resolution", "start"),
            _("There are no bars yet. Start the feed, or import some with `manage.py import_bars`."),
            list_url(BarChunk, instrument__id__exact=instrument.pk),
        )


@admin.register(SymbolGroup)
class SymbolGroupAdmin(StaffAdmin):
    list_display = ("name", "description", "instrument_count")
    search_fields = ("name__icontains",)
    fields = ("name", "description")
    empty_text = _("There are no symbol groups yet. TradingView asks for our symbols by group, so add one.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[SymbolGroup]:
        return super().get_queryset(request).annotate(instruments_in_group=models.Count("instruments"))

    def get_readonly_fields(self, request: HttpRequest, obj: SymbolGroup | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("name",) if obj else ())]

    def has_delete_permission(self, request: HttpRequest, obj: SymbolGroup | None = None) -> bool:
        return False  # GRP-4

    @admin.display(description=_("instruments"), ordering="instruments_in_group")
    def instrument_count(self, group: SymbolGroup) -> int:
        return group.instruments_in_group  # type: ignore[attr-defined]

    def panels(self, request: HttpRequest, group: SymbolGroup) -> Iterable[Panel]:
        yield Panel(
            _("instruments"),
            group.instruments.all(),
            ("symbol", "description", "type", "state"),
            _("The group is empty. Choose it on the pages of its instruments."),
            list_url(Instrument, symbol_group__id__exact=group.pk),
        )


@admin.register(Holiday)
class HolidayAdmin(StaffAdmin):
    list_display = ("day", "calendar", "name", "close_time")
    list_filter = ("calendar",)
    date_hierarchy = "day"
    ordering = ("-day", "calendar")
    search_fields = ("name__icontains",)
    fields = (("calendar", "day"), ("name", "close_time"))
    empty_text = _("There are no holidays yet: every market trades on every day of its session.")
