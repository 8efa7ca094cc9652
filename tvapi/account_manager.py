"""The Account Manager: what its summary row and table show, and the cells that go with them (CFG-4 … CFG-7).

A column is described once, title and value together: configuration and `/state` cannot differ in number or order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import chain

from babel import Locale
from babel.numbers import format_decimal, get_decimal_symbol, get_group_symbol
from django.utils.functional import Promise
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext_lazy as _

from accounts.choices import Profile
from accounts.models import Currency
from trading import levels
from trading.valuation import AccountValue, SpotValue

UNKNOWN = "—"
Signs = dict[int, str]  # of a language, for those of Python's numbers


@dataclass(frozen=True, slots=True)
class Figures:
    """An account's figures in its currency. `used` is the margin of positions, `held` that of orders.

    `kept` is the margin that must be kept (maintenance), and `level` equity as a percentage of it. `financing` is what
    swaps and funding came to so far, `commission` what was paid (below zero).
    """

    currency: Currency
    balance: Decimal
    unrealized_pl: Decimal = Decimal(0)
    used: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    btc_value: Decimal | None = None
    kept: Decimal = Decimal(0)
    level: Decimal | None = None
    financing: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)

    @property
    def equity(self) -> Decimal:
        return self.balance + self.unrealized_pl

    @property
    def free(self) -> Decimal:
        return self.equity - self.used - self.held


@dataclass(frozen=True, slots=True)
class Column:
    """One figure: its id and title in the configuration, its text in `/state`."""

    id: str
    title: Promise
    text: Callable[[Figures, Signs], str]


def of_margin(
    currency: Currency, value: AccountValue, kept: levels.Figures, financing: Decimal, commission: Decimal
) -> Figures:
    """`kept` are the figures of the margin level; `financing` and `commission` what they came to so far."""
    return Figures(
        currency=currency,
        balance=value.balance,
        unrealized_pl=value.unrealized_pl,
        used=value.margin,
        held=value.held,
        kept=kept.margin,
        level=kept.level,
        financing=financing,
        commission=commission,
    )


def of_spot(currency: Currency, assets: Sequence[SpotValue]) -> Figures:
    """All assets together, as far as rates are known, to the cent."""
    worth = sum((asset.value for asset in assets if asset.value is not None), Decimal(0))
    btc = [asset.btc_value for asset in assets if asset.btc_value is not None]
    return Figures(
        currency=currency,
        balance=currency.round_cash(worth),
        btc_value=sum(btc, Decimal(0)) if btc else None,
    )


def configuration(profile: Profile) -> dict[str, object]:
    """`accountSummaryRow` and `accountManager`, as `/config` and the `ui` of an account have them."""
    return {
        "accountSummaryRow": [{"id": column.id, "title": column.title} for column in _row(profile)],
        "accountManager": [
            {
                "id": table.id,
                "title": table.title,
                "columns": [{"id": column.id, "title": column.title, "alignment": "right"} for column in table.columns],
            }
            for table in _tables(profile)
        ],
    }


def cells(profile: Profile, figures: Figures) -> dict[str, object]:
    """`accountSummaryRowData` and `amData` of `/state`, formatted for the language of the moment."""
    signs, row, tables = _signs(get_language() or "en"), _row(profile), _tables(profile)
    texts = {id_: column.text(figures, signs) for id_, column in _columns(profile).items()}
    return {
        "accountSummaryRowData": [texts[column.id] for column in row],
        "amData": [[[texts[column.id] for column in table.columns]] for table in tables],
    }


def amount(value: Decimal, currency: str = "") -> str:
    """A number in all its digits, with its currency, for the language of the moment."""
    text = format_decimal(value, format="#,##0.############", locale=_locale(get_language() or "en"))
    return f"{text} {currency}".strip()


def _money(value: Callable[[Figures], Decimal]) -> Callable[[Figures, Signs], str]:
    return lambda figures, signs: _decimal(value(figures), figures.currency.cash_decimals, signs)


def _margin_level(figures: Figures, signs: Signs) -> str:
    """Equity for each part of the margin to be kept; nothing to say without positions."""
    if figures.level is None:
        return UNKNOWN
    return f"{figures.level / 100:,.2%}".translate(signs)


def _btc(figures: Figures, signs: Signs) -> str:
    return UNKNOWN if figures.btc_value is None else _decimal(figures.btc_value, 8, signs)


def _decimal(value: Decimal, decimals: int, signs: Signs) -> str:
    return f"{value:,.{decimals}f}".translate(signs)


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(to_locale(language))


@cache
def _signs(language: str) -> Signs:
    """Babel's own formatting takes 100 µs a number, which polls cannot spend."""
    locale = _locale(language)
    return str.maketrans({",": get_group_symbol(locale), ".": get_decimal_symbol(locale)})


_BALANCE = Column("balance", _("Balance"), _money(lambda figures: figures.balance))
_PROFIT = Column("unrealizedPl", _("Unrealized P/L"), _money(lambda figures: figures.unrealized_pl))
_EQUITY = Column("equity", _("Equity"), _money(lambda figures: figures.equity))
_USED = Column("usedMargin", _("Used margin"), _money(lambda figures: figures.used))
_HELD = Column("orderMargin", _("Margin of orders"), _money(lambda figures: figures.held))
_FREE = Column("freeMargin", _("Free margin"), _money(lambda figures: figures.free))
_LEVEL = Column("marginLevel", _("Margin level"), _margin_level)
_WORTH = Column("value", _("Value of assets"), _money(lambda figures: figures.balance))
_WORTH_BTC = Column("btcValue", _("Value in BTC"), _btc)

_KEPT = Column("maintenanceMargin", _("Maintenance margin"), _money(lambda figures: figures.kept))
_SWAPS = Column("swaps", _("Swaps"), _money(lambda figures: figures.financing))
_FUNDING = Column("funding", _("Funding"), _money(lambda figures: figures.financing))
_COMMISSION = Column("commission", _("Commission"), _money(lambda figures: figures.commission))

_SUMMARY = (_BALANCE, _PROFIT, _EQUITY, _USED, _HELD, _FREE, _KEPT, _LEVEL)


@dataclass(frozen=True, slots=True)
class Table:
    id: str
    title: Promise
    columns: Sequence[Column]


def _row(profile: Profile) -> Sequence[Column]:
    """On narrow screens a row loses items from its front (CFG-6): the vital are last."""
    if not profile.has_positions:
        return (_WORTH_BTC, _WORTH)
    return (_LEVEL, _USED, _FREE, _PROFIT, _BALANCE, _EQUITY)


@cache
def _columns(profile: Profile) -> dict[str, Column]:
    """Each of them once, by its id, though it is in the row and in a table."""
    return {column.id: column for column in [*_row(profile), *chain(*(each.columns for each in _tables(profile)))]}


@cache
def _tables(profile: Profile) -> Sequence[Table]:
    """The summary, and for accounts with margin what trading and holding cost so far."""
    title = _("Account summary")
    match profile:
        case Profile.SPOT:
            return (Table("accountSummary", title, (_WORTH, _WORTH_BTC)),)
        case Profile.PERPETUAL:
            costs: Sequence[Column] = (_COMMISSION, _FUNDING)
        case Profile.EXCHANGE:
            costs = (_COMMISSION,)
        case _:
            costs = (_COMMISSION, _SWAPS)
    return (Table("accountSummary", title, _SUMMARY), Table("costs", _("Costs"), costs))
