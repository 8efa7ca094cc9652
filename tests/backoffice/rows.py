"""Rows for any model, made from its fields: lists of what takes a long story to come about can be looked at filled."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.utils import timezone

FIXED: dict[type[models.Field[Any, Any]], Any] = {
    ArrayField: [],
    models.BooleanField: True,
    models.BinaryField: b"x",
    models.FloatField: 1.0,
    models.DurationField: timedelta(1),
    models.JSONField: {},
    models.GenericIPAddressField: "192.0.2.1",
}


def fill(model: type[models.Model], count: int, **told: Any) -> None:
    """Insert so many rows beside triggers and foreign keys' checks; what they refer to is there or made as well."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        first = model._base_manager.count()
        for number in range(first, first + count):
            row = model(**told)
            for field in model._meta.concrete_fields:
                if field.name not in told and not field.primary_key and not field.generated and not field.null:
                    setattr(row, field.attname, _value(field, number))
            model._base_manager.bulk_create([row])
        cursor.execute("SET LOCAL session_replication_role = origin")


def _value(field: Any, number: int) -> Any:
    if field.is_relation:
        return _related(field.related_model, number)
    if field.choices:
        return field.flatchoices[0][0]
    for kind, value in FIXED.items():
        if isinstance(field, kind):
            return value
    if isinstance(field, models.UUIDField):
        return uuid4()
    if isinstance(field, models.DateTimeField):
        return timezone.now() + timedelta(seconds=number)
    if isinstance(field, models.DateField):
        return timezone.now().date() + timedelta(days=number)
    if isinstance(field, models.DecimalField):
        return Decimal(number + 1)
    if isinstance(field, models.IntegerField):
        return number + 1
    return f"{field.name[:8]}-{number}"[: field.max_length]


def _related(model: type[models.Model], number: int) -> Any:
    """The key of the row of this number, of one that is there where there are fewer, or of one made for it."""
    keys = model._base_manager.order_by("pk").values_list("pk", flat=True)
    if not keys.exists():
        fill(model, 1)
    return keys[number % keys.count()]
