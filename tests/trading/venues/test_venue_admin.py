"""What staff does with sessions and routes."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client as Browser
from django.urls import reverse

from accounts.roles import Role
from tests import factories
from tests.trading.venues import conftest as desk_of_venues
from trading.venues.models import FixSession

pytestmark = pytest.mark.django_db
SESSIONS = "admin:trading_fixsession_changelist"


def browser(role: Role) -> Browser:
    user = factories.user(f"the-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    made = Browser()
    made.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return made


def operate(visitor: Browser, operation: str, **extra: str) -> Any:
    form = {"action": operation, ACTION_CHECKBOX_NAME: FixSession.objects.get().pk, **extra}
    return visitor.post(reverse(SESSIONS), form, follow=True)


@pytest.mark.parametrize(
    ("operation", "field", "wanted"),
    [("connect", "is_enabled", True), ("disconnect", "is_enabled", False), ("reset", "reset_wanted", True)],
)
def test_an_operation_is_confirmed_then_asked_for_and_told(operation: str, field: str, wanted: bool) -> None:
    desk_of_venues.session(**{field: not wanted})
    visitor = browser(Role.DEALING)
    assert 'name="confirmed"' in operate(visitor, operation).content.decode()
    assert getattr(FixSession.objects.get(), field) is not wanted
    assert "It is asked for" in operate(visitor, operation, confirmed="yes").content.decode()
    assert getattr(FixSession.objects.get(), field) is wanted
    assert LogEntry.objects.get().object_repr == "lp"


@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.SUPPORT, Role.OPERATIONS])
def test_others_do_not_operate_sessions(role: Role) -> None:
    desk_of_venues.session(is_enabled=True)
    operate(browser(role), "disconnect", confirmed="yes")
    assert FixSession.objects.get().is_enabled


def explain(**form: Any) -> str:
    return browser(Role.COMPLIANCE).get(reverse("admin:trading_venueroute_explain"), form).content.decode()


def test_the_explanation_names_the_venue_and_the_route() -> None:
    desk_of_venues.session()
    page = explain(group=factories.group().pk, instrument=factories.instrument("EURUSD").pk, qty="7000")
    assert "It goes to lp, by route 1." in page
    assert "It fits, and decides." in page


def test_the_explanation_says_why_the_broker_executes_itself() -> None:
    desk_of_venues.session(is_enabled=False)
    page = explain(group=factories.group().pk, instrument=factories.instrument("EURUSD").pk, qty="7000")
    assert "The broker executes it itself: no route fits." in page
    assert "Its session is switched off." in page


def test_a_quantity_that_is_none_is_a_sentence() -> None:
    page = explain(group=factories.group().pk, instrument=factories.instrument("EURUSD").pk, qty="many")
    assert "Enter a number." in page
