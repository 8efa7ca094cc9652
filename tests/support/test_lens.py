"""The trader lens: what support sees is what TradingView receives, now and then; nothing changes, all is recorded."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account
from accounts.roles import Role
from backoffice.support import answers, past
from backoffice.support.models import Look
from marketdata import bars
from marketdata.chunks import Bar
from tests import factories
from tests.backoffice.test_admin import browser
from tests.trading import desk
from trading import busts, orders
from trading.models import Order, OrderEvent

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> Account:
    factories.instrument("EURUSD", session_regular="24x7")
    factories.quote("EURUSD", "1.10000", "1.10010")
    return factories.account(number="LENS-1", of_group=factories.group(symbols=["EURUSD"]))


def look(visitor: Browser, account: Account, **form: str) -> Any:
    address = reverse("page:lens_account", args=[account.pk])
    return visitor.post(address, {"locale": "de_DE", "reason": "Ticket 17", **form}, follow=True)


def wire(found: list[answers.Answer], end: str) -> Any:
    [answer] = [each for each in found if each.address.partition("?")[0].endswith(end)]
    return json.loads(answer.body)["d"]


# --- now --------------------------------------------------------------------------------------------------------------


def test_the_answers_are_those_of_the_endpoints(account: Account) -> None:
    desk.fill(account, "buy", "10000", sl="1.05")
    token = factories.token(account.client.user)
    found = answers.now(account, "de_DE")
    trader = Browser(headers={"Authorization": f"Bearer {token}"})
    for each in found:
        own = trader.get(each.address.removeprefix("GET "))
        assert own.status_code == 200, each.address
        assert json.loads(each.body) == own.json(), each.address
    assert [each.address.partition("?")[0].rpartition("/")[2] for each in found] == [
        "accounts", "state", "orders", "positions", "quotes", "ordersHistory", "executions", "instruments",
        "permissions", "config",
    ]  # fmt: skip


def test_a_look_is_recorded_with_its_reason_and_shows_the_clients_language(account: Account) -> None:
    support = browser(Role.SUPPORT)
    page = look(support, account).content.decode()
    assert "GET /tv/accounts/LENS-1/state?locale=de_DE" in page
    kept = Look.objects.get()
    assert (kept.by.username, kept.account, kept.reason, kept.locale) == ("the-support", account, "Ticket 17", "de_DE")
    with pytest.raises(DatabaseError), transaction.atomic():
        Look.objects.update(reason="Other")
    assert "Ticket 17" in browser(Role.COMPLIANCE).get(reverse("admin:support_look_changelist")).content.decode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reason": " "}, "This field is required."),
        ({"locale": "xx"}, "Select a valid choice."),
        ({"moment": "2999-01-01"}, "That moment is still to come."),
        ({"moment": "1999-01-01"}, "The account was opened later"),
        ({"moment": "yesterday"}, "Enter a valid date/time."),
    ],
)
def test_nobody_looks_without_saying_why_at_a_moment_that_there_was(
    account: Account, wrong: dict[str, str], words: str
) -> None:
    assert words in look(browser(Role.SUPPORT), account, **wrong).content.decode()
    assert not Look.objects.exists()


def test_looking_changes_nothing(account: Account) -> None:
    desk.fill(account, "buy", "10000")
    version = Account.objects.get().version
    look(browser(Role.SUPPORT), account)
    assert Account.objects.get().version == version


def test_clients_are_found_by_number_name_and_login(account: Account) -> None:
    support = browser(Role.SUPPORT)
    for term, count in (("lens", 1), (account.client.user.username, 1), ("nobody", 0)):
        [(_title, table, _empty)] = support.get(reverse("page:lens"), {"q": term}).context["tables"]
        assert len(table["rows"]) == count, term


def test_an_old_look_is_not_shown_again(account: Account) -> None:
    support = browser(Role.SUPPORT)
    look(support, account)
    old = Look.objects.create(
        by=Look.objects.get().by, account=account, locale="en", reason="x", at=timezone.now() - timedelta(hours=1)
    )
    answer = support.get(reverse("page:lens_look", args=[old.pk]))
    assert answer.headers["Location"] == reverse("page:lens_account", args=[account.pk])


def test_an_orders_story_tells_prices_seen_and_the_sentence_in_the_clients_language(account: Account) -> None:
    order = desk.fill(account, "buy", "1000", limit="1.05000")
    orders.cancel(account.pk, order.pk)
    OrderEvent.objects.create(order=order, kind="rejected", status="cancelled", details={"reason": "parent_ended"})
    support = browser(Role.SUPPORT)
    look(support, account)
    page = support.get(reverse("page:lens_look", args=[Look.objects.get().pk]), {"order": str(order.pk)})
    [_orders, (_title, table, _empty)] = page.context["tables"]
    assert [str(cell) for cell in table["rows"][0][4:6]] == ["1.1", "1.1001"]
    assert table["rows"][-1][-1] == "Die Order, die abgesichert werden sollte, ist beendet."


# --- then -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def moments(account: Account, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """After the opening of a position and the placing of an order; later both changed, and ended."""
    desk.fill(account, "buy", "10000")
    order = desk.fill(account, "buy", "2000", limit="1.05000")
    first = _now()
    orders.modify(account.pk, order.pk, qty=D(3000), limit_price=D("1.06000"))
    desk.fill(account, "sell", "4000")
    second = _now()
    orders.cancel(account.pk, order.pk)
    desk.fill(account, "sell", "6000")
    return [first, second, _now()]


def _now() -> datetime:
    """The database's own clock, which the records are written by."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def test_orders_are_shown_as_they_were(account: Account, moments: list[datetime]) -> None:
    waiting = Order.objects.get(limit_price__isnull=False)
    seen = []
    for moment in moments:
        [found] = [each for each in past.orders(account, moment) if each.pk == waiting.pk]
        seen.append((found.status, found.qty, found.limit_price))
    assert seen == [
        ("working", D(2000), D("1.05")),
        ("working", D(3000), D("1.06")),
        ("cancelled", D(3000), D("1.06")),
    ]
    assert not past.orders(account, moments[0] - timedelta(days=1))


