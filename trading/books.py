"""Recomputing the books from their rows: what may never be false, said where it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Count, F, Q, Sum

from accounts.choices import LedgerKind, Profile, TransferKind
from accounts.models import Account, Balance, Posting, Transfer
from trading import levels, risk, states
from trading.choices import DecisionKind, Side
from trading.models import (
    BustedExecution,
    Charge,
    Execution,
    MarginChange,
    MarginDecision,
    Order,
    Position,
    PositionFill,
)
from trading.states import OrderStatus

NOTHING = Decimal(0)


def verify() -> list[str]:
    """Every place where the books contradict themselves, one sentence each; empty when they agree.

    Reads one moment of the database (repeatable read), so trading may go on meanwhile.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return [
            *_transfers(),
            *_balances(),
            *_reserves(),
            *_orders(),
            *_brackets(),
            *_positions(),
            *_settlements(),
            *_charges(),
            *_decisions(),
        ]


def extent() -> str:
    """How much there was to verify."""
    return (
        f"{Account.objects.count()} accounts, {Order.objects.count()} orders, {Execution.objects.count()} executions,"
        f" {Position.objects.count()} positions, {Posting.objects.count()} postings"
    )


def _transfers() -> Iterator[str]:
    """Every transfer sums to zero in each currency, and has postings."""
    off = (
        Posting.objects.values("transfer_id", "transfer__reference", "ledger_account__currency_id")
        .annotate(total=Sum("amount"))
        .exclude(total=0)
    )
    for row in off:
        yield (
            f"transfer {row['transfer__reference']}: its postings in {row['ledger_account__currency_id']}"
            f" sum to {row['total']}, not to zero"
        )


def _balances() -> Iterator[str]:
    """A client's total is the sum of his postings, with the sign turned: what the house owes is a credit."""
    posted = {
        (row["ledger_account__account_id"], row["ledger_account__currency_id"]): -row["total"]
        for row in Posting.objects.filter(ledger_account__kind=LedgerKind.CLIENT)
        .values("ledger_account__account_id", "ledger_account__currency_id")
        .annotate(total=Sum("amount"))
    }
    for balance in Balance.objects.select_related("account"):
        total = posted.pop((balance.account_id, balance.currency_id), NOTHING)
        if total != balance.total:
            yield f"balance {balance.account} {balance.currency_id}: stored {balance.total}, postings make {total}"
    for (account_id, currency), total in posted.items():
        if total:
            yield f"account {account_id}: postings make {total} {currency}, but it has no balance of it"


def _reserves() -> Iterator[str]:
    """What a spot balance reserves is what its live orders hold."""
    held = {
        (row["account_id"], row["held_currency_id"]): row["total"]
        for row in Order.objects.live()
        .filter(account__group__profile=Profile.SPOT)
        .values("account_id", "held_currency_id")
        .annotate(total=Sum("held"))
    }
    for balance in Balance.objects.select_related("account"):
        total = held.pop((balance.account_id, balance.currency_id), NOTHING)
        if total != balance.reserved:
            yield f"balance {balance.account} {balance.currency_id}: {balance.reserved} reserved, orders hold {total}"
        if not balance.may_be_negative and balance.total < balance.reserved:
            yield (
                f"balance {balance.account} {balance.currency_id}: {balance.total} is less than the reserved"
                f" {balance.reserved}"
            )
    for (account_id, currency), total in held.items():
        if total:
            yield f"account {account_id}: orders hold {total} {currency}, but it has no balance of it"


