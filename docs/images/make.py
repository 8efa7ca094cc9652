"""Make the pictures of the documentation from a running demo: `.venv/bin/python -m docs.images.make [ADDRESS]`."""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import FLAGS, installed_chromium

PICTURES = {
    "overview": "/admin/",
    "orders": "/admin/trading/order/",
    "exposure": "/admin/desk/exposure/",
    "prices": "/admin/desk/prices/",
    "chart": "/admin/instruments/1/chart/",
    "monitor": "/admin/integration/monitor/",
}
SETTLED_MS = 1500  # charts are drawn after the page is there


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_chromium(), args=FLAGS)
        page = browser.new_page(base_url=address, viewport={"width": 1440, "height": 900})
        log_in(page)
        for name, path in PICTURES.items():
            page.goto(path, wait_until="networkidle")
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=Path(__file__).with_name(f"{name}.png"))
        browser.close()


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("staff-demo")
    page.get_by_role("button", name="Log in").click()


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
