"""Orders from the click to the books, against pgbench writing the same rows."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from django.db import connection

from accounts.choices import LedgerKind
from accounts.models import LedgerAccount
from backoffice.bench import servers, world
from backoffice.bench.load import Plan, request
from backoffice.bench.world import Trader, World
from backoffice.processes import wait_until
from trading.models import Execution, Order

CLIENTS = 8
QTY = 1000
PATIENCE_SECONDS = 120.0
PGBENCH = "BENCH_PGBENCH"  # names the program, see `backoffice.bench.runs`

# The rows of a placed and filled order, in two transactions as ours; each client has an account of its own.
_SAME_ROWS = """
\\set account :first + :client_id
BEGIN;
UPDATE accounts_account SET version = version + 1 WHERE id = :account;
INSERT INTO trading_order (account_id, instrument_id, side, type, qty, filled_qty, duration, status, reason,
    reason_details, request_id, held, held_currency_id, venue, queued, last_book, revision, if_touched, role,
    parent_type)
  VALUES (:account, :instrument, 'buy', 'market', 1000, 0, 'gtc', 'placing', '', '{}', gen_random_uuid()::text, 11,
    'USD', 'internal', true, '', 0, false, '', '') RETURNING id AS order_id \\gset
INSERT INTO trading_orderevent (order_id, kind, status, book, details)
  VALUES (:order_id, 'placed', 'placing', '', '{}');
COMMIT;
BEGIN;
UPDATE accounts_account SET version = version + 1 WHERE id = :account;
INSERT INTO trading_orderevent (order_id, kind, status, book, details)
  VALUES (:order_id, 'acknowledged', 'working', '', '{}');
INSERT INTO trading_execution (order_id, account_id, instrument_id, side, qty, price, commission,
    commission_currency_id, venue, venue_exec_id)
  VALUES (:order_id, :account, :instrument, 'buy', 1000, 1.1, 0.05, 'USD', 'internal', 'pgbench-' || :order_id)
  RETURNING id AS execution_id \\gset
UPDATE trading_position SET qty = qty + 1000, margin = margin + 11
  WHERE account_id = :account AND instrument_id = :instrument AND closed_at IS NULL RETURNING id AS position_id \\gset
INSERT INTO trading_positionfill (execution_id, position_id, qty, is_close, margin, realized_pl, conversion_rate)
  VALUES (:execution_id, :position_id, 1000, false, 11, 0, 1);
INSERT INTO accounts_transfer (kind, reference) VALUES ('commission', 'pgbench-' || :execution_id)
  RETURNING id AS transfer_id \\gset
INSERT INTO accounts_posting (transfer_id, ledger_account_id, amount)
  VALUES (:transfer_id, (SELECT id FROM accounts_ledgeraccount WHERE account_id = :account), 0.05),
    (:transfer_id, :house, -0.05);
UPDATE accounts_balance SET total = total - 0.05 WHERE account_id = :account;
INSERT INTO trading_orderevent (order_id, kind, status, book, details)
  VALUES (:order_id, 'executed', 'filled', '', '{}');
UPDATE trading_order SET status = 'filled', filled_qty = qty, avg_price = 1.1, held = 0, queued = false,
  final_at = now(), updated_at = now() WHERE id = :order_id;
