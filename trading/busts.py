"""Taking executions back, or booking them again at the right price, under four eyes (docs/decisions/busts.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import ledger
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account, Balance, Transfer, User
from backoffice.fields import plain
from marketdata.models import Instrument
from trading import brackets, dispatch, executions, replay, risk
from trading.choices import BustState, EventKind, Side
from trading.errors import OrderRejected, Reason
from trading.executions import Booking
from trading.models import Bust, BustedExecution, Execution, Order, Position
from trading.prices import Prices
from trading.venue import Fill

MOST = 1000  # executions of one bust: it is booked in one transaction, whose accounts wait for it


class BustRefused(Exception):
    """The request or decision is refused, and nothing was stored. The text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. `key` is the form's own: sent twice, it is asked for once."""

    instrument: Instrument
    executions: tuple[int, ...]
    reason: str
    key: str
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a bust does to one account: each balance and net quantity as (name, before, after), orders that it ends."""

    account: Account
    executions: int
    balances: list[tuple[str, Decimal, Decimal]]
    positions: list[tuple[str, Decimal, Decimal]]
    ended: list[int]


@dataclass(slots=True)
class _Part:
    """One account's part of a bust while it is booked."""

    booking: Booking
    executions: list[Execution]
    replaced: dict[int, Execution | None] = field(default_factory=dict)
    touched: list[Order] = field(default_factory=list)


def chosen(
    instrument: Instrument,
    *,
    since: datetime,
    until: datetime,
    low: Decimal | None = None,
    high: Decimal | None = None,
    account: Account | None = None,
) -> list[Execution]:
    """The standing fills of an interval (both ends included), those at prices from `low` to `high` where given."""
    found = Execution.objects.standing().filter(instrument=instrument, at__gte=since, at__lte=until)
    for lookup, value in {"price__gte": low, "price__lte": high, "account": account}.items():
        if value is not None:
            found = found.filter(**{lookup: value})
    return list(found.select_related("account", "instrument").order_by("pk")[: MOST + 1])


@transaction.atomic
def ask(wish: Wish, *, by: User) -> Bust:
    """Store the request; nothing is booked. Raises BustRefused."""
    if earlier := Bust.objects.filter(key=wish.key).first():
        return earlier
    _check_right(by, "request")
    _check(wish)
    return _create(wish, by)


def effects(wish: Wish, *, by: User) -> list[Effect]:
    """What the bust would do if it were approved now: it is booked, looked at, and undone. Raises BustRefused."""
    _check_right(by, "request")
    _check(wish)
    return _tried(lambda: _create(wish, by))


def effects_of(bust: Bust) -> list[Effect]:
    """The same of a request that waits for its decision."""
    return _tried(lambda: bust)


@transaction.atomic
def approve(bust_id: int, *, by: User) -> Bust:
    """Book the bust; never by who asked for it. Raises BustRefused, also when somebody else was quicker."""
    _check_right(by, "approve")
    accounts = _locked_accounts(_found(bust_id))
    bust = _decidable(bust_id)
    if by.pk == bust.maker_id:
        raise BustRefused(_("You asked for this yourself: somebody else has to approve it."))
    _decide(bust, BustState.APPROVED, by, "")
    _carry_out(bust, accounts)
    return bust


@transaction.atomic
def reject(bust_id: int, *, by: User, note: str) -> Bust:
    """Refuse the request. Raises BustRefused."""
    _check_right(by, "approve")
    bust = _decidable(bust_id)
    if by.pk == bust.maker_id:
        raise BustRefused(_("You asked for this yourself: withdraw it instead."))
    if not note.strip():
        raise BustRefused(_("Write down why it is rejected."))
    return _decide(bust, BustState.REJECTED, by, note)


@transaction.atomic
def withdraw(bust_id: int, *, by: User) -> Bust:
    """Take one's own request back. Raises BustRefused."""
    bust = _decidable(bust_id)
    if by.pk != bust.maker_id:
        raise BustRefused(_("Only who asked for it can withdraw it. You may reject it."))
    return _decide(bust, BustState.CANCELLED, None, "")


# --- asking and deciding ----------------------------------------------------------------------------------------------


def _check_right(by: User, right: str) -> None:
    if not by.has_perm(f"trading.{right}_bust"):
        raise BustRefused(_("Your role does not allow that."))


def _check(wish: Wish) -> None:
    if not wish.reason.strip():
        raise BustRefused(_("Write down the reason: who decides has to understand it."))
    if not wish.executions:
        raise BustRefused(_("There is no such execution: nothing would be busted."))
    if len(wish.executions) > MOST:
        raise BustRefused(_("These are more than %(most)s executions: choose a shorter interval.") % {"most": MOST})
    standing = Execution.objects.standing().filter(pk__in=wish.executions, instrument=wish.instrument)
    if standing.count() != len(set(wish.executions)):
        raise BustRefused(_("One of the executions was busted already, or is of another instrument."))
    if Bust.objects.waiting().filter(executions__overlap=list(wish.executions)).exists():
        raise BustRefused(_("Another request names one of these executions: decide that one first."))
    price = wish.price
    if price is not None and (price <= 0 or wish.instrument.round_price(price) != price):
        raise BustRefused(
            _("The right price must be above zero and a multiple of %(tick)s.") % {"tick": wish.instrument.tick_size}
        )
    if price is not None and standing.filter(price=price).exists():
        raise BustRefused(_("One of the executions has that price already."))


