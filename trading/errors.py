"""Why an order is refused: one code for machines, one sentence for people, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from backoffice.fields import plain


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
    BRACKETS = "brackets", _("Stop loss and take profit cannot be set in this account.")
    CHANGE_PENDING = "change_pending", _("A change of this order is on its way already.")
    VENUE_AWAY = "venue_away", _("The market could not be reached. Please try again later.")
    VENUE_CANCELLED = "venue_cancelled", _("Cancelled by the market. %(text)s")
    VENUE_REJECTED = "venue_rejected", _("Rejected by the market. %(text)s")
    VENUE_UNKNOWN = "venue_unknown", _("The order did not reach the market.")
    ORDER_TYPE = "order_type", _("This account does not take orders of the type %(type)s.")
    DURATION = "duration", _("This account does not take orders with the duration %(duration)s.")


def sentence(reason: str, details: Mapping[str, Any]) -> str:
    """The reason in the language of the moment, figures put in. `details` are texts, as stored with the order."""
    return str(Reason(reason).label) % dict(details)


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


def final_reason(status: str) -> Reason:
    """Why an order of this final status cannot be changed any more (ORD-21)."""
    return Reason(f"order_final_{status}")
