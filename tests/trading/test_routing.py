"""Which venue an order goes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Account
from tests import factories
from tests.trading import desk
from trading import routing
from trading.venues.models import FixSession, VenueRoute

D = Decimal


@pytest.fixture
def session(db: None) -> FixSession:
    return FixSession.objects.create(
        name="lp", host="h", port=1, sender_comp_id="a", target_comp_id="b", is_enabled=True
    )


@pytest.fixture
def account(db: None) -> Account:
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account()


def venue_of(account: Account, qty: str = "10000") -> str:
    return routing.venue_for(account, factories.instrument("EURUSD"), D(qty))


def test_without_a_rule_the_broker_executes_itself(account: Account) -> None:
    assert venue_of(account) == "internal"
    assert desk.fill(account, "buy", "1000").venue == "internal"


def test_the_lowest_number_that_fits_decides(account: Account, session: FixSession) -> None:
    VenueRoute.objects.create(priority=20, session=session)
    assert venue_of(account) == "fix:lp"
    VenueRoute.objects.create(priority=10, max_qty=D(5000))
    assert [venue_of(account, qty) for qty in ("5000", "5001")] == ["internal", "fix:lp"]


@pytest.mark.parametrize(
    ("rule", "obstacle"),
    [
        ({"is_active": False}, "It is not in force."),
        ({"symbol_type": "crypto"}, "It is for another type of instrument."),
        ({"min_qty": D(10001)}, "The quantity is too small for it."),
        ({"max_qty": D(9999)}, "The quantity is too large for it."),
        ({"symbol_type": "forex", "min_qty": D(10000), "max_qty": D(10000)}, ""),
    ],
)
def test_a_rule_says_why_it_does_not_fit(account: Account, session: FixSession, rule: Any, obstacle: str) -> None:
    VenueRoute.objects.create(priority=1, session=session, **rule)
    (verdict,) = routing.explain(routing.in_order(), account.group, factories.instrument("EURUSD"), D(10000))
    assert verdict.obstacle == obstacle
    assert venue_of(account) == ("internal" if obstacle else "fix:lp")


def test_a_rule_for_another_group_or_instrument_does_not_fit(account: Account, session: FixSession) -> None:
    VenueRoute.objects.create(priority=1, session=session, group=factories.group())
    VenueRoute.objects.create(priority=2, session=session, instrument=factories.instrument("GBPUSD"))
    assert venue_of(account) == "internal"
    VenueRoute.objects.create(
        priority=3, session=session, group=account.group, instrument=factories.instrument("EURUSD")
    )
    assert venue_of(account) == "fix:lp"


def test_a_session_that_is_switched_off_is_passed_over(account: Account, session: FixSession) -> None:
    VenueRoute.objects.create(priority=1, session=session)
    FixSession.objects.update(is_enabled=False)
    assert venue_of(account) == "internal"


def test_sizes_the_wrong_way_round_are_refused(session: FixSession) -> None:
    with pytest.raises(ValidationError, match="below the smallest"):
        VenueRoute(priority=1, min_qty=D(2), max_qty=D(1)).full_clean()
    with pytest.raises(IntegrityError, match="route_sizes_in_order"), transaction.atomic():
        VenueRoute.objects.create(priority=1, min_qty=D(2), max_qty=D(1))
