"""`manage.py set_quote`: a price set by hand, through the live pipeline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from marketdata import holds
from marketdata.chunks import PriceRange
from marketdata.models import Instrument

DEFAULT_HOLD_SECONDS = 10
LONGEST_HOLD_SECONDS = 7 * 86_400


class SetPrice(NamedTuple):
    instrument: Instrument
    bid: Decimal
    ask: Decimal


class Command(BaseCommand):
    help = (
        "Sets the bid and ask of a symbol, and keeps the simulator off it for a while. Several prices are read from "
        "the standard input as lines SYMBOL BID ASK; a wrong line refuses all of them. A later price replaces the "
        "hold of an earlier one. When a hold ends the simulator goes on from the price held. Not in production."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "price", nargs="*", metavar="SYMBOL BID ASK", help="read from the standard input when missing"
        )
        parser.add_argument(
            "--hold",
            default=str(DEFAULT_HOLD_SECONDS),
            metavar="SECONDS",
            help=f"how long the price stays as it is, 0 for not at all (default: {DEFAULT_HOLD_SECONDS})",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError(_("set_quote is for demonstrations and tests; it does nothing in production."))
        hold_seconds = _hold_seconds(options["hold"])
        lines = [options["price"]] if options["price"] else [line.split() for line in sys.stdin if line.strip()]
        for price in _parse(lines):
            holds.set_price(price.instrument, price.bid, price.ask, hold_seconds=hold_seconds)


def _parse(lines: Sequence[Sequence[str]]) -> list[SetPrice]:
    """The prices of the lines, in their order. Raises `CommandError` with a sentence for each wrong line."""
    instruments = {each.symbol: each for each in Instrument.objects.filter(symbol__in={words[0] for words in lines})}
    prices: list[SetPrice] = []
    mistakes: list[str] = []
    for number, words in enumerate(lines, start=1):
        try:
            prices.append(_price(words, instruments))
        except ValueError as error:
            where = _("Line %(number)s: ") % {"number": number} if len(lines) > 1 else ""
            mistakes.append(f"{where}{error}")
    if mistakes:
        raise CommandError("\n".join(mistakes))
    if not prices:
        raise CommandError(_("No price was given. Write SYMBOL BID ASK."))
    return prices


def _price(words: Sequence[str], instruments: dict[str, Instrument]) -> SetPrice:
    """Raises `ValueError` with the sentence for the user."""
    if len(words) != 3:
        raise ValueError(_("“%(text)s” is not a price. Write SYMBOL BID ASK.") % {"text": " ".join(words)})
    symbol, bid_text, ask_text = words
    if (instrument := instruments.get(symbol)) is None:
        raise ValueError(_("There is no instrument %(symbol)s.") % {"symbol": symbol})
    bid, ask = (_on_grid(_number(text), instrument) for text in (bid_text, ask_text))
    if bid > ask:
        raise ValueError(_("The bid %(bid)s is above the ask %(ask)s.") % {"bid": bid, "ask": ask})
    return SetPrice(instrument, bid, ask)


def _on_grid(price: Decimal, instrument: Instrument) -> Decimal:
    if price <= 0:
        raise ValueError(_("The price %(price)s is not above zero.") % {"price": price})
    if not PriceRange.of(instrument).holds(price):
        raise ValueError(_("%(price)s cannot be a price of %(symbol)s.") % {"price": price, "symbol": instrument})
    if price % instrument.tick_size:
        raise ValueError(
            _("%(price)s is between two prices of %(symbol)s: its price step is %(step)s.")
            % {"price": price, "symbol": instrument, "step": instrument.tick_size}
        )
    return price


def _number(text: str) -> Decimal:
    """A finite number. Raises `ValueError`."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(_("“%(text)s” is not a number.") % {"text": text})
    return number


def _hold_seconds(text: str) -> float:
    try:
        seconds = _number(text)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not 0 <= seconds <= LONGEST_HOLD_SECONDS:
        raise CommandError(
            _("A hold lasts from 0 to %(most)s seconds, not %(seconds)s.")
            % {"most": LONGEST_HOLD_SECONDS, "seconds": seconds}
        )
    return float(seconds)
