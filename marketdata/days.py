"""Daily bars: made of a trading day's minutes when its session has closed (BAR-2, BAR-5)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction

from marketdata import bars, builder, ticklog
from marketdata.bars import Bar
from marketdata.choices import Resolution
from marketdata.chunks import unix, unix_of_day
from marketdata.models import BarChunk, Instrument, OpenBar
from marketdata.sessions import Span

GRACE = timedelta(seconds=30)  # after the session, for ticks that are late: then its last minute is closed
LOOK_BACK = timedelta(days=bars.OPEN_DAYS)


def close_ended(now: datetime) -> int:
    """Write the daily bars of all trading days that have ended, and return their number. Harmless when repeated.

    A day waits until the bar builder has read everything that came before its close. Raises `redis.RedisError`.
    """
    return sum(_close_ended(instrument, now) for instrument in Instrument.objects.filter(has_daily=True))


def _close_ended(instrument: Instrument, now: datetime) -> int:
    closed = _closed_days(instrument, now)
    day, count = (now - LOOK_BACK).date(), 0
    while day <= now.date() + timedelta(days=1):
        span = instrument.session.span_of(day)
        if span and span.end + GRACE <= now and unix_of_day(day) not in closed and _is_built(span):
            count += close(instrument, span)
        day += timedelta(days=1)
    return count


def _closed_days(instrument: Instrument, now: datetime) -> set[int]:
    since = now - LOOK_BACK - timedelta(days=1)
    return {bar.time for bar in bars.read(instrument, unix(since), unix(now) + 2 * 86_400, Resolution.DAY)}


def _is_built(span: Span) -> bool:
    """Whether the bar builder is behind the close and its grace, or has nothing more to read."""
    return builder.has_passed(f"{unix(span.end + GRACE) * 1000}-0") or builder.has_passed(ticklog.last_id())


@transaction.atomic
def close(instrument: Instrument, span: Span) -> bool:
    """Close the day's last minute and write its daily bar; False when it has no minutes.

    Whatever comes for the last minute afterwards finds it closed.
    """
    last = OpenBar.objects.filter(instrument=instrument, lane="", minute__range=(span.start, span.end), v__gt=0).first()
    if last and last.minute < span.end:
        bars.write(instrument, [Bar(unix(last.minute), last.o, last.h, last.l, last.c, last.v)])
        last.delete()
    day = bars.day_of_minutes(instrument, span)
    if day is None:
        return False
    bars.write(instrument, [day], Resolution.DAY)
    return True


@transaction.atomic
def drop_old(resolution: Resolution, before: datetime) -> int:
    """Delete the bars that lie wholly before that time, in whole chunks; the number of chunks."""
    last_start = before.date() - timedelta(days=1 if resolution == Resolution.MINUTE else 366)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL backoffice.allow_retention = 'on'")
        deleted, _by_model = BarChunk.objects.filter(resolution=resolution, start__lte=last_start).delete()
        cursor.execute("SET LOCAL backoffice.allow_retention = 'off'")
    return deleted
