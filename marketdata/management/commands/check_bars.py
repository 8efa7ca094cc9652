"""`manage.py check_bars`: what is wrong with the bars."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from marketdata import bar_checks
from marketdata.models import BarChunk, Instrument

DAYS = 7


class Command(BaseCommand):
    help = (
        "Looks for holes in open sessions, jumps, minutes without volume, and days that open or close unlike their "
        "minutes. Exit code 1 when there is something. Instruments without any bars are left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        parser.add_argument("--symbol", action="append", help="may be repeated (all)")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, default=yesterday - timedelta(days=DAYS))
        parser.add_argument("--to", dest="last", type=date.fromisoformat, default=yesterday, help="(yesterday)")
        parser.add_argument("--gap", type=int, default=5, metavar="MINUTES", help="shorter holes are quiet minutes (5)")
        parser.add_argument("--json", action="store_true", help="one object a line")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = 0
        for instrument in _instruments(options["symbol"]):
            for finding in bar_checks.check(
                instrument, options["first"], options["last"], gap_minutes=max(1, options["gap"])
            ):
                found += 1
                shown = {"symbol": instrument.symbol, **finding._asdict()}
                self.stdout.write(json.dumps(shown) if options["json"] else f"{instrument} {finding}")
        if found:
            raise CommandError(_("%(count)d findings") % {"count": found})
        if not options["json"]:
            self.stdout.write(_("Nothing is wrong."))


def _instruments(symbols: list[str] | None) -> list[Instrument]:
    """Raises `CommandError` for a symbol that is not there."""
    instruments = Instrument.objects.filter(pk__in=BarChunk.objects.values("instrument")).order_by("symbol")
    if symbols is None:
        return list(instruments)
    known = {each.symbol: each for each in Instrument.objects.filter(symbol__in=symbols)}
    if missing := [symbol for symbol in symbols if symbol not in known]:
        raise CommandError(_("There is no instrument %(symbol)s.") % {"symbol": missing[0]})
    return list(known.values())