def _orders() -> Iterator[str]:
    """Filled quantity and average price come from the executions; statuses agree with them; the story is whole."""
    filled: dict[int, tuple[Decimal, Decimal]] = {}
    counted = Execution.objects.counted().order_by("pk").values_list("order_id", "qty", "price")
    for order_id, qty, price in counted.iterator():
        sum_qty, average = filled.get(order_id, (NOTHING, NOTHING))
        filled[order_id] = (sum_qty + qty, risk.average(sum_qty, average, qty, price))
    for order in Order.objects.annotate(told=Count("events")).iterator():
        qty, average = filled.get(order.pk, (NOTHING, NOTHING))
        if order.filled_qty != qty or qty > order.qty:
            yield f"order {order.pk}: {order.filled_qty} of {order.qty} filled, executions make {qty}"
        if (order.avg_price or NOTHING) != average:
            yield f"order {order.pk}: average price {order.avg_price}, executions make {average}"
        if (order.status == OrderStatus.FILLED) != (qty == order.qty):
            yield f"order {order.pk}: {order.status} with {qty} of {order.qty} filled"
        if order.status in states.FINAL and order.held:
            yield f"order {order.pk}: {order.status}, but still holds {order.held}"
        if not order.told:
            yield f"order {order.pk}: has no event"


def _brackets() -> Iterator[str]:
    """A live bracket protects something that lives, on the other side, with the quantity of it (BRK-1)."""
    live = Order.objects.live().brackets().select_related("parent", "closes")
    for bracket in live.order_by("pk").iterator():
        parent, position = bracket.parent, bracket.closes
        if bracket.status == OrderStatus.INACTIVE:
            assert parent is not None
            side, qty, is_alive = parent.side, parent.qty, not parent.is_final
        elif position is not None:
            side, qty, is_alive = position.side, position.qty, position.closed_at is None
        else:
            continue  # a spot pair protects assets; what it may sell is in its reserve
        if not is_alive:
            yield f"order {bracket.pk}: protects what has ended"
        elif bracket.side == side:
            yield f"order {bracket.pk}: lies on the side of what it protects"
        elif bracket.leaves_qty != qty:
            yield f"order {bracket.pk}: {bracket.leaves_qty} left, but it protects {qty}"


def _positions() -> Iterator[str]:
    """A position is the sum of its fills, and a fill of a margin account belongs wholly to positions."""
    made: dict[int, _Made] = defaultdict(_Made)
    fills = PositionFill.objects.standing().order_by("pk").select_related("execution")
    for fill in fills.iterator():
        made[fill.position_id].add(fill)
    for position_id, amount in MarginChange.objects.values_list("position_id", "amount").iterator():
        made[position_id].margin += amount
    for position in Position.objects.all().iterator():
        sums = made.pop(position.pk, _Made())
        for name, stored, computed in (
            ("quantity", position.signed_qty, sums.qty),
            ("average price", position.avg_price, sums.average or position.avg_price),  # nothing made it: all busted
            ("margin", position.margin, sums.margin),
            ("realized P/L", position.realized_pl, sums.realized_pl),
        ):
            if stored != computed:
                yield f"position {position.pk}: {name} {stored}, its fills make {computed}"
    astray = (
        Execution.objects.standing()
        .exclude(account__group__profile=Profile.SPOT)
        .annotate(positioned=Sum("position_fills__qty"))
        .filter(
            Q(positioned=None)
            | Q(side=Side.BUY) & ~Q(positioned=F("qty"))
            | Q(side=Side.SELL) & ~Q(positioned=-F("qty"))
        )
    )
    for execution in astray:
        yield f"execution {execution.pk}: {execution.qty} executed, positions took {execution.positioned}"
    busted = PositionFill.objects.filter(execution__busted__isnull=False).values("execution_id")
    for row in busted.annotate(left=Sum("qty")).exclude(left=0):
        yield f"execution {row['execution_id']}: busted, but positions keep {row['left']} of it"


def _charges() -> Iterator[str]:
    """Every swap and funding payment is posted once, to the last digit, and nothing else is posted as one."""
    expected = {charge.reference: charge.amount for charge in Charge.objects.exclude(amount=0).iterator()}
    posted: dict[str, Decimal] = defaultdict(Decimal)
    rows = Posting.objects.filter(
        ledger_account__kind=LedgerKind.CLIENT, transfer__kind__in=[TransferKind.SWAP, TransferKind.FUNDING]
    ).values_list("transfer__reference", "amount")
    for reference, amount in rows.iterator():
        posted[reference] -= amount
    yield from _differences(expected, posted)


