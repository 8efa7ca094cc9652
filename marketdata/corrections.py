"""Correcting a closed bar: a new version of it, with who and why, and a notice that TradingView must be told."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from marketdata import chunks
from marketdata.choices import Resolution
from marketdata.chunks import Bar, PriceRange, from_unix, start_of_chunk
from marketdata.models import BarChunk, BarCorrection, Instrument, Notice


class CorrectionRefused(ValueError):
    """The bar stays as it is; the message is a sentence for the person who wanted to change it."""


@transaction.atomic
def correct(instrument: Instrument, resolution: Resolution, bar: Bar, *, reason: str, by: Any) -> BarCorrection:
    """Put `bar` in the place of the closed bar with its time. Volume 0 takes it out of the history.

    Raises `CorrectionRefused`, nothing changed.
    """
    chunk, earlier = _replaced(BarChunk.objects.select_for_update(), instrument, resolution, bar, reason=reason)
    of_bar = {"instrument": instrument, "resolution": resolution, "time": from_unix(bar.time)}
    correction = BarCorrection.objects.create(
        **of_bar,
        version=BarCorrection.objects.filter(**of_bar).count() + 2,
        **{f"old_{name}": value for name, value in earlier._asdict().items() if name != "time"},
        **{name: value for name, value in bar._asdict().items() if name != "time"},
        reason=reason,
        by=by,
    )
    chunks.save([chunk])
    Notice.objects.create(
        instrument=instrument,
        text=_("The bar of %(symbol)s, resolution %(resolution)s, of %(time)s UTC was corrected: %(reason)s")
        % {
            "symbol": instrument,
            "resolution": resolution,
            "time": f"{from_unix(bar.time):%Y-%m-%d %H:%M}",
            "reason": reason,
        },
    )
    return correction


def check(instrument: Instrument, resolution: Resolution, bar: Bar, *, reason: str) -> None:
    """Raise `CorrectionRefused` when `correct` would. Changes nothing."""
    _replaced(BarChunk.objects.all(), instrument, resolution, bar, reason=reason)


def _replaced(
    found: QuerySet[BarChunk], instrument: Instrument, resolution: Resolution, bar: Bar, *, reason: str
) -> tuple[BarChunk, Bar]:
    """The chunk with the bar in it, in memory, and the bar that was there. Raises `CorrectionRefused`."""
    _check_values(instrument, bar, reason)
    chunk = found.filter(
        instrument=instrument, resolution=resolution, start=start_of_chunk(resolution, bar.time)
    ).first()
    earlier = chunks.replace(chunk, bar) if chunk else None
    if chunk is None or earlier is None or bar.time % chunks.UNIT_SECONDS[resolution]:
        raise CorrectionRefused(_("There is no closed bar at that time."))
    if earlier == bar:
        raise CorrectionRefused(_("The bar has these values already."))
    return chunk, earlier


def _check_values(instrument: Instrument, bar: Bar, reason: str) -> None:
    prices = PriceRange.of(instrument)
    if not reason.strip():
        raise CorrectionRefused(_("Say why: TradingView will ask."))
    if not all(prices.holds(price) for price in bar[1:5]):
        raise CorrectionRefused(_("One of the prices cannot be a price of %(symbol)s.") % {"symbol": instrument})
    if not bar.l <= min(bar.o, bar.c) <= max(bar.o, bar.c) <= bar.h:
        raise CorrectionRefused(_("Open and close lie between low and high."))
    if not 0 <= bar.v < chunks.VOLUME_LIMIT or bar.v != round(bar.v, chunks.VOLUME_DECIMALS):
        raise CorrectionRefused(_("The volume is below 0, too large, or has more than 8 decimals."))
