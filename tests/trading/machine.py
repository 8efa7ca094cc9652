"""Everybody who acts on one account, step by step in any order: its client, the market, the engine, the workers.

Each rule is one step, as one process would take it; after each the account is looked at (`invariants.Story`), and after
each run all the books are. Nothing is waited for: the workers and the engine act when it is their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts.choices import Profile
from accounts.models import AccountGroup, Currency
from marketdata import ticklog
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from tests import factories
from tests.trading.invariants import Seen, Story
from tests.trading.worlds import EURUSD, Market, World
from trading import books, dispatch, expiry, leverage, liquidation, orders, positions, valuation
from trading.choices import DurationType, OrderType, Side
from trading.engine import Engine
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.tickets import Brackets, Ticket

D = Decimal
PLENTY = D(10_000_000)
ANYWHERE = st.integers(-30, 30)  # in the market's own units
PROTECTION = st.sampled_from(
    [(False, False, False), (True, True, False), (True, False, False), (False, True, False), (False, True, True)]
)
Protection = tuple[bool, bool, bool]  # a stop loss, a take profit, a trailing stop


class Desk(RuleBasedStateMachine):
    """One account of one world. `prepare` makes what all runs of a world share, once."""

    world: World
    group: AccountGroup
    names = count(1)
    steps = 0
    hears = True  # does the engine hear of the next change?

    @classmethod
    def prepare(cls, world: World) -> type[Desk]:
        made = factories.group(world.profile, symbols=[market.symbol for market in world.markets], **world.conditions)
        factories.set_terms(made, max_leverage=100 if world.profile is Profile.PERPETUAL else None)
        for code in {"EUR", "USD", "USDT", world.base}:
            factories.currency(code)
        return type("DeskOfWorld", (cls,), {"world": world, "group": made})

    @initialize()
    def open_account(self) -> None:
        ticklog.connection().flushdb()
        self.run = transaction.atomic()
        self.run.__enter__()
        type(self).hears = True
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
        try:
            self._wind_up()
        finally:
            transaction.set_rollback(True)
            self.run.__exit__(None, None, None)

    @invariant()
    def account_is_whole(self) -> None:
        if hasattr(self, "story"):
            type(self).steps += 1
            self.story.go_on()

    # --- the market ---------------------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        by=ANYWHERE,
        spread=st.sampled_from([0, 0, 1, 2, -100]),
        levels=st.integers(0, 3),
        is_thin=st.booleans(),
        is_read=st.booleans(),
    )
    def price_moves(self, which: int, by: int, spread: int, levels: int, is_thin: bool, is_read: bool) -> None:
        """With plenty behind it, or thin: one lot at each level. Crossed prices come too, and count for nothing."""
        market = self._market(which)
        if spread >= 0:
            self.mids[market.symbol] = max(self.mids[market.symbol] + by * market.unit, 10 * market.unit)
        bid = self.mids[market.symbol]
        ask = bid + spread * market.unit
        size = market.lot if is_thin else PLENTY
        depth = [(n * market.unit, str(size)) for n in range(levels)]
        factories.quote(
            market.symbol, bid, ask, size=size,
            bids=[(str(bid - away), qty) for away, qty in depth], asks=[(str(ask + away), qty) for away, qty in depth],
        )  # fmt: skip
        if is_read:
            self.engine.run_once(block_ms=None)

    @rule(state=st.sampled_from([*InstrumentState, InstrumentState.TRADING, InstrumentState.TRADING]))
    def market_is_halted_or_opens(self, state: InstrumentState) -> None:
        Instrument.objects.filter(symbol=self.world.markets[0].symbol).update(state=state)

    # --- our processes ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.story.orders)
    @rule()
    def engine_reads(self) -> None:
        self.engine.run_once(block_ms=None)

    @precondition(lambda self: self.story.orders)
    @rule(saves=st.booleans(), compares=st.booleans())
    def engine_stores(self, saves: bool, compares: bool) -> None:
        self.engine._ratchet()
        if saves:
            self.engine._save()
        if compares:
            self.engine._compare()

    @precondition(lambda self: self.story.orders)
    @rule()
    def restart_engine(self) -> None:
        """Killed wherever it was, and started afresh from the database."""
        self.engine = Engine()
        self.engine.start()

    @precondition(lambda self: self.story.has_queued)
    @rule(which=st.integers(0, 7))
    def worker_works(self, which: int) -> None:
        waiting = [order.id for order in self.story.orders.values() if order.queued]
        orders.work(self.account.pk, waiting[which % len(waiting)])

    @precondition(lambda self: self.story.has_queued)
    @rule()
    def workers_work(self) -> None:
        for order in self.story.orders.values():
            if order.queued:
                orders.work(self.account.pk, order.id)

    @precondition(lambda self: self.story.orders)
    @rule(which=st.integers(0, 30))
    def same_task_comes_again(self, which: int) -> None:
        orders.work(self.account.pk, self._any_order(which).id)

    @precondition(lambda self: self.story.orders)
    @rule()
    def news_get_lost(self) -> None:
        type(self).hears = False

    @precondition(lambda self: self.story.opened)
    @rule()
    def margin_is_reviewed(self) -> None:
        liquidation.review(self.account.pk)

    @precondition(lambda self: self.story.has_live)
    @rule(which=st.integers(0, 7))
    def an_order_expires(self, which: int) -> None:
        due = list(self.account.orders.live().filter(expires_at__isnull=False).order_by("pk"))
        if due:
            chosen = due[which % len(due)].pk
            Order.objects.filter(pk=chosen).update(expires_at=timezone.now())
            expiry.expire(self.account.pk, {chosen})

    # --- the client ---------------------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        side=st.sampled_from(Side),
        lots=st.integers(1, 12),
        protection=PROTECTION,
        distance=st.integers(1, 20),
        at_once=st.booleans(),
    )
    def client_trades(
        self, which: int, side: Side, lots: int, protection: Protection, distance: int, at_once: bool
    ) -> None:
        """At the market."""
        market = self._market(which)
        wanted = self._brackets(market, side, self.mids[market.symbol], protection, distance)
        self._place(Ticket(market.symbol, side, OrderType.MARKET, lots * market.lot, brackets=wanted), at_once)

    @rule(
        which=st.integers(0, 1),
        side=st.sampled_from(Side),
        kind=st.sampled_from([OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT]),
        lots=st.integers(1, 12),
        limit=ANYWHERE,
        stop=ANYWHERE,
        duration=st.sampled_from(DurationType),
        protection=PROTECTION,
        distance=st.integers(1, 20),
        at_once=st.booleans(),
    )
    def client_places(
        self, which: int, side: Side, kind: OrderType, lots: int, limit: int, stop: int, duration: DurationType,
        protection: Protection, distance: int, at_once: bool,
    ) -> None:  # fmt: skip
        market = self._market(which)
        mid = self.mids[market.symbol]
        own_price = mid + (stop if kind is OrderType.STOP else limit) * market.unit
        self._place(Ticket(
            market.symbol, side, kind, lots * market.lot,
            limit_price=None if kind is OrderType.STOP else own_price,
            stop_price=None if kind is OrderType.LIMIT else mid + stop * market.unit,
            duration=duration,
            good_till=timezone.now() + timedelta(hours=1) if duration is DurationType.GTD else None,
            brackets=self._brackets(market, side, own_price, protection, distance),
        ), at_once)  # fmt: skip

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 30))
    def the_same_request_comes_again(self, which: int) -> None:
        ticket, request_id, order_id = self.requests[which % len(self.requests)]
        assert orders.place(self.account.pk, ticket, request_id=request_id).pk == order_id

    @precondition(lambda self: self.story.orders)
    @rule(
        which=st.integers(0, 30),
        lots=st.integers(1, 12),
        keeps_qty=st.booleans(),
        limit=ANYWHERE,
        stop=ANYWHERE,
        protection=PROTECTION,
        distance=st.integers(1, 20),
    )
    def client_modifies(
        self, which: int, lots: int, keeps_qty: bool, limit: int, stop: int, protection: Protection,
        distance: int,
    ) -> None:  # fmt: skip
        order = self._any_order(which)
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
            self.story.moved.add(order.id)

    @precondition(lambda self: self.story.orders)
    @rule(which=st.integers(0, 30))
    def client_cancels(self, which: int) -> None:
        order = self._any_order(which)
        changed = self._ask(lambda: orders.cancel(self.account.pk, order.id))
        assert bool(changed) is not order.is_final

    @precondition(lambda self: self.story.opened)
    @rule(which=st.integers(0, 5), lots=st.integers(0, 3), at_once=st.booleans())
    def client_closes(self, which: int, lots: int, at_once: bool) -> None:
        """Wholly, or in part: then by so many lots."""
        position = self._any_position(which)
        amount = lots * self._market_of_position(position).lot or None
        name = f"m-{next(self.names)}"
        self._ask(
            lambda: positions.close(self.account.pk, position.pk, amount=amount, request_id=name, at_once=at_once)
        )

    @precondition(lambda self: self.story.opened)
    @rule(which=st.integers(0, 5), at_once=st.booleans())
    def client_reverses(self, which: int, at_once: bool) -> None:
        position = self._any_position(which)
        side, name = Side(position.side).opposite, f"m-{next(self.names)}"
        self._ask(lambda: positions.reverse(self.account.pk, position.pk, side, request_id=name, at_once=at_once))

    @precondition(lambda self: self.story.opened)
    @rule(which=st.integers(0, 5), protection=PROTECTION, away=st.integers(1, 20))
    def client_protects(self, which: int, protection: Protection, away: int) -> None:
        position = self._any_position(which)
        market = self._market_of_position(position)
        wanted = self._brackets(market, Side(position.side), self.mids[market.symbol], protection, away)
        self._ask(lambda: positions.protect(self.account.pk, position.pk, wanted))
        self.story.moved.update(position.closing_orders.values_list("pk", flat=True))

    @precondition(lambda self: self.world.profile is Profile.PERPETUAL)
    @rule(chosen=st.sampled_from([1, 5, 20, 50, 100]))
    def client_chooses_leverage(self, chosen: int) -> None:
        symbol = self.world.markets[0].symbol
        self._ask(lambda: leverage.choose(self.account.pk, symbol, D(chosen)))

    # --- what the steps are made of -----------------------------------------------------------------------------------

    def _place(self, ticket: Ticket, at_once: bool) -> Order | None:
        """`at_once`: worked off as it is accepted, else by a worker some time later."""
        request_id = f"m-{next(self.names)}"
        order = self._ask(lambda: orders.place(self.account.pk, ticket, request_id=request_id, at_once=at_once))
        if order is None:
            return None
        self.requests.append((ticket, request_id, order.pk))
        if order.held and self.account.profile.has_positions:
            assert valuation.value(self.account).free >= 0
        assert isinstance(order, Order)
        return order

    def _ask(self, what: Callable[[], object]) -> Any:
        """Do as the client asks; a refusal has changed nothing."""
        before = self.story.orders
        try:
            return what()
        except OrderRejected:
            assert self.story.read() == before
            return None

    @classmethod
    def say(cls, *, account_id: int, order_ids: list[int], drain: bool) -> None:
        """In place of `dispatch.after_commit`: workers are never nudged, and the engine does not hear all the news."""
        if cls.hears:
            for order_id in order_ids:
                ticklog.connection().xadd(dispatch.CHANGES, {"id": order_id})
        cls.hears = True

    def _market(self, which: int) -> Market:
        return self.world.markets[which % len(self.world.markets)]

    def _market_of(self, order_id: int) -> Market:
        symbol = Order.objects.values_list("instrument__symbol", flat=True).get(pk=order_id)
        return next(market for market in self.world.markets if market.symbol == symbol)

    def _market_of_position(self, position: Position) -> Market:
        return next(market for market in self.world.markets if market.symbol == position.instrument.symbol)

    def _any_order(self, which: int) -> Seen:
        """The newer ones most of the time, whatever their status."""
        newest = list(reversed(self.story.orders.values()))
        return newest[which % len(newest)]

    def _any_position(self, which: int) -> Position:
        opened = list(self.account.positions.open().select_related("instrument").order_by("pk"))
        return opened[which % len(opened)]

    def _brackets(self, market: Market, side: Side, base: Decimal, protection: Protection, distance: int) -> Brackets:
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
        while self.account.positions.open().exists():
            positions.close(self.account.pk, self._any_position(0).pk, request_id=f"m-{next(self.names)}")
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
            self.engine.run_once(block_ms=None)
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
        assert value.equity == cash + sum(value.profits, D(0))
        unit = Currency.objects.get(pk=self.account.currency_id)
        assert all(unit.round_cash(profit) == profit for profit in value.profits)
