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
from trading.models import GroupInstrument


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
    return [terms(account, conditions, row, chosen) for row in _offered(account)]


def instruments(account: Account) -> Mapping[str, Instrument]:
    """Those of the account's group by symbol, for an account of which no more is asked than whether it has them."""
    account.conditions_at()
    return known.of(
        account,
        "instruments",
        account.group_id,
        read=lambda: {row.instrument.symbol: row.instrument for row in _offered(account)},
    )


def _offered(account: Account) -> list[GroupInstrument]:
    def read() -> list[GroupInstrument]:
        rows = GroupInstrument.objects.filter(group=account.group_id).select_related("instrument")
        return list(rows.order_by("instrument__symbol"))

    return known.of(account, "offer", account.group_id, read=read)


def find(account: Account, symbol: str, conditions: TradingConditions | None = None) -> Tradable:
    """One of them by its symbol, on the conditions in force unless others are given.

    Raises OrderRejected(UNKNOWN_INSTRUMENT), for one of another group too (INS-9).
    """

    def read() -> GroupInstrument | None:
        rows = GroupInstrument.objects.filter(group=account.group_id, instrument__symbol=symbol)
        return rows.select_related("instrument").first()

    row = known.of(account, "offered", account.group_id, symbol, read=read)
    if row is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    return terms(account, conditions or account.conditions_at(), row, margin_terms.leverages(account))


def margin_rate(account: Account, instrument: Instrument, conditions: TradingConditions) -> Decimal:
    """That of the leverage chosen, else the instrument's own in the group, else that of the conditions."""
    return margin_terms.of(account, instrument, conditions).rate


def terms(account: Account, conditions: TradingConditions, row: GroupInstrument, leverages: dict[int, int]) -> Tradable:
    """An instrument of the account's group on these conditions and at the leverages chosen, by instrument."""
    if not account.profile.has_positions:
        return Tradable(row.instrument, None)
    chosen = margin_terms.leverage_rate(leverages.get(row.instrument_id))
    return Tradable(row.instrument, chosen or margin_terms.own_rate(row, conditions), row.contract_margin)
