"""What support sees of an instrument: its texts in all languages, and the days on which it trades."""

from datetime import UTC, datetime, time

import pytest
import time_machine
from django.conf import settings
from django.urls import reverse

from accounts.roles import Role
from marketdata.models import Holiday
from tests import factories
from tests.backoffice.test_admin import browser

pytestmark = pytest.mark.django_db
# The Monday before Thanksgiving, early in the morning in New York.
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def rows(page: str, pk: int) -> list[list[str]]:
    [(_title, table, _empty)] = browser(Role.SUPPORT).get(reverse(f"page:{page}", args=[pk])).context["tables"]
    return [[str(cell) for cell in row] for row in table["rows"]]


def test_descriptions_stand_side_by_side_and_english_fills_in() -> None:
    instrument = factories.instrument("EURUSD", description_en="Euro / Dollar", description_de="Euro / US-Dollar")
    found = {row[1]: row[2:] for row in rows("instrument_descriptions", instrument.pk)}
    assert list(found) == [code for code, _name in settings.LANGUAGES]
    assert found["de"] == ["Euro / US-Dollar", "Euro / US-Dollar", ""]
    assert found["fr"] == ["–", "Euro / Dollar", "missing: English is shown"]


@time_machine.travel(MONDAY, tick=False)
def test_the_calendar_knows_weekends_holidays_and_early_closes() -> None:
    Holiday.objects.create(calendar="NYSE", day="2026-11-26", name="Thanksgiving")
    Holiday.objects.create(calendar="NYSE", day="2026-11-27", name="Day after", close_time=time(13))
    instrument = factories.instrument(
        "AAPL", session_regular="0930-1600", timezone="America/New_York", holiday_calendar="NYSE"
    )
    found = rows("instrument_sessions", instrument.pk)
    assert len(found) == 35
    assert [row[2:] for row in found[:6]] == [
        ["Mon 14:30", "Mon 21:00", "6.5", ""],
        ["Tue 14:30", "Tue 21:00", "6.5", ""],
        ["Wed 14:30", "Wed 21:00", "6.5", ""],
        ["–", "–", "–", "Thanksgiving"],
        ["Fri 14:30", "Fri 18:00", "3.5", "Day after: closes early"],
        ["–", "–", "–", "closed"],
    ]
