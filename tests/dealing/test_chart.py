"""The chart of an instrument: what its script is given."""

import time
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account
from accounts.roles import Role
from marketdata import bars
from marketdata.chunks import Bar
from tests import factories
from tests.backoffice.test_admin import browser
from tests.trading import desk

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> Account:
    factories.instrument("EURUSD", session_regular="24x7")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="CHART-1", of_group=factories.group(symbols=["EURUSD"]))


def data(account: Account, **query: Any) -> Any:
    instrument = account.group.conditions_at().instruments.get().instrument
    return browser(Role.DEALING).get(reverse("page:chart_data", args=[instrument.pk]), query)


def test_bars_quote_and_executions_are_given_to_the_script(account: Account) -> None:
    minute = int(time.time()) // 60 * 60
    instrument = account.group.conditions_at().instruments.get().instrument
    bars.write(instrument, [Bar(minute - 60, D("1.1"), D("1.2"), D("1.0"), D("1.15"), D(5))])
    execution = desk.fill(account, "buy", "10000").executions.get()
    found = data(account).json()
    assert found["bars"] == [{"time": minute - 60, "open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15}]
    assert found["quote"] == {"bid": 1.1, "ask": 1.1001}
    filled_in = int(execution.at.timestamp()) // 60 * 60
    assert found["executions"] == [
        {
            "id": execution.pk,
            "time": filled_in,
            "side": "buy",
            "qty": 10000.0,
            "price": 1.1001,
            "text": "10,000 @ 1.1001",
        }
    ]


def test_only_executions_after_the_known_one_are_told_again(account: Account) -> None:
    first, second = (desk.fill(account, "buy", "1000").executions.get() for _ in range(2))
    assert [each["id"] for each in data(account, after=first.pk).json()["executions"]] == [second.pk]


@pytest.mark.parametrize("query", [{"resolution": "5"}, {"count": "0"}, {"count": "99999"}, {"after": "x"}])
def test_a_wrong_question_is_refused(account: Account, query: dict[str, str]) -> None:
    assert data(account, **query).status_code == 400


def test_the_page_lists_the_executions_for_those_who_do_not_see_the_picture(account: Account) -> None:
    execution = desk.fill(account, "buy", "10000").executions.get()
    answer = browser(Role.SUPPORT).get(reverse("page:chart", args=[execution.instrument_id]))
    [(_title, table, _empty)] = answer.context["tables"]
    assert [str(cell) for cell in table["rows"][0][2:]] == ["Buy", "10,000", "1.1001"]
    assert 'data-resolution="1"' in answer.content.decode()
