"""Busts in the admin: asked for with a preview, decided by somebody else, for one fill or all of an interval."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from accounts.choices import CommissionKind
from accounts.models import Account, Balance
from accounts.roles import Role
from tests import factories
from tests.backoffice.test_admin import browser, url
from tests.trading import desk
from trading.models import Bust, Execution, Position

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> Account:
    factories.instrument("EURUSD", session_regular="24x7")
    group = factories.group(symbols=["EURUSD"], commission_kind=CommissionKind.PERCENT, commission_rate=D("0.05"))
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="BUST-1", of_group=group)


@pytest.fixture
def bad(account: Account) -> Execution:
    """A good fill, and then one at a bad price."""
    desk.fill(account, "buy", "10000")
    factories.quote("EURUSD", "1.25000", "1.25010")
    return desk.fill(account, "buy", "10000").executions.get()


def rows(answer: Any) -> list[list[str]]:
    [(_title, table, _empty)] = answer.context["tables"]
    return [[str(cell) for cell in row[2:]] for row in table["rows"]]


def post(visitor: Browser, address: str, **fields: Any) -> Any:
    return visitor.post(address, {"key": "k-1", "reason": "Bad tick", **fields})


def asked_for(execution: Execution) -> Bust:
    answer = post(browser(Role.DEALING), reverse("page:bust_execution", args=[execution.pk]), confirmed="yes")
    assert answer.status_code == 302
    return Bust.objects.get()


def test_one_fill_is_taken_back_by_two_and_the_cash_is_what_it_was(account: Account, bad: Execution) -> None:
    dealer, address = browser(Role.DEALING), reverse("page:bust_execution", args=[bad.pk])
    preview = post(dealer, address)
    assert rows(preview) == [
        ["Position EURUSD", "20,000", "10,000", "-10,000"],
        ["Balance USD", "99,988.23", "99,994.49", "6.26"],
        ["Fees USD", "6.26", "0", "-6.26"],
    ]
    assert not Bust.objects.exists()
    assert post(dealer, address, confirmed="yes").status_code == 302
    asked = Bust.objects.get()
    page = dealer.get(url(asked, "change")).content.decode()
    assert "You asked for this: somebody else decides." in page
    assert "Approve…" not in page
    checker = browser(Role.ADMINISTRATOR)
    approve = reverse("page:bust_approve", args=[asked.pk])
    assert rows(checker.get(approve)) == rows(preview)
    assert Position.objects.get().qty == 20_000
    checker.post(approve, {"confirmed": "yes"})
    assert Balance.objects.get().total == D("99994.49")
    assert Position.objects.get().qty == 10_000
    assert "Bust or correct…" not in dealer.get(url(bad, "change")).content.decode()


def test_the_fills_of_a_price_interval_are_corrected_as_they_were_shown(account: Account, bad: Execution) -> None:
    dealer, address = browser(Role.DEALING), reverse("page:bust_new")
    interval = {"instrument": "eurusd", "since": "2000-01-01", "until": "2100-01-01", "low": "1.2", "price": "1.10010"}
    preview = post(dealer, address, **interval)
    assert rows(preview) == [
        ["Position EURUSD", "20,000", "20,000", "0"],
        ["Balance USD", "99,988.23", "99,988.98", "0.75"],
        ["Fees USD", "6.26", "5.51", "-0.75"],
    ]
    shown = dict(preview.context["hidden"])
    assert shown["executions"] == str(bad.pk)
    desk.fill(account, "buy", "1000")  # after the preview: it was not shown, so it is not asked for
    dealer.post(address, {**shown, "confirmed": "yes"})
    assert (Bust.objects.get().executions, Bust.objects.get().price) == ([bad.pk], D("1.1001"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reason": ""}, "This field is required."),
        ({"instrument": "NOTHING"}, "There is no instrument NOTHING."),
        ({"since": "2100-01-02"}, "The end lies before the beginning."),
        ({"low": "2", "high": "1"}, "The highest price lies below the lowest."),
        ({"high": "1"}, "There is no such execution"),
        ({"price": "-1"}, "must be above zero"),
        ({"executions": "x"}, "These are no numbers of executions."),
        ({"executions": "99999999999999999999"}, "busted already, or is of another instrument"),
        ({"account": "NOBODY"}, "There is no account NOBODY."),
    ],
)
def test_a_wrong_form_says_so_and_asks_for_nothing(bad: Execution, wrong: dict[str, str], words: str) -> None:
    interval = {"instrument": "EURUSD", "since": "2000-01-01", "until": "2100-01-01", "confirmed": "yes", **wrong}
    answer = post(browser(Role.DEALING), reverse("page:bust_new"), **interval)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Bust.objects.exists()


def test_who_asked_is_not_who_approves(bad: Execution) -> None:
    asked = asked_for(bad)
    own = Browser()
    own.force_login(asked.maker, backend="django.contrib.auth.backends.ModelBackend")
    answer = own.post(reverse("page:bust_approve", args=[asked.pk]), {"confirmed": "yes"}, follow=True)
    assert "somebody else has to approve it" in answer.content.decode()
    assert Position.objects.get().qty == 20_000


def test_a_request_is_rejected_with_a_reason_or_withdrawn(bad: Execution) -> None:
    asked = asked_for(bad)
    reject = reverse("page:bust_reject", args=[asked.pk])
    checker = browser(Role.ADMINISTRATOR)
    assert "Write down the reason" in checker.post(reject, {"confirmed": "yes"}).content.decode()
    checker.post(reject, {"confirmed": "yes", "_reason": "The price was right"})
    asked.refresh_from_db()
    assert (asked.state, asked.decision) == ("rejected", "The price was right")
    again = busts_maker(asked)
    post(again, reverse("page:bust_execution", args=[bad.pk]), confirmed="yes", key="k-2")
    second = Bust.objects.latest("pk")
    again.post(reverse("page:bust_withdraw", args=[second.pk]), {"confirmed": "yes"})
    second.refresh_from_db()
    assert second.state == "cancelled"
    assert Position.objects.get().qty == 20_000


def busts_maker(asked: Bust) -> Browser:
    visitor = Browser()
    visitor.force_login(asked.maker, backend="django.contrib.auth.backends.ModelBackend")
    return visitor


def test_the_overview_tells_who_may_decide(bad: Execution) -> None:
    asked = asked_for(bad)
    for visitor, told in ((browser(Role.ADMINISTRATOR), True), (busts_maker(asked), False)):
        alarms = {alarm.text for alarm in visitor.get(reverse("admin:index")).context["alarms"]}
        assert ("1 bust waits for your decision." in alarms) == told
