"""Every list of the admin, filled: it says what the theme would say, and asks no more for many rows than for few."""

import re
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils.text import capfirst
from unfold.templatetags import unfold_list

from accounts.models import Account
from tests import factories
from tests.backoffice import rows
from tests.backoffice.test_admin import MODELS, business, superuser, url  # noqa: F401 (the first is a fixture)
from tests.trading import desk
from trading.models import Order

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

# What of a table's rows has to be told, where it takes a long story to have them.
STORIES: dict[str, dict[str, Any]] = {
    "accounts.DataSubscription": {},
    "accounts.NumberSeries": {},
    "accounts.RenewalToken": {},
    "admin.LogEntry": {},
    "axes.AccessAttempt": {},
    "conformance.ConformanceRun": {},
    "marketdata.BadQuotes": {},
    "marketdata.BarChunk": {},
    "marketdata.BarCorrection": {},
    "marketdata.FeedRoute": {},
    "marketdata.Holiday": {},
    "marketdata.Notice": {},
    "marketdata.StreamComparison": {},
    "operations.CashRequest": {},
    "operations.ClientDocument": {},
    "operations.DayEnd": {"figures": {"accounts": 1, "orders": 2, "transfers": 3}},
    "operations.Job": {},
    "support.Look": {},
    "trading.Alarm": {"kind": "order_stuck", "details": {"since": "noon"}},
    "trading.Bust": {"executions": [1]},
    "trading.Charge": {},
    "trading.FixMessage": {},
    "trading.FixSession": {},
    "trading.FundingRate": {},
    "trading.LatencyReport": {},
    "trading.Leverage": {},
    "trading.MarginDecision": {},
    "trading.Reconciliation": {},
    "trading.VenueRequest": {},
    "trading.VenueRoute": {},
}
# A cell, the name of its column, what is in it.
CELL = re.compile(r'<(t[dh])[^>]*? data-label="(.*?)">(.*?)</\1>', re.DOTALL)


def grow(account: Account, numbers: range) -> None:
    """More of everything: orders, fills and positions with what they need, and the tables of the stories."""
    for number in numbers:
        factories.token(factories.user())
        factories.mapping(f"ADM{number}", f"DEMO:{number}")
        factories.group(name=f"Group {number}", symbols=[f"ADM{number}"])
        other = factories.account(number=f"ADM-1{number}", of_group=account.group)
        factories.quote("EURUSD", "1.10000", "1.10010")  # again: it must be fresh to trade on
        desk.fill(account, "sell", "1000")
        desk.fill(other, "buy", "2000")
    for label, told in STORIES.items():
        rows.fill(apps.get_model(label), len(numbers), **told)


def test_lists_say_what_the_theme_would_say(business: Account) -> None:  # noqa: F811
    grow(business, range(2))
    visitor = superuser()
    for model in MODELS:
        page = visitor.get(url(model))
        ours = [cells(row) for row in page.context["rows"]]
        theirs = [cells("".join(row)) for row in unfold_list.results(page.context["cl"])]
        assert ours == theirs, model._meta.label
        assert len(ours) >= 2 or model._meta.label not in STORIES, model._meta.label


def cells(row: str) -> list[tuple[str, str, str]]:
    """The cells of a row: whether they head it, the names of their columns, what is in them.

    The first has no name: the theme calls it "Select record" also where there is nothing to select by.
    """
    found = [
        (tag, capfirst(name), " ".join(content.split()).replace('" >', '">'))
        for tag, name, content in CELL.findall(row)
    ]
    return [(found[0][0], "", found[0][2]), *found[1:]]


def test_lists_ask_the_database_as_often_for_many_rows_as_for_few(business: Account) -> None:  # noqa: F811
    visitor = superuser()
    grow(business, range(2))
    queries(visitor)  # content types are read once a process
    before = queries(visitor)
    grow(business, range(2, 20))
    assert queries(visitor) == before


def test_a_list_that_grows_for_ever_is_planned_for_its_filter(business: Account) -> None:  # noqa: F811
    with CaptureQueriesContext(connection) as captured:
        superuser().get(url(Order), {"status__exact": "working"})
    asked = [query["sql"] for query in captured]
    planned = asked.index("SET LOCAL plan_cache_mode = force_custom_plan")
    [listed] = [number for number, sql in enumerate(asked) if 'FROM "trading_order"' in sql]
    assert planned < listed


def queries(visitor: Browser) -> dict[str, int]:
    asked = {}
    for model in MODELS:
        with CaptureQueriesContext(connection) as captured:
            visitor.get(url(model))
        asked[model._meta.label] = len(captured)
    return asked
