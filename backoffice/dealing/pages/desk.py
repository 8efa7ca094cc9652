"""Live pages of the dealing desk: exposure, orders near the market, margin, prices. They renew themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.models import Account, Currency
from backoffice import health
from backoffice.admin import NOTHING, link_to, list_url, number
from backoffice.dealing import exposure, feed_health, near_market
from backoffice.dealing.exposure import Line
from backoffice.dealing.kill_switch import SCOPES
from backoffice.pages import Table, live, page, registry
from marketdata import metrics
from marketdata.models import BadQuotes, FeedSource
from trading import exposure as margin_exposure
from trading import levels, valuation
from trading.choices import DecisionKind
from trading.decision_admin import holding_text
from trading.errors import OrderRejected
from trading.models import MarginDecision, Position
from trading.prices import Prices

NEAR_ORDERS = 50
WARNED_ACCOUNTS = 50
STOP_OUTS = 20
SEEN_POSITIONS = 3
SHOWN_PRICES = 100
TABS = ("desk_exposure", "desk_orders", "desk_margin", "desk_prices")


class CurrencyForm(forms.Form):
    currency = forms.ModelChoiceField(
        label=gettext_lazy("Amounts in"), queryset=Currency.objects.all(), widget=UnfoldAdminSelectWidget
    )


def _live(request: HttpRequest, title: str, context: Callable[[], dict[str, Any]]) -> HttpResponse:
    """A page that renews itself, with links to the others. While Redis is away it says so."""
    links = [(str(registry[name].title), registry[name].url) for name in TABS if registry[name].may_open(request)]
    away = _("The prices cannot be read at the moment. The page tries again by itself.")
    return live(request, title, context, away=away, always={"links": links})


# --- exposure ---------------------------------------------------------------------------------------------------------


@page(
    "desk/exposure/",
    title=gettext_lazy("Exposure"),
    permission="trading.view_position",
    section="dealing",
    icon="pie_chart",
)
def desk_exposure(request: HttpRequest) -> HttpResponse:
    form = CurrencyForm(request.GET if "currency" in request.GET else {"currency": _usual_currency()})
    return _live(request, _("Exposure"), lambda: _exposure(request, form))


def _usual_currency() -> str:
    """That of the first account; the dollar before there is one."""
    return Account.objects.order_by("pk").values_list("currency_id", flat=True).first() or "USD"


def _exposure(request: HttpRequest, form: CurrencyForm) -> dict[str, Any]:
    if not form.is_valid():
        return {"form": form}
    currency: Currency = form.cleaned_data["currency"]
    lines = exposure.by_instrument()
    prices = Prices([line.instrument.symbol for line in lines])
    legs = exposure.by_currency(lines, prices)
    sentences = [_("What all clients hold together; the house stands on the other side, unless a venue does.")]
    sentences += [
        _("There is no rate from %(source)s to %(target)s: what is in %(source)s is not converted.")
        % {"source": code, "target": currency}
        for code in exposure.unjoined([*legs, *(line.instrument.quote_currency for line in lines)], currency, prices)
    ]
    return {
        "form": form,
        "sentences": sentences,
        "tables": [_instruments(request, lines, prices, currency), _currencies(legs, prices, currency)],
    }


def _instruments(request: HttpRequest, lines: list[Line], prices: Prices, currency: Currency) -> Table:
    headers = [
        _("Instrument"), _("Positions"), _("Long"), _("Short"), _("Net"),
        _("Worth in %(currency)s") % {"currency": currency}, _("Clients' profit"), _("State"),
    ]  # fmt: skip
    rows = [_instrument_row(request, line, prices, currency) for line in lines]
    return _("by instrument"), {"headers": headers, "rows": rows}, _("Nobody holds a position.")


def _instrument_row(request: HttpRequest, line: Line, prices: Prices, currency: Currency) -> list[object]:
    instrument = line.instrument
    positions = list_url(Position, instrument__id__exact=instrument.pk, closed_at__isempty=1)
    return [
        link_to(instrument),
        format_html('<a class="text-link" href="{}">{}</a>', positions, number(Decimal(line.positions))),
        number(line.long),
        number(line.short),
        number(line.net),
        number(exposure.converted(line.value(prices), instrument.quote_currency, currency, prices)),
        number(exposure.converted(line.profit(prices), instrument.quote_currency, currency, prices)),
        _stop_link(request, "instrument", instrument.pk, instrument.get_state_display()),
    ]


def _currencies(legs: dict[str, Decimal], prices: Prices, currency: Currency) -> Table:
    headers = [_("Currency"), _("Clients are long of"), _("Worth in %(currency)s") % {"currency": currency}]
    rows = [
        [code, number(amount), number(exposure.converted(amount, code, currency, prices))]
        for code, amount in legs.items()
    ]
    return _("by currency"), {"headers": headers, "rows": rows}, _("Nobody holds a position.")


def _stop_link(request: HttpRequest, kind: str, pk: int, text: str) -> str | SafeString:
    """The text, for those who may stop it leading to where they do."""
    if not request.user.has_perm(SCOPES[kind].permission):
        return text
    return format_html('<a class="text-link" href="{}">{}</a>', reverse("page:stop", args=[kind, pk]), text)


# --- orders near the market -------------------------------------------------------------------------------------------


@page(
    "desk/orders/",
    title=gettext_lazy("Near the market"),
    permission="trading.view_order",
    section="dealing",
    icon="near_me",
)
def desk_orders(request: HttpRequest) -> HttpResponse:
    return _live(request, _("Orders near the market"), _near)


def _near() -> dict[str, Any]:
    headers = [
        _("Order"), _("Account"), _("Instrument"), _("Side"), _("Type"), _("Left"), _("Limit"), _("Stop"),
        _("Market"), _("Distance"),
    ]  # fmt: skip
    rows = [
        [
            link_to(each.order, each.order.pk),
            link_to(each.order.account),
            link_to(each.order.instrument),
            each.order.get_side_display(),
            each.order.get_type_display(),
            number(each.order.leaves_qty),
            number(each.order.limit_price),
            number(each.order.stop_price),
            f"{number(each.bid)} / {number(each.ask)}",
            _rounded(each.distance, 3, "%"),
        ]
        for each in near_market.nearest(NEAR_ORDERS)
    ]
    table: Table = _("the nearest first"), {"headers": headers, "rows": rows}, _("No order waits for a price.")
    return {"tables": [table]}


# --- margin -----------------------------------------------------------------------------------------------------------


@page(
    "desk/margin/",
    title=gettext_lazy("Margin calls"),
    permission="trading.view_margindecision",
    section="dealing",
    icon="warning",
)
def desk_margin(request: HttpRequest) -> HttpResponse:
    return _live(request, _("Margin calls and stop-outs"), lambda: _margin(request))


def _margin(request: HttpRequest) -> dict[str, Any]:
    warned = margin_exposure.warned_accounts()
    sentences = []
    if len(warned) > WARNED_ACCOUNTS:
        words = {"count": number(Decimal(len(warned))), "shown": WARNED_ACCOUNTS}
        text = _("%(count)s accounts are below their margin call. Shown are the %(shown)s that fell the lowest.")
        sentences.append(text % words)
    return {"sentences": sentences, "tables": [_margin_calls(request, warned[:WARNED_ACCOUNTS]), _stop_outs()]}


def _margin_calls(request: HttpRequest, warned: list[int]) -> Table:
    """The worst first; accounts whose level is not known at the moment come last."""
    prices = Prices()
    accounts = Account.objects.select_related("group", "currency").filter(pk__in=warned).order_by("number")
    found = [_warned_row(request, account, prices) for account in accounts]
    rows = [row for _level, row in sorted(found, key=lambda each: (each[0] is None, each[0] or 0))]
    headers = [_("Account"), _("Level"), _("Equity"), _("Margin"), _("Free"), _("Positions"), _("State")]
    return _("margin calls"), {"headers": headers, "rows": rows}, _("No account is below its margin call.")


def _warned_row(request: HttpRequest, account: Account, prices: Prices) -> tuple[Decimal | None, list[object]]:
    positions = valuation.open_positions(account)
    level, shown = None, [NOTHING, NOTHING, NOTHING]
    with suppress(OrderRejected):  # a rate into the account's currency is not known at the moment
        figures, free = margin_exposure.now(account, positions, prices)
        level = figures.level
        shown = [f"{number(figures.equity)} {account.currency_id}", number(figures.margin), number(free)]
    return level, [
        link_to(account),
        _rounded(level, 2, "%"),
        *shown,
        str(len(positions)),
        _stop_link(request, "account", account.pk, account.get_state_display()),
    ]


def _stop_outs() -> Table:
    kinds = (DecisionKind.CANCEL_ORDERS, DecisionKind.CLOSE, DecisionKind.PROTECTED)
    latest = MarginDecision.objects.filter(kind__in=kinds).select_related("account", "order")
    rows = [
        [
            link_to(decision, f"{decision.at:%Y-%m-%d %H:%M:%S}"),
            link_to(decision.account),
            decision.get_kind_display(),
            _rounded(decision.level, 2, "%"),
            f"{number(decision.equity)} {decision.account.currency_id}",
            number(decision.margin),
            _evidence(decision),
            *((link_to(order, order.pk), number(order.avg_price)) if (order := decision.order) else (NOTHING, NOTHING)),
        ]
        for decision in latest.order_by("-pk")[:STOP_OUTS]
    ]
    headers = [
        _("At (UTC)"), _("Account"), _("Decision"), _("Level"), _("Equity"), _("Margin"), _("What was seen"),
        _("Order"), _("Filled at"),
    ]  # fmt: skip
    return _("latest stop-outs"), {"headers": headers, "rows": rows}, _("No position was ever closed for its margin.")


def _evidence(decision: MarginDecision) -> str:
    """The position that was closed as it was seen; the decision's own page shows all of them."""
    inputs = levels.load(decision.inputs)
    seen = [each for each in inputs.holdings if each.position == decision.position_id] or inputs.holdings
    texts = [holding_text(each, inputs.decimals) for each in seen[:SEEN_POSITIONS]]
    if decision.kind == DecisionKind.CANCEL_ORDERS:
        texts.insert(0, _("Orders that were cancelled: %(count)s") % {"count": inputs.pending})
    if (hidden := len(seen) - SEEN_POSITIONS) > 0:
        texts.append(_("and %(hidden)s more") % {"hidden": hidden})
    return "; ".join(texts) or NOTHING


