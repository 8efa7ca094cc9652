"""Booking an approved bust: positions anew, money by opposite postings, every order told (docs/decisions/busts.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from django.db.models import F, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import ledger
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Balance, Transfer
from backoffice.fields import plain
from trading import brackets, dispatch, executions, replay, risk
from trading.choices import EventKind, Side
from trading.errors import BustRefused, OrderRejected, Reason
from trading.executions import Booking
from trading.models import Bust, BustedExecution, Execution, Order
from trading.prices import Prices
from trading.venue import Fill


@dataclass(slots=True)
class Part:
    """One account's part of a bust while it is booked."""

    booking: Booking
    executions: list[Execution]
    replaced: dict[int, Execution | None] = field(default_factory=dict)
    touched: list[Order] = field(default_factory=list)


def lock_accounts(bust: Bust) -> list[Account]:
    """The accounts concerned, then the orders, each in the order in which everybody locks them."""
    concerned = Execution.objects.filter(pk__in=bust.executions)
    ids = sorted(set(concerned.values_list("account_id", flat=True)))
    accounts = [Account.objects.changing(pk) for pk in ids]
    brackets_of = Q(account__in=ids, instrument=bust.instrument) & ~Q(role="")
    live = Order.objects.live().filter(brackets_of).values("pk")
    list(Order.objects.locked().filter(pk__in=live.union(concerned.values("order"))))
    return accounts


def carry_out(bust: Bust, accounts: Iterable[Account]) -> list[Part]:
    """Book it for every account; accounts and orders are locked. Raises BustRefused."""
    if Execution.objects.standing().filter(pk__in=bust.executions).count() != len(bust.executions):
        raise BustRefused(_("One of the executions was busted already."))
    now = timezone.now()
    prices = Prices([bust.instrument.symbol])
    parts = []
    for account in accounts:
        booking = Booking(account, account.conditions_at(now), prices, now, is_done=True)
        concerned = account.executions.filter(pk__in=bust.executions).select_related("order", "instrument")
        part = Part(booking, list(concerned.order_by("-pk")))  # undone from the last to the first
        try:
            _book(bust, part)
        except OrderRejected as refusal:
            raise BustRefused(f"{account}: {refusal}") from None
        parts.append(part)
    return parts


def _book(bust: Bust, part: Part) -> None:
    account = part.booking.account
    for execution in part.executions:
        replacement = _rebook(bust, part.booking, execution)
        BustedExecution.objects.create(bust=bust, execution=execution, replacement=replacement)
        part.replaced[execution.pk] = replacement
    if account.profile.has_positions:
        replay.rebuild(part.booking, bust, part.replaced)
        _post_results(bust, account)
        part.touched += brackets.follow_positions(part.booking, bust.instrument)
    else:
        _exchange_back(bust, part)
    for execution in part.executions:
        _give_commission_back(bust, account, execution)
        if replacement := part.replaced[execution.pk]:
            executions.charge(account, replacement)
    _tell_orders(bust, part)
    dispatch.after_commit(
        account_id=account.pk,
        order_ids=[order.pk for order in part.touched],
        drain=any(order.queued for order in part.touched),
    )


def _rebook(bust: Bust, booking: Booking, execution: Execution) -> Execution | None:
    """The execution at the right price, at its own moment; its commission is that of the conditions of then."""
    if bust.price is None:
        return None
    account, instrument = booking.account, execution.instrument
    of_then = replace(booking, conditions=account.conditions_at(execution.at))
    name = f"bust-{bust.pk}:{execution.pk}"
    fill = Fill(execution.qty, bust.price, name)
    fee, currency = executions.fee(of_then, instrument, Side(execution.side), fill)
    return Execution.objects.create(
        order=execution.order,
        account=account,
        instrument=instrument,
        side=execution.side,
        qty=execution.qty,
        price=bust.price,
        commission=fee,
        commission_currency_id=currency,
        venue=execution.venue,
        venue_exec_id=name,
        at=execution.at,
    )


def _post_results(bust: Bust, account: Account) -> None:
    """What the bust changed of each execution's realized result."""
    changes = bust.fills.filter(position__account=account).values("execution_id").order_by("execution_id")
    for row in changes.annotate(total=Sum("realized_pl")).exclude(total=0):
        reference = f"bust-{bust.pk}:exec-{row['execution_id']}:pl"
        amounts = {account.currency_id: row["total"]}
        ledger.credit(TransferKind.REALIZED_PL, reference, account, amounts, LedgerKind.HOUSE_TRADING, by=bust.checker)