def test_positions_and_money_are_shown_as_they_were(account: Account, moments: list[datetime]) -> None:
    minute = int(moments[0].timestamp()) // 60 * 60 - 60
    instrument = account.group.conditions_at().instruments.get().instrument
    bars.write(instrument, [Bar(minute, D("1.1"), D("1.2"), D("1.0"), D("1.2"), D(5))])
    seen = [[(each.qty, each.avg_price, profit) for each, profit in past.positions(account, m)] for m in moments]
    assert seen == [
        [(D(10_000), D("1.1001"), D("999"))],
        [(D(6000), D("1.1001"), D("599.4"))],
        [],
    ]
    # 10,000 bought at 1.1001, 4,000 and then 6,000 of them sold at 1.1.
    assert [past.state(account, moment)["balance"] for moment in moments] == [
        D(100_000),
        D("99999.6"),
        D(99_999),
    ]


def test_a_fill_that_was_busted_later_is_still_seen_then(account: Account) -> None:
    order = desk.fill(account, "buy", "10000")
    before = _now()
    maker, checker = (factories.user(name, is_superuser=True) for name in ("maker", "checker"))
    wish = busts.Wish(order.instrument, (order.executions.get().pk,), "Bad tick", "k")
    busts.approve(busts.ask(wish, by=maker).pk, by=checker)
    assert [each.qty for each, _profit in past.positions(account, before)] == [D(10_000)]
    assert past.positions(account, _now()) == []


def test_a_past_minute_is_answered_in_the_clients_language(account: Account, moments: list[datetime]) -> None:
    found = answers.then(account, "de_DE", moments[0])
    assert wire(found, "/orders")[0]["limitPrice"] == 1.05
    assert [each["qty"] for each in wire(found, "/positions")] == [10_000]
    assert wire(found, "/state")["balance"] == 100_000
    page = look(browser(Role.SUPPORT), account, moment=f"{moments[2]:%Y-%m-%d %H:%M:%S.%f}").content.decode()
    assert "UTC, from the books." in page