# --- prices -----------------------------------------------------------------------------------------------------------


@page(
    "desk/prices/",
    title=gettext_lazy("Prices"),
    permission="marketdata.view_instrument",
    section="dealing",
    icon="monitor_heart",
)
def desk_prices(request: HttpRequest) -> HttpResponse:
    return _live(request, _("Prices and their sources"), lambda: _prices(request))


def _prices(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    found = feed_health.look(now)
    delays = metrics.told()
    parts = health.report()
    return {
        "figures": [
            (_("Feed"), parts["feed"]),
            (_("Engine"), parts["engine"]),
            (_("Instruments not well"), str(sum(not each.is_well for each in found))),
            (_("Readers of the stream"), str(sum(each.connections for each in delays))),
            (_("Slowest line in a minute"), f"{max((each.most_ms for each in delays), default=0)} ms"),
        ],
        "tables": [_sources(), _quotes(request, found), _bad(now.date())],
    }


def _sources() -> Table:
    rows = [
        [link_to(each), each.get_state_display(), _moment(each.last_tick_at), str(each.connects), each.last_error]
        for each in FeedSource.objects.filter(is_enabled=True)
    ]
    headers = [_("Source"), _("State"), _("Last price"), _("Connections"), _("Last error")]
    return _("sources"), {"headers": headers, "rows": rows}, _("No source is enabled: prices come from the simulator.")


def _quotes(request: HttpRequest, found: list[feed_health.Health]) -> Table:
    rows = [
        [
            link_to(each.instrument),
            number(each.quote.bid) if each.quote else NOTHING,
            number(each.quote.ask) if each.quote else NOTHING,
            number(each.quote.ask - each.quote.bid) if each.quote else NOTHING,
            _rounded(None if each.age is None else each.age.total_seconds(), 1, "s"),
            _verdict(each),
            each.source or NOTHING,
            _stop_link(request, "instrument", each.instrument.pk, each.instrument.get_state_display()),
        ]
        for each in found[:SHOWN_PRICES]
    ]
    headers = [
        _("Instrument"), _("Bid"), _("Ask"), _("Spread"), _("Age"), _("Verdict"), _("Source"), _("State"),
    ]  # fmt: skip
    return _("prices, the worst first"), {"headers": headers, "rows": rows}, _("No group may trade any instrument yet.")


def _verdict(each: feed_health.Health) -> str:
    if each.defect:
        return str(each.defect.label)
    if not each.is_open:
        return _("closed")
    return _("well") if each.is_well else _("too old")


def _bad(day: Any) -> Table:
    rows = [
        [link_to(each.instrument), each.get_defect_display(), str(each.count), _moment(each.last_at)]
        for each in BadQuotes.objects.filter(day=day).select_related("instrument").order_by("-count")[:SHOWN_PRICES]
    ]
    headers = [_("Instrument"), _("Defect"), _("Ticks"), _("Last")]
    return _("bad ticks today"), {"headers": headers, "rows": rows}, _("No tick of today was refused.")


def _moment(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else NOTHING


def _rounded(value: Decimal | float | None, places: int, unit: str) -> str:
    """Rounded as Python does it: Django's formatting cuts digits off."""
    return (
        NOTHING
        if value is None
        else f"{number_format(f'{value:.{places}f}', force_grouping=True)}\N{NO-BREAK SPACE}{unit}"
    )
