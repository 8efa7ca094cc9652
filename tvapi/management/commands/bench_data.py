"""`manage.py bench_data`: how fast the data half answers, on instruments that are taken back afterwards."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from marketdata import bars
from marketdata.bars import Bar
from marketdata.choices import SymbolType
from marketdata.chunks import MINUTE_SECONDS
from marketdata.models import Instrument, SymbolGroup
from marketdata.triggers import MOST_GROUPS
from tvapi import symbol_lists, wire
from tvapi.renderers import encode

DAY = 1_704_067_200  # 2024-01-01 00:00 UTC, a Monday
DAY_MINUTES = 1440
ROUNDS = 20


class Command(BaseCommand):
    help = "Measures /symbol_info and /history in this process, on symbols that are rolled back afterwards."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbols", type=int, default=10_000, help="in each group (10000)")
        parser.add_argument("--groups", type=int, default=MOST_GROUPS, help="as many of them as there is room for (10)")

    def handle(self, *_args: Any, **options: Any) -> None:
        with transaction.atomic():
            try:
                self._measure(options["groups"], options["symbols"])
            finally:
                transaction.set_rollback(True)

    def _measure(self, groups: int, symbols: int) -> None:
        names = self._make_groups(groups, symbols)
        self.stdout.write(f"{len(names)} groups of {symbols} symbols")
        self._symbol_info("one group", names[:1])
        self._symbol_info("all groups", names)
        self._history(Instrument.objects.filter(symbol_group__name=names[0])[0])

    def _symbol_info(self, title: str, groups: list[str]) -> None:
        began, begun_cpu = time.perf_counter(), time.process_time()
        document = symbol_lists.document(groups)
        first, cpu = time.perf_counter() - began, time.process_time() - begun_cpu
        again = _median_ms(lambda: symbol_lists.document(groups))
        unpacked = _median_ms(lambda: gzip.decompress(document))
        self.stdout.write(
            f"/symbol_info of {title}: made in {first * 1000:.0f} ms, "
            f"{cpu * 1000:.0f} ms of them this process's; prepared {again:.1f} ms, unpacked for clients "
            f"without gzip {unpacked:.1f} ms more; {len(gzip.decompress(document)):,} bytes, {len(document):,} gzipped"
        )

    def _history(self, instrument: Instrument) -> None:
        price = Decimal(100)
        minutes = [
            Bar(DAY + number * MINUTE_SECONDS, price, price + 2, price - 1, price + 1, Decimal(number + 1))
            for number in range(DAY_MINUTES)
        ]
        bars.write(instrument, minutes)
        whole = _median_ms(lambda: wire.whole_days(bars.whole_days(instrument.pk, "1", DAY, DAY + 86_399) or {}))
        part = _median_ms(lambda: encode(wire.history(bars.history(instrument, "1", DAY + 60, DAY + 86_399))))
        self.stdout.write(f"/history of a day of {DAY_MINUTES} minutes: {whole:.1f} ms; less one minute: {part:.1f} ms")

    def _make_groups(self, groups: int, symbols: int) -> list[str]:
        """As many groups as there may be, full of instruments."""
        names = [f"bench_{letter}" for letter in "abcdefghij"]
        prefix = SymbolGroup.objects.values_list("name", flat=True).first()
        if prefix:
            names = [f"{prefix.partition('_')[0]}_{name}" for name in names]
        names = names[: min(groups, MOST_GROUPS - SymbolGroup.objects.count())]
        for name in names:
            group = SymbolGroup.objects.create(name=name)
            Instrument.objects.bulk_create(
                [_instrument(f"{name.upper()}{number}", group) for number in range(symbols)], batch_size=1000
            )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE marketdata_instrument")
        return names


def _instrument(symbol: str, group: SymbolGroup) -> Instrument:
    return Instrument(
        symbol=symbol, description_en=f"The instrument {symbol}", type=SymbolType.STOCK, quote_currency="USD",
        exchange_listed="DEMO", exchange_traded="DEMO", pricescale=100, min_qty=Decimal(1), max_qty=Decimal(1000),
        qty_step=Decimal(1), session_regular="24x7", symbol_group=group,
    )  # fmt: skip


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _round in range(ROUNDS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000
