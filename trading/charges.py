"""What holding a position costs or brings: swaps at 17:00 New York, funding of perpetuals every eight hours.

Due times come from the database (`ChargeSchedule`): a task that was down works off what it missed, in order. A charge
is stored with its figures and posted in one transaction, once for a position and due time, so a task may run twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.utils import timezone

from accounts import ledger
from accounts.choices import LedgerKind, Profile, TransferKind
from accounts.models import Account
from marketdata.models import Instrument
from trading import risk
from trading.choices import ChargeKind, FundingSource, SwapUnit
from trading.errors import OrderRejected
from trading.models import Charge, ChargeSchedule, FundingRate, InstrumentTerms, Position
from trading.prices import Prices

log = logging.getLogger(__name__)

NEW_YORK = ZoneInfo("America/New_York")
ROLLOVER = time(17)
SWAP_PROFILES = (Profile.FX_NETTING, Profile.FX_HEDGING)
SATURDAY = 5
TRIPLE = 3
FUNDING_HOURS = 8
INTEREST = Decimal("0.0001")  # of a funding interval: what is paid when the perpetual stands at its index
PREMIUM_LIMIT = Decimal("0.0005")  # how far the interest may draw the premium
FUNDING_MAX_AGE_SECONDS = 60
RATE_STEP = Decimal("1E-12")


@dataclass(frozen=True, slots=True)
class Due:
    """One charge of a position before it is booked: its formula's figures, and the amount in the quote currency."""

    position: Position
    qty: Decimal
    rate: Decimal
    amount: Decimal
    days: int = 1
    price: Decimal | None = None


def next_rollover(after: datetime) -> datetime:
    """The next 17:00 New York of a weekday, whatever the clocks there do."""
    day = after.astimezone(NEW_YORK).date()
    while True:
        moment = datetime.combine(day, ROLLOVER, NEW_YORK)
        if moment > after and day.weekday() < SATURDAY:
            return moment.astimezone(UTC)
        day += timedelta(days=1)


