"""Pages of margin decisions: what was decided about an account, and all that it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from backoffice.admin import NOTHING, LogAdmin, number
from backoffice.fields import plain
from trading import levels, risk
from trading.choices import DecisionKind
from trading.levels import Holding
from trading.models import MarginDecision
from trading.venues.admin import order_number

DECISION_COLOURS = {
    DecisionKind.CALL: "warning",
    DecisionKind.CANCEL_ORDERS: "danger",
    DecisionKind.CLOSE: "danger",
    DecisionKind.RESTORED: "success",
    DecisionKind.PROTECTED: "info",
}


@admin.register(MarginDecision)
class MarginDecisionAdmin(LogAdmin):
    """Margin calls and stop-outs, each with the prices and rates it was made of."""

    list_display = ("id", "at", "account", "shown_kind", "level", "equity", "margin", "position", order_number)
    list_select_related = ("account", "position__instrument")
    list_filter = ("kind", ("account", AutocompleteSelectFilter))
    fields = (
        ("account", "at", "kind"),
        ("level", "equity", "margin"),
        ("position", "order"),
        ("balance", "limits"),
        "holdings",
        "computation",
    )
    readonly_fields = ("balance", "limits", "holdings", "computation")
    search_lookup = "account__number"
    search_help_text = _("Number of a decision or of an account")
    empty_text = _("No account has come near its margin yet.")

    @display(description=_("decision"), ordering="kind", label=DECISION_COLOURS)
    def shown_kind(self, decision: MarginDecision) -> tuple[str, str]:
        return decision.kind, decision.get_kind_display()

    @admin.display(description=_("balance"))
    def balance(self, decision: MarginDecision) -> str:
        return number(levels.load(decision.inputs).balance)

    @admin.display(description=_("margin call and stop-out at"))
    def limits(self, decision: MarginDecision) -> str:
        inputs = levels.load(decision.inputs)
        return f"{number(inputs.call_level)} %, {number(inputs.stop_out_level)} %"

    @admin.display(description=_("positions as they were seen"))
    def holdings(self, decision: MarginDecision) -> str:
        inputs = levels.load(decision.inputs)
        lines = [(holding_text(each, inputs.decimals), kept_text(each, inputs.decimals)) for each in inputs.holdings]
        return format_html_join("", "<div>{}. {}</div>", lines) or NOTHING

    @admin.display(description=_("how it was computed"))
    def computation(self, decision: MarginDecision) -> str:
        """The figures again, from what is stored: they are the decision's own."""
        inputs = levels.load(decision.inputs)
        profits = [levels.profit(each, inputs.decimals) for each in inputs.holdings]
        kept = [levels.maintenance(each, inputs.decimals) for each in inputs.holdings]
        found = levels.figures(inputs)
        lines = [
            (_("equity"), _sum([inputs.balance, *profits], found.equity)),
            (_("margin to be kept"), _sum(kept, found.margin)),
        ]
        if found.level is not None:
            ratio = f"{number(plain(found.equity))} / {number(plain(found.margin))} = {number(plain(found.level))} %"
            lines.append((_("level"), ratio))
        return format_html_join("", "<div>{}: {}</div>", lines)


def holding_text(holding: Holding, decimals: int) -> str:
    return _(
        "position %(position)s: %(qty)s %(symbol)s, opened at %(entry)s, seen at %(price)s, rate %(rate)s:"
        " P/L %(profit)s"
    ) % {
        "position": holding.position,
        "qty": number(holding.sign * holding.qty),
        "symbol": holding.symbol,
        "entry": number(holding.entry),
        "price": number(holding.price),
        "rate": number(plain(round(holding.rate, 8))),
        "profit": number(plain(levels.profit(holding, decimals))),
    }


def kept_text(holding: Holding, decimals: int) -> str:
    """The margin to be kept for a position, and what it is made of."""
    kept = number(plain(levels.maintenance(holding, decimals)))
    if holding.contract is not None:
        terms = f"{number(holding.qty)} × {number(holding.contract)} × {number(round(holding.margin_rate, 8))}"
    elif holding.bands:
        value = risk.turnover(holding.qty, holding.price, holding.contract_size) * holding.margin_rate
        bands = ", ".join(f"≥ {number(floor)}: {number(rate * 100)} %" for floor, rate in holding.bands)
        terms = f"{number(round(value, decimals))} ({bands})"
    else:
        return _("To be kept: %(margin)s, what it holds") % {"margin": kept}
    return _("To be kept: %(margin)s of %(terms)s") % {"margin": kept, "terms": terms}


def _sum(terms: Sequence[Decimal], total: Decimal) -> str:
    text = " + ".join(number(plain(term)) for term in terms).replace("+ -", "- ")
    return f"{text} = {number(plain(total))}"
