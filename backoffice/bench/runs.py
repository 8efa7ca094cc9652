"""A run of the benchmark: servers of its own, the cases one after another, the table, JSON, and the page of figures."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from backoffice import embedded
from backoffice.bench import cases, growth, world
from backoffice.bench.cases import Row
from backoffice.bench.fills import PGBENCH

INSIDE = "BENCH_INSIDE"  # set in the process that runs the cases, on servers that its parent has started
PAGE = settings.BASE_DIR / "docs" / "benchmarks.md"
HEADING = "## Hot paths"  # of the part of the page that is written here
HOW = """\
Written by `make bench`, or one by one by `manage.py bench --only NAME --page`. Every case runs in rounds that alternate
with its yardstick's in the same run, and shows medians: on a shared machine the absolute figures move with the load (of
1, 5 and 15 minutes, other work included), the ratios hold. Clients, servers and databases share the machine."""
PACKAGES = ("django", "djangorestframework", "granian", "celery", "psycopg", "redis", "hiredis", "msgspec")


def on_servers_of_its_own(argv: Sequence[str]) -> int:
    """Run the same command again, with servers that live in a temporary directory as long as it does."""
    with tempfile.TemporaryDirectory(prefix="backoffice-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # Postgres' own user goes through it when root runs the benchmark
        with embedded.running(directory / "demo", {"shared_buffers": "512MB"}) as servers:
            database = servers.database
            address = f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
            env = {
                "DATABASE_URL": f"postgres://{address}/{database['NAME']}",
                "REDIS_URL": servers.redis_url,
                "DEMO_DIR": str(directory / "demo"),
                "SECRET_KEY": "bench",
                "LOG_LEVEL": "WARNING",
                PGBENCH: str(embedded.postgres_binary(directory / "demo", "pgbench")),
                INSIDE: "1",
            }
            return subprocess.run(argv, env={**os.environ, **env}, cwd=settings.BASE_DIR, check=False).returncode


def run(only: Sequence[str], rounds: int, *, page: bool) -> list[Row]:
    """Run the cases and print each row as it is found."""
    with contextlib.redirect_stdout(sys.stderr):
        call_command("migrate", verbosity=0)
        made = world.make(cases.USERS[0])
    rows = []
    for name in only or cases.CASES:
        row = cases.CASES[name](made, rounds)
        rows.append(row)
        sys.stdout.write(f"{'met  ' if row.is_met else 'SHORT'} {row.case}: {row.figure} (wanted: {row.wanted})\n")
        sys.stdout.flush()
        if page:
            PAGE.write_text(_page(PAGE.read_text(), row, rounds))
    return rows


def grow(shrink: int) -> None:
    """Measure how cost grows, print it, and draw it. Pictures of shrunk sizes stay out of the documentation."""
    with contextlib.redirect_stdout(sys.stderr):
        call_command("migrate", verbosity=0)
        made = world.make(1)
    directory = growth.IMAGES if shrink == 1 else Path(tempfile.mkdtemp(prefix="growth-"))
    for found in growth.measure(made, shrink):
        pairs = ", ".join(f"{size:,}: {cost:.3g}" for size, cost in zip(found.sizes, found.costs, strict=True))
        sys.stdout.write(f"{found.title}, {found.unit}: {pairs} ({growth.draw(found, directory)})\n")
        sys.stdout.flush()


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=2, default=str)


def machine() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = cursor.fetchone()[0]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processors": f"{os.cpu_count()} × {platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "postgres": postgres.split()[0],
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _page(page: str, row: Row, rounds: int) -> str:
    """The page with this row in its table; those of other cases stay as they were."""
    before, _heading, rest = page.partition(HEADING)
    own, next_heading, after = rest.partition("\n## ")
    cells = [line.strip("| ").split(" | ") for line in own.splitlines() if line.startswith("| ")]
    table = {row[0]: row[1:] for row in cells[2:]}  # below its heads
    here = machine()
    run_at = f"{here['date']}, {rounds} rounds, load {here['load']}"
    table[row.case] = [row.figure, row.wanted, "yes" if row.is_met else "no", run_at]
    lines = [
        HEADING,
        "",
        HOW,
        "",
        "| case | found | wanted | met | when |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join([case, *found])} |" for case, found in table.items()),
        "",
        ", ".join(f"{name} {value}" for name, value in here.items() if name not in {"date", "load"}) + ".",
        "",
    ]
    return before + "\n".join(lines) + next_heading + after
