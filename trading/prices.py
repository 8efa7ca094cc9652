"""The prices one decision is made on: each quote is read once, so that one decision sees one market."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from accounts import known
from accounts.models import Account
from marketdata import badticks
from marketdata.choices import SymbolType
from marketdata.models import Instrument
from marketdata.quotes import Quote
from trading.errors import OrderRejected, Reason

MAX_HOPS = 3  # JPY → USD → EUR → … : more would stack spreads beyond use


class Prices:
    """A view of the market that does not change while it is used. Raises `redis.RedisError` when it cannot be read."""

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._quotes: dict[str, Quote | None] = {}
        self._bad: set[str] = set()
        self._rates: dict[tuple[str, str, bool], Decimal] = {}
        self._account: Account | None = None
        self.load(symbols)

    def load(self, symbols: Iterable[str]) -> None:
        """Read these quotes now, in one go, unless they are here already."""
        missing = [symbol for symbol in symbols if symbol not in self._quotes]
        found = badticks.latest(missing)
        for symbol in missing:
            self._quotes[symbol], defect = found.get(symbol, (None, None))
            if defect:
                self._bad.add(symbol)

    def quote(self, symbol: str) -> Quote | None:
        """The symbol's quote, however old; None when it has none."""
        if symbol not in self._quotes:
            self.load([symbol])
        return self._quotes[symbol]

    def sound(self, symbol: str) -> Quote | None:
        """The symbol's quote, however old, unless it is a bad one: crossed, zero, or a jump that nothing confirmed."""
        quote = self.quote(symbol)
        return None if symbol in self._bad else quote

    def deciding(self, symbol: str) -> Quote | None:
        """The quote to value a position by, however old; in the place of a bad one the last good price."""
        quote = self.quote(symbol)
        if quote is None or symbol not in self._bad:
            return quote
        price = badticks.last_good(symbol)
        return replace(quote, bid=price, ask=price) if price else None

    def fresh(self, symbol: str, *, now: datetime, max_age_seconds: int) -> Quote:
        """The symbol's quote, fit to trade on. Raises OrderRejected(NO_PRICE) when it is missing, bad or too old."""
        quote = self.sound(symbol)
        if quote is None or now - quote.time > timedelta(seconds=max_age_seconds):
            raise OrderRejected(Reason.NO_PRICE, symbol=symbol)
        return quote

    def convert(self, amount: Decimal, source: str, target: str) -> Decimal:
        """The amount in another currency, not rounded, at the sides that cost the client.

        What he receives (amount > 0) is sold at bids, what he pays (amount < 0) bought at asks. Raises
        OrderRejected(NO_CONVERSION) when no chain of quoted pairs joins the two.
        """
        return amount * self.rate(source, target, receives=amount > 0)

    def rate(self, source: str, target: str, *, receives: bool) -> Decimal:
        """Units of `target` for one of `source`, at the side for receiving or for paying."""
        if source == target:
            return Decimal(1)
        key = (source, target, receives)
        if key not in self._rates:
            self._rates[key] = self._find_rate(source, target, receives=receives)
        return self._rates[key]

    def _find_rate(self, source: str, target: str, *, receives: bool) -> Decimal:
        rates = {source: Decimal(1)}
        frontier = [source]
        for _hop in range(MAX_HOPS):
            self.load({pair.symbol for currency in frontier for pair in self._pairs[currency]})
            reached: list[str] = []
            for currency in frontier:
                for pair in self._pairs[currency]:
                    other = pair.quote_currency if pair.base_currency == currency else pair.base_currency
                    if other in rates or (step := self._step(pair, currency, receives=receives)) is None:
                        continue
                    rates[other] = rates[currency] * step
                    reached.append(other)
            if target in rates:
                return rates[target]
            frontier = reached
        raise OrderRejected(Reason.NO_CONVERSION, source=source, target=target)

    def _step(self, pair: Instrument, source: str, *, receives: bool) -> Decimal | None:
        """The rate over one pair, from its base or from its quote currency."""
        quote = self.sound(pair.symbol)
        if quote is None:
            return None
        if pair.base_currency == source:
            return quote.bid if receives else quote.ask
        return 1 / quote.ask if receives else 1 / quote.bid

    def on_terms_of(self, account: Account) -> None:
        """Take the pairs that join currencies, once they are needed, from what is known with this account."""
        self._account = account

    @cached_property
    def _pairs(self) -> Mapping[str, list[Instrument]]:
        if self._account is None:
            return pairs_by_currency()
        return known.of(self._account, "pairs", read=pairs_by_currency)


def pairs_by_currency() -> Mapping[str, list[Instrument]]:
    """Pairs that exchange one currency for another, by each of the two; none for others. Perpetuals (`.P`, SYM-8) do
    not."""
    pairs: dict[str, list[Instrument]] = defaultdict(list)
    for pair in (
        Instrument.objects.filter(type__in=[SymbolType.FOREX, SymbolType.CRYPTO], is_cfd=False, contract_size=1)
        .exclude(base_currency="")
        .exclude(symbol__endswith=".P")
        .order_by("symbol")
    ):
        pairs[pair.base_currency].append(pair)
        pairs[pair.quote_currency].append(pair)
    return pairs
