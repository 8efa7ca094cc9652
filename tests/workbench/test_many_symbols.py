"""The mapping workbench with ten thousand symbols: its pages ask a few statements, however many symbols there are."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.roles import Role
from marketdata import mappings, suggestions
from marketdata.models import Instrument, MappedInstrument, MappingRelease, TradingViewSymbol
from tests import factories
from tests.backoffice.test_admin import browser
from tests.marketdata.test_mappings import APPLE

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

COUNT = 10_000
LIST = "admin:marketdata_mappedinstrument_changelist"


class AtMost(Protocol):
    def __call__(self, num: int) -> AbstractContextManager[Any]: ...


@pytest.fixture
def symbols() -> None:
    """All with a suggestion."""
    first = factories.instrument("S00000", **APPLE)
    same = {field.attname: getattr(first, field.attname) for field in Instrument._meta.concrete_fields}
    names = [f"S{number:05}" for number in range(COUNT)]
    Instrument.objects.bulk_create(Instrument(**{**same, "id": None, "symbol": name}) for name in names[1:])
    TradingViewSymbol.objects.bulk_create(
        TradingViewSymbol(full_name=f"NASDAQ:{name}", code=name, type="stock", currency="USD") for name in names
    )
    assert suggestions.refresh() == COUNT
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as it is done by itself, a minute later


def test_ten_thousand_symbols_are_shown_accepted_and_published_by_few_statements(
    symbols: None, django_assert_max_num_queries: AtMost
) -> None:
    visitor, address = browser(Role.SUPPORT), reverse(LIST)
    for query in ({}, {"mapping": "suggested"}, {"mapping": "unmapped"}, {"q": "S09"}, {"p": "100"}):
        with django_assert_max_num_queries(15):
            page = visitor.get(address, query)
        assert len(page.context["cl"].result_list) <= 50, query

    act = {"action": "accept_suggestions", "_selected_action": ["1"], "select_across": "1"}
    with django_assert_max_num_queries(30):
        visitor.post(f"{address}?mapping=suggested", act)
    assert MappedInstrument.workbench.drafts().count() == COUNT

    publish = reverse("page:mapping_publish")
    with django_assert_max_num_queries(15):
        look = visitor.get(publish)
    assert len(look.context["tables"][0][1]["rows"]) == 201  # the last says how many more
    with django_assert_max_num_queries(25):
        visitor.post(publish, {**dict(look.context["hidden"]), "confirmed": "yes", "_reason": "All"})
    assert len(mappings.published()) == COUNT

    with django_assert_max_num_queries(15):
        page = visitor.get(reverse("page:mapping_difference", args=[MappingRelease.objects.get().pk]))
    assert dict(page.context["figures"])["Changes"] == COUNT


def test_the_overview_counts_mappings_once_for_all_who_look() -> None:
    factories.instrument("AAPL")
    visitors = [browser(role) for role in (Role.SUPPORT, Role.ADMINISTRATOR)]

    def counting(visitor: Any) -> int:
        with CaptureQueriesContext(connection) as statements:
            visitor.get(reverse("admin:index"))
        return sum("mapping_state" in each["sql"] for each in statements.captured_queries)

    assert [counting(visitor) for visitor in visitors] == [1, 0]
