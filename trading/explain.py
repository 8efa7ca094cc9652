"""Which rule gave which value: for an account, a symbol and a moment, as the engine reads them.

The values come from the functions that trading itself uses (`conditions_at`, `tradables.terms`), given the rows as
they were at that moment: what is not versioned by itself is read back from the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts import conditions
from accounts.choices import Profile
from accounts.models import Account, AccountGroup, TradingConditions
from backoffice.audit import history
from backoffice.fields import plain
from marketdata.models import Instrument
from trading import tradables
from trading.errors import OrderRejected, Reason
from trading.models import GroupInstrument, Leverage
from trading.tradables import Tradable

INSTRUMENT_FIELDS = ("state", "min_qty", "max_qty", "qty_step", "contract_size", "quote_currency", "session_regular")


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

    Raises OrderRejected(UNKNOWN_INSTRUMENT) when its group did not trade it then, and
    `TradingConditions.DoesNotExist` when no conditions were in force.
    """
    then = history.row_at(account, at)
    instrument = Instrument.objects.filter(symbol=symbol).first()
    if then is None or instrument is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    then.group = AccountGroup.objects.get(pk=then.group_id)
    offered = history.rows_at(GroupInstrument, at, group_id=then.group_id, instrument_id=instrument.pk)
    if not offered:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    row = offered[0]
    row.instrument = history.row_at(instrument, at) or instrument
    version = then.group.conditions_at(at)
    chosen = history.rows_at(Leverage, at, account_id=account.pk) if then.profile is Profile.PERPETUAL else []
    tradable = tradables.terms(then, version, row, {each.instrument_id: each.leverage for each in chosen})
    of_instrument = next((each for each in chosen if each.instrument_id == instrument.pk), None)
    rules = [*_instrument(row), *_conditions(version, row, tradable, of_instrument)]
    return Explanation(version, tradable, rules)


def _instrument(row: GroupInstrument) -> list[Rule]:
    instrument = row.instrument
    rules = [
        Rule(name, _label(instrument, name), _shown(instrument, name), _("the instrument"), instrument)
        for name in INSTRUMENT_FIELDS
    ]
    return [*rules, Rule("tick_size", _("Price step"), instrument.tick_size, _("the instrument"), instrument)]


def _conditions(
    version: TradingConditions, row: GroupInstrument, tradable: Tradable, chosen: Leverage | None
) -> list[Rule]:
    origin = _("version %(number)s of the group's conditions, in force since %(since)s") % {
        "number": version.pk,
        "since": f"{version.effective_from:%Y-%m-%d %H:%M} UTC",
    }
    rules = []
    for field in conditions.content_fields():
        own = getattr(row, field.name, None)
        label = capfirst(str(field.verbose_name))
        if field.name == "margin_rate" and tradable.margin_rate is None:
            rules.append(Rule(field.name, label, None, _("spot: nothing is held on margin"), version))
        elif field.name == "margin_rate" and chosen:
            rules.append(Rule(field.name, label, tradable.margin_rate, _("the leverage that the client chose"), chosen))
        elif own is not None:
            rules.append(Rule(field.name, label, own, _("the group's own value for this instrument"), row))
        else:
            rules.append(Rule(field.name, label, getattr(version, field.name), origin, version))
    rules += [Rule(name, capfirst(name), text, origin, version) for name, text in conditions.tables_text(version)]
    return rules


def _label(row: models.Model, name: str) -> str:
    return capfirst(str(getattr(row._meta.get_field(name), "verbose_name", name)))


def _shown(row: models.Model, name: str) -> object:
    field = row._meta.get_field(name)
    if getattr(field, "choices", None):
        return str(getattr(row, f"get_{name}_display")())
    value = getattr(row, name)
    return plain(value) if hasattr(value, "as_tuple") else value