def _decisions() -> Iterator[str]:
    """Every margin decision follows from its stored inputs, and a balance was made good by what was missing."""
    owed: dict[str, Decimal] = {}
    for decision in MarginDecision.objects.iterator():
        inputs = levels.load(decision.inputs)
        figures, verdict = levels.figures(inputs), levels.verdict(inputs)
        stored = (decision.kind, decision.position_id, decision.level, decision.equity, decision.margin)
        if stored != (verdict.kind, verdict.position, figures.level, figures.equity, figures.margin):
            yield f"margin decision {decision.pk}: {decision.kind}, its inputs make {verdict.kind}"
        if decision.kind == DecisionKind.PROTECTED:
            owed[f"negative-balance:{decision.pk}"] = -inputs.balance
    posted = {
        reference: -amount
        for reference, amount in Posting.objects.filter(
            ledger_account__kind=LedgerKind.CLIENT, transfer__kind=TransferKind.NEGATIVE_BALANCE
        ).values_list("transfer__reference", "amount")
    }
    yield from _differences(owed, posted)


def _differences(expected: Mapping[str, Decimal], posted: Mapping[str, Decimal]) -> Iterator[str]:
    """Where what is due under a reference is not what is posted under it."""
    for reference in expected.keys() | posted.keys():
        due, booked = expected.get(reference, NOTHING), posted.get(reference, NOTHING)
        if due != booked:
            yield f"{reference}: {due} is due, {booked} is posted"


class _Made:
    """A position as its fills make it, one after the other."""

    def __init__(self) -> None:
        self.qty = self.average = self.margin = self.realized_pl = NOTHING

    def add(self, fill: PositionFill) -> None:
        if not fill.is_close:
            self.average = risk.average(abs(self.qty), self.average, abs(fill.qty), fill.execution.price)
        self.qty += fill.qty
        self.margin += fill.margin
        self.realized_pl += fill.realized_pl


def _settlements() -> Iterator[str]:
    """Commission and realized P/L of every execution are posted to its client, to the last digit."""
    posted: dict[str, Decimal] = defaultdict(Decimal)
    rows = Posting.objects.filter(
        ledger_account__kind=LedgerKind.CLIENT,
        transfer__kind__in=[TransferKind.COMMISSION, TransferKind.REALIZED_PL],
    ).values_list("transfer__reference", "amount")
    for reference, amount in rows.iterator():
        posted[reference] -= amount
    expected = {
        f"exec-{pk}:commission": -commission
        for pk, commission in Execution.objects.exclude(commission=0).values_list("pk", "commission").iterator()
    }
    results = PositionFill.objects.filter(bust=None).values("execution_id")
    sums = results.annotate(total=Sum("realized_pl")).exclude(total=0)
    expected |= {f"exec-{row['execution_id']}:pl": row["total"] for row in sums.iterator()}
    yield from _differences(expected | _given_back(), posted)
    yield from _exchanges()


def _given_back() -> dict[str, Decimal]:
    """What busts have to post: the commission of what they took back, and what they changed of every result."""
    busted = BustedExecution.objects.select_related("execution").exclude(execution__commission=0)
    due = {f"bust-{each.bust_id}:exec-{each.execution_id}:commission": each.execution.commission for each in busted}
    changes = PositionFill.objects.exclude(bust=None).values("bust_id", "execution_id")
    for row in changes.annotate(total=Sum("realized_pl")).exclude(total=0):
        due[f"bust-{row['bust_id']}:exec-{row['execution_id']}:pl"] = row["total"]
    return due


def _exchanges() -> Iterator[str]:
    """Every spot execution exchanged its assets, and a busted one has exchanged them back."""
    spot = Execution.objects.filter(account__group__profile=Profile.SPOT)
    due = {f"exec-{pk}:exchange" for pk in spot.values_list("pk", flat=True)}
    busted = BustedExecution.objects.filter(execution__in=spot).values_list("bust_id", "execution_id")
    due |= {f"bust-{bust}:exec-{pk}:exchange" for bust, pk in busted}
    exchanged = set(Transfer.objects.filter(kind=TransferKind.EXCHANGE).values_list("reference", flat=True))
    for reference in sorted(due - exchanged):
        yield f"{reference}: the exchange of assets is not posted"
