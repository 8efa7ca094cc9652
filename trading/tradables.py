"""What an account may trade, and on which terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from accounts import known
from accounts.models import Account, TradingConditions
from marketdata.models import Instrument
from trading import margin_terms
from trading.errors import OrderRejected, Reason
from trading.models import InstrumentTerms


@dataclass(frozen=True, slots=True)
class Tradable:
    """An instrument as one account trades it. `margin_rate` is None where nothing is held on margin (spot).

    Where `contract_margin` is given, it is what each contract needs, in the instrument's currency, whatever the rate.
    """

    instrument: Instrument
    margin_rate: Decimal | None
    contract_margin: Decimal | None = None


def of_account(account: Account) -> list[Tradable]:
    """All instruments of the account's group, by symbol."""
    conditions = account.conditions_at()
    chosen = margin_terms.leverages(account)
    return [terms(account, conditions, row, chosen) for row in _offered(account, conditions)]


def instruments(account: Account) -> Mapping[str, Instrument]:
    """Those of the account's group by symbol, for an account of which no more is asked than whether it has them."""
    conditions = account.conditions_at()
    return known.of(
        account,
        "instruments",
        conditions.pk,
        read=lambda: {row.instrument.symbol: row.instrument for row in _offered(account, conditions)},
    )


def _offered(account: Account, conditions: TradingConditions) -> list[InstrumentTerms]:
    def read() -> list[InstrumentTerms]:
        return list(conditions.instruments.offered().select_related("instrument").order_by("instrument__symbol"))

    return known.of(account, "offer", conditions.pk, read=read)


def find(account: Account, symbol: str, conditions: TradingConditions | None = None) -> Tradable:
    """One of them by its symbol, on the conditions in force unless others are given.

    Raises OrderRejected(UNKNOWN_INSTRUMENT), for one of another group too (INS-9).
    """
    version = conditions or account.conditions_at()

    def read() -> InstrumentTerms | None:
        return version.instruments.offered().filter(instrument__symbol=symbol).select_related("instrument").first()

    row = known.of(account, "offered", version.pk, symbol, read=read)
    if row is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    return terms(account, version, row, margin_terms.leverages(account))


def margin_rate(account: Account, instrument: Instrument, conditions: TradingConditions) -> Decimal:
    """That of the leverage chosen, else the instrument's own in the group, else that of the conditions."""
    return margin_terms.of(account, instrument, conditions).rate


def terms(account: Account, conditions: TradingConditions, row: InstrumentTerms, leverages: dict[int, int]) -> Tradable:
    """An instrument of the account's group on these conditions and at the leverages chosen, by instrument."""
    if not account.profile.has_positions:
        return Tradable(row.instrument, None)
    chosen = margin_terms.leverage_rate(leverages.get(row.instrument_id))
    return Tradable(row.instrument, chosen or margin_terms.own_rate(row, conditions), row.contract_margin)
