"""A real browser, Debian's Chromium, on pages of a server that pytest-django runs."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing of the browser's own leaves the machine, so that what does is ours.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def installed_chromium() -> str | None:
    """The path of the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(autouse=True)
def quick_hasher(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = installed_chromium()
    if path is None and "CI" not in os.environ:
        pytest.skip("There is no Chromium: install Debian's package chromium.")
    # Playwright keeps an event loop in this thread, in which Django would refuse to use the database. Nothing runs in
    # it while a test does. It ends with the module: asynchronous tests need a loop of their own.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def context(chromium: Browser, live_server: Any) -> Iterator[BrowserContext]:
    context = chromium.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, live_server: Any) -> Iterator[Page]:
    """A tab. At the end of the test it must have asked our server only, got answers, and met no fault in a script."""
    page = context.new_page()
    troubles: list[str] = []

    def check(is_fine: bool, trouble: str) -> None:
        if not is_fine:
            troubles.append(trouble)

    page.on("request", lambda request: check(_is_ours(request.url, live_server.url), request.url))
    page.on("response", lambda answer: check(answer.status < 400, f"{answer.status} {answer.url}"))
    page.on("pageerror", lambda error: check(False, str(error)))
    page.on("console", lambda line: check(line.type != "error", line.text))
    yield page
    assert troubles == []


def _is_ours(url: str, server: str) -> bool:
    return url.startswith((f"{server}/", "data:"))
