"""What may never be false of one account, cheap enough to be looked at after every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Sum

from accounts.models import Account
from trading import states
from trading.models import Execution
from trading.states import OrderStatus


class Seen(NamedTuple):
    """An order as it was seen. What is final is compared whole."""

    id: int
    status: str
    side: str
    qty: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trailing_pips: Decimal | None
    held: Decimal
    held_currency: str
    role: str
    parent: int | None
    parent_type: str
    closes: int | None
    queued: bool
    revision: int

    @property
    def is_final(self) -> bool:
        return OrderStatus(self.status) in states.FINAL

    @property
    def leaves_qty(self) -> Decimal:
        return self.qty - self.filled_qty


class Story:
    """An account from step to step: its orders as they were seen last."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.orders: dict[int, Seen] = {}
        self.opened: dict[int, Decimal] = {}  # open positions: their quantities
        self.moved: set[int] = set()  # whose stop its client has moved since
        self.has_live = self.has_queued = False

    def read(self) -> dict[int, Seen]:
        rows = self.account.orders.order_by("pk").values_list(*Seen._fields)
        return {seen.id: seen for seen in map(Seen._make, rows)}

    def go_on(self) -> None:
        """Look at the account as it is now; an AssertionError tells what became false."""
        now = self.read()
        held = (
            self.account.positions.open().values_list("pk", "qty", "side", "instrument") if self._has_positions else []
        )
        self.opened = {position: qty for position, qty, _side, _instrument in held}
        changes = self._changes(now)
        findings = [*changes, *self._protection(now), *self._reserves(now), *self._positions(held)]
        assert not findings, "\n".join(findings)
        self.orders = now
        self.moved.clear()
        self.has_live = any(not order.is_final for order in now.values())
        self.has_queued = any(order.queued for order in now.values())

    @property
    def _has_positions(self) -> bool:
        return self.account.profile.has_positions

    def _changes(self, now: dict[int, Seen]) -> Iterator[str]:
        """No order vanishes or returns from its end, filled quantity never falls, a stop trails one way (BRK-23)."""
        for before in self.orders.values():
            after = now.get(before.id)
            if after is None:
                yield f"order {before.id} vanished"
            elif before.is_final and after != before:
                yield f"final order changed: {before} to {after}"
            elif after.filled_qty < before.filled_qty:
                yield f"order {before.id}: filled quantity fell to {after.filled_qty}"
            elif before.id not in self.moved and _trails_back(before, after):
                yield f"order {before.id}: its stop went from {before.stop_price} to {after.stop_price}"
        for after in now.values():
            if after.is_final and (after.held or after.queued):
                yield f"order {after.id}: {after.status}, but holds {after.held} or is queued"

    def _protection(self, now: dict[int, Seen]) -> Iterator[str]:
        """A bracket ends with what it protects, and has its quantity until then (BRK-1)."""
        for bracket in now.values():
            if bracket.is_final or not bracket.role:
                continue
            if bracket.closes is not None:
                qty = self.opened.get(bracket.closes)
                if bracket.leaves_qty != qty:
                    yield f"order {bracket.id}: {bracket.leaves_qty} left, its position {qty}"
            elif bracket.parent_type and bracket.parent is not None:
                parent = now[bracket.parent]
                if parent.is_final:
                    yield f"order {bracket.id} is {bracket.status}, its order {parent.status}"
                if bracket.status == OrderStatus.INACTIVE and bracket.qty != parent.qty:
                    yield f"order {bracket.id}: {bracket.qty} to protect {parent.qty}"

    def _reserves(self, now: dict[int, Seen]) -> Iterator[str]:
        """What is set aside is what live orders hold; nothing is overdrawn."""
        if self._has_positions:
            return
        for currency, total, reserved in self.account.balances.values_list("currency", "total", "reserved"):
            held = sum((order.held for order in now.values() if order.held_currency == currency), Decimal(0))
            if not 0 <= reserved == held <= total:
                yield f"{currency}: {total} with {reserved} reserved, orders hold {held}"

    def _positions(self, opened: Iterable[tuple[int, Decimal, str, int]]) -> Iterator[str]:
        """Net of each instrument, positions are the sum of its executions."""
        if not self._has_positions:
            return
        executed = Execution.objects.filter(account=self.account).order_by().values_list("instrument", "side")
        executions = _net(executed.annotate(total=Sum("qty")))
        positions = _net((instrument, side, qty) for _position, qty, side, instrument in opened)
        if executions != positions:
            yield f"executions come to {executions}, positions to {positions}"


def _trails_back(before: Seen, after: Seen) -> bool:
    """Unless its client has changed it, or it begins at its position's market only now."""
    if before.trailing_pips is None or before.trailing_pips != after.trailing_pips:
        return False
    if before.status != OrderStatus.WORKING or before.stop_price is None or after.stop_price is None:
        return False
    return after.stop_price < before.stop_price if before.side == "sell" else after.stop_price > before.stop_price


def _net(rows: Iterable[tuple[int, str, Decimal]]) -> dict[int, Decimal]:
    totals: dict[int, Decimal] = {}
    for instrument, side, qty in rows:
        totals[instrument] = totals.get(instrument, Decimal(0)) + (qty if side == "buy" else -qty)
    return {instrument: total for instrument, total in totals.items() if total}
