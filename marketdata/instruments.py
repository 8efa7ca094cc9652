"""Writing instruments: many at once, new ones and those already there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from django.db import transaction
from django.dispatch import Signal
from django.utils.translation import gettext as _

from marketdata import suggestions
from marketdata.definition_files import Definition
from marketdata.models import Instrument, SymbolGroup
from marketdata.recordings import Fault

BATCH = 1000
# Money of open orders and positions would mean something else: such an instrument gets a new symbol.
NEVER_CHANGES = ("type", "is_cfd", "base_currency", "quote_currency", "contract_size")
# What TradingView takes over only after a person there has agreed (SYM-1).
CRITICAL = (
    "timezone", "session_regular", "session_premarket", "session_postmarket",
    "minmovement", "minmovement2", "pricescale", "fractional",
)  # fmt: skip

# Sent when instruments or holidays were written many at a time, which sends no signal for each.
many_changed = Signal()


@dataclass
class Report:
    """What became of the definitions. `critical` names the symbols that TradingView must be told of."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    faults: list[Fault] = field(default_factory=list)
    critical: list[str] = field(default_factory=list)


@transaction.atomic
def save(
    definitions: Sequence[Definition],
    *,
    group: SymbolGroup | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Report:
    """Add the instruments that are new and update the others, in one transaction; with `group`, put all of them in it.

    A definition that would change what never changes is a fault, and its instrument stays as it is. What is suggested
    as TradingView's symbols for the others is computed anew. Raises `django.db.IntegrityError`, nothing written, when
    the group would outgrow its limit (GRP-3).
    """
    report = Report()
    symbols = [definition.instrument.symbol for definition in definitions]
    known = {each.symbol: each for each in Instrument.objects.select_for_update().filter(symbol__in=symbols)}
    added: list[Instrument] = []
    updated: dict[frozenset[str], list[Instrument]] = {}
    for definition in definitions:
        made = definition.instrument
        if (earlier := known.get(made.symbol)) is None:
            made.symbol_group = group
            added.append(made)
            continue
        changes = {name for name in definition.fields if getattr(made, name) != getattr(earlier, name)}
        if group and earlier.symbol_group_id != group.pk:
            changes.add("symbol_group")
        if fixed := sorted(changes.intersection(NEVER_CHANGES)):
            sentence = _("%(symbol)s is there already, and these never change: %(names)s.")
            report.faults.append(Fault(definition.line, sentence % {"symbol": made.symbol, "names": ", ".join(fixed)}))
        elif changes:
            _take_over(made, earlier, changes, group)
            updated.setdefault(frozenset(changes), []).append(earlier)
            if changes.intersection(CRITICAL) and earlier.symbol_group_id:
                report.critical.append(made.symbol)
        else:
            report.unchanged += 1
    for start in range(0, len(added), BATCH):
        progress(len(Instrument.objects.bulk_create(added[start : start + BATCH])))
    for names, changed in updated.items():
        progress(Instrument.objects.bulk_update(changed, sorted(names), batch_size=BATCH))
    written = [*added, *chain.from_iterable(updated.values())]
    if written:
        suggestions.renew(each.pk for each in written)
        many_changed.send(Instrument)
    report.added, report.updated = len(added), sum(map(len, updated.values()))
    return report


def _take_over(made: Instrument, earlier: Instrument, changes: set[str], group: SymbolGroup | None) -> None:
    for name in changes - {"symbol_group"}:
        setattr(earlier, name, getattr(made, name))
    if "symbol_group" in changes:
        earlier.symbol_group = group
