"""Taking executions back, or booking them again at the right price, under four eyes (docs/decisions/busts.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account, Balance, User
from marketdata.models import Instrument
from trading import bust_booking
from trading.bust_booking import Part
from trading.choices import BustState
from trading.errors import BustRefused
from trading.models import Bust, Execution, Position

MOST = 1000  # executions of one bust: it is booked in one transaction, whose accounts wait for it


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
    """What a bust does to one account: orders that it ends, and the rest as (name, before, after).

    `positions` has the net quantity of the instrument, `fees` the commission of the fills by its currency.
    """

    account: Account
    executions: int
    balances: list[tuple[str, Decimal, Decimal]]
    positions: list[tuple[str, Decimal, Decimal]]
    fees: list[tuple[str, Decimal, Decimal]]
    ended: list[int]


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
    accounts = bust_booking.lock_accounts(_found(bust_id))
    bust = _decidable(bust_id)
    if by.pk == bust.maker_id:
        raise BustRefused(_("You asked for this yourself: somebody else has to approve it."))
    _decide(bust, BustState.APPROVED, by, "")
    bust_booking.carry_out(bust, accounts)
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
        accounts = bust_booking.lock_accounts(bust)
        before = {account.pk: _standing_of(account, bust.instrument) for account in accounts}
        parts = bust_booking.carry_out(bust, accounts)
        found = [_effect(part, before[part.booking.account.pk], bust.instrument) for part in parts]
        transaction.set_rollback(True)
    return found


Standing = tuple[dict[str, Decimal], Decimal]


def _standing_of(account: Account, instrument: Instrument) -> Standing:
    """The account's balances by currency, and its net quantity of the instrument."""
    balances = dict(Balance.objects.filter(account=account).values_list("currency_id", "total"))
    positions = Position.objects.open().filter(account=account, instrument=instrument)
    return balances, sum((position.signed_qty for position in positions), Decimal(0))


def _effect(part: Part, before: Standing, instrument: Instrument) -> Effect:
    account = part.booking.account
    balances, qty = _standing_of(account, instrument)
    moved = [(currency, before[0].get(currency, Decimal(0)), total) for currency, total in sorted(balances.items())]
    return Effect(
        account=account,
        executions=len(part.executions),
        balances=[each for each in moved if each[1] != each[2]],
        positions=[(instrument.symbol, before[1], qty)] if account.profile.has_positions else [],
        fees=_fees(part),
        ended=[order.pk for order in part.touched if order.final_at == part.booking.at],
    )


def _fees(part: Part) -> list[tuple[str, Decimal, Decimal]]:
    before, after = _commissions(part.executions), _commissions(filter(None, part.replaced.values()))
    return [
        (currency, before.get(currency, Decimal(0)), after.get(currency, Decimal(0)))
        for currency in sorted({*before, *after})
    ]


def _commissions(executions: Iterable[Execution]) -> dict[str, Decimal]:
    """Sums by currency; those that cost nothing are left out."""
    sums: dict[str, Decimal] = {}
    for execution in executions:
        if execution.commission:
            currency = execution.commission_currency_id
            sums[currency] = sums.get(currency, Decimal(0)) + execution.commission
    return sums
