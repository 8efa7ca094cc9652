"""Pages of market data: definitions are checked as a whole, closed bars corrected, TradingView told."""

from decimal import Decimal

import pytest
from django.test import Client as Browser
from django.urls import reverse

from accounts.models import User
from marketdata import bars
from marketdata.bars import Bar
from marketdata.models import BarCorrection, Instrument, Notice, TradingViewSymbol
from tests import factories

pytestmark = pytest.mark.django_db
TIME = 1_732_545_000  # 2024-11-25 14:30 UTC


@pytest.fixture
def browser() -> Browser:
    made = Browser()
    made.force_login(User.objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend")
    return made


def correction(instrument: Instrument, **fields: str) -> dict[str, str]:
    values = {"o": "10", "h": "12", "l": "9", "c": "11", "v": "5", "reason": "Bad tick", "resolution": "1"}
    return {"instrument": str(instrument.pk), "time_0": "2024-11-25", "time_1": "14:30:00", **values, **fields}


def definition(instrument: Instrument) -> dict[str, str]:
    """What the page of the instrument sends."""
    return {
        field.name: "" if (value := field.value_from_object(instrument)) is None else str(value)
        for field in Instrument._meta.concrete_fields
        if field.get_internal_type() != "BooleanField"
    }


def test_a_bar_is_corrected_and_tradingview_told(browser: Browser) -> None:
    aapl = factories.instrument("AAPL")
    price = Decimal(10)
    bars.write(aapl, [Bar(TIME, price, price, price, price, Decimal(5))])
    page = reverse("admin:marketdata_barcorrection_add")
    assert "Open and close lie between low and high." in browser.post(page, correction(aapl, l="11.5")).content.decode()
    assert not BarCorrection.objects.exists()
    assert browser.post(page, correction(aapl)).status_code == 302
    made = BarCorrection.objects.get()
    assert (made.by.username, made.old_h, made.h) == ("root", Decimal(10), Decimal(12))
    assert bars.history(aapl, "1", TIME, TIME).h == [12.0]
    assert browser.get(reverse("admin:marketdata_barcorrection_change", args=[made.pk])).status_code == 200

    notices = reverse("admin:marketdata_notice_changelist")
    browser.post(notices, {"action": "mark_as_told", "_selected_action": [str(Notice.objects.get().pk)]})
    assert Notice.objects.get().told_by == made.by


def test_a_definition_is_checked_as_a_whole(browser: Browser) -> None:
    aapl = factories.instrument("AAPL")
    page = reverse("admin:marketdata_instrument_change", args=[aapl.pk])
    form = definition(aapl)
    assert "is a power of ten" in browser.post(page, {**form, "pricescale": "99"}).content.decode()
    assert (
        "The pre-market of Monday does not end before"
        in browser.post(page, {**form, "session_premarket": "0900-1000"}).content.decode()
    )
    assert browser.post(page, {**form, "session_premarket": "0400-0930"}).status_code == 302
    aapl.refresh_from_db()
    assert aapl.session_premarket == "0400-0930"


def test_an_added_and_a_changed_instrument_get_their_suggestions(browser: Browser) -> None:
    kind = {"type": "stock", "currency": "USD"}
    TradingViewSymbol.objects.create(full_name="NASDAQ:AAPL", code="AAPL", **kind)
    TradingViewSymbol.objects.create(full_name="NYSE:IBM", code="XXX", words="business machines", **kind)
    form = definition(factories.instrument("OTHER", type="stock", quote_currency="USD"))
    added = {**form, "id": "", "symbol": "AAPL"}
    assert browser.post(reverse("admin:marketdata_instrument_add"), added).status_code == 302
    aapl = Instrument.objects.get(symbol="AAPL")
    assert aapl.suggestion.target.full_name == "NASDAQ:AAPL"

    ours = factories.instrument("OURS", type="stock", quote_currency="USD", exchange_listed="NYSE")
    changed = {**definition(ours), "description_en": "Business Machines, Inc."}
    page = reverse("admin:marketdata_instrument_change", args=[ours.pk])
    assert browser.post(page, changed).status_code == 302
    ours.refresh_from_db()
    assert ours.suggestion.target.full_name == "NYSE:IBM"
