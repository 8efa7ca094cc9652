"""An account as it was at a moment that has passed, from what is never changed: events, executions, fills, postings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Prefetch, Q

from accounts import statements
from accounts.models import Account
from backoffice import partitions
from marketdata import bars
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading import risk, valuation
from trading.choices import EventKind
from trading.errors import OrderRejected
from trading.models import Execution, Order, OrderEvent, Position, PositionFill
from trading.prices import Prices
from trading.sessions_of import LONGEST_CLOSURE_DAYS, session_start

NOTHING = Decimal(0)
MOST_SYMBOLS = 20


class PastPrices(Prices):
    """The market at a moment that has passed: of each symbol the close of the last minute bar, bid and ask alike."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self._moment = int(moment.timestamp())

    def load(self, symbols: Iterable[str]) -> None:
        missing = [symbol for symbol in symbols if symbol not in self._quotes]
        for instrument in Instrument.objects.filter(symbol__in=missing):
            self._quotes[instrument.symbol] = self._of(instrument)
        for symbol in missing:
            self._quotes.setdefault(symbol, None)

    def _of(self, instrument: Instrument) -> Quote | None:
        found = bars.history(instrument, "1", 0, self._moment, 1)
        if not found.t:
            return None
        price = instrument.round_price(Decimal(str(found.c[0])))
        return Quote(instrument.symbol, price, price, (), (), datetime.fromtimestamp(found.t[0], UTC), "")


def symbols(account: Account) -> list[str]:
    """What the account trades: the symbols of its open positions and live orders."""
    held = account.positions.open().values_list("instrument__symbol", flat=True)
    ordered = account.orders.live().values_list("instrument__symbol", flat=True)
    return sorted({*held, *ordered})[:MOST_SYMBOLS]


# --- orders -----------------------------------------------------------------------------------------------------------


def orders(account: Account, moment: datetime) -> list[Order]:
    """What `/orders` listed then: live orders, and those that had ended in their session. Not to be saved."""
    counted = Q(busted=None) | Q(busted__bust__decided_at__gt=moment)
    executions = Execution.objects.filter(counted, at__lte=moment).order_by("pk")
    found = (
        account.orders.filter(
            Q(final_at=None) | Q(final_at__gt=moment - timedelta(days=LONGEST_CLOSURE_DAYS)), created_at__lte=moment
        )
        .select_related("instrument")
        .prefetch_related(Prefetch("executions", executions), Prefetch("events", OrderEvent.objects.order_by("pk")))
        .order_by("-pk")
    )
    were = [_as_it_was(order, moment) for order in found]
    return [order for order in were if order is not None]


def is_archived(account: Account, moment: datetime) -> bool:
    """Whether events of orders that `/orders` listed then may be in the archive, and no more here."""
    listed = Q(final_at=None) | Q(final_at__gt=moment - timedelta(days=LONGEST_CLOSURE_DAYS))
    kept_from = partitions.begins(OrderEvent._meta.db_table)
    return account.orders.filter(listed, created_at__lte=moment, created_at__lt=kept_from).exists()


def _as_it_was(order: Order, moment: datetime) -> Order | None:
    """The order as it was, None when `/orders` did not list it."""
    events = list(order.events.all())
    before = [event for event in events if event.at <= moment]
    if not before:
        return None
    if order.final_at and order.final_at <= moment:
        return order if order.final_at >= session_start(order.instrument, moment) else None
    order.status, order.updated_at, order.final_at = before[-1].status, before[-1].at, None
    order.reason, order.reason_details = "", {}
    _undo(order, [event for event in events if event.at > moment])
    sizes = [event for event in before if event.kind in (EventKind.RESIZED, EventKind.ACTIVATED)]
    if sizes:
        order.qty = Decimal(sizes[-1].details["qty"])
    _fill(order)
    return order


def _undo(order: Order, later: list[OrderEvent]) -> None:
    """Give back what modifications took, the latest first."""
    for event in reversed(later):
        if event.kind == EventKind.MODIFIED:
            for name in ("qty", "limit_price", "stop_price"):
                if (value := event.details.get(f"old_{name}")) is not None:
                    setattr(order, name, Decimal(value))


def _fill(order: Order) -> None:
    order.filled_qty, average = NOTHING, NOTHING
    for execution in order.executions.all():
        average = risk.average(order.filled_qty, average, execution.qty, execution.price)
        order.filled_qty += execution.qty
    order.avg_price = average if order.filled_qty else None


# --- positions and money ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Held:
    qty: Decimal = NOTHING  # signed
    average: Decimal = NOTHING
    margin: Decimal = NOTHING


def positions(account: Account, moment: datetime) -> list[tuple[Position, Decimal]]:
    """The positions that were open then, each with its profit at the prices of then. Not to be saved."""
    prices = PastPrices(moment)
    return [(each, _profit(account, each, prices)) for each in _open(account, moment)]


def _open(account: Account, moment: datetime) -> list[Position]:
    fills = (
        PositionFill.objects.filter(position__account=account, execution__at__lte=moment)
        .filter(Q(bust=None) | Q(bust__decided_at__lte=moment))
        .filter(Q(reverses=None), Q(reversal=None) | Q(reversal__bust__decided_at__gt=moment))
        .select_related("execution", "position__instrument")
        .order_by("pk")
    )
    held: dict[int, _Held] = {}
    found: dict[int, Position] = {}
    for fill in fills:
        position = found.setdefault(fill.position_id, fill.position)
        _add(held.setdefault(position.pk, _Held()), fill)
    for pk, position in found.items():
        position.qty, position.avg_price, position.margin = abs(held[pk].qty), held[pk].average, held[pk].margin
    return [position for position in found.values() if position.qty]


def _add(held: _Held, fill: PositionFill) -> None:
    if not fill.is_close:
        held.average = risk.average(abs(held.qty), held.average, abs(fill.qty), fill.execution.price)
    held.qty += fill.qty
    held.margin += fill.margin


def _profit(account: Account, position: Position, prices: Prices) -> Decimal:
    try:
        return valuation.unrealized_pl(valuation.Holding.of(position), account.currency, prices)
    except OrderRejected:  # no rate into the account's currency was known
        return NOTHING


def state(account: Account, moment: datetime) -> dict[str, Any]:
    """The figures of `/state` that do not depend on the language."""
    balance = statements.of(account, moment, moment).opening
    unrealized = sum((profit for _position, profit in positions(account, moment)), NOTHING)
    return {"balance": balance, "unrealizedPl": unrealized, "equity": balance + unrealized}
