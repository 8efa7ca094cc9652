"""Numbers of new accounts, each given once."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from accounts.dossier_models import NumberSeries
from accounts.models import Account, AccountGroup


class NoNumber(Exception):
    """The group has no series to take a number from."""


@transaction.atomic
def next_number(group: AccountGroup) -> str:
    """The next number of the group's series that no account has; the series is locked until the transaction ends."""
    if group.number_series_id is None:
        raise NoNumber
    while True:
        series = NumberSeries.objects.select_for_update().get(pk=group.number_series_id)
        number = str(series)
        NumberSeries.objects.filter(pk=series.pk).update(next_number=F("next_number") + 1)
        if not Account.objects.filter(number=number).exists():
            return number
