"""Positions booked again without some executions, or with others in their place.

What was executed before the first of them stays. Everything after it is undone by opposite fills and booked again, in
the order in which it was executed, at its own price and with the rates of its own moment. Later executions stand: one
that was to close what never was opens a position of its own side instead (docs/decisions/busts.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby

from django.db.models import Sum

from accounts.models import Account
from marketdata.models import Instrument
from trading import margin, margin_terms, risk
from trading.choices import Side
from trading.executions import Booking
from trading.models import Bust, Execution, MarginChange, Position, PositionFill

NOTHING = Decimal(0)


@dataclass(slots=True)
class _Holding:
    """A position while it is booked again; `qty` is never signed."""

    position: Position
    qty: Decimal = NOTHING
    average: Decimal = NOTHING
    margin: Decimal = NOTHING
    realized_pl: Decimal = NOTHING

    def add(self, fill: PositionFill) -> None:
        if fill.is_close:
            self.qty -= abs(fill.qty)
        else:
            self.average = risk.average(self.qty, self.average, abs(fill.qty), fill.execution.price)
            self.qty += abs(fill.qty)
        self.margin += fill.margin
        self.realized_pl += fill.realized_pl


@dataclass(frozen=True, slots=True)
class _Step:
    """One execution to be booked again: as it counts now, and the fills that it had."""

    execution: Execution
    before: list[PositionFill]

    @property
    def opened(self) -> PositionFill | None:
        return next((fill for fill in self.before if not fill.is_close), None)

    @property
    def conversion_rate(self) -> Decimal:
        """That of its moment: the one by which it settled a result, if it did."""
        return next((fill for fill in self.before if fill.is_close), self.before[0]).conversion_rate


def rebuild(booking: Booking, bust: Bust, replaced: Mapping[int, Execution | None]) -> None:
    """Book the account's positions in the bust's instrument anew: without these executions, or with others for them.

    The account is locked. Positions and their fills are written, postings and brackets are the caller's.
    """
    _Replay(booking, bust, bust.instrument).run(replaced)


@dataclass(slots=True)
class _Replay:
    booking: Booking
    bust: Bust
    instrument: Instrument
    holdings: dict[int, _Holding] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        return self.booking.account

    def run(self, replaced: Mapping[int, Execution | None]) -> None:
        standing = self._fills_concerned(replaced)
        first = next(n for n, fill in enumerate(standing) if fill.execution_id in replaced)
        kept, undone = standing[:first], standing[first:]
        since = undone[0].execution.at
        self._begin(standing, kept)
        changes = MarginChange.objects.filter(position__in=list(self.holdings)).values("position").order_by()
        for row in changes.filter(at__lt=since).annotate(total=Sum("amount")):
            self.holdings[row["position"]].margin += row["total"]
        self._reverse(undone)
        for execution_id, before in groupby(undone, key=lambda fill: fill.execution_id):
            fills = list(before)
            execution = replaced.get(execution_id, fills[0].execution)
            if execution is not None:
                self._book(_Step(execution, fills))
        for row in changes.filter(at__gte=since).annotate(total=Sum("amount")):
            self._follow_leverage(self.holdings[row["position"]], row["total"])
        self._save()

    def _fills_concerned(self, replaced: Iterable[int]) -> list[PositionFill]:
        """In the order they were executed in: of all the instrument, of hedging accounts of the trades concerned."""
        found = PositionFill.objects.standing().filter(position__account=self.account)
        found = found.filter(position__instrument=self.instrument)
        if self.account.profile.is_hedging:
            touched = found.filter(execution__in=list(replaced)).values("position")
            found = found.filter(position__in=touched)
        return list(found.select_related("execution__order", "position").order_by("pk"))

    def _begin(self, standing: Iterable[PositionFill], kept: Iterable[PositionFill]) -> None:
        """Every position concerned, as the fills that stay have made it; meanwhile the rows say that none is open."""
        concerned = {fill.position_id for fill in standing}
        self.holdings = {each.pk: _Holding(each) for each in Position.objects.locked().filter(pk__in=concerned)}
        for fill in kept:
            self.holdings[fill.position_id].add(fill)
        Position.objects.open().filter(pk__in=concerned).update(qty=0, margin=0, closed_at=self.booking.at)

    def _reverse(self, undone: Iterable[PositionFill]) -> None:
        PositionFill.objects.bulk_create(
            PositionFill(
                execution=fill.execution,
                position=fill.position,
                qty=-fill.qty,
                is_close=fill.is_close,
                margin=-fill.margin,
                realized_pl=-fill.realized_pl,
                conversion_rate=fill.conversion_rate,
                bust=self.bust,
                reverses=fill,
            )
            for fill in undone
        )

    # --- one execution ------------------------------------------------------------------------------------------------

    def _book(self, step: _Step) -> None:
        """As `executions.record` would: close what it closes, open with the rest."""
        target, qty = self._target(step.execution), step.execution.qty
        closing = min(target.qty, qty) if target and target.position.side != step.execution.side else NOTHING
        if target and closing:
            self._close(step, target, closing)
        if opening := qty - closing:
            self._open(step, None if closing else target, opening)

    def _target(self, execution: Execution) -> _Holding | None:
        """The open position that the execution touches."""
        open_ = [each for each in self.holdings.values() if each.qty]
        if not self.account.profile.is_hedging:
            return next(iter(open_), None)
        order = execution.order
        closed = next((each for each in open_ if each.position.pk == order.closes_id), None)
        return closed or next((each for each in open_ if each.position.opened_by_id == order.pk), None)

    def _close(self, step: _Step, holding: _Holding, qty: Decimal) -> None:
        account, execution = self.account, step.execution
        sign = Side(holding.position.side).sign
        profit = risk.profit(sign, qty, holding.average, execution.price, self.instrument.contract_size)
        is_whole = qty == holding.qty
        freed = (
            holding.margin if is_whole else account.currency.round_cash(risk.share(holding.margin, qty, holding.qty))
        )
        realized_pl = account.currency.round_cash(profit * step.conversion_rate)
        self._fill(step, holding, -sign * qty, is_close=True, margin=-freed, realized_pl=realized_pl)

    def _open(self, step: _Step, holding: _Holding | None, qty: Decimal) -> None:
        held = self._margin_for(step, holding, qty)
        holding = holding or self._place_for(step)
        self._fill(step, holding, Side(step.execution.side).sign * qty, is_close=False, margin=held)

    def _fill(
        self,
        step: _Step,
        holding: _Holding,
        signed_qty: Decimal,
        *,
        is_close: bool,
        margin: Decimal,
        realized_pl: Decimal = NOTHING,
    ) -> None:
        holding.add(
            PositionFill.objects.create(
                execution=step.execution,
                position=holding.position,
                qty=signed_qty,
                is_close=is_close,
                margin=margin,
                realized_pl=realized_pl,
                conversion_rate=step.conversion_rate,
                bust=self.bust,
            )
        )

    def _place_for(self, step: _Step) -> _Holding:
        """The position that the execution opened before, if it is free and of its side; else a new one."""
        execution = step.execution
        own = self.holdings.get(step.opened.position_id) if step.opened else None
        if own and not own.qty and own.position.side == execution.side:
            return own
        position = Position.objects.create(
            account=self.account,
            instrument=self.instrument,
            side=execution.side,
            qty=0,
            avg_price=execution.price,
            opened_by=execution.order if self.account.profile.is_hedging else None,
            opened_at=execution.at,
            closed_at=self.booking.at,
        )
        self.holdings[position.pk] = _Holding(position)
        return self.holdings[position.pk]

    def _margin_for(self, step: _Step, holding: _Holding | None, qty: Decimal) -> Decimal:
        """What the quantity held when it was executed; on today's terms where it did not open or had another price."""
        before, execution = step.opened, step.execution
        if before and qty <= abs(before.qty) and execution.price == before.execution.price:
            return self.account.currency.round_cash(risk.share(before.margin, qty, abs(before.qty)))
        return self._on_terms(qty, execution.price, holding)

    def _on_terms(self, qty: Decimal, price: Decimal, beside: _Holding | None = None) -> Decimal:
        terms = margin_terms.of(self.account, self.instrument, self.booking.conditions)
        there = risk.turnover(beside.qty, beside.average, self.instrument.contract_size) if beside else NOTHING
        return margin.on_terms(self.account, self.instrument, qty, price, terms, self.booking.prices, there=there)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _follow_leverage(self, holding: _Holding, changed: Decimal) -> None:
        """A leverage chosen after the first of these executions: it holds for what is open now, as it did for that."""
        wanted = self._on_terms(holding.qty, holding.average) if holding.qty else NOTHING
        amount = wanted - holding.margin - changed
        if amount:
            leverage = margin_terms.leverage(self.account, self.instrument) or 1
            MarginChange.objects.create(
                position=holding.position, amount=amount, leverage=leverage, by=self.bust.checker
            )
        holding.margin = wanted

    def _save(self) -> None:
        for holding in self.holdings.values():
            position = holding.position
            was_closed_at = position.closed_at
            position.qty, position.margin, position.realized_pl = holding.qty, holding.margin, holding.realized_pl
            position.avg_price = holding.average or position.avg_price  # one that never was keeps what it said
            position.closed_at = None if holding.qty else was_closed_at or self.booking.at
            position.save(update_fields=["qty", "margin", "realized_pl", "avg_price", "closed_at"])
