"""Pages that are no model's: who may open each, written out so that a slip is noticed; and how they ask first."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils.module_loading import autodiscover_modules

from accounts.models import Account
from accounts.roles import Role
from backoffice.operations import cash
from backoffice.operations.choices import CashKind
from backoffice.operations.models import Attachment, Job
from backoffice.pages import registry
from backoffice.support.models import Look
from marketdata.models import MappingRelease
from tests import factories
from tests.backoffice.test_admin import browser
from tests.trading import desk
from trading import busts

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

autodiscover_modules("pages")  # as the URLs do

A, O, D, S, C = Role.ADMINISTRATOR, Role.OPERATIONS, Role.DEALING, Role.SUPPORT, Role.COMPLIANCE  # noqa: E741
EVERYBODY = {A, O, D, S, C}
MAY_OPEN: dict[str, set[Role]] = {
    "account_figures": EVERYBODY,
    "account_state": {A, O},
    "account_statement": EVERYBODY,
    "attachment": {A, O, C},
    "bulk_export": EVERYBODY,
    "bulk_import": {A, O},
    "bust_approve": {A, D},
    "bust_execution": {A, D},
    "bust_new": {A, D},
    "bust_reject": {A, D},
    "bust_withdraw": {A, D},
    "cash_approve": {A, O},
    "cash_cancel": {A, O},
    "cash_new": {A, O},
    "cash_reject": {A, O},
    "chart": EVERYBODY,
    "chart_data": EVERYBODY,
    "client_document": {A, O},
    "client_kyc": {A, O},
    "client_note": {A, O, S},
    "conditions_approve": {A, O},
    "conditions_compare": EVERYBODY,
    "conditions_discard": {A, O},
    "conditions_draft": {A, O},
    "conditions_explain": EVERYBODY,
    "conditions_roll_back": {A, O},
    "conditions_withdraw": {A, O},
    "day_end_run": {A, O},
    "desk_exposure": EVERYBODY,
    "desk_margin": EVERYBODY,
    "desk_orders": EVERYBODY,
    "desk_prices": EVERYBODY,
    "instrument_descriptions": EVERYBODY,
    "instrument_sessions": EVERYBODY,
    "integration_monitor": EVERYBODY,
    "job": EVERYBODY,
    "job_apply": {A, O},
    "job_cancel": EVERYBODY,
    "job_result": EVERYBODY,
    "mapping_difference": EVERYBODY,
    "mapping_export": EVERYBODY,
    "mapping_import": {A, S},
    "mapping_publish": {A, S},
    "mapping_roll_back": {A, S},
    "mapping_suggest": {A, S},
    "lens": {A, O, D, S},
    "lens_account": {A, O, D, S},
    "lens_look": {A, O, D, S},
    "position_close": {A, D},
    "stop": {A, D},
    "trial_balance": EVERYBODY,
}
POST_ONLY = {"job_apply", "job_cancel", "mapping_suggest"}
OTHERS = {"lens_look"}  # somebody else's look: one is asked for one's own reason


@pytest.fixture
def addresses() -> dict[str, str]:
    """A working address of every page."""
    reverse("admin:index")  # reads all addresses, and with them the pages
    account = factories.account(number="PAGE-1")
    maker = factories.user("maker", is_superuser=True, is_staff=True)
    asked = cash.ask(cash.Wish(CashKind.DEPOSIT, account.pk, "USD", Decimal(1), "x", "k"), by=maker)
    paper = Attachment.keep("x.txt", "text/plain", b"x", by=maker)
    job = Job.objects.create(kind="dry run", title="A job", by=maker, result=paper, state="finished")
    look = Look.objects.create(by=maker, account=account, locale="en", reason="x")
    version = account.group.conditions_at().pk
    factories.quote("EURUSD", "1.10000", "1.10010")
    execution = desk.fill(account, "buy", "1000").executions.get()
    wish = busts.Wish(execution.instrument, (execution.pk,), "x", "k")
    factories.mapping("AAPL", "NASDAQ:AAPL")
    factories.mapping("TSLA", "NASDAQ:TSLA")  # a second release, so that the first can be gone back to
    factories.mapping("MSFT", "NASDAQ:MSFT", is_published=False)
    keys: dict[str, list[Any]] = {
        "bust": [busts.ask(wish, by=maker).pk],
        "bust_execution": [execution.pk],
        "chart": [execution.instrument_id],
        "instrument": [execution.instrument_id],
        "position": [account.positions.get().pk],
        "account": [account.pk],
        "client": [account.client_id],
        "cash": [asked.pk],
        "attachment": [paper.pk],
        "job": [job.pk],
        "conditions": [version],
        "lens_account": [account.pk],
        "lens_look": [look.pk],
        "conditions_draft": [account.group_id],
        "mapping": [MappingRelease.objects.earliest("pk").pk],
        "mapping_export": ["csv"],
        "stop": ["account", account.pk],
    }
    without = {
        "bust_new",
        "cash_new",
        "bulk_export",
        "bulk_import",
        "conditions_explain",
        "mapping_import",
        "mapping_publish",
        "mapping_suggest",
        "trial_balance",
        "day_end_run",
    }
    return {
        name: reverse(f"page:{name}", args=() if name in without else keys.get(name, keys.get(name.split("_")[0])))
        for name in registry
    }


def test_every_page_is_in_the_table(addresses: dict[str, str]) -> None:
    assert set(addresses) == set(MAY_OPEN)


@pytest.mark.parametrize("role", Role)
def test_pages_open_to_the_roles_of_the_table(role: Role, addresses: dict[str, str]) -> None:
    visitor = browser(role)
    for name, address in addresses.items():
        wanted = 200 if role in MAY_OPEN[name] else 403
        if wanted == 200:
            wanted = 405 if name in POST_ONLY else 302 if name in OTHERS else 200
        assert visitor.get(address).status_code == wanted, name
        if wanted == 403:
            assert visitor.post(address, {"confirmed": "yes", "_reason": "x"}).status_code == 403, name


def test_strangers_and_traders_are_sent_to_the_login(addresses: dict[str, str]) -> None:
    trader = Browser()
    trader.force_login(Account.objects.get().client.user, backend="django.contrib.auth.backends.ModelBackend")
    for visitor in (Browser(), trader):
        for name, address in addresses.items():
            answer = visitor.get(address)
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/"), name


@pytest.mark.parametrize("number", ["0", "999999999999"])
def test_pages_of_what_is_not_there_are_missing(number: str, addresses: dict[str, str]) -> None:
    visitor = browser(Role.ADMINISTRATOR)
    for name, address in addresses.items():
        parts = address.split("/")
        numbered: list[Any] = [number if part.isdecimal() else part for part in parts]
        if numbered != parts:
            wanted = 405 if name in POST_ONLY else 404
            assert visitor.get("/".join(numbered)).status_code == wanted, name


def test_a_role_finds_only_its_own_pages_in_the_sidebar(addresses: dict[str, str]) -> None:
    for role in Role:
        sections = browser(role).get(reverse("admin:index")).context["sidebar_navigation"]
        links = {item["link"] for section in sections for item in section["items"]}
        for name, page in registry.items():
            if page.section:
                assert (addresses[name] in links) == (role in MAY_OPEN[name]), (role, name)
