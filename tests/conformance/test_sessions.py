from datetime import UTC, datetime

import pytest

from tvapi.conformance import sessions


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "zone", "moment", "is_open"),
    [
        ("24x7", "Etc/UTC", "2026-11-22T03:00", True),
        ("0930-1600", "America/New_York", "2026-11-25T14:29", False),
        ("0930-1600", "America/New_York", "2026-11-25T14:30", True),
        ("0930-1600", "America/New_York", "2026-11-25T21:00", False),  # the end minute is outside
        ("0930-1600", "America/New_York", "2026-11-22T15:00", False),  # Sunday
        ("0930-1600", "America/New_York", "2026-07-01T13:30", True),  # summer time
        ("1800-1700", "America/New_York", "2026-11-22T23:30", True),  # Monday's session begins on Sunday evening
        ("1800-1700", "America/New_York", "2026-11-27T23:30", False),  # Friday evening would be Saturday's
        ("0900-1700:23456|1000-1400:17", "Etc/UTC", "2026-11-22T11:00", True),
        ("0900-1700:23456|1000-1400:17", "Etc/UTC", "2026-11-22T15:00", False),
    ],
)
def test_market_is_open_in_its_hours(text: str, zone: str, moment: str, is_open: bool) -> None:
    assert sessions.parse(text, zone).is_open(_at(moment)) is is_open


def test_last_start_of_an_overnight_session_lies_on_the_evening_before() -> None:
    session = sessions.parse("1800-1700", "America/New_York")
    assert session.last_start(_at("2026-11-25T02:00")) == _at("2026-11-24T23:00")


@pytest.mark.parametrize(
    "text", ["", "9-17", "0900-2500", "0900-1700:8", "0900-1700:2|1600-1800:2", "1800-1900:7|1800-1700:1"]
)
def test_bad_session_is_refused(text: str) -> None:
    with pytest.raises(sessions.BadSession):
        sessions.parse(text)
