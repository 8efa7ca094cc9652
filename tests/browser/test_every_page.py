"""Every page of the admin in a browser: it keeps the rules of accessibility, and shows whole what it has to show."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import transaction
from django.test import Client as Browser
from playwright.sync_api import Page

from accounts.models import Account
from accounts.roles import Role
from tests import factories
from tests.backoffice.test_admin import MODELS, browser, business, url  # noqa: F401 (one is a fixture)
from tests.backoffice.test_lists import grow
from tests.backoffice.test_pages import addresses  # noqa: F401 (a fixture)
from tests.trading import desk
from trading import liquidation

pytestmark = [pytest.mark.proof, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("browser")]

# 1280 is where the sidebar stays open.
WIDTHS = (400, 768, 1024, 1280, 1440)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
NOT_WHOLE = """() => {
  const found = [];
  const name = (cell) => (cell.dataset.label ?? cell.className) + ": " + cell.textContent.trim().slice(0, 60);
  if (document.documentElement.scrollWidth > window.innerWidth) found.push("the page is wider than the screen");
  for (const table of document.querySelectorAll("section table, #result_list, table.formset")) {
    const place = (table.closest(".formset-wrapper") ?? table.parentElement).clientWidth;
    if (table.offsetWidth > place + 1) found.push(`a table of ${table.offsetWidth} px has ${place} px`);
  }
  for (const cell of document.querySelectorAll("section td, #result_list :is(td, th), table.formset td")) {
    const isCut = cell.scrollHeight > cell.clientHeight + 1 || cell.scrollWidth > cell.clientWidth + 1;
    if (isCut && cell.offsetParent) found.push(`cut: ${name(cell)}`);
  }
  return found;
}"""


@pytest.fixture
def visitor(page: Page, live_server: Any) -> Browser:
    """An administrator, who is logged in with the tab as well."""
    made = browser(Role.ADMINISTRATOR)
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": made.cookies[name].value, "url": live_server.url}])
    return made


@pytest.fixture
def lists(business: Account, visitor: Browser) -> list[str]:  # noqa: F811
    with transaction.atomic():
        grow(business, range(2))
    return [url(model) for model in MODELS]


@pytest.fixture
def pages(addresses: dict[str, str], visitor: Browser) -> list[str]:  # noqa: F811
    """Those that are no model's, of rows, and to add some. An account was stopped out, another has its margin call."""
    account = Account.objects.get()
    other = factories.account(number="PAGE-2", of_group=account.group)
    desk.fill(other, "buy", "1000")
    for each, total in ((account, 1), (other, 15)):
        each.balances.update(total=total)
        assert liquidation.review(each.pk)
    of_rows = [url(row, "change") for model in MODELS if (row := model._default_manager.first())]
    adding = [url(model, "add") for model in MODELS]
    return ["/admin/", *filter(partial(_is_shown, visitor), [*addresses.values(), *of_rows, *adding])]


def _is_shown(visitor: Browser, address: str) -> bool:
    answer = visitor.get(address)
    return answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_lists_keep_the_rules_of_accessibility(page: Page, lists: list[str], colour_scheme: Any) -> None:
    assert faults(page, lists, colour_scheme) == []


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_pages_and_forms_keep_the_rules_of_accessibility(page: Page, pages: list[str], colour_scheme: Any) -> None:
    assert len(pages) > 80
    assert faults(page, pages, colour_scheme) == []


def test_lists_are_shown_whole_on_every_screen(page: Page, lists: list[str]) -> None:
    assert not_whole(page, lists) == []


def test_pages_are_shown_whole_on_every_screen(page: Page, pages: list[str]) -> None:
    assert not_whole(page, pages) == []


def faults(page: Page, urls: Iterable[str], colour_scheme: Any) -> list[tuple[str, str, str]]:
    page.emulate_media(color_scheme=colour_scheme)
    found = []
    for each in urls:
        page.goto(each)
        response = Axe().run(page, options={"runOnly": RULES}).response
        assert len(response["passes"]) > 10, each
        found += [(each, fault["id"], fault["nodes"][0]["html"]) for fault in response["violations"]]
    return found


def not_whole(page: Page, urls: Iterable[str]) -> list[tuple[str, int, str]]:
    found = []
    for each in urls:
        page.goto(each)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found += [(each, width, what) for what in page.evaluate(NOT_WHOLE)]
    return found
