"""What happens to bars by the clock."""

from __future__ import annotations

from datetime import timedelta

import redis
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from marketdata import days
from marketdata.choices import Resolution


@shared_task(autoretry_for=(redis.RedisError,), max_retries=1)
def close_days() -> None:
    """Write the daily bars of sessions that have closed. Running twice is harmless."""
    days.close_ended(timezone.now())


@shared_task
def drop_old_bars() -> None:
    """Delete bars that are older than they are kept."""
    for resolution, kept_days in settings.BARS_KEPT_DAYS.items():
        if kept_days:
            days.drop_old(Resolution(resolution), timezone.now() - timedelta(days=kept_days))
