"""Which of TradingView's symbols an instrument is likely to be: candidates, their score out of 100, and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q

from marketdata.choices import Agreement
from marketdata.models import Instrument, MappedInstrument, MappingSuggestion, TradingViewSymbol
from marketdata.models.mappings import MappedInstrumentQuerySet

LEAST_SCORE = 50
BATCH = 2000
WEIGHTS = {
    Agreement.NAME: 35,
    Agreement.DESCRIPTION: 15,
    Agreement.TYPE: 15,
    Agreement.CURRENCY: 15,
    Agreement.EXCHANGE: 15,
    Agreement.TICK: 5,
}
# Words that companies' names end with: a list may have them and another not.
_FILLERS = frozenset(
    (
        "ag",
        "and",
        "class",
        "co",
        "com",
        "company",
        "corp",
        "corporation",
        "inc",
        "limited",
        "ltd",
        "nv",
        "plc",
        "se",
        "the",
    )
)


@dataclass(frozen=True, slots=True)
class Candidate:
    target: TradingViewSymbol
    reasons: tuple[Agreement, ...]

    @property
    def score(self) -> int:
        return sum(WEIGHTS[reason] for reason in self.reasons)


def code_of(symbol: str) -> str:
    """A symbol's letters and digits, by which symbols are compared."""
    return re.sub(r"[^A-Z0-9]", "", symbol.upper())


def words_of(description: str) -> str:
    """A description as descriptions are compared: its words but the fillers, sorted."""
    words = set(re.findall(r"\w+", description.lower())) - _FILLERS
    return " ".join(sorted(words))[:300]


def candidates(instrument: Instrument) -> list[Candidate]:
    """The symbols that have the instrument's name or description, the likeliest first."""
    asks = Q(code__in=_codes(instrument))
    if words := _words(instrument):
        asks |= Q(words=words)
    return sorted((_judged(instrument, each) for each in TradingViewSymbol.objects.filter(asks)), key=_order)


@transaction.atomic
def refresh() -> int:
    """Compute anew what is suggested for every instrument that has no symbol chosen; the number of suggestions."""
    MappingSuggestion.objects.all().delete()
    return _suggest(MappedInstrument.workbench.free())


@transaction.atomic
def renew(instruments: Iterable[int]) -> int:
    """Compute anew what is suggested for these instruments, which were added or changed; the number of suggestions."""
    asked = list(instruments)
    MappingSuggestion.objects.filter(instrument__in=asked).delete()
    return _suggest(MappedInstrument.workbench.filter(pk__in=asked).free())


def _suggest(free: MappedInstrumentQuerySet) -> int:
    waiting = list(free.order_by("pk"))
    made = 0
    for start in range(0, len(waiting), BATCH):
        made += len(
            MappingSuggestion.objects.bulk_create(
                _suggested(waiting[start : start + BATCH]),
                # Whoever imports a list at the same time suggests for all of them: the later one is right.
                update_conflicts=True,
                unique_fields=["instrument"],
                update_fields=["target", "score", "reasons"],
            )
        )
    return made


def _suggested(instruments: list[MappedInstrument]) -> Iterator[MappingSuggestion]:
    codes = {code for each in instruments for code in _codes(each)}
    words = {_words(each) for each in instruments} - {""}
    by_code: dict[str, list[TradingViewSymbol]] = defaultdict(list)
    by_words: dict[str, list[TradingViewSymbol]] = defaultdict(list)
    for target in TradingViewSymbol.objects.filter(Q(code__in=codes) | Q(words__in=words)):
        by_code[target.code].append(target)
        by_words[target.words].append(target)
    for each in instruments:
        found = {target for code in _codes(each) for target in by_code[code]}
        if described := _words(each):
            found.update(by_words[described])
        best = min((_judged(each, target) for target in found if not _differ(each, target)), key=_order, default=None)
        if best and best.score >= LEAST_SCORE:
            yield MappingSuggestion(
                instrument=each, target=best.target, score=best.score, reasons=[str(reason) for reason in best.reasons]
            )


def _codes(instrument: Instrument) -> set[str]:
    """The symbol's own code, and what is behind an exchange in it (SYM-8: NASDAQ_AAPL)."""
    return {code_of(instrument.symbol), code_of(instrument.symbol.partition("_")[2])} - {""}


def _words(instrument: Instrument) -> str:
    """Of the English description, as TradingView's list has it, whatever language the staff member reads."""
    return words_of(instrument.description_en or "")  # type: ignore[attr-defined]  # of modeltranslation


def _differ(instrument: Instrument, target: TradingViewSymbol) -> bool:
    """What the check of mappings would call broken is not suggested."""
    return target.type != instrument.type or target.currency not in ("", instrument.quote_currency)


def _judged(instrument: Instrument, target: TradingViewSymbol) -> Candidate:
    agreements = {
        Agreement.NAME: target.code in _codes(instrument),
        Agreement.DESCRIPTION: bool(target.words) and target.words == _words(instrument),
        Agreement.TYPE: target.type == instrument.type,
        Agreement.CURRENCY: target.currency == instrument.quote_currency,
        Agreement.EXCHANGE: target.exchange in (instrument.exchange_listed, instrument.exchange_traded),
        Agreement.TICK: target.tick_size == instrument.tick_size,
    }
    return Candidate(target, tuple(reason for reason, agrees in agreements.items() if agrees))


def _order(candidate: Candidate) -> tuple[int, str]:
    return -candidate.score, candidate.target.full_name


def in_words(reasons: Iterable[str]) -> str:
    return ", ".join(str(Agreement(reason).label) for reason in reasons)
