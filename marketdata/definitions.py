"""What the definition of an instrument must say, by its kind: its name (SYM-8), the fields its kind needs (SYM-5), the
format of its prices (PRC-1 … PRC-5), and the hours around its regular session (SES-7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from marketdata import sessions
from marketdata.choices import SymbolType

if TYPE_CHECKING:
    from marketdata.models import Instrument

MONTH_LETTERS = "FGHJKMNQUVXZ"  # January to December (SYM-9)
DAY = r"(?:0[1-9]|[12]\d|3[01])"  # where several expire in a month
PAIRS = frozenset({SymbolType.FOREX, SymbolType.CRYPTO})
SHARES = frozenset({SymbolType.STOCK, SymbolType.DR, SymbolType.RIGHT})
VENUE = "(?:[A-Z0-9]+_)?"  # what is traded on several exchanges says on which
# Perpetual swap; leveraged token; pair of a decentralized exchange, perhaps in state money.
CRYPTO_SUFFIX = r"(?:\.P|\.\d+[LS]|_[0-9A-F]{6}(?:\.USD)?)?"

Problem = tuple[str, str | Promise]  # the field that is wrong, and why


def problems(of: Instrument) -> Iterator[Problem]:
    """What is wrong with the definition, beyond what each field's own validators say."""
    yield from _wrong_name(of)
    yield from _wrong_fields(of)
    yield from _wrong_fraction(of) if of.fractional else _wrong_decimal(of)
    yield from _wrong_sessions(of)


def _wrong_name(of: Instrument) -> Iterator[Problem]:
    """SYM-8. CFDs are named as their broker likes."""
    if of.is_cfd:
        return
    pair = re.escape(of.base_currency + of.quote_currency)
    if of.type == SymbolType.FOREX and not re.fullmatch(VENUE + pair, of.symbol):
        yield "symbol", _("A pair's symbol is its two currencies, as EURUSD.")
    elif of.type == SymbolType.CRYPTO and not re.fullmatch(VENUE + pair + CRYPTO_SUFFIX, of.symbol):
        yield "symbol", _("A crypto pair's symbol is its two currencies, as BTCUSDT, BTCUSDT.P or BTCUSDT.3L.")
    elif of.type == SymbolType.FUTURES and not re.fullmatch(
        rf"{VENUE}{re.escape(of.root)}{DAY}?[{MONTH_LETTERS}]\d{{4}}", of.symbol
    ):
        yield (
            "symbol",
            _("A future's symbol is its root, the day if there are several, month letter and year: ESM2027."),
        )


def _wrong_fields(of: Instrument) -> Iterator[Problem]:
    """SYM-5, SYM-7."""
    if of.type in PAIRS and not of.base_currency:
        yield "base_currency", _("A pair has a base currency.")
    if of.type not in PAIRS and of.base_currency:
        yield "base_currency", _("Only pairs have a base currency.")
    if of.type == SymbolType.FUTURES and not of.is_cfd:
        for name in ("root", "root_description", "expiration"):
            if not getattr(of, name):
                yield name, _("A future has a root with a description, and an expiration.")
    elif of.expiration and of.type != SymbolType.FUTURES:
        yield "expiration", _("Only futures expire.")
    if of.isin and (of.type not in SHARES or not _is_isin(of.isin)):
        yield "isin", _("Shares have an ISIN of two letters, nine letters or digits, and a check digit.")
    if of.wkn and (of.type not in SHARES or not re.fullmatch("[A-Z0-9]{6}", of.wkn)):
        yield "wkn", _("Shares have a WKN of six letters or digits.")


def _wrong_decimal(of: Instrument) -> Iterator[Problem]:
    """PRC-2, PRC-3."""
    if not _is_power(of.pricescale, 10):
        yield "pricescale", _("The price scale of decimal prices is a power of ten: 100 for two decimals.")
    if of.minmovement2 and of.type != SymbolType.FOREX:
        yield "minmovement2", _("Only pairs of currencies and fractions have a min. movement 2.")
    elif of.minmovement2 and not _is_power(of.minmovement2, 10):
        yield "minmovement2", _("A pip has 1, 10 or 100 ticks.")


def _wrong_fraction(of: Instrument) -> Iterator[Problem]:
    """PRC-4, PRC-5."""
    if of.type != SymbolType.FUTURES:
        yield "fractional", _("Only futures have prices in fractions.")
    if not _is_power(of.pricescale, 2):
        yield "pricescale", _("The price scale of fractions is a power of two: 32 for thirty-seconds.")
    elif of.minmovement2 and (not _is_power(of.minmovement2, 2) or of.minmovement2 >= of.pricescale):
        yield "minmovement2", _("The second fraction divides the first: 4 for quarters of thirty-seconds, in 128.")


def _wrong_sessions(of: Instrument) -> Iterator[Problem]:
    try:
        sessions.extended(of.session_regular, of.session_premarket, of.session_postmarket)
    except ValidationError as error:
        yield "session_regular", error.messages[0]


def _is_isin(text: str) -> bool:
    """ISO 6166: letters count as 10 … 35, and the check digit is Luhn's of all digits."""
    if not re.fullmatch(r"[A-Z]{2}[A-Z0-9]{9}[0-9]", text):
        return False
    digits = "".join(str(int(letter, 36)) for letter in text)
    return sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(reversed(digits))) % 10 == 0


def _is_power(number: int, base: int) -> bool:
    while number > 1 and number % base == 0:
        number //= base
    return number == 1
