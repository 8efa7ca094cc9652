"""Which venue an order goes to: the first rule that fits, by group, instrument and size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts import known
from trading import venue
from trading.venues.models import FixSession, VenueRoute

if TYPE_CHECKING:
    from accounts.models import Account, AccountGroup
    from marketdata.models import Instrument


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of an order; `obstacle` is why it does not decide, empty when it does."""

    route: VenueRoute
    venue: str
    obstacle: str

    @property
    def fits(self) -> bool:
        return not self.obstacle


def venue_for(account: Account, instrument: Instrument, qty: Decimal) -> str:
    """The name of the venue for an order of so many units; the broker itself when no rule fits."""
    routes = known.of(account, "routes", read=lambda: list(in_order()))
    verdicts = explain(routes, account.group, instrument, qty)
    return next((verdict.venue for verdict in verdicts if verdict.fits), venue.INTERNAL)


def in_order() -> QuerySet[VenueRoute]:
    """The rules, in the order they are asked."""
    return VenueRoute.objects.order_by("priority")


def explain(
    routes: Iterable[VenueRoute], group: AccountGroup, instrument: Instrument, qty: Decimal
) -> Iterator[Verdict]:
    """What each of these rules says of such an order; the first that fits decides.

    A session is asked for anew: it is switched off and on without a change of the rules.
    """
    for route in routes:
        session = FixSession.objects.get(pk=route.session_id) if route.session_id else None
        name = session.venue if session else venue.INTERNAL
        yield Verdict(route, name, _obstacle(route, session, group, instrument, qty))


def _obstacle(
    route: VenueRoute, session: FixSession | None, group: AccountGroup, instrument: Instrument, qty: Decimal
) -> str:
    if not route.is_active:
        return _("It is not in force.")
    if route.group_id not in (None, group.pk):
        return _("It is for another group.")
    if route.instrument_id not in (None, instrument.pk):
        return _("It is for another instrument.")
    if route.symbol_type not in ("", instrument.type):
        return _("It is for another type of instrument.")
    if route.min_qty is not None and qty < route.min_qty:
        return _("The quantity is too small for it.")
    if route.max_qty is not None and qty > route.max_qty:
        return _("The quantity is too large for it.")
    if session and not session.is_enabled:
        return _("Its session is switched off.")
    return ""