def _give_commission_back(bust: Bust, account: Account, execution: Execution) -> None:
    if execution.commission:
        ledger.credit(
            TransferKind.COMMISSION,
            f"bust-{bust.pk}:exec-{execution.pk}:commission",
            account,
            {execution.commission_currency_id: execution.commission},
            LedgerKind.HOUSE_COMMISSION,
            by=bust.checker,
        )


def _exchange_back(bust: Bust, part: Part) -> None:
    """Spot: every exchange by its opposite legs, then those at the right price. What was spent since is not there."""
    account = part.booking.account
    if bust.price is None:
        for order in {execution.order_id: execution.order for execution in part.executions}.values():
            part.touched += brackets.release(part.booking, order)
    for execution in part.executions:
        amounts = _exchanged(account, execution)
        _check_there(account, {currency: -amount for currency, amount in amounts.items()})
        _exchange(bust, account, f"bust-{bust.pk}:exec-{execution.pk}:exchange", amounts, sign=-1)
    for replacement in filter(None, part.replaced.values()):
        amounts = executions.exchanged(
            account, bust.instrument, Side(replacement.side), replacement.qty, replacement.price
        )
        _check_there(account, amounts)
        _exchange(bust, account, f"exec-{replacement.pk}:exchange", amounts, sign=1)


def _exchanged(account: Account, execution: Execution) -> dict[str, Decimal]:
    """What the client got and gave by the execution, as it was posted."""
    posted = Transfer.objects.get(reference=f"exec-{execution.pk}:exchange").postings
    of_client = posted.filter(ledger_account__account=account).annotate(currency=F("ledger_account__currency_id"))
    return {currency: -amount for currency, amount in of_client.values_list("currency", "amount")}


def _exchange(bust: Bust, account: Account, reference: str, amounts: dict[str, Decimal], *, sign: int) -> None:
    signed = {currency: sign * amount for currency, amount in amounts.items()}
    ledger.credit(TransferKind.EXCHANGE, reference, account, signed, LedgerKind.HOUSE_TRADING, by=bust.checker)


def _check_there(account: Account, amounts: dict[str, Decimal]) -> None:
    """Raise BustRefused when the account has not the assets that would leave it: an asset is never overdrawn."""
    taken = {currency: -amount for currency, amount in amounts.items() if amount < 0}
    for balance in Balance.objects.filter(account=account, currency__in=taken):
        if balance.available < taken[balance.currency_id]:
            raise BustRefused(
                _(
                    "%(account)s has only %(available)s %(currency)s free, and %(needed)s would leave it. Cancel the"
                    " orders that hold it, or bust the later fills that spent it too."
                )
                % {
                    "account": account,
                    "available": plain(balance.available),
                    "currency": balance.currency_id,
                    "needed": plain(taken[balance.currency_id]),
                }
            )


def _tell_orders(bust: Bust, part: Part) -> None:
    """Every order concerned says so: its figures are those of what was filled, at the right price (ORD-2)."""
    of_orders: dict[int, list[Execution]] = defaultdict(list)
    for execution in part.executions:
        of_orders[execution.order_id].append(execution)
    for order in Order.objects.filter(pk__in=of_orders).select_related("instrument"):
        order.avg_price = _average(order)
        order.reason, order.reason_details, order.updated_at = Reason.FILL_BUSTED, {}, part.booking.at
        order.save(update_fields=["avg_price", "reason", "reason_details", "updated_at"])
        for execution in of_orders[order.pk]:
            order.record(
                EventKind.BUSTED,
                by=bust.checker,
                bust=bust.pk,
                execution=execution.pk,
                qty=execution.qty,
                price=execution.price,
                right_price=bust.price,
                reason=bust.reason,
            )
        part.touched.append(order)


def _average(order: Order) -> Decimal:
    qty, average = Decimal(0), Decimal(0)
    for more, price in order.executions.counted().order_by("pk").values_list("qty", "price"):
        average = risk.average(qty, average, more, price)
        qty += more
    return average
