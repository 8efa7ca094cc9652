"""What polled answers depend on beside the account: whoever saves it raises the version of the terms.

`QuerySet.update` and `bulk_create` send no signals: who uses them on these models calls `Terms.objects.changing()`.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from accounts.models import AccountGroup, Currency, Terms, TradingConditions
from marketdata.models import Holiday, Instrument
from trading.models import GroupInstrument

MODELS: tuple[type[Model], ...] = (AccountGroup, Currency, GroupInstrument, Holiday, Instrument, TradingConditions)


def watch() -> None:
    for model in MODELS:
        post_save.connect(_changed, sender=model, dispatch_uid="terms")
        post_delete.connect(_changed, sender=model, dispatch_uid="terms")


def _changed(sender: type[Model], using: str, raw: bool = False, **kwargs: Any) -> None:
    if settings.POLL_SNAPSHOTS and not raw:
        with transaction.atomic(using=using):
            Terms.objects.using(using).changing()
