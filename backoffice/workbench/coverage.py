"""Which account groups would show fewer instruments at TradingView than they trade (INS-8, MAP-3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from accounts.models import AccountGroup
from marketdata.mapping_releases import Difference
from marketdata.models import SymbolMapping
from trading.models import InstrumentTerms


def missing_after(differences: Iterable[Difference]) -> dict[AccountGroup, list[str]]:
    """By account group the symbols that it trades and that have no mapping once these differences are published."""
    mapped = set(SymbolMapping.objects.exclude(published_symbol=None).values_list("instrument_id", flat=True))
    for each in differences:
        (mapped.add if each.after else mapped.discard)(each.instrument_id)
    traded = InstrumentTerms.objects.in_force().offered().order_by("conditions__group__name", "instrument__symbol")
    missing: dict[AccountGroup, list[str]] = defaultdict(list)
    for row in traded.exclude(instrument__in=mapped).select_related("conditions__group", "instrument"):
        if mapped or row.instrument.symbol_group_id is None:
            missing[row.conditions.group].append(row.instrument.symbol)
    return dict(missing)
