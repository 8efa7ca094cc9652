"""Model fields that every app shares."""

from decimal import Decimal
from typing import Any

from django.db import models


class NumericField(models.DecimalField):
    """An exact amount, price or quantity: 20 digits before the point, 12 after it, read back without idle zeros."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 32)
        kwargs.setdefault("decimal_places", 12)
        super().__init__(*args, **kwargs)

    def from_db_value(self, value: Decimal | None, expression: object, connection: object) -> Decimal | None:
        return None if value is None else plain(value)


def plain(value: Decimal) -> Decimal:
    """The same number without trailing zeros and without an exponent: 1.500 → 1.5, 1E+2 → 100, -0.00 → 0."""
    if not value:
        return Decimal(0)
    if value == (whole := value.to_integral_value()):
        return whole.quantize(Decimal(1))
    return value.normalize()
