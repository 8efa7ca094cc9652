"""The admin's sidebar: its pages by subject, each for those who may see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import get_language_info
from django.utils.translation import gettext_lazy as _

from backoffice import pages
from backoffice.admin import list_url, may_view

# Name, title: (model, symbol of the Material Symbols font). Pages that are no model's name their section themselves.
SECTIONS = (
    (
        "trading",
        _("Trading"),
        (
            ("trading.Order", "receipt_long"),
            ("trading.Execution", "done_all"),
            ("trading.Position", "stacked_line_chart"),
            ("trading.LatencyReport", "speed"),
            ("trading.Bust", "undo"),
            ("trading.MarginDecision", "gavel"),
            ("trading.Leverage", "tune"),
            ("trading.Alarm", "notification_important"),
        ),
    ),
    ("dealing", _("Dealing desk"), ()),
    (
        "venues",
        _("Venues"),
        (
            ("trading.FixSession", "lan"),
            ("trading.VenueRoute", "alt_route"),
            ("trading.VenueRequest", "outbox"),
            ("trading.FixMessage", "forum"),
        ),
    ),
    (
        "clients",
        _("Clients"),
        (
            ("accounts.Client", "person"),
            ("accounts.Account", "account_balance_wallet"),
            ("accounts.AccountGroup", "groups"),
            ("accounts.TradingConditions", "rule"),
            ("trading.InstrumentTerms", "checklist"),
            ("accounts.NumberSeries", "tag"),
            ("operations.ClientDocument", "description"),
        ),
    ),
    (
        "cash",
        _("Cash"),
        (
            ("operations.CashRequest", "approval"),
            ("operations.CashLimit", "vertical_align_top"),
        ),
    ),
    ("support", _("Support"), (("support.Look", "visibility"),)),
    ("bulk", _("Bulk work"), (("operations.Job", "hourglass_top"),)),
    (
        "market",
        _("Market"),
        (
            ("marketdata.Instrument", "candlestick_chart"),
            ("marketdata.SymbolGroup", "folder"),
            ("marketdata.MappedInstrument", "swap_horiz"),
            ("marketdata.MappingRelease", "published_with_changes"),
            ("marketdata.TradingViewSymbol", "list_alt"),
            ("marketdata.Holiday", "event_busy"),
            ("marketdata.FeedSource", "cell_tower"),
            ("marketdata.FeedRoute", "alt_route"),
            ("marketdata.BarChunk", "bar_chart"),
            ("marketdata.BarCorrection", "edit_note"),
            ("marketdata.Notice", "campaign"),
            ("marketdata.StreamComparison", "compare_arrows"),
            ("marketdata.BadQuotes", "filter_alt"),
            ("trading.FundingRate", "percent"),
        ),
    ),
    (
        "books",
        _("Books"),
        (
            ("accounts.Transfer", "sync_alt"),
            ("accounts.Posting", "list_alt"),
            ("trading.Charge", "request_quote"),
            ("accounts.Balance", "savings"),
            ("accounts.LedgerAccount", "account_balance"),
            ("accounts.Currency", "payments"),
            ("operations.DayEnd", "event_available"),
        ),
    ),
    (
        "integration",
        _("Integration"),
        (("conformance.ConformanceRun", "fact_check"),),
    ),
    (
        "access",
        _("Access"),
        (
            ("accounts.User", "badge"),
            ("auth.Group", "shield_person"),
            ("accounts.OAuthClient", "hub"),
            ("accounts.ClientSecret", "password"),
            ("accounts.AccessToken", "key"),
            ("accounts.RenewalToken", "autorenew"),
            ("otp_totp.TOTPDevice", "phonelink_lock"),
            ("accounts.DataTariff", "sell"),
            ("accounts.DataSubscription", "card_membership"),
            ("axes.AccessAttempt", "lock"),
            ("admin.LogEntry", "history"),
            ("audit.Entry", "policy"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups of links, as unfold's setting SIDEBAR takes them; called for every page."""
    overview = {"title": _("Overview"), "icon": "dashboard", "link": reverse("admin:index")}
    sections = [
        {"title": title, "items": [*_pages(request, name), *_lists(request, models)]}
        for name, title, models in SECTIONS
    ]
    return [{"items": [overview]}, *(section for section in sections if section["items"])]


def _pages(request: HttpRequest, section: str) -> Iterator[dict[str, Any]]:
    for page in pages.registry.values():
        if page.section == section and page.may_open(request):
            yield {"title": page.title, "icon": page.icon, "link": page.url}


def _lists(request: HttpRequest, models: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    return (_item(model, icon) for model, icon in _models(models) if may_view(request, model))


def _models(pages: Iterable[tuple[str, str]]) -> Iterator[tuple[type[Model], str]]:
    return ((apps.get_model(label), icon) for label, icon in pages)


def _item(model: type[Model], icon: str) -> dict[str, Any]:
    return {"title": capfirst(model._meta.verbose_name_plural), "icon": icon, "link": list_url(model)}


def languages(request: HttpRequest) -> list[dict[str, Any]]:
    """Those that staff may choose: the admin is whole in them."""
    return [dict(get_language_info(code)) for code in (settings.LANGUAGE_CODE, *settings.STAFF_LANGUAGES)]