def next_funding(after: datetime) -> datetime:
    """The next of 00:00, 08:00, 16:00 UTC."""
    midnight = after.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(hours=(after.astimezone(UTC).hour // FUNDING_HOURS + 1) * FUNDING_HOURS)


def charge_swaps(now: datetime | None = None) -> int:
    """Charge every swap that is due, and say how many charges were booked."""
    return _work_off(ChargeKind.SWAP, next_rollover, _swaps_due, now or timezone.now())


def charge_funding(now: datetime | None = None) -> int:
    """Charge all funding that is due, and say how many charges were booked."""
    return _work_off(ChargeKind.FUNDING, next_funding, _funding_due, now or timezone.now())


def _work_off(
    kind: ChargeKind,
    following: Callable[[datetime], datetime],
    due: Callable[[datetime, Prices], Iterator[Due | OrderRejected]],
    now: datetime,
) -> int:
    """Every due time up to now, in order, each moved past only when all of it is booked. The first call only begins.

    A charge that cannot be made yet (no price, no rate of conversion) holds up no other one. The schedule stays at its
    due time, and the next call tries again what is not booked by then.
    """
    schedule, _is_new = ChargeSchedule.objects.get_or_create(kind=kind, defaults={"due_at": following(now)})
    booked, moment = 0, schedule.due_at
    waiting: list[OrderRejected] = []
    while moment <= now:
        prices = Prices()
        for each in due(moment, prices):
            try:
                if isinstance(each, OrderRejected):
                    raise each
                booked += _book(kind, moment, each, prices)
            except OrderRejected as refusal:
                waiting.append(refusal)
        following_moment = following(moment)
        if not waiting:
            ChargeSchedule.objects.filter(kind=kind, due_at=moment).update(due_at=following_moment)
        moment = following_moment
    if waiting:
        log.warning("%d %s charges wait, the first for this: %s", len(waiting), kind, waiting[0])
    return booked


@transaction.atomic
def _book(kind: ChargeKind, moment: datetime, due: Due, prices: Prices) -> bool:
    """Store one charge and post it, unless that was done before."""
    account = Account.objects.changing(due.position.account_id)
    if Charge.objects.filter(kind=kind, position=due.position, due_at=moment).exists():
        transaction.set_rollback(True)  # the version did not have to rise
        return False
    source = due.position.instrument.quote_currency
    rate = prices.rate(source, account.currency_id, receives=due.amount > 0)
    charge = Charge.objects.create(
        kind=kind,
        due_at=moment,
        account=account,
        position=due.position,
        qty=due.qty,
        days=due.days,
        rate=due.rate,
        price=due.price,
        conversion_rate=rate,
        amount=account.currency.round_cash(due.amount * rate),
        currency=account.currency,
    )
    if charge.amount:
        amounts = {account.currency_id: charge.amount}
        ledger.credit(TransferKind(kind), charge.reference, account, amounts, LedgerKind.HOUSE_FINANCING)
    return True


def _open_at(moment: datetime, kind: ChargeKind, profiles: Collection[Profile]) -> Iterator[tuple[Position, Decimal]]:
    """Positions that were open at the moment and have no charge of it, each with its signed quantity of then."""
    held = Sum("fills__qty", filter=Q(fills__execution__at__lt=moment), default=Decimal(0))
    found = (
        Position.objects.filter(account__group__profile__in=profiles, opened_at__lt=moment)
        .filter(Q(closed_at=None) | Q(closed_at__gte=moment))
        .select_related("instrument", "account__group")
        .exclude(Exists(Charge.objects.filter(kind=kind, due_at=moment, position=OuterRef("pk"))))
        .annotate(held_qty=held)
        .exclude(held_qty=0)
        .order_by("pk")
    )
    for position in found.iterator():
        yield position, position.held_qty


# --- swaps ------------------------------------------------------------------------------------------------------------


def _swaps_due(moment: datetime, prices: Prices) -> Iterator[Due]:
    """Of all positions whose instrument had a swap in the version of the group's conditions of that moment."""
    with_swap = InstrumentTerms.objects.in_force(moment).exclude(swap_long=None).select_related("conditions")
    terms = {(each.conditions.group_id, each.instrument_id): each for each in with_swap}
    weekday = moment.astimezone(NEW_YORK).weekday()
    for position, qty in _open_at(moment, ChargeKind.SWAP, SWAP_PROFILES):
        if of := terms.get((position.account.group_id, position.instrument_id)):
            yield swap(of, position, qty, TRIPLE if weekday == of.triple_day else 1)


def swap(terms: InstrumentTerms, position: Position, signed_qty: Decimal, days: int) -> Due:
    """The swap of a position: its side's points or percentage. Percentages are of the value at the opening price.

    The terms have one (`has_swap`).
    """
    instrument, qty = position.instrument, abs(signed_qty)
    rate = terms.swap_long if signed_qty > 0 else terms.swap_short
    assert rate is not None
    if terms.swap_unit == SwapUnit.POINTS:
        amount = risk.swap_points(qty, rate, instrument.tick_size, instrument.contract_size, days)
        return Due(position, signed_qty, rate, amount, days)
    amount = risk.swap_percent(qty, position.avg_price, rate, instrument.contract_size, days)
    return Due(position, signed_qty, rate, amount, days, position.avg_price)


# --- funding ----------------------------------------------------------------------------------------------------------


def _funding_due(moment: datetime, prices: Prices) -> Iterator[Due | OrderRejected]:
    """Of all positions in perpetuals, or why it cannot be told yet."""
    rates: dict[int, tuple[Decimal, Decimal] | OrderRejected] = {}
    for position, qty in _open_at(moment, ChargeKind.FUNDING, [Profile.PERPETUAL]):
        instrument = position.instrument
        if instrument.pk not in rates:
            try:
                rates[instrument.pk] = _rate_and_mark(instrument, moment, prices)
            except OrderRejected as refusal:
                rates[instrument.pk] = refusal
        found = rates[instrument.pk]
        if isinstance(found, OrderRejected):
            yield found
            continue
        rate, mark = found
        amount = risk.funding(qty, mark, rate, instrument.contract_size)
        yield Due(position, qty, rate, amount, price=mark)


def _rate_and_mark(instrument: Instrument, moment: datetime, prices: Prices) -> tuple[Decimal, Decimal]:
    """The rate of the due time, stored the first time it is asked for, and the one mark price of all its charges.

    Raises OrderRejected(NO_PRICE) when it has to be computed and there is no fresh price.
    """
    stored = FundingRate.objects.filter(instrument=instrument, due_at=moment).first()
    if stored and stored.mark is not None:
        return stored.rate, stored.mark
    booked = Charge.objects.filter(kind=ChargeKind.FUNDING, due_at=moment, position__instrument=instrument).first()
    if stored and booked and booked.price is not None:
        return stored.rate, booked.price
    mark = _middle(instrument.symbol, prices)
    if stored:
        return stored.rate, mark
    index = _middle(_index_of(instrument), prices)
    rate = risk.funding_rate(mark, index, INTEREST, PREMIUM_LIMIT).quantize(RATE_STEP)
    FundingRate.objects.create(
        instrument=instrument, due_at=moment, rate=rate, source=FundingSource.PREMIUM, mark=mark, index=index
    )
    return rate, mark


def _index_of(instrument: Instrument) -> str:
    """The spot pair that a perpetual follows: its symbol without the ending (SYM-8)."""
    return instrument.symbol.removesuffix(".P")


def _middle(symbol: str, prices: Prices) -> Decimal:
    quote = prices.fresh(symbol, now=timezone.now(), max_age_seconds=FUNDING_MAX_AGE_SECONDS)
    return (quote.bid + quote.ask) / 2