def _create(wish: Wish, by: User) -> Bust:
    return Bust.objects.create(
        instrument=wish.instrument,
        executions=sorted(wish.executions),
        price=wish.price,
        reason=wish.reason.strip(),
        key=wish.key,
        maker=by,
    )


def _found(bust_id: int) -> Bust:
    bust = Bust.objects.select_related("instrument").filter(pk=bust_id).first()
    if bust is None:
        raise BustRefused(_("There is no such request."))
    return bust


def _decidable(bust_id: int) -> Bust:
    """The request, locked, if it still waits for a decision."""
    _found(bust_id)
    bust = Bust.objects.select_for_update(of=("self",)).select_related("instrument").get(pk=bust_id)
    if bust.state != BustState.REQUESTED:
        raise BustRefused(_("It is decided already: %(state)s.") % {"state": bust.get_state_display().lower()})
    return bust


def _decide(bust: Bust, state: BustState, checker: User | None, note: str) -> Bust:
    bust.state, bust.checker, bust.decided_at, bust.decision = state, checker, timezone.now(), note.strip()[:500]
    bust.save(update_fields=["state", "checker", "decided_at", "decision"])
    return bust


def _tried(make: Callable[[], Bust]) -> list[Effect]:
    with transaction.atomic():
        bust = make()
        accounts = _locked_accounts(bust)
        before = {account.pk: _standing_of(account, bust.instrument) for account in accounts}
        parts = _carry_out(bust, accounts)
        found = [_effect(part, before[part.booking.account.pk], bust.instrument) for part in parts]
        transaction.set_rollback(True)
    return found


Standing = tuple[dict[str, Decimal], Decimal]


def _standing_of(account: Account, instrument: Instrument) -> Standing:
    """The account's balances by currency, and its net quantity of the instrument."""
    balances = dict(Balance.objects.filter(account=account).values_list("currency_id", "total"))
    positions = Position.objects.open().filter(account=account, instrument=instrument)
    return balances, sum((position.signed_qty for position in positions), Decimal(0))


def _effect(part: _Part, before: Standing, instrument: Instrument) -> Effect:
    account = part.booking.account
    balances, qty = _standing_of(account, instrument)
    moved = [(currency, before[0].get(currency, Decimal(0)), total) for currency, total in sorted(balances.items())]
    return Effect(
        account=account,
        executions=len(part.executions),
        balances=[each for each in moved if each[1] != each[2]],
        positions=[(instrument.symbol, before[1], qty)] if account.profile.has_positions else [],
        ended=[order.pk for order in part.touched if order.final_at == part.booking.at],
    )


# --- booking ----------------------------------------------------------------------------------------------------------


def _locked_accounts(bust: Bust) -> list[Account]:
    """The accounts concerned, then the orders, each in the order in which everybody locks them."""
    concerned = Execution.objects.filter(pk__in=bust.executions)
    ids = sorted(set(concerned.values_list("account_id", flat=True)))
    accounts = [Account.objects.changing(pk) for pk in ids]
    brackets_of = Q(account__in=ids, instrument=bust.instrument) & ~Q(role="")
    live = Order.objects.live().filter(brackets_of).values("pk")
    list(Order.objects.locked().filter(pk__in=live.union(concerned.values("order"))))
    return accounts


def _carry_out(bust: Bust, accounts: Iterable[Account]) -> list[_Part]:
    """Book it for every account; accounts and orders are locked. Raises BustRefused."""
    if Execution.objects.standing().filter(pk__in=bust.executions).count() != len(bust.executions):
        raise BustRefused(_("One of the executions was busted already."))
    now = timezone.now()
    prices = Prices([bust.instrument.symbol])
    parts = []
    for account in accounts:
        booking = Booking(account, account.group.conditions_at(now), prices, now, is_done=True)
        concerned = account.executions.filter(pk__in=bust.executions).select_related("order", "instrument")
        part = _Part(booking, list(concerned.order_by("-pk")))  # undone from the last to the first
        try:
            _book(bust, part)
        except OrderRejected as refusal:
            raise BustRefused(f"{account}: {refusal}") from None
        parts.append(part)
    return parts


def _book(bust: Bust, part: _Part) -> None:
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
    of_then = replace(booking, conditions=account.group.conditions_at(execution.at))
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


def _exchange_back(bust: Bust, part: _Part) -> None:
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
        amounts = executions.exchanged(bust.instrument, Side(replacement.side), replacement.qty, replacement.price)
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


def _tell_orders(bust: Bust, part: _Part) -> None:
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
