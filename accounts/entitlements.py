"""Which groups of symbols a login may see. Read anew for each request: a change counts at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from accounts.entitlement_models import DataTariff
from accounts.models import Client, User


def groups_of(user: User, existing: Iterable[str]) -> list[str]:
    """The names of the groups that the user may see, in order: of those that exist, and TradingView's own (PRM-2)."""
    existing = list(existing)
    subscriptions = user.data_subscriptions.select_related("tariff")
    if user.is_data_client:
        if not subscriptions.exists():
            return sorted(existing)
        return _named(subscription.tariff for subscription in subscriptions.current())
    if not (tariffs := list(DataTariff.objects.all())):
        return sorted(existing)
    subscribed = set(subscriptions.current().values_list("tariff_id", flat=True))
    country = Client.objects.filter(user=user).values_list("country", flat=True).first() or ""
    held = [tariff for tariff in tariffs if tariff.for_everybody or tariff.pk in subscribed]
    open_to_all = set(existing) - set(_named(tariffs))
    return sorted(open_to_all.union(_named(tariff for tariff in held if _fits(country, tariff.countries))))


def _named(tariffs: Iterable[DataTariff]) -> list[str]:
    return sorted({group for tariff in tariffs for group in tariff.groups})


def _fits(country: str, countries: Collection[str]) -> bool:
    return not countries or country in countries
