"""What the walks through the pages of staff share: logging in, reading what is shown, and being refused."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client as Visitor
from playwright.sync_api import Locator, Page, expect

from accounts.models import User
from accounts.roles import Role

PASSWORD = "a-password-of-tests"


def member(role: Role, name: str = "") -> User:
    """A staff user of this role, by default named for it; the same one when asked again."""
    username = name or f"the-{role}"
    if user := User.objects.filter(username=username).first():
        return user
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def log_in(page: Page, role: Role, name: str = "") -> User:
    """Be on the overview as a member of the role, in place of whoever was logged in: with a session made by hand."""
    user, visitor = member(role, name), Visitor()
    visitor.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = visitor.cookies[settings.SESSION_COOKIE_NAME]
    page.context.clear_cookies()
    page.context.add_cookies([{"name": session.key, "value": session.value, "domain": "localhost", "path": "/"}])
    page.goto("/admin/")
    return user


def show_password(page: Page, username: str, password: str = PASSWORD) -> None:
    """At the door, where everybody begins who has no session."""
    page.context.clear_cookies()
    page.goto("/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


# --- what is shown ----------------------------------------------------------------------------------------------------


def cells(page: Page, table: str) -> list[list[str]]:
    """What a table of a page says, row by row."""
    region = page.get_by_role("region", name=table, exact=True)
    region.wait_for()
    rows = region.locator("tr.data-row").all()
    return [[" ".join(text.split()) for text in row.locator("td").all_text_contents()] for row in rows]


def figure(page: Page, name: str) -> Locator:
    return page.locator("dl > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def shown(page: Page, label: str) -> Locator:
    """What a row's own page shows of it under this name, where it cannot be changed."""
    return page.locator(".field-line").filter(has=page.locator("label", has_text=label)).locator(".readonly")


def listed(page: Page) -> Locator:
    """The rows of a list."""
    return page.locator("#result_list tbody tr")


def is_as_wide_as_the_screen(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def fits_a_phone(page: Page) -> bool:
    """Whether nothing of the page that is shown needs scrolling sideways at 400 px."""
    usual = page.viewport_size
    page.set_viewport_size({"width": 400, "height": 800})
    fits = is_as_wide_as_the_screen(page)
    page.set_viewport_size(usual or {"width": 1440, "height": 900})
    return fits


# --- what is done -----------------------------------------------------------------------------------------------------


def search(page: Page, words: str) -> None:
    """In a list, with the keyboard."""
    page.locator("#searchbar").fill(words)
    page.locator("#searchbar").press("Enter")


def act(page: Page, action: str, *rows: str) -> None:
    """Select these rows of a list, each by a text in it, and do the action of this name to them."""
    for row in rows:
        listed(page).filter(has_text=row).locator("input.action-select").check()
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name="Run").click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("successfully").first).to_be_visible()


# --- what is refused --------------------------------------------------------------------------------------------------


def asked(page: Page, address: str, form: dict[str, Any] | None = None) -> int:
    """The status of an address, with a form as if it had come from one of our pages: nothing but the role refuses it.

    Asked for with the tab's session, but not in the tab, whose refusals would be called troubles.
    """
    if form is None:
        return page.request.get(f"/admin/{address}", max_redirects=0).status
    [token] = [each["value"] for each in page.context.cookies() if each["name"] == "csrftoken"]
    return page.request.post(f"/admin/{address}", form=form, headers={"X-CSRFToken": token}, max_redirects=0).status


def is_refused(page: Page, *addresses: str) -> bool:
    """Whether each can neither be looked at nor be told to act, while what everybody may post is taken."""
    assert asked(page, "language/", {"language": "en"}) == 302
    confirmed = {"confirmed": "yes", "_reason": "x", "reason": "x", "post": "yes"}
    open_ones = [each for each in addresses if (asked(page, each), asked(page, each, confirmed)) != (403, 403)]
    assert open_ones == []
    return True


def offers(page: Page, *names: str) -> list[str]:
    """Those of these buttons and links that the page has."""
    controls = page.locator("#content").locator("a, button, input[type=submit]")
    return [name for name in names if controls.filter(has_text=name).count()]