COMMIT;
"""


def placing(trader: Trader, symbols: list[str]) -> list[bytes]:
    """Market orders that buy and sell in turn, each a new one."""
    target = f"/tv/accounts/{trader.account.number}/orders?locale=en"
    fields = {"type": "market", "qty": QTY, "currentAsk": 1, "currentBid": 1}
    return [
        request(target, trader.token, form=urlencode({"instrument": symbol, "side": side, **fields}))
        for symbol in symbols[:4]
        for side in ("buy", "sell")
    ]


def count() -> int:
    """Executions in the books."""
    return Execution.objects.count()


def compare(made: World, rounds: int, seconds: float) -> tuple[list[float], list[float], dict[str, Any]]:
    """Filled orders a second, ours and pgbench's, by round."""
    _prepare(made)
    ours, bare, spent, kept = [], [], [], []
    with servers.web(workers=2) as web, servers.worker() as worker, world.ticking(made):
        families = {"web": web.process, "worker": worker, "database": _postmaster()}
        plan = Plan(web.port, seconds, [placing(trader, made.symbols) for trader in made.traders[:CLIENTS]])
        servers.load(Plan(web.port, 1.0, plan.connections))
        drained()
        for _round in range(rounds):
            before, busy, stored, started = count(), _busy_ms(families), _stored_bytes(), time.monotonic()
            servers.load(plan)
            drained()
            filled = count() - before
            ours.append(filled / (time.monotonic() - started))
            spent.append(
                [(after - then) / max(filled, 1) for after, then in zip(_busy_ms(families), busy, strict=True)]
            )
            kept.append((_stored_bytes() - stored) / max(filled, 1))
            bare.append(_pgbench(made, seconds))
    cpu_ms = {name: round(min(each), 2) for name, each in zip(families, zip(*spent, strict=True), strict=True)}
    bytes_kept = round(statistics.median(kept))
    return ours, bare, {"cpu_ms_an_order": cpu_ms, "bytes_an_order": bytes_kept, "ours": ours, "pgbench": bare}


def _prepare(made: World) -> None:
    """The ledger accounts that pgbench posts to, as ours exist after the first fill."""
    for trader in made.traders[:CLIENTS]:
        LedgerAccount.objects.get_or_create(kind=LedgerKind.CLIENT, account=trader.account, currency_id="USD")
    LedgerAccount.objects.get_or_create(kind=LedgerKind.HOUSE_COMMISSION, account=None, currency_id="USD")


def drained() -> None:
    if not wait_until(lambda: not Order.objects.queued().exists(), PATIENCE_SECONDS):
        raise RuntimeError("The orders are not worked off.")


def _stored_bytes() -> int:
    """Of the tables that grow with every order, indexes included, and old versions of rows not cleaned up yet."""
    with connection.cursor() as cursor:
        (size,) = cursor.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname ~"
            " '^(trading_(order|orderevent.*|execution|positionfill)|accounts_(transfer|posting))$'"
        ).fetchone()
    return int(size)


def _postmaster() -> psutil.Process:
    with connection.cursor() as cursor:
        (pid,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
    process = psutil.Process(pid).parent()
    assert process is not None
    return process


def _busy_ms(families: Mapping[str, psutil.Process]) -> list[float]:
    """Processor time of these processes and their children so far, in milliseconds."""
    return [servers.cpu_seconds(process) * 1000 for process in families.values()]


def _pgbench(made: World, seconds: float) -> float:
    """Orders a second. It enlarges a position that the account has, of an instrument that we do not trade here."""
    database = connection.settings_dict
    script = Path("/tmp") / f"same-rows-{database['PORT']}.sql"  # noqa: S108 (of this run's server alone)
    script.write_text(re.sub(r"\n {2,}", " ", _SAME_ROWS))
    house = LedgerAccount.objects.get(kind=LedgerKind.HOUSE_COMMISSION, currency_id="USD").pk
    held = made.instruments[world.POSITIONS_EACH - 1]
    variables = {"first": made.traders[0].account.pk, "instrument": held.pk, "house": house}
    argv = [os.environ[PGBENCH], "-n", "-c", str(CLIENTS), "-j", "2"]
    argv += ["-T", str(round(seconds)), "-f", str(script), "-h", database["HOST"], "-p", str(database["PORT"])]
    argv += [word for name, value in variables.items() for word in ("-D", f"{name}={value}")]
    ended = subprocess.run(
        [*argv, "-U", database["USER"], database["NAME"]],
        env={"PGPASSWORD": database["PASSWORD"]},
        capture_output=True,
        text=True,
        check=False,
    )
    script.unlink()
    found = re.search(r"tps = ([\d.]+) \(without", ended.stdout)
    if found is None:
        raise RuntimeError(f"pgbench failed: {ended.stderr[-500:]}")
    return float(found[1])
