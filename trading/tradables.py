"""What an account may trade, and on which terms."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from accounts.models import Account, TradingConditions
from marketdata.models import Instrument
from trading.errors import OrderRejected, Reason
from trading.models import GroupInstrument


@dataclass(frozen=True, slots=True)
class Tradable:
    """An instrument as one group trades it. `margin_rate` is None where nothing is held on margin (spot)."""

    instrument: Instrument
    margin_rate: Decimal | None


def of_account(account: Account) -> list[Tradable]:
    """All instruments of the account's group, by symbol."""
    conditions = account.group.conditions_at()
    rows = GroupInstrument.objects.filter(group=account.group_id).select_related("instrument")
    return [terms(account, conditions, row) for row in rows.order_by("instrument__symbol")]


def find(account: Account, symbol: str) -> Tradable:
    """One of them by its symbol. Raises OrderRejected(UNKNOWN_INSTRUMENT), for one of another group too (INS-9)."""
    row = (
        GroupInstrument.objects.filter(group=account.group_id, instrument__symbol=symbol)
        .select_related("instrument")
        .first()
    )
    if row is None:
        raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=symbol)
    return terms(account, account.group.conditions_at(), row)


def margin_rate(account: Account, instrument: Instrument, conditions: TradingConditions) -> Decimal:
    """The instrument's own rate in the group, else that of the conditions, also when it is no longer offered."""
    own = GroupInstrument.objects.filter(group=account.group_id, instrument=instrument).values_list(
        "margin_rate", flat=True
    )
    return next((rate for rate in own if rate is not None), conditions.margin_rate)


def terms(account: Account, conditions: TradingConditions, row: GroupInstrument) -> Tradable:
    """An instrument of the account's group on these conditions."""
    if not account.profile.has_positions:
        return Tradable(row.instrument, None)
    own = row.margin_rate
    return Tradable(row.instrument, conditions.margin_rate if own is None else own)
