"""Sessions of real markets over ten years of summer and winter time, against the markets' own weekly tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from marketdata.sessions import TIMEZONES, Hours, Session, format_hours

DAY = 1440
WEEK = 7 * DAY
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
YEARS = range(2016, 2026)
LONGEST_BREAK = 3 * 60  # minutes; a longer one divides two trading days (SES-6)

Table = tuple[tuple[int, int], ...]  # open spans in minutes of the week, from Sunday's midnight


def test_sessions_follow_the_markets_tables_over_ten_years(market_data: Path) -> None:
    tables = _tables(market_data / "market-hours.json")
    checked = 0
    for zone, table in sorted(tables):
        days = _trading_days(table)
        if days is None:
            continue  # two sessions in one day: TradingView has no notation for it
        session = Session.parse(format_hours(days), zone)
        for at in _moments(zone, table):
            local = at.astimezone(ZoneInfo(zone))
            minute = (local.isoweekday() % 7) * DAY + local.hour * 60 + local.minute
            expected = any(_covers(hours, day, minute) for day, hours in days.items())
            assert session.is_open(at) is expected, (zone, format_hours(days), at)
            span = session.span(at)
            assert at < span.end
            assert session.trading_day(span.start) == span.trading_day
            checked += 1
    assert len(tables) > 50
    assert checked > 10_000


def _tables(path: Path) -> set[tuple[str, Table]]:
    """Each zone and weekly table of regular hours that the file has, once."""
    found: set[tuple[str, Table]] = set()
    for entry in json.loads(path.read_text())["entries"].values():
        zone = {"UTC": "Etc/UTC"}.get(entry["exchangeTimeZone"], entry["exchangeTimeZone"])
        spans = [
            (number * DAY + _minute(part["start"]), number * DAY + _minute(part["end"]))
            for number, name in enumerate(WEEKDAYS)
            for part in entry.get(name, ())
            if part["state"] == "market"
        ]
        if spans and zone in TIMEZONES:
            found.add((zone, tuple(spans)))
    return found


def _minute(text: str) -> int:
    """`1.00:00:00` is the midnight that ends the day."""
    *days, hours, minutes, _seconds = map(int, text.replace(".", ":").split(":"))
    return sum(days) * DAY + hours * 60 + minutes


def _trading_days(table: Table) -> dict[int, Hours] | None:
    """One session for each trading day, breaks filled (SES-6); None where a day would have two."""
    if table == ((0, WEEK),) or sum(end - start for start, end in table) == WEEK:
        return {day: Hours(0, DAY) for day in range(1, 8)}
    spans = [list(table[0])]
    for start, end in table[1:]:
        touches = start == spans[-1][1] and start % DAY == 0
        is_break = start // DAY == spans[-1][1] // DAY and start - spans[-1][1] <= LONGEST_BREAK and end % DAY
        if touches or is_break:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    if spans[0][0] == 0 and spans[-1][1] == WEEK and len(spans) > 1:  # Saturday goes on into Sunday
        spans[0][0] = spans.pop()[0] - WEEK
    days: dict[int, Hours] = {}
    for start, end in spans:
        if end - start > DAY:
            return None
        ends_in = (end - 1) // DAY
        if ends_in + 1 in days:
            return None
        days[ends_in + 1] = Hours(start - ends_in * DAY, end - ends_in * DAY)
    return days


def _covers(hours: Hours, day: int, minute: int) -> bool:
    start, end = hours.start + (day - 1) * DAY, hours.end + (day - 1) * DAY
    return any(start <= minute + shift < end for shift in (-WEEK, 0, WEEK))


def _moments(zone: str, table: Table) -> Iterator[datetime]:
    """The edges of a week's sessions around each change of the clock, and in two quiet weeks of each year.

    Not the hours in which the clock itself changes: there local times come twice or not at all.
    """
    for year in YEARS:
        weeks = {_sunday(date(year, 1, 10)), _sunday(date(year, 7, 10))}
        changes = list(_changes(zone, year))
        weeks |= {_sunday(change.date()) - timedelta(days=back) for change in changes for back in (0, 7)}
        for sunday in sorted(weeks):
            for edge in {minute for span in table for minute in span}:
                for shift in (-1, 0, 1):
                    wall = datetime.combine(sunday, datetime.min.time()) + timedelta(minutes=edge + shift)
                    at = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
                    if all(abs(at - change) > timedelta(hours=2) for change in changes):
                        yield at


def _sunday(day: date) -> date:
    return day - timedelta(days=day.isoweekday() % 7)


def _changes(zone: str, year: int) -> Iterator[datetime]:
    """The moments, to the hour, at which the clock of the zone changes in this year."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(367)]
    for before, after in pairwise(hours):
        if before.astimezone(ZoneInfo(zone)).utcoffset() != after.astimezone(ZoneInfo(zone)).utcoffset():
            for hour in range(24):
                at = before + timedelta(hours=hour)
                later = at + timedelta(hours=1)
                if at.astimezone(ZoneInfo(zone)).utcoffset() != later.astimezone(ZoneInfo(zone)).utcoffset():
                    yield later
