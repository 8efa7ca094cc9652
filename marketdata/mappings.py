"""Choosing TradingView's symbols for ours, and what follows for what is offered there.

Choosing makes drafts: `/mapping` changes with a release only, see `mapping_releases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.utils import timezone

from marketdata.models import Instrument, MappedInstrument, MappingSuggestion, SymbolMapping

BATCH = 2000


def check_full_name(text: str) -> str:
    """The name as it is stored; empty for none. Raises `ValidationError` with a sentence."""
    name = text.strip()
    if name:
        SymbolMapping._meta.get_field("tradingview_symbol").run_validators(name)
    return name


@transaction.atomic
def choose(wishes: Mapping[int, str]) -> int:
    """Choose these full names for the instruments of these ids, empty ones for none; the number of those that change.

    Raises `ValidationError`, nothing stored, where one is no full name.
    """
    wanted = {pk: check_full_name(name) for pk, name in wishes.items()}
    chosen = dict(
        SymbolMapping.objects.filter(instrument__in=wanted).values_list("instrument_id", "tradingview_symbol")
    )
    changes = {pk: name for pk, name in wanted.items() if chosen.get(pk, "") != name}
    now = timezone.now()  # an upsert does not renew it by itself
    SymbolMapping.objects.bulk_create(
        (SymbolMapping(instrument_id=pk, tradingview_symbol=name, updated_at=now) for pk, name in changes.items()),
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["instrument"],
        update_fields=["tradingview_symbol", "updated_at"],
    )
    return len(changes)


def accept(instruments: Iterable[int]) -> int:
    """Choose what is suggested for those of the instruments that have nothing yet; their number."""
    free = MappedInstrument.workbench.filter(pk__in=instruments).free()
    suggested = MappingSuggestion.objects.filter(instrument__in=free.values("pk"))
    return choose(dict(suggested.values_list("instrument_id", "target__full_name")))


def take_back(instruments: Iterable[int]) -> int:
    """Give up the drafts of these instruments: what is published stays chosen; the number of drafts there were."""
    drafts = MappedInstrument.workbench.filter(pk__in=instruments).drafts()
    return choose(dict(drafts.values_list("pk", "given_out")))  # type: ignore[misc]  # of with_choices


def published() -> list[tuple[str, str]]:
    """Our symbols with TradingView's, by ours, as the last release left them."""
    rows = SymbolMapping.objects.exclude(published_symbol=None).order_by("instrument__symbol")
    return [(ours, theirs or "") for ours, theirs in rows.values_list("instrument__symbol", "published_symbol")]


def is_in_use() -> bool:
    """Whether anything is mapped: then everything must be (MAP-1, INS-8)."""
    return SymbolMapping.objects.exclude(published_symbol=None).exists()


def uncovered(instruments: Iterable[Instrument]) -> set[int]:
    """The ids of those that TradingView may not be offered: as soon as anything is mapped, all that are not (INS-8).

    Before, those without a symbol group, of which TradingView then has no data at all (MAP-1).
    """
    asked = {each.pk: each for each in instruments}
    mapped = set(
        SymbolMapping.objects.filter(instrument__in=asked)
        .exclude(published_symbol=None)
        .values_list("instrument_id", flat=True)
    )
    missing = asked.keys() - mapped
    if missing and not mapped and not is_in_use():
        return {pk for pk in missing if asked[pk].symbol_group_id is None}
    return set(missing)
