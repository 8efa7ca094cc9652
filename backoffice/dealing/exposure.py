"""What the clients hold together, by instrument and by currency: the other side of it is the house's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, F, Sum

from accounts.models import Currency
from backoffice.fields import plain
from marketdata.models import Instrument
from trading.choices import Side
from trading.errors import OrderRejected
from trading.models import Position
from trading.prices import Prices

NOTHING = Decimal(0)


@dataclass(slots=True)
class Line:
    """All open positions in one instrument: units bought and sold, and what each side cost, in its quote currency."""

    instrument: Instrument
    positions: int = 0
    long: Decimal = NOTHING
    short: Decimal = NOTHING
    long_cost: Decimal = NOTHING
    short_cost: Decimal = NOTHING

    @property
    def net(self) -> Decimal:
        return self.long - self.short

    def value(self, prices: Prices) -> Decimal | None:
        """The net quantity at the middle of the market, in the quote currency; None without a price."""
        quote = prices.quote(self.instrument.symbol)
        return None if quote is None else self.net * (quote.bid + quote.ask) / 2 * self.instrument.contract_size

    def profit(self, prices: Prices) -> Decimal | None:
        """What the clients would gain together by closing now, in the quote currency; None without a price."""
        quote = prices.quote(self.instrument.symbol)
        if quote is None:
            return None
        gained = quote.bid * self.long - self.long_cost + self.short_cost - quote.ask * self.short
        return gained * self.instrument.contract_size


def by_instrument() -> list[Line]:
    """A line for each instrument that anybody holds, by symbol. Two statements, however many positions."""
    rows = (
        Position.objects.open()
        .values("instrument", "side")
        .annotate(units=Sum("qty"), cost=Sum(F("qty") * F("avg_price")), count=Count("pk"))
        .order_by()
    )
    sums = list(rows)
    instruments = Instrument.objects.in_bulk({row["instrument"] for row in sums})
    lines = {pk: Line(instrument) for pk, instrument in instruments.items()}
    for row in sums:
        line = lines[row["instrument"]]
        line.positions += row["count"]
        if row["side"] == Side.BUY:
            line.long, line.long_cost = row["units"], plain(row["cost"])
        else:
            line.short, line.short_cost = row["units"], plain(row["cost"])
    return sorted(lines.values(), key=lambda line: line.instrument.symbol)


def by_currency(lines: Iterable[Line], prices: Prices) -> dict[str, Decimal]:
    """What the clients are long of each currency. A pair has two legs; others move only the currency they gain in."""
    legs: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        instrument = line.instrument
        if instrument.base_currency:
            legs[instrument.base_currency] += line.net * instrument.contract_size
            legs[instrument.quote_currency] -= (line.long_cost - line.short_cost) * instrument.contract_size
        else:
            legs[instrument.quote_currency] += line.profit(prices) or NOTHING
    return {currency: plain(amount) for currency, amount in sorted(legs.items())}


def converted(amount: Decimal | None, source: str, target: Currency, prices: Prices) -> Decimal | None:
    """The amount in another currency, as that is settled; None where no rate is known."""
    if amount is None:
        return None
    try:
        return target.round_cash(prices.convert(amount, source, target.code))
    except OrderRejected:
        return None


def unjoined(codes: Iterable[str], target: Currency, prices: Prices) -> list[str]:
    """Those of the currencies that nothing quoted converts into the other."""
    return [code for code in sorted(set(codes)) if converted(Decimal(1), code, target, prices) is None]
