"""What there is of an account when a new order comes, asked in one statement under its lock."""

from __future__ import annotations

from dataclasses import dataclass

from accounts import rows
from accounts.models import Account
from accounts.rows import Drawn
from trading.models import Execution, Order, Position
from trading.valuation import CASH, Means, Money, open_positions


@dataclass(frozen=True, slots=True)
class Standing:
    """`earlier` is the order of the same `requestId`, if it came before. Where there is none, the ids that are `drawn`
    are those of the new one's rows, as far as it comes to them."""

    earlier: Order | None
    live_orders: int
    has_brackets: bool
    money: Money
    drawn: Drawn

    def means(self, account: Account) -> Means | None:
        """Those of a margin account; a spot account has only what each asset's balance says."""
        return Means(self.money, open_positions(account)) if account.profile.has_positions else None


_DRAWN = (Order, Execution, Position)
_STANDING = f"""
SELECT {rows.columns_of(Order, "earlier")}, live.count, live.has_brackets, live.held, {CASH},
       {", ".join(f"nextval('{model._meta.db_table}_id_seq')" for model in _DRAWN)}
  FROM {Account._meta.db_table} AS account
  LEFT JOIN {Order._meta.db_table} AS earlier ON earlier.account_id = account.id AND earlier.request_id = %s
 CROSS JOIN LATERAL (
    SELECT count(*), coalesce(bool_or(role <> ''), false) AS has_brackets, sum(held) AS held
      FROM {Order._meta.db_table} WHERE account_id = account.id AND final_at IS NULL
 ) AS live
 WHERE account.id = %s
"""  # noqa: S608
_FIGURES = ("live", "has_brackets", "all_held", "cash", *(f"drawn_{model._meta.model_name}" for model in _DRAWN))


def of(account: Account, request_id: str) -> Standing:
    """The account is locked: it stays as it is found until the transaction itself changes it."""
    [row] = rows.read(Order, _STANDING, [request_id, account.pk], using=Order.objects.db, extras=_FIGURES)
    live, has_brackets, held, cash, *ids = (getattr(row, name) for name in _FIGURES)
    earlier = row if row.pk is not None else None
    return Standing(earlier, live, has_brackets, Money.of(cash, held), dict(zip(_DRAWN, ids, strict=True)))
