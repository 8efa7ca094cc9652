"""How much margin an instrument needs in an account: rates, tiers, contract margins, the leverage its client chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal

from django.db.models import Q

from accounts import known
from accounts.choices import Profile
from accounts.models import Account, TradingConditions
from marketdata.models import Instrument
from trading import levels
from trading.models import InstrumentTerms, Leverage, MarginTier

RATE_STEP = Decimal("1E-12")

Bands = tuple[tuple[Decimal, Decimal], ...]  # (value from which, rate), rising from 0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What must be kept for a position: maintenance rates by bands, or an amount for each contract, or (empty) the
    margin it holds."""

    bands: Bands = ()
    contract: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MarginTerms:
    """What opening needs: a rate by bands of the position's value, or an amount for each contract."""

    bands: Bands
    contract: Decimal | None = None

    @property
    def rate(self) -> Decimal:
        """The usual rate, below the first tier."""
        return self.bands[0][1]


def of(account: Account, instrument: Instrument, conditions: TradingConditions) -> MarginTerms:
    """The terms in force, also when the group no longer offers the instrument."""
    return at_leverage(account, instrument, conditions, leverage(account, instrument))


def at_leverage(
    account: Account, instrument: Instrument, conditions: TradingConditions, leverage: int | None
) -> MarginTerms:
    """The terms if this leverage were chosen; with none, those of the group."""
    row = known.of(
        account,
        "row",
        conditions.pk,
        instrument.pk,
        read=lambda: conditions.instruments.filter(instrument=instrument).first(),
    )
    rate = leverage_rate(leverage) or own_rate(row, conditions)
    tiers = known.of(
        account,
        "tiers",
        conditions.pk,
        instrument.pk,
        read=lambda: tiers_of(conditions, [instrument.pk])[instrument.pk],
    )
    bands = levels.bands_of(rate, [(tier.floor, tier.rate) for tier in tiers])
    return MarginTerms(bands, row.contract_margin if row else None)


def own_rate(row: InstrumentTerms | None, conditions: TradingConditions) -> Decimal:
    """The instrument's own rate in the group, else that of the conditions."""
    return conditions.margin_rate if row is None or row.margin_rate is None else row.margin_rate


def leverage(account: Account, instrument: Instrument) -> int | None:
    """What the client chose, in accounts where he can choose."""
    if account.profile is not Profile.PERPETUAL:
        return None
    return account.leverages.filter(instrument=instrument).values_list("leverage", flat=True).first()


def leverages(account: Account) -> dict[int, int]:
    """What the client chose, by instrument."""
    if account.profile is not Profile.PERPETUAL:
        return {}
    return dict(Leverage.objects.filter(account=account).values_list("instrument_id", "leverage"))


def leverage_rate(leverage: int | None) -> Decimal | None:
    """The margin rate of a leverage; rounded up, so that a position is never larger than its leverage allows."""
    return (1 / Decimal(leverage)).quantize(RATE_STEP, rounding=ROUND_UP) if leverage else None


@dataclass(slots=True)
class Upkeeps:
    """What is to be kept under one version of conditions, for many instruments: two statements, however many."""

    conditions: TradingConditions
    _rows: dict[int, InstrumentTerms] = field(default_factory=dict)
    _tiers: dict[int, list[MarginTier]] = field(default_factory=dict)

    @classmethod
    def on_terms_of(cls, account: Account, conditions: TradingConditions) -> Upkeeps:
        """Those of these conditions, with what is known of them already."""
        return known.of(account, "upkeeps", conditions.pk, read=lambda: cls(conditions))

    def load(self, instruments: Iterable[int]) -> None:
        """Read the terms of these instruments, unless they are here already."""
        missing = set(instruments) - self._tiers.keys()
        if missing:
            rows = self.conditions.instruments.filter(instrument__in=missing)
            self._rows |= {row.instrument_id: row for row in rows}
            self._tiers |= tiers_of(self.conditions, missing)

    def of(self, instrument: int) -> Upkeep:
        self.load([instrument])
        row = self._rows.get(instrument)
        if row and row.contract_margin is not None:
            return Upkeep(contract=row.contract_maintenance)
        rate = self.conditions.maintenance_rate if row is None or row.maintenance_rate is None else row.maintenance_rate
        if rate is None:
            return Upkeep()
        tiers = [(t.floor, rate if t.maintenance_rate is None else t.maintenance_rate) for t in self._tiers[instrument]]
        return Upkeep(levels.bands_of(rate, tiers))


def tiers_of(conditions: TradingConditions, instruments: Iterable[int]) -> dict[int, list[MarginTier]]:
    """The tiers of each instrument by rising floors: its own, else those for all."""
    wanted = list(instruments)
    found: dict[int | None, list[MarginTier]] = defaultdict(list)
    for tier in conditions.tiers.filter(Q(instrument__in=wanted) | Q(instrument=None)).order_by("floor"):
        found[tier.instrument_id].append(tier)
    return {instrument: found[instrument] or found[None] for instrument in wanted}
