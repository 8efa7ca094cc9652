"""What clients send, read field by field; the first thing that is wrong becomes the sentence of the refusal."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from marketdata.models import SYMBOL_PATTERN
from trading.choices import DurationType, OrderType, RequestKind, Side
from trading.errors import OrderRejected, Reason
from trading.tickets import Brackets, Ticket

SYMBOLS_LIMIT = 500
SYMBOL_LENGTH = 64
REQUEST_ID_LENGTH = 128
TRANSACTION_ID_LENGTH = 64
CONFIRM_ID_LENGTH = 512
BIGGEST_COUNT = 2**31 - 1
# Digits before and after the point that the books can hold; a browser writes what is below 0.000001 as 1e-7.
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,18})?(?:e-\d{1,2})?", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
_MOMENT = re.compile(r"\d{1,11}(?:\.\d{1,9})?", re.ASCII)
_COUNT = re.compile(r"\d{1,1000}", re.ASCII)
_STEP = Decimal("1E-12")


class WireField(serializers.Field):
    """Base of our fields: texts become values, and a sentence names the field it is about."""

    default_error_messages = {
        "required": _("The field “%(field)s” is missing."),
        "null": _("The field “%(field)s” is missing."),
    }

    def fail(self, key: str, **figures: Any) -> NoReturn:
        sentence = str(self.error_messages[key]) % {"field": self.field_name, **figures}
        raise serializers.ValidationError(sentence, code=key)

    def to_representation(self, value: Any) -> str:
        return str(value)


class TextField(WireField):
    default_error_messages = {"too_long": _("The field “%(field)s” is too long.")}

    def __init__(self, *, max_length: int | None = None, **kwargs: Any) -> None:
        self.max_length = max_length
        super().__init__(**kwargs)

    def to_internal_value(self, data: str) -> str:
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("too_long")
        return data


class NumberField(WireField):
    """A number in plain decimal text: finite, with no more digits than an amount or a price can have."""

    default_error_messages = {
        "invalid": _("The field “%(field)s” must be a number, written like 1.25."),
        "too_fine": _("The field “%(field)s” has too many decimals."),
        "not_positive": _("The field “%(field)s” must be above zero."),
    }

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        self.positive = positive
        super().__init__(**kwargs)

    def to_internal_value(self, data: str) -> Decimal:
        if not _NUMBER.fullmatch(data):
            self.fail("invalid")
        number = Decimal(data)
        if number != number.quantize(_STEP):
            self.fail("too_fine")
        if self.positive and number <= 0:
            self.fail("not_positive")
        return number


class IntegerField(WireField):
    default_error_messages = {"invalid": _("The field “%(field)s” must be a whole number.")}

    def to_internal_value(self, data: str) -> int:
        if not _INTEGER.fullmatch(data):
            self.fail("invalid")
        return int(data)


class MomentField(WireField):
    """A moment in Unix seconds, which may have decimals (GEN-10)."""

    default_error_messages = {"invalid": _("The field “%(field)s” must be a moment in Unix seconds.")}

    def to_internal_value(self, data: str) -> datetime:
        if not _MOMENT.fullmatch(data):
            self.fail("invalid")
        return datetime.fromtimestamp(int(data.partition(".")[0]), UTC)


class CountField(WireField):
    """How many at most; beyond what there can be, a number means all."""

    default_error_messages = {"invalid": _("The field “%(field)s” must be a whole number, %(least)s or more.")}

    def __init__(self, *, least: int = 0, **kwargs: Any) -> None:
        self.least = least
        super().__init__(**kwargs)

    def to_internal_value(self, data: str) -> int:
        if not _COUNT.fullmatch(data) or int(data) < self.least:
            self.fail("invalid", least=self.least)
        return min(int(data), BIGGEST_COUNT)


class ChoiceField(WireField):
    default_error_messages = {"unknown": _("The field “%(field)s” must be one of: %(choices)s.")}

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        self.choices = choices
        super().__init__(**kwargs)

    def to_internal_value(self, data: str) -> str:
        if data not in self.choices:
            self.fail("unknown", choices=", ".join(self.choices))
        return data


class SymbolField(WireField):
    """A symbol of ours in form; whether there is such an instrument is for others to say."""

    def to_internal_value(self, data: str) -> str:
        if not is_symbol(data):
            raise OrderRejected(Reason.UNKNOWN_INSTRUMENT, symbol=data[:SYMBOL_LENGTH])
        return data


def is_symbol(text: str) -> bool:
    return len(text) <= SYMBOL_LENGTH and re.fullmatch(SYMBOL_PATTERN, text) is not None


def read(form: type[serializers.Serializer], fields: Mapping[str, str]) -> dict[str, Any]:
    """The values of a form or query by name. Raises `ValidationError` or OrderRejected."""
    return dict(_reader(form).run_validation(fields))


@functools.cache
def _reader(form: type[serializers.Serializer]) -> serializers.Serializer:
    """One for all requests: it keeps nothing of them, and copies all its fields when it is made."""
    return form()


class AuthorizeForm(serializers.Serializer):
    login = TextField()
    password = TextField()
    locale = TextField(required=False)


class BracketsForm(serializers.Serializer):
    """Prices of brackets. Dropping one that we do not have would leave a client without the protection he set."""

    stopLoss = NumberField(required=False)
    takeProfit = NumberField(required=False)
    trailingStopPips = NumberField(required=False)
    guaranteedStop = NumberField(required=False)
    currentAsk = NumberField(required=False)
    currentBid = NumberField(required=False)

    def validate_guaranteedStop(self, _price: Decimal) -> NoReturn:  # noqa: N802 (DRF's name of it)
        raise OrderRejected(Reason.GUARANTEED_STOP)


class PositionForm(BracketsForm):
    side = ChoiceField(Side.values, required=False)


class OrderForm(BracketsForm):
    """What placing and modifying have in common."""

    qty = NumberField(positive=True)
    limitPrice = NumberField(required=False)
    stopPrice = NumberField(required=False)
    durationType = TextField(max_length=64, required=False)
    durationDateTime = MomentField(required=False)

    def validate_durationType(self, duration: str) -> DurationType:  # noqa: N802 (DRF's name of it)
        if duration not in DurationType.values:
            raise OrderRejected(Reason.DURATION, duration=duration)
        return DurationType(duration)


class PlaceForm(OrderForm):
    """A new order."""

    instrument = SymbolField()
    side = ChoiceField(Side.values)
    type = ChoiceField(OrderType.values)


class PreviewForm(PlaceForm):
    """An order that may be placed, or with its `id` one that may be changed (PRV-1)."""

    id = TextField(required=False)


class LatencyForm(serializers.Serializer):
    """What the page measured (LAT-2). An id may come as a number (DIS-13)."""

    transactionId = TextField(max_length=TRANSACTION_ID_LENGTH)
    transactionType = ChoiceField(RequestKind.values)
    instrument = SymbolField()
    side = ChoiceField(Side.values)
    ask = NumberField()
    bid = NumberField()
    timestamp = NumberField()
    roundTripDuration = NumberField()
    qty = NumberField(required=False)


def ticket(values: Mapping[str, Any]) -> Ticket:
    """The ticket of a read PlaceForm."""
    return Ticket(
        symbol=values["instrument"],
        side=Side(values["side"]),
        type=OrderType(values["type"]),
        qty=values["qty"],
        limit_price=values.get("limitPrice"),
        stop_price=values.get("stopPrice"),
        duration=values.get("durationType", DurationType.GTC),
        good_till=values.get("durationDateTime"),
        brackets=brackets(values),
    )


def change(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a read OrderForm makes of an order, by the names of `orders.modify`: what is not sent is None."""
    return {
        "qty": values["qty"],
        "limit_price": values.get("limitPrice"),
        "stop_price": values.get("stopPrice"),
        "duration": values.get("durationType"),
        "good_till": values.get("durationDateTime"),
        "wanted": brackets(values),
    }


