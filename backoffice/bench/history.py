"""Bars: a whole day's answer against rows and a serializer, and their import by COPY."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection, models
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from backoffice.bench import world
from backoffice.bench.world import World
from backoffice.fields import NumericField
from marketdata.chunks import DAY_SECONDS
from marketdata.models import Instrument
from tvapi.views.data import HistoryView

BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 200  # of the file that is imported
ASKED = 20  # answers of a round


class BarRow(models.Model):
    """A bar as a table's row, as one would begin."""

    time = models.DateTimeField()
    o = NumericField()
    h = NumericField()
    l = NumericField()  # noqa: E741 (the wire's word)
    c = NumericField()
    v = NumericField()

    class Meta:
        app_label = "marketdata"
        managed = False
        db_table = "bench_bar"

    def __str__(self) -> str:
        return str(self.time)


class _BarSerializer(serializers.ModelSerializer):
    class Meta:
        model = BarRow
        fields = ("time", "o", "h", "l", "c", "v")


class _RowsView(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        day = BarRow._default_manager.filter(time__gte=BEGINNING, time__lt=BEGINNING + timedelta(days=1)).order_by(
            "time"
        )
        return Response({"s": "ok", "bars": _BarSerializer(day, many=True).data})


def compare(made: World, rounds: int) -> tuple[float, float]:
    """Milliseconds of an answer of 1,440 minutes: from rows, and ours, which also looks up the token and its rights."""
    instrument = _instrument(made, "HISTORY")
    _import(instrument, days=2)
    _write_rows(instrument)
    rows, ours = [], []
    for _round in range(rounds + 1):  # the first one prepares
        rows.append(_milliseconds(_from_rows))
        ours.append(_milliseconds(lambda: _from_api(instrument, made.traders[0].token)))
    return statistics.median(rows[1:]), statistics.median(ours[1:])


def import_rates(made: World, rounds: int) -> tuple[float, float]:
    """Bars a second, by the clock and by this process' CPU time."""
    by_clock, by_cpu = [], []
    for number in range(rounds):
        instrument = _instrument(made, f"IMPORT{number}")
        seconds, cpu_seconds = _import(instrument, days=DAYS)
        by_clock.append(DAYS * 1440 / seconds)
        by_cpu.append(DAYS * 1440 / cpu_seconds)
    return statistics.median(by_clock), statistics.median(by_cpu)


def _instrument(made: World, symbol: str) -> Instrument:
    instrument = world.instrument(symbol, made.instruments[0].symbol_group)
    instrument.save()
    return instrument


def _import(instrument: Instrument, *, days: int) -> tuple[float, float]:
    """Import a file of so many days of minutes; the seconds by the clock, and of this process' CPU."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "minutes.csv"
        with path.open("w") as file:
            file.write("timestamp,open,high,low,close,volume\n")
            for number in range(days * 1440):
                at, pips = BEGINNING + timedelta(minutes=number), number % 997 + 100
                file.write(f"{at:%Y-%m-%d %H:%M:%S},1.1{pips:04},1.2{pips:04},1.0{pips:04},1.1{pips + 1:04},{pips}\n")
        clock, cpu = time.perf_counter(), time.process_time()
        call_command("import_bars", str(path), symbol=instrument.symbol, format="csv", verbosity=0, stdout=StringIO())
        return time.perf_counter() - clock, time.process_time() - cpu


def _write_rows(instrument: Instrument) -> None:
    """The first two days of the instrument, a row for each minute."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_bar AS SELECT row_number() OVER () AS id,"
            " (start + slot * interval '1 minute') AT TIME ZONE 'UTC' AS time,"
            " oo * 0.1 ^ price_scale AS o, hh * 0.1 ^ price_scale AS h, ll * 0.1 ^ price_scale AS l,"
            " cc * 0.1 ^ price_scale AS c, vv * 0.1 ^ 8 AS v"
            " FROM marketdata_barchunk, unnest(t, o, h, l, c, v) AS minute (slot, oo, hh, ll, cc, vv)"
            " WHERE instrument_id = %s",
            [instrument.pk],
        )
        cursor.execute("CREATE UNIQUE INDEX ON bench_bar (time)")


def _from_rows() -> bytes:
    response = _RowsView.as_view()(APIRequestFactory().get("/"))
    return bytes(response.render().content)


def _from_api(instrument: Instrument, token: str) -> bytes:
    begin = int(BEGINNING.timestamp())
    target = f"/tv/history?symbol={instrument.symbol}&resolution=1&from={begin}&to={begin + DAY_SECONDS - 1}"
    request = APIRequestFactory().get(target, headers={"authorization": f"Bearer {token}"})
    return bytes(HistoryView.as_view()(request).content)


def _milliseconds(ask: Callable[[], bytes]) -> float:
    started = time.perf_counter()
    for _answer in range(ASKED):
        if b'"ok"' not in ask()[:20]:
            raise RuntimeError("The answer is not a day of bars.")
    return (time.perf_counter() - started) / ASKED * 1000
