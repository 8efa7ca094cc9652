"""The check that compares the stream with the history, and the delays that are counted."""

from __future__ import annotations

import json
import logging
import time
from decimal import Decimal

import pytest
from django.test import Client as Browser
from django.urls import reverse

from accounts.models import User
from marketdata import bars, metrics
from marketdata.bars import Bar
from marketdata.chunks import from_unix
from marketdata.metrics import Meter
from marketdata.models import StreamComparison
from tests import factories
from tvapi import watch
from tvapi.watch import Watch

MINUTE = 1_732_545_000  # 2024-11-25 14:30 UTC


def trade(symbol: str, second: float, price: float) -> bytes:
    return json.dumps({"f": "t", "id": symbol, "p": price, "s": 1, "t": MINUTE + second}).encode()


def test_minutes_are_built_from_trades_and_given_once_when_whole_and_settled() -> None:
    seen = Watch(MINUTE - 0.5)
    for line in (
        trade("EURUSD", -1, 9.0),  # of a minute whose beginning was not seen
        trade("EURUSD", 0, 1.2),
        b'{"f":"q","id":"EURUSD","t":1732545001,"ap":9,"as":1,"bp":9,"bs":1}',
        b'{"heartbeat":1732545000}',
        trade("EURUSD", 30, 1.4),
        trade("EURUSD", 59.999, 1.1),
        trade("EURUSD", 60, 5.0),
    ):
        seen.read(line)
    assert list(seen.settled(MINUTE + 79)) == []
    assert list(seen.settled(MINUTE + 80)) == [(MINUTE, {"EURUSD": (1.2, 1.4, 1.1, 1.1)})]
    assert list(seen.settled(MINUTE + 80)) == []


@pytest.mark.django_db
def test_what_differs_is_kept_by_symbol_and_hour() -> None:
    for symbol in ("EURUSD", "GBPUSD", "USDJPY", "BTCUSDT"):
        factories.instrument(symbol)
    price = Decimal("1.5")
    for symbol in ("EURUSD", "GBPUSD", "USDJPY"):
        bars.write(factories.instrument(symbol), [Bar(MINUTE, price, price, price, price, Decimal(1))])
    same, other = (1.5, 1.5, 1.5, 1.5), (1.5, 1.6, 1.5, 1.5)
    assert watch.compare(MINUTE, {"EURUSD": same, "GBPUSD": other}) == 2
    kept = {row.instrument.symbol: (row.compared, row.different) for row in StreamComparison.objects.all()}
    assert kept == {"EURUSD": (1, 0), "GBPUSD": (1, 1), "USDJPY": (1, 1)}
    assert StreamComparison.objects.get(instrument__symbol="GBPUSD").example == (
        "14:30 /streaming 1.5 1.6 1.5 1.5 /history 1.5 1.5 1.5 1.5"
    )
    assert StreamComparison.objects.get(instrument__symbol="USDJPY").example.startswith("14:30 /streaming – ")
    watch.compare(MINUTE, {"EURUSD": same, "GBPUSD": same, "USDJPY": same})
    assert StreamComparison.objects.get(instrument__symbol="GBPUSD").compared == 2


@pytest.mark.django_db
def test_more_than_one_percent_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    eurusd = factories.instrument("EURUSD")
    hour = from_unix(MINUTE).replace(minute=0)
    row = StreamComparison.objects.create(instrument=eurusd, hour=hour, compared=199, different=1)
    with caplog.at_level(logging.ERROR):
        watch.compare(MINUTE, {"EURUSD": (1.0, 1.0, 1.0, 1.0)})
    row.refresh_from_db()
    assert (row.compared, row.different, row.is_alarming) == (200, 2, False)
    assert not caplog.records
    watch.compare(MINUTE, {"EURUSD": (1.0, 1.0, 1.0, 1.0)})
    assert "The stream differs from the history: EURUSD 2024-11-25 14:00, 3 of 201 minutes" in caplog.text


def test_delays_are_told_as_percentiles_of_the_last_minute() -> None:
    meter = Meter()
    now_ms = time.time_ns() // 1_000_000
    meter.sent([now_ms] * 98 + [now_ms - 700, now_ms - 2_900])
    told = meter.read()
    assert (told.lines, told.p50_ms <= 50, 700 <= told.p99_ms <= 750, 2_900 <= told.most_ms < 3_400) == (
        100, True, True, True,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_admin_shows_differences_and_delays() -> None:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend")
    page = reverse("admin:marketdata_streamcomparison_changelist")
    assert "Nobody reads the stream" in browser.get(page).content.decode()
    metrics.tell(metrics.Delays("host:1", connections=4, dropped=0, lines=100, p50_ms=35, p99_ms=70, most_ms=81))
    watch.compare(MINUTE, {factories.instrument("EURUSD").symbol: (1.0, 1.0, 1.0, 1.0)})
    shown = browser.get(page).content.decode()
    assert "host:1: 4 readers, 100 ticks, half of them within 35 ms, 99 % within 70 ms" in shown
    assert "14:30 /streaming 1.0 1.0 1.0 1.0 /history –" in shown