def brackets(values: Mapping[str, Any]) -> Brackets:
    """The brackets of a read form."""
    return Brackets(values.get("stopLoss"), values.get("takeProfit"), values.get("trailingStopPips"))


class ConfirmQuery(serializers.Serializer):
    confirmId = TextField(max_length=CONFIRM_ID_LENGTH, required=False)


class GetLeverageForm(serializers.Serializer):
    """What the leverage dialog is opened for; the side and the type do not matter to ours (LEV-1, LEV-4)."""

    instrument = SymbolField()
    side = ChoiceField(Side.values)
    orderType = ChoiceField(OrderType.values)


class LeverageForm(GetLeverageForm):
    leverage = NumberField(positive=True)


class RequestQuery(serializers.Serializer):
    requestId = TextField(max_length=REQUEST_ID_LENGTH, required=False)


class CloseForm(serializers.Serializer):
    amount = NumberField(positive=True, required=False)


class LatestQuery(serializers.Serializer):
    maxCount = CountField(required=False)


class ExecutionsQuery(LatestQuery):
    instrument = SymbolField()


class QuotesQuery(serializers.Serializer):
    """`symbols` as they were asked for, in order; nothing between two commas asks for nothing."""

    accountId = TextField()
    symbols = TextField()

    def validate_symbols(self, text: str) -> list[str]:
        symbols = [symbol for symbol in text.split(",") if symbol]
        if not symbols:
            self.fields["symbols"].fail("required")
        if len(symbols) > SYMBOLS_LIMIT:
            sentence = _("Ask for at most %(limit)s symbols at a time.") % {"limit": SYMBOLS_LIMIT}
            raise serializers.ValidationError(sentence)
        return symbols


class DepthQuery(serializers.Serializer):
    accountId = TextField()
    symbol = SymbolField()


class HistoryQuery(serializers.Serializer):
    symbol = TextField()
    resolution = TextField(max_length=16)
    to = IntegerField()
    countback = CountField(least=1, required=False)

    def get_fields(self) -> dict[str, Any]:
        # A word of Python, which cannot be declared like the others.
        return {**super().get_fields(), "from": IntegerField()}
