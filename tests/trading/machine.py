"""Everybody who acts on one account, step by step in any order: its client, the market, the engine, the workers.

Each rule is one step, as one process would take it; after each the account is looked at (`invariants.Story`), and after
each run all the books are. Nothing is waited for: the workers and the engine act when it is their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts.choices import CommissionKind, FeeAsset, Profile
from accounts.models import AccountGroup, Currency
from marketdata import ticklog
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from tests import factories
from tests.trading.invariants import Seen, Story
from trading import books, dispatch, expiry, leverage, liquidation, orders, positions, valuation
from trading.choices import DurationType, OrderType, Side
from trading.engine import Engine
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.tickets import Brackets, Ticket

D = Decimal
PLENTY = D(10_000_000)
ANYWHERE = st.integers(-30, 30)  # in the market's own units
SOMETIMES = st.sampled_from([False, False, False, True])


@dataclass(frozen=True)
class Market:
    """An instrument to trade: where it begins, the unit its prices move by, and the quantity it is traded in."""

    symbol: str
    begins: Decimal
    unit: Decimal
    lot: Decimal


@dataclass(frozen=True)
class World:
    """A kind of account, and what it trades."""

    name: str
    profile: Profile
    markets: tuple[Market, ...]
    base: str
    deposits: dict[str, Decimal]
    conditions: dict[str, Any] = field(default_factory=dict)


EURUSD = Market("EURUSD", D("1.10000"), D("0.00050"), D(10_000))
USDJPY = Market("USDJPY", D("150.000"), D("0.050"), D(10_000))
WORLDS = [
    World("netting", Profile.FX_NETTING, (EURUSD, USDJPY), "EUR", {"EUR": D(10_000)}, {
        "commission_kind": CommissionKind.PER_MILLION, "commission_rate": D(30),
    }),
    World("hedging", Profile.FX_HEDGING, (EURUSD,), "USD", {"USD": D(10_000)}, {
        "stops_both_ways": True, "stop_limits_both_ways": True, "protects_negative_balance": True,
    }),
    World("spot", Profile.SPOT, (Market("BTCUSDT", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(40_000), "BTC": D(1)}, {"commission_kind": CommissionKind.PERCENT, "commission_rate": D("0.1")}),
    World("spot, fee of what is received", Profile.SPOT, (Market("BTCUSDT", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(40_000)}, {
        "commission_kind": CommissionKind.PERCENT, "commission_rate": D("0.1"), "fee_asset": FeeAsset.RECEIVED,
    }),
    World("perpetual", Profile.PERPETUAL, (Market("BTCUSDT.P", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(5000)}, {"margin_rate": D("0.02"), "maintenance_rate": D("0.01")}),
    World("shares", Profile.EXCHANGE, (Market("ACME", D(100), D("0.05"), D(10)),), "USD", {"USD": D(10_000)}, {
        "margin_rate": D("0.25"), "maintenance_rate": D("0.2"),
        "commission_kind": CommissionKind.PER_UNIT, "commission_rate": D("0.005"), "commission_minimum": D(1),
    }),
]  # fmt: skip


class Desk(RuleBasedStateMachine):
    """One account of one world. `prepare` makes what all runs of a world share, once."""

    world: World
    group: AccountGroup
    names = count(1)
    steps = 0

    @classmethod
    def prepare(cls, world: World) -> type[Desk]:
        made = factories.group(world.profile, symbols=[market.symbol for market in world.markets], **world.conditions)
        made.instruments.update(max_leverage=100 if world.profile is Profile.PERPETUAL else None)
        for code in {"EUR", "USD", "USDT", world.base}:
            factories.currency(code)
        return type("DeskOfWorld", (cls,), {"world": world, "group": made})

    @initialize()
    def open_account(self) -> None:
        ticklog.connection().flushdb()
        self.run = transaction.atomic()
        self.run.__enter__()
        self.hears = True
        self.mids = {market.symbol: market.begins for market in {*self.world.markets, EURUSD}}
        for symbol, mid in self.mids.items():
            factories.quote(symbol, mid, mid, size=PLENTY)
        self.account = factories.account(
            of_group=self.group, base=self.world.base, deposits=self.world.deposits, number=f"RUN-{next(self.names)}"
        )
        self.story = Story(self.account)
        self.requests: list[tuple[Ticket, str, int]] = []
        self.restart_engine()

    def teardown(self) -> None:
        if not hasattr(self, "story"):
            return
        import collections, os
        if os.environ.get("MSTAT"):
            from trading.models import OrderEvent, MarginDecision
            T = type(self).__mro__[1]
            T.stat = getattr(T, "stat", collections.Counter())
            for o in self.account.orders.all(): T.stat[f"status {o.status} {o.reason}"] += 1; T.stat[f"type {o.type} {o.role} f{bool(o.filled_qty)}"] += 1
            for k in OrderEvent.objects.filter(order__account=self.account).values_list("kind", flat=True): T.stat["ev "+k]+=1
            for k in self.account.margin_decisions.values_list("kind", flat=True): T.stat["dec "+k]+=1
        try:
            self._wind_up()
        finally:
            transaction.set_rollback(True)
            self.run.__exit__(None, None, None)

    @invariant()
    def account_is_whole(self) -> None:
        if hasattr(self, "story"):
            Desk.steps += 1
            self.story.go_on()

    # --- the market ---------------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), by=ANYWHERE, spread=st.integers(0, 2), levels=st.integers(0, 3), thin=st.booleans())
    def price_moves(self, which: int, by: int, spread: int, levels: int, thin: bool) -> None:
        """With plenty behind it, or thin: then one lot at each level."""
        market = self._market(which)
        self.mids[market.symbol] = max(self.mids[market.symbol] + by * market.unit, 10 * market.unit)
        bid = self.mids[market.symbol]
        ask = bid + spread * market.unit
        size = market.lot if thin else PLENTY
        depth = [(n * market.unit, str(size)) for n in range(levels)]
        factories.quote(
            market.symbol, bid, ask, size=size,
            bids=[(str(bid - away), qty) for away, qty in depth], asks=[(str(ask + away), qty) for away, qty in depth],
        )  # fmt: skip

    @rule(which=st.integers(0, 1))
    def price_is_crossed(self, which: int) -> None:
        market = self._market(which)
        mid = self.mids[market.symbol]
        factories.quote(market.symbol, mid + 50 * market.unit, mid - 50 * market.unit)

    @rule(state=st.sampled_from([*InstrumentState, InstrumentState.TRADING, InstrumentState.TRADING]))
    def market_is_halted_or_opens(self, state: InstrumentState) -> None:
        Instrument.objects.filter(symbol=self.world.markets[0].symbol).update(state=state)

    # --- our processes ------------------------------------------------------------------------------------------------

    @rule()
    def engine_reads(self) -> None:
        self.engine.run_once(block_ms=1)

    @rule(saves=st.booleans(), compares=st.booleans())
    def engine_stores(self, saves: bool, compares: bool) -> None:
        self.engine._ratchet()
        if saves:
            self.engine._save()
        if compares:
            self.engine._compare()

    @rule()
    def restart_engine(self) -> None:
        """Killed wherever it was, and started afresh from the database."""
        self.engine = Engine()
        self.engine.start()

    @rule(which=st.integers(0, 7))
    def worker_works(self, which: int) -> None:
        waiting = list(self.account.orders.queued().order_by("pk").values_list("pk", flat=True))
        if waiting:
            orders.work(self.account.pk, waiting[which % len(waiting)])

    @rule(which=st.integers(0, 30))
    def same_task_comes_again(self, which: int) -> None:
        if order := self._any_order(which):
            orders.work(self.account.pk, order.id)

    @rule()
    def news_get_lost(self) -> None:
        self.hears = False

    @rule()
    def margin_is_reviewed(self) -> None:
        if self.account.profile.has_positions:
            liquidation.review(self.account.pk)

    @rule(which=st.integers(0, 7))
    def an_order_expires(self, which: int) -> None:
        due = [order.id for order in self.story.read().values() if not order.is_final]
        due = list(Order.objects.filter(pk__in=due, expires_at__isnull=False).values_list("pk", flat=True))
        if due:
            chosen = due[which % len(due)]
            Order.objects.filter(pk=chosen).update(expires_at=timezone.now())
            expiry.expire(self.account.pk, {chosen})
            self._forget(chosen)

    # --- the client ---------------------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        side=st.sampled_from(Side),
        kind=st.sampled_from(OrderType),
        lots=st.integers(1, 12),
        limit=ANYWHERE,
        stop=ANYWHERE,
        duration=st.sampled_from(DurationType),
        protection=st.tuples(SOMETIMES, SOMETIMES, SOMETIMES),
        distance=st.integers(1, 20),
    )
    def client_places(
        self, which: int, side: Side, kind: OrderType, lots: int, limit: int, stop: int, duration: DurationType,
        protection: tuple[bool, bool, bool], distance: int,
    ) -> None:  # fmt: skip
        market = self._market(which)
        mid = self.mids[market.symbol]
        ticket = Ticket(
            market.symbol, side, kind, lots * market.lot,
            limit_price=mid + limit * market.unit if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
            stop_price=mid + stop * market.unit if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
            duration=duration,
            good_till=timezone.now() + timedelta(hours=1) if duration is DurationType.GTD else None,
            brackets=self._brackets(market, side, mid + (limit if "limit" in kind else stop) * market.unit,
                                    protection, distance),
        )  # fmt: skip
        request_id = f"m-{next(self.names)}"
        order = self._ask(lambda: orders.place(self.account.pk, ticket, request_id=request_id))
        if isinstance(order, Order):
            self.requests.append((ticket, request_id, order.pk))
            if order.held and self.account.profile.has_positions:
                assert valuation.value(self.account).free >= 0

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 30))
    def the_same_request_comes_again(self, which: int) -> None:
        ticket, request_id, order_id = self.requests[which % len(self.requests)]
        assert orders.place(self.account.pk, ticket, request_id=request_id).pk == order_id

    @rule(
        which=st.integers(0, 30),
        lots=st.integers(1, 12),
        keeps_qty=st.booleans(),
        limit=ANYWHERE,
        stop=ANYWHERE,
        protection=st.tuples(SOMETIMES, SOMETIMES, SOMETIMES),
        distance=st.integers(1, 20),
    )
    def client_modifies(
        self, which: int, lots: int, keeps_qty: bool, limit: int, stop: int, protection: tuple[bool, bool, bool],
        distance: int,
    ) -> None:  # fmt: skip
        if not (order := self._any_order(which)):
            return
        market = self._market_of(order.id)
        mid = self.mids[market.symbol]
        limit_price = mid + limit * market.unit if order.limit_price is not None else None
        stop_price = mid + stop * market.unit if order.stop_price is not None else None
        wanted = self._brackets(market, Side(order.side), limit_price or stop_price or mid, protection, distance)
        if order.role:
            wanted = Brackets(trailing_pips=wanted.trailing_pips)
        changed = self._ask(
            lambda: orders.modify(
                self.account.pk, order.id, qty=order.qty if keeps_qty or order.role else lots * market.lot,
                limit_price=limit_price, stop_price=stop_price, wanted=wanted,
            )
        )  # fmt: skip
        if changed:
            self._forget(order.id)

    @rule(which=st.integers(0, 30))
    def client_cancels(self, which: int) -> None:
        if order := self._any_order(which):
            changed = self._ask(lambda: orders.cancel(self.account.pk, order.id))
            assert bool(changed) is not order.is_final

    @rule(which=st.integers(0, 5), lots=st.integers(0, 3))
    def client_closes(self, which: int, lots: int) -> None:
        """Wholly, or in part: then by so many lots."""
        if position := self._any_position(which):
            amount = lots * self._lot(position) or None
            self._ask(
                lambda: positions.close(
                    self.account.pk, position.pk, amount=amount, request_id=f"m-{next(self.names)}"
                )
            )  # fmt: skip

    @rule(which=st.integers(0, 5))
    def client_reverses(self, which: int) -> None:
        if position := self._any_position(which):
            side = Side(position.side).opposite
            self._ask(
                lambda: positions.reverse(self.account.pk, position.pk, side, request_id=f"m-{next(self.names)}")
            )

    @rule(which=st.integers(0, 5), protection=st.tuples(st.booleans(), st.booleans(), SOMETIMES), away=st.integers(1, 20))
    def client_protects(self, which: int, protection: tuple[bool, bool, bool], away: int) -> None:
        if position := self._any_position(which):
            market = next(each for each in self.world.markets if each.symbol == position.instrument.symbol)
            wanted = self._brackets(market, Side(position.side), self.mids[market.symbol], protection, away)
            self._ask(lambda: positions.protect(self.account.pk, position.pk, wanted) or True)
            for bracket in position.closing_orders.live().brackets():
                self._forget(bracket.pk)

    @precondition(lambda self: self.world.profile is Profile.PERPETUAL)
    @rule(chosen=st.sampled_from([1, 5, 20, 50, 100]))
    def client_chooses_leverage(self, chosen: int) -> None:
        symbol = self.world.markets[0].symbol
        self._ask(lambda: leverage.choose(self.account.pk, symbol, D(chosen)))

    # --- what the steps are made of -----------------------------------------------------------------------------------

    def _ask(self, what: Callable[[], Any]) -> Any:
        """Do as the client asks; a refusal has changed nothing."""
        before = self.story.read()
        try:
            return what()
        except OrderRejected as e:
            import os, collections, sys
            if os.environ.get("MSTAT"):
                T = type(self).__mro__[1]; T.stat = getattr(T, "stat", collections.Counter()); T.stat[sys._getframe(1).f_code.co_name + " " + str(e.reason)] += 1
            assert self.story.read() == before
            return None

    def say(self, *, account_id: int, order_ids: list[int], drain: bool) -> None:
        """In place of `dispatch.after_commit`: the nudges of the workers are always lost, the engine's news at times."""
        if getattr(self, "hears", True):
            for order_id in order_ids:
                ticklog.connection().xadd(dispatch.CHANGES, {"id": order_id})
        self.hears = True

    def _forget(self, order_id: int) -> None:
        """Where a trailing stop was before its client moved it says nothing about where it may be."""
        if seen := self.story.orders.get(order_id):
            self.story.orders[order_id] = seen._replace(trailing_pips=None)

    def _market(self, which: int) -> Market:
        return self.world.markets[which % len(self.world.markets)]

    def _market_of(self, order_id: int) -> Market:
        symbol = Order.objects.values_list("instrument__symbol", flat=True).get(pk=order_id)
        return next(market for market in self.world.markets if market.symbol == symbol)

    def _lot(self, position: Position) -> Decimal:
        return next(market.lot for market in self.world.markets if market.symbol == position.instrument.symbol)

    def _any_order(self, which: int) -> Seen | None:
        """The newer ones most of the time, whatever their status."""
        newest = list(reversed(self.story.read().values()))
        return newest[which % len(newest)] if newest else None

    def _any_position(self, which: int) -> Position | None:
        opened = list(self.account.positions.open().select_related("instrument").order_by("pk"))
        return opened[which % len(opened)] if opened else None

    def _brackets(
        self, market: Market, side: Side, base: Decimal, protection: tuple[bool, bool, bool], distance: int
    ) -> Brackets:
        stop_loss, take_profit, trails = protection
        away = side.sign * distance * market.unit
        pip = Instrument.objects.get(symbol=market.symbol).pip_size
        return Brackets(
            base - away if stop_loss else None,
            base + away if take_profit else None,
            abs(away) / pip if trails else None,
        )

    # --- the end of a run ---------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """After quiet nothing waits; once all is cancelled and closed, nothing is held or reserved any more."""
        Instrument.objects.filter(symbol__in=self.mids).update(state=InstrumentState.TRADING)
        for symbol, mid in self.mids.items():
            factories.quote(symbol, mid, mid, size=PLENTY)
        self._quiet()
        self._verify()
        for order in self.story.read().values():
            if not order.is_final and not order.role:
                orders.cancel(self.account.pk, order.id)
        while position := self._any_position(0):
            positions.close(self.account.pk, position.pk, request_id=f"m-{next(self.names)}")
            self._quiet()
        for order in self.story.read().values():
            if not order.is_final and not Order.objects.get(pk=order.id).is_final:
                assert not self.account.profile.has_positions, f"{order} outlives its position"
                orders.cancel(self.account.pk, order.id)
        assert not self.account.orders.live().exists()
        assert not self.account.balances.exclude(reserved=0).exists()
        if self.account.profile.has_positions:
            end = valuation.value(self.account)
            assert (end.margin, end.held, end.equity) == (0, 0, end.balance)
        self._verify()

    def _quiet(self) -> None:
        """The workers take all that waits, and whatever that puts to work; then no order waits or is being placed."""
        self.engine._compare()
        for _ in range(50):
            self.engine.run_once(block_ms=1)
            waiting = list(self.account.orders.queued().order_by("pk").values_list("pk", flat=True))
            if not waiting:
                break
            for order_id in waiting:
                orders.work(self.account.pk, order_id)
            self.story.go_on()
        assert not self.account.orders.queued().exists()
        assert not self.account.orders.live().filter(status="placing").exists()

    def _verify(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert books.verify() == []
        if not self.account.profile.has_positions:
            return
        value = valuation.value(self.account)
        cash = self.account.balances.get(currency=self.account.currency_id).total
        assert value.equity == cash + sum((each.unrealized_pl for each in value.positions), D(0))
        unit = Currency.objects.get(pk=self.account.currency_id)
        assert all(unit.round_cash(each.unrealized_pl) == each.unrealized_pl for each in value.positions)
