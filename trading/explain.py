"""Which rule gave which value: for an account, a symbol and a moment, as the engine reads them.

The values come from the functions that trading itself uses (`conditions_at`, `tradables.terms`), given the rows as
they were at that moment: what is not versioned by itself is read back from the audit trail, and so are instruments and
swaps for moments before they belonged to versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.migrations.recorder import MigrationRecorder
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts import conditions
from accounts.choices import Profile
from accounts.models import Account, AccountGroup, TradingConditions
from backoffice.audit import history
from backoffice.fields import plain
from marketdata.models import Instrument
from trading import margin_terms, tradables
from trading.charges import SWAP_PROFILES
from trading.errors import OrderRejected, Reason
from trading.former_terms import GroupInstrument, SwapTerms
from trading.models import InstrumentTerms, Leverage, MarginTier
from trading.tradables import Tradable

VERSIONED_SINCE = "0009_instruments_of_versions"  # the migration
INSTRUMENT_FIELDS = ("state", "min_qty", "max_qty", "qty_step", "contract_size", "quote_currency", "session_regular")
SWAP_FIELDS = ("swap_long", "swap_short", "swap_unit", "triple_day")
ROW_FIELDS = ("is_offered", "contract_margin", "contract_maintenance", "max_leverage")


@dataclass(frozen=True, slots=True)
class Rule:
    """One value and where it comes from; `source` is the row that says so."""

    name: str
    label: str
    value: object
    origin: str
    source: models.Model


@dataclass(frozen=True, slots=True)
class Explanation:
    """The terms of a moment: what the engine used, and every value with its rule."""

    conditions: TradingConditions
    tradable: Tradable
    rules: list[Rule]

    def value(self, name: str) -> object:
        return next(rule.value for rule in self.rules if rule.name == name)


def explain(account: Account, symbol: str, at: datetime) -> Explanation:
    """The terms on which the account traded the symbol at that moment.

    Raises OrderRejected(UNKNOWN_INSTRUMENT) when the version of then does not name it, and
    `TradingConditions.DoesNotExist` when no conditions were in force.
    """
    then = history.row_at(account, at)
    instrument = Instrument.objects.filter(symbol=symbol).first()
    if then is None or instrument is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    then.group = AccountGroup.objects.get(pk=then.group_id)
    version = then.group.conditions_at(at)
    row, source = _row(version, instrument, at)
    if row is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    row.instrument = history.row_at(instrument, at) or instrument
    chosen = history.rows_at(Leverage, at, account_id=account.pk) if then.profile is Profile.PERPETUAL else []
    tradable = tradables.terms(then, version, row, {each.instrument_id: each.leverage for each in chosen})
    of_instrument = next((each for each in chosen if each.instrument_id == instrument.pk), None)
    rules = [
        *_instrument(row),
        *_conditions(version, row, source or row, tradable, of_instrument),
        *_own(row, source, then.profile),
    ]
    return Explanation(version, tradable, rules)


def _row(
    version: TradingConditions, instrument: Instrument, at: datetime
) -> tuple[InstrumentTerms | None, GroupInstrument | None]:
    """The version's row of the instrument; for a moment before versions had such rows also where it stood then."""
    applied = MigrationRecorder.Migration.objects.filter(app="trading", name=VERSIONED_SINCE)
    if not applied.filter(applied__gt=at).exists():
        return version.instruments.select_related("conditions__group").filter(instrument=instrument).first(), None
    former = history.rows_at(GroupInstrument, at, group_id=version.group_id, instrument_id=instrument.pk)
    if not former:
        return None, None
    row = InstrumentTerms(conditions=version, instrument=instrument)
    for name in ("margin_rate", "maintenance_rate", "contract_margin", "contract_maintenance", "max_leverage"):
        setattr(row, name, getattr(former[0], name))
    swaps = {each.group_id: each for each in history.rows_at(SwapTerms, at, instrument_id=instrument.pk)}
    if swap := swaps.get(version.group_id) or swaps.get(None):
        row.swap_unit, row.swap_long, row.swap_short, row.triple_day = (
            swap.unit, swap.long, swap.short, swap.triple_day
        )  # fmt: skip
    return row, former[0]


def _instrument(row: InstrumentTerms) -> list[Rule]:
    instrument = row.instrument
    rules = [
        Rule(name, _label(instrument, name), _shown(instrument, name), _("the instrument"), instrument)
        for name in INSTRUMENT_FIELDS
    ]
    return [*rules, Rule("tick_size", _("Price step"), instrument.tick_size, _("the instrument"), instrument)]


def _conditions(
    version: TradingConditions,
    row: InstrumentTerms,
    source: models.Model,
    tradable: Tradable,
    chosen: Leverage | None,
) -> list[Rule]:
    origin = _("version %(number)s of the group's conditions, in force since %(since)s") % _numbers(version)
    rules = []
    for field in conditions.content_fields():
        own = getattr(row, field.name, None)
        label = capfirst(str(field.verbose_name))
        if field.name == "margin_rate" and tradable.margin_rate is None:
            rules.append(Rule(field.name, label, None, _("spot: nothing is held on margin"), version))
        elif field.name == "margin_rate" and chosen:
            rules.append(Rule(field.name, label, tradable.margin_rate, _("the leverage that the client chose"), chosen))
        elif own is not None:
            rules.append(Rule(field.name, label, own, _of_row(row, source), source))
        else:
            rules.append(Rule(field.name, label, getattr(version, field.name), origin, version))
    tiers = margin_terms.tiers_of(version, [row.instrument_id])[row.instrument_id]
    label = capfirst(str(MarginTier._meta.verbose_name_plural))
    return [*rules, Rule("tiers", label, "; ".join(map(_tier, tiers)), origin, version)]


def _tier(tier: MarginTier) -> str:
    """From which value on which rate, and at which it is kept where the tier says so."""
    kept = "" if tier.maintenance_rate is None else f" ({tier.maintenance_rate})"
    return f"≥ {tier.floor}: {tier.rate}{kept}"


def _own(row: InstrumentTerms, former: GroupInstrument | None, profile: Profile) -> list[Rule]:
    """What only the instrument's row says."""
    source = former or row
    names = (*ROW_FIELDS, *(SWAP_FIELDS if profile in SWAP_PROFILES and row.has_swap else ()))
    return [Rule(name, _label(row, name), getattr(row, name), _of_row(row, source), source) for name in names]


def _of_row(row: InstrumentTerms, source: models.Model) -> str:
    if source is not row:
        return _("the group's own value for this instrument")
    return _("the instrument in version %(number)s of the group's conditions, in force since %(since)s") % _numbers(
        row.conditions
    )


def _numbers(version: TradingConditions) -> dict[str, object]:
    return {"number": version.pk, "since": f"{version.effective_from:%Y-%m-%d %H:%M} UTC"}


def _label(row: models.Model, name: str) -> str:
    return capfirst(str(getattr(row._meta.get_field(name), "verbose_name", name)))


def _shown(row: models.Model, name: str) -> object:
    field = row._meta.get_field(name)
    if getattr(field, "choices", None):
        return str(getattr(row, f"get_{name}_display")())
    value = getattr(row, name)
    return plain(value) if hasattr(value, "as_tuple") else value
