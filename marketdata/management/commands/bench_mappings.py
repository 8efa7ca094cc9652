"""`manage.py bench_mappings`: how fast the mapping workbench works, on symbols that are taken back afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction
from django.db.models import Q

from marketdata import mapping_releases, mappings, suggestions, tradingview_list
from marketdata.choices import MappingState, SymbolType
from marketdata.models import Instrument, MappedInstrument, TradingViewSymbol

PAGE_ROWS = 50


class Command(BaseCommand):
    help = "Measures list, suggestions, publishing and /mapping in this process; everything is rolled back afterwards."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--instruments", type=int, default=10_000)
        parser.add_argument("--symbols", type=int, default=100_000, help="of TradingView's list (100000)")

    def handle(self, *_args: Any, **options: Any) -> None:
        with transaction.atomic():
            try:
                self._measure(options["instruments"], options["symbols"])
            finally:
                transaction.set_rollback(True)

    def _measure(self, instruments: int, symbols: int) -> None:
        Instrument.objects.bulk_create(map(_instrument, range(instruments)), batch_size=1000)
        listed = [_symbol(number) for number in range(symbols)]
        self._time(f"import of {symbols} symbols, with suggestions", lambda: tradingview_list.save(listed))
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        self._time("suggestions alone", suggestions.refresh)
        every = MappedInstrument.workbench.with_states().order_by("symbol")
        for state in ("", MappingState.SUGGESTED, MappingState.BROKEN):
            rows = every.filter(Q(mapping_state=state)) if state else every
            self._time(f"first page, {state or 'all'}", partial(list, rows[:PAGE_ROWS]))
            self._time(f"count, {state or 'all'}", rows.count)
        ids = list(every.values_list("pk", flat=True))
        self._time("accept all suggestions", lambda: mappings.accept(ids))
        self._time("difference with problems", mapping_releases.pending)
        release = self._time("publish", lambda: mapping_releases.publish(by=None, note="measured"))
        self._time("state of a release", lambda: mapping_releases.state_at(release))
        self._time("/mapping without the web server", mappings.published)

    def _time(self, title: str, work: Callable[[], Any]) -> Any:
        began, begun_cpu = time.perf_counter(), time.process_time()
        result = work()
        taken, cpu = time.perf_counter() - began, time.process_time() - begun_cpu
        self.stdout.write(f"{title}: {taken * 1000:.0f} ms, {cpu * 1000:.0f} ms of them this process's")
        return result


def _instrument(number: int) -> Instrument:
    return Instrument(
        symbol=f"BENCH{number}", description_en=f"Company number {number}", type=SymbolType.STOCK, pricescale=100,
        quote_currency="USD", exchange_listed="BENCH", exchange_traded="BENCH", min_qty=Decimal(1),
        max_qty=Decimal(1000), qty_step=Decimal(1), session_regular="24x7",
    )  # fmt: skip


def _symbol(number: int) -> TradingViewSymbol:
    description = f"Company number {number} Inc."
    return TradingViewSymbol(
        full_name=f"BENCH:BENCH{number}", code=f"BENCH{number}", type=SymbolType.STOCK, currency="USD",
        description=description, words=suggestions.words_of(description), tick_size=Decimal("0.01"),
    )  # fmt: skip
