"""Releases of mappings: all that was chosen is published as one, and an earlier release is gone back to as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import NullIf
from django.utils.translation import gettext as _

from marketdata.choices import MappingProblem
from marketdata.models import MappedInstrument, MappingChange, MappingRelease, SymbolMapping


class MappingRefused(Exception):
    """Nothing was published; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One instrument's full name before and after; empty where it has none. `problem` is empty where there is none."""

    instrument_id: int
    symbol: str
    before: str
    after: str
    problem: str = ""

    @property
    def is_publishable(self) -> bool:
        """A symbol that two instruments have cannot be published at all."""
        return self.problem != MappingProblem.COLLISION


def pending() -> list[Difference]:
    """What publishing would change, by symbol, with what is wrong with it."""
    drafts = MappedInstrument.workbench.with_states().drafts().order_by("symbol")
    fields = ("pk", "symbol", "given_out", "chosen", "mapping_problem")
    return [Difference(*row) for row in drafts.values_list(*fields)]


def chosen(differences: Iterable[Difference], *, with_problems: bool) -> list[Difference]:
    """Those that a release takes: without problems, or all that can be published."""
    return [each for each in differences if each.is_publishable and (with_problems or not each.problem)]


def fingerprint(differences: Iterable[Difference]) -> str:
    """What tells whether the difference is still the one that somebody looked at."""
    text = "\n".join(f"{each.instrument_id} {each.before} {each.after}" for each in differences)
    return hashlib.sha256(text.encode()).hexdigest()


def state_at(release: MappingRelease) -> dict[int, str]:
    """The full names by instrument as they were given out after that release."""
    last = MappingChange.objects.filter(release__lte=release.pk).order_by("instrument_id", "-release_id")
    rows = last.distinct("instrument_id").values_list("instrument_id", "after")
    return {instrument: name for instrument, name in rows if name}


def between(earlier: Mapping[int, str], later: Mapping[int, str]) -> list[Difference]:
    """By symbol."""
    changed = [pk for pk in earlier.keys() | later.keys() if earlier.get(pk) != later.get(pk)]
    symbols = MappedInstrument.workbench.filter(pk__in=changed).order_by("symbol").values_list("pk", "symbol")
    return [Difference(pk, symbol, earlier.get(pk, ""), later.get(pk, "")) for pk, symbol in symbols]


def going_back(to: MappingRelease) -> list[Difference]:
    """What going back to that release would change."""
    return between(_now(SymbolMapping.objects.all()), state_at(to))


@transaction.atomic
def publish(*, by: AbstractBaseUser | None, note: str, seen: str = "", with_problems: bool = False) -> MappingRelease:
    """Give out what was chosen, from the commit on. `seen` is the fingerprint of the difference that `by` looked at.

    Drafts with problems stay drafts unless `with_problems`. Raises `MappingRefused`.
    """
    list(SymbolMapping.objects.select_for_update().order_by("pk").values_list("pk"))
    differences = chosen(pending(), with_problems=with_problems)
    if not differences:
        raise MappingRefused(_("There is nothing to publish."))
    if seen and seen != fingerprint(differences):
        raise MappingRefused(_("The drafts have changed since you looked: look at the difference again."))
    return _release(differences, MappingRelease(by_id=by.pk if by else None, note=note))


@transaction.atomic
def roll_back(to: MappingRelease, *, by: AbstractBaseUser, note: str) -> MappingRelease:
    """Give out again what was given out after that release, as a release of its own.

    Drafts of the instruments that it changes are overwritten. Raises `MappingRefused`.
    """
    differences = between(_now(SymbolMapping.objects.select_for_update().order_by("pk")), state_at(to))
    if not differences:
        raise MappingRefused(_("Nothing has changed since that release."))
    made = _release(differences, MappingRelease(by_id=by.pk, note=note, restores=to))
    restored = SymbolMapping.objects.filter(instrument__in=made.changes.values("instrument"))
    restored.update(tradingview_symbol=_after(made))
    return made


def _now(mappings: QuerySet[SymbolMapping]) -> dict[int, str]:
    rows = mappings.values_list("instrument_id", "published_symbol")
    return {instrument: name for instrument, name in rows if name}


def _release(differences: list[Difference], release: MappingRelease) -> MappingRelease:
    release.save()
    MappingChange.objects.bulk_create(
        MappingChange(release=release, instrument_id=each.instrument_id, before=each.before, after=each.after)
        for each in differences
    )
    # A first release fills an empty table: planned as if still empty, each mapping's change would be looked for in all.
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE marketdata_mappingchange")
    changed = SymbolMapping.objects.filter(instrument__in=release.changes.values("instrument"))
    changed.update(published_symbol=NullIf(_after(release), Value("")))
    return release


def _after(release: MappingRelease) -> Subquery:
    change = MappingChange.objects.filter(release=release, instrument=OuterRef("instrument")).order_by()
    return Subquery(change.values("after"))
