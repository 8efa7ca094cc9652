"""Make the pictures of the documentation from a running demo: `.venv/bin/python -m docs.images.make [ADDRESS]`."""

import sys
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import FLAGS, installed_chromium
from tests.e2e.acceptance import Broker, Desk, Refused

PICTURES = {
    "overview": "/admin/",
    "orders": "/admin/trading/order/",
    "exposure": "/admin/desk/exposure/",
    "prices": "/admin/desk/prices/",
    "chart": "/admin/instruments/1/chart/",
    "monitor": "/admin/integration/monitor/",
}
MARKET_ORDERS = [
    ("FX-NET", "EURUSD", "buy", "200000"),
    ("FX-NET", "USDJPY", "sell", "90000"),
    ("FX-NET", "XAUUSD", "buy", "20"),
    ("FX-HEDGE", "EURUSD", "sell", "50000"),
    ("FX-HEDGE", "GBPUSD", "buy", "80000"),
    ("PERP", "BTCUSDT.P", "buy", "0.25"),
    ("STOCK", "AAPL", "buy", "40"),
]
LIMIT_ORDERS = [  # the last is a part of the market's price
    ("FX-NET", "EURUSD", "buy", "100000", "0.998"),
    ("FX-HEDGE", "GBPUSD", "sell", "50000", "1.003"),
]
TURNS = 50
SETTLED_SECONDS = 5  # orders are executed, counts are told
DRAWN_MS = 1500  # charts are drawn after the page is there


def main(address: str) -> None:
    broker = Broker(address, "trader", "trader-demo")
    trade(broker)
    watch(Desk(broker, "FX-NET"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_chromium(), args=FLAGS)
        page = browser.new_page(base_url=address, viewport={"width": 1440, "height": 900})
        log_in(page)
        for name, path in PICTURES.items():
            page.goto(path, wait_until="networkidle")
            page.wait_for_timeout(DRAWN_MS)
            page.screenshot(path=Path(__file__).with_name(f"{name}.png"))
        browser.close()


def trade(broker: Broker) -> None:
    """What the pictures show, unless the demo shows something already. Closed markets refuse, and are left out."""
    if Desk(broker, "FX-NET").get("positions"):
        return
    for account, symbol, side, qty in MARKET_ORDERS:
        with suppress(Refused):
            Desk(broker, account).place(symbol, side, qty)
    for account, symbol, side, qty, part in LIMIT_ORDERS:
        desk = Desk(broker, account)
        price = (desk.quote(symbol)["bid"] * Decimal(part)).quantize(Decimal("0.001"))
        with suppress(Refused):
            desk.place(symbol, side, qty, type="limit", limitPrice=str(price))


def watch(desk: Desk) -> None:
    """What a chart asks for while it is open: the monitor counts it."""
    for _turn in range(TURNS):
        desk.quote("EURUSD")
        for what in ("state", "orders", "positions"):
            desk.get(what)
    time.sleep(SETTLED_SECONDS)


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("staff-demo")
    page.get_by_role("button", name="Log in").click()


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
