"""Why an order is refused: one code for machines, one sentence for people, in one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.dates import format_datetime
from babel.numbers import get_decimal_symbol
from django.db import models
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext_lazy as _

from backoffice.fields import plain

_DECIMAL = re.compile(r"-?\d+\.\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC")


class Reason(models.TextChoices):
    """The code of a refusal or of an end; the label is the sentence, with its figures as placeholders."""

    UNKNOWN_INSTRUMENT = "unknown_instrument", _("There is no instrument %(symbol)s in this account.")
    UNKNOWN_ORDER = "unknown_order", _("There is no such order.")
    UNKNOWN_POSITION = "unknown_position", _("There is no such open position.")
    ACCOUNT_CLOSE_ONLY = "account_close_only", _("This account can only close positions at the moment.")
    ACCOUNT_NO_TRADING = "account_no_trading", _("This account cannot trade at the moment. Please contact support.")
    INSTRUMENT_CLOSE_ONLY = (
        "instrument_close_only",
        _("%(symbol)s can only be closed at the moment; no new positions are opened."),
    )
    INSTRUMENT_HALTED = "instrument_halted", _("Trading in %(symbol)s is halted.")
    MARKET_CLOSED = "market_closed", _("The market for %(symbol)s is closed. It opens again at %(opens)s.")
    QTY_TOO_SMALL = "qty_too_small", _("The smallest quantity for %(symbol)s is %(min_qty)s.")
    QTY_TOO_LARGE = "qty_too_large", _("The largest quantity for %(symbol)s is %(max_qty)s.")
    QTY_STEP = "qty_step", _("The quantity for %(symbol)s must be a multiple of %(qty_step)s.")
    QTY_BELOW_FILLED = "qty_below_filled", _("The quantity cannot be lower than the %(filled_qty)s already filled.")
    QTY_ABOVE_POSITION = "qty_above_position", _("The position holds only %(qty)s that can be closed.")
    PRICE_STEP = "price_step", _("The price for %(symbol)s must be a multiple of %(tick_size)s.")
    PRICE_MISSING = "price_missing", _("This order needs a price.")
    PRICE_NOT_POSITIVE = "price_not_positive", _("The price must be above zero.")
    PRICE_UNWANTED = "price_unwanted", _("An order of this type does not take that price.")
    STOP_SIDE_BUY = "stop_side_buy", _("A stop order to buy must lie above the market (now %(price)s).")
    STOP_SIDE_SELL = "stop_side_sell", _("A stop order to sell must lie below the market (now %(price)s).")
    NO_PRICE = "no_price", _("There is no current price for %(symbol)s. Please try again later.")
    NO_CONVERSION = (
        "no_conversion",
        _("There is no current rate from %(source)s to %(target)s. Please try again later."),
    )
    MARGIN = "margin", _("Not enough free margin: %(needed)s %(currency)s needed, %(available)s %(currency)s free.")
    NOT_SHORTABLE = "not_shortable", _("%(symbol)s cannot be sold short.")
    NO_LEVERAGE = "no_leverage", _("The leverage of %(symbol)s cannot be chosen in this account.")
    LEVERAGE_RANGE = (
        "leverage_range",
        _("The leverage for %(symbol)s must lie between %(least)s and %(most)s."),
    )
    BALANCE = "balance", _("Not enough %(currency)s: %(needed)s needed, %(available)s available.")
    TOO_MANY_ORDERS = "too_many_orders", _("You have %(count)s open orders, the most this account may have.")
    ORDER_FINAL_FILLED = "order_final_filled", _("The order is already filled.")
    ORDER_FINAL_CANCELLED = "order_final_cancelled", _("The order is already cancelled.")
    ORDER_FINAL_REJECTED = "order_final_rejected", _("The order was rejected.")
    CLOSING_EXISTS = "closing_exists", _("This position is being closed already.")
    HELD_TOO_SMALL = (
        "held_too_small",
        _("The price moved beyond what was set aside for this order; the rest was cancelled."),
    )
    POSITION_GONE = "position_gone", _("The position was closed before this order.")
    PRICE_BAND = (
        "price_band",
        _("The price is too far from the market: from %(low)s to %(high)s is accepted at the moment."),
    )
    ALREADY_TRIGGERED = (
        "already_triggered",
        _("The stop price was reached already; only the limit price can still be changed."),
    )
    # durations
    DURATION = "duration", _("This account does not take orders with the duration %(duration)s.")
    DURATION_OF_TYPE = (
        "duration_of_type",
        _("An order of the type %(type)s cannot have the duration %(duration)s."),
    )
    GTD_MISSING = "gtd_missing", _("Please say until when the order is good.")
    GTD_PAST = "gtd_past", _("The moment until which the order is good has passed already.")
    GTD_TOO_FAR = "gtd_too_far", _("An order can be good until %(latest)s at the latest.")
    EXPIRED = "expired", _("The order was good until %(due)s and was cancelled then.")
    IOC_REST = "ioc_rest", _("What could not be filled at once was cancelled.")
    FOK_UNFILLED = "fok_unfilled", _("The order could not be filled at once as a whole, so it was cancelled.")
    # brackets
    BRACKETS_OF_CLOSING = "brackets_of_closing", _("An order that closes a position takes no stop loss or take profit.")
    BRACKETS_OF_BRACKET = (
        "brackets_of_bracket",
        _("A stop loss or take profit cannot itself have a stop loss or take profit."),
    )
    BRACKET_QTY = "bracket_qty", _("A stop loss or take profit always has the quantity of what it protects.")
    GUARANTEED_STOP = "guaranteed_stop", _("Guaranteed stops are not offered.")
    TRAILING_STEP = "trailing_step", _("The trailing distance for %(symbol)s must be a multiple of %(step)s pips.")
    TRAILING_TOO_FAR = "trailing_too_far", _("The trailing distance is greater than the price itself.")
    STOP_LOSS_BELOW = "stop_loss_below", _("The stop loss must lie below %(price)s.")
    STOP_LOSS_ABOVE = "stop_loss_above", _("The stop loss must lie above %(price)s.")
    TAKE_PROFIT_ABOVE = "take_profit_above", _("The take profit must lie above %(price)s.")
    TAKE_PROFIT_BELOW = "take_profit_below", _("The take profit must lie below %(price)s.")
    OCO = "oco", _("The other one of the pair was executed.")
    PARENT_ENDED = "parent_ended", _("The order it was to protect has ended.")
    NOTHING_TO_PROTECT = "nothing_to_protect", _("The order opened no position that it could protect.")
    POSITION_CLOSED = "position_closed", _("The position it protected was closed.")
    BRACKET_REMOVED = "bracket_removed", _("It was removed.")
    BRACKET_REPLACED = "bracket_replaced", _("A newer order brought its own protection for the position.")
    PROTECTION_EXECUTED = (
        "protection_executed",
        _("Its stop loss or take profit was executed, so the rest of the order was cancelled."),
    )
    # positions
    REVERSE_NET_ONLY = "reverse_net_only", _("This account holds each trade by itself: close it and trade anew.")
    REVERSE_SAME_SIDE = "reverse_same_side", _("The position is on that side already.")
    # venues
    CHANGE_PENDING = "change_pending", _("A change of this order is on its way already.")
    VENUE_DURATION = (
        "venue_duration",
        _("The order is in the market already and cannot be given the duration %(duration)s any more."),
    )
    VENUE_AWAY = "venue_away", _("The market could not be reached. Please try again later.")
    VENUE_CANCELLED = "venue_cancelled", _("Cancelled by the market. %(text)s")
    VENUE_REJECTED = "venue_rejected", _("Rejected by the market. %(text)s")
    VENUE_UNKNOWN = "venue_unknown", _("The order did not reach the market.")
    FILL_BUSTED = "fill_busted", _("A fill at a wrong price was taken back or corrected.")
    # previews
    CONFIRM_UNKNOWN = "confirm_unknown", _("This confirmation is unknown or too old. Please check the order again.")
    CONFIRM_USED = "confirm_used", _("This confirmation was used already. Please check the order again.")
    CONFIRM_OTHER = (
        "confirm_other",
        _("The order is not the one that was confirmed. Please check the order again."),
    )


def sentence(reason: str, details: Mapping[str, Any]) -> str:
    """The reason in the language of the moment, figures put in. `details` are texts, as stored with the order."""
    return str(Reason(reason).label) % {name: in_language(str(text)) for name, text in details.items()}


def in_language(text: str) -> str:
    """A price, a quantity or a moment as the language in use writes it, to the last digit; a name stays as it is."""
    if (language := get_language() or "en") == "en":
        return text
    if _DECIMAL.fullmatch(text):
        return text.replace(".", get_decimal_symbol(to_locale(language)))
    if _MOMENT.fullmatch(text):
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return f"{format_datetime(moment, locale=to_locale(language))} UTC"
    return text


def as_texts(details: Mapping[str, object]) -> dict[str, str]:
    """The figures of a sentence or an event as they are stored: numbers without idle zeros."""
    return {
        name: str(plain(value) if isinstance(value, Decimal) else value)
        for name, value in details.items()
        if value is not None
    }


class OrderRejected(Exception):
    """The refusal of a request. Nothing was stored, nothing changed."""

    def __init__(self, reason: Reason, **details: object) -> None:
        self.reason = reason
        self.details = as_texts(details)
        super().__init__(reason.value)

    def __str__(self) -> str:
        return sentence(self.reason, self.details)


class BustRefused(Exception):
    """A bust or the decision on it is refused, and nothing was stored. The text is a sentence for staff."""


def final_reason(status: str) -> Reason:
    """Why an order of this final status cannot be changed any more (ORD-21)."""
    return Reason(f"order_final_{status}")
