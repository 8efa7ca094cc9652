"""What polled answers depend on beside the account: whoever saves it raises the version of the terms.

`QuerySet.update` and `bulk_create` send no signals: who uses them on these models calls `Terms.objects.changing()`,
or sends `many_changed` where accounts are not known.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from accounts.choices import ConditionsState
from accounts.models import AccountGroup, Currency, Terms, TradingConditions
from marketdata.instruments import many_changed
from marketdata.models import Holiday, Instrument
from trading.models import InstrumentTerms, MarginTier
from trading.venues.models import VenueRoute

MODELS: tuple[type[Model], ...] = (
    AccountGroup,
    Currency,
    Holiday,
    Instrument,
    InstrumentTerms,
    MarginTier,
    TradingConditions,
    VenueRoute,
)


def watch() -> None:
    for model in MODELS:
        post_save.connect(_changed, sender=model, dispatch_uid="terms")
        post_delete.connect(_changed, sender=model, dispatch_uid="terms")
    many_changed.connect(_changed, dispatch_uid="terms")


def _changed(
    sender: type[Model], using: str = DEFAULT_DB_ALIAS, raw: bool = False, instance: Any = None, **kwargs: Any
) -> None:
    is_in_draft = isinstance(instance, InstrumentTerms) and instance.conditions.state == ConditionsState.DRAFT
    if not raw and not is_in_draft:  # a draft of ten thousand instruments is nobody's terms yet; approving it counts
        with transaction.atomic(using=using):
            Terms.objects.using(using).changing()
