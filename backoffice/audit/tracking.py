"""Which tables are audited, and the triggers that do it.

Everything is, but what is named in `UNTRACKED` with its reason: a model that joins an app is audited from its first
migration on. The triggers are brought in line whenever the schema is migrated, and `verify_audit` names a missing one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.db import connection, models

APPS = ("accounts", "marketdata", "trading", "operations", "support", "auth", "axes", "otp_totp")
# The hot path of trading, and rows that are a record themselves: append-only, or derived from what is.
UNTRACKED = {
    "accounts.AccessToken": "issued with every login, only ever revoked",
    "accounts.AccountEvent": "append-only itself",
    "accounts.AuthorizationCode": "lives for a minute, used once",
    "accounts.Balance": "the sum of postings, which verify_books recomputes",
    "accounts.ClientNote": "append-only itself",
    "accounts.LedgerAccount": "made by the ledger, never changed",
    "accounts.Posting": "append-only itself",
    "accounts.RenewalToken": "issued with every login, only ever used or revoked",
    "accounts.Terms": "a version number, raised by changes that are tracked",
    "accounts.Transfer": "append-only itself",
    "accounts.UsedAssertion": "remembered until it has ended",
    "auth.Permission": "made by migrations from the models",
    "marketdata.BadQuotes": "counts of the engine",
    "marketdata.BarChunk": "bars only grow, the database compares",
    "marketdata.MappingChange": "append-only itself",
    "marketdata.MappingRelease": "append-only itself",
    "marketdata.MappingSuggestion": "computed from TradingView's list",
    "marketdata.LogPosition": "a reader's place in the tick log",
    "marketdata.OpenBar": "the minute in progress",
    "marketdata.StreamComparison": "counts of the stream's watch",
    "marketdata.TradingViewSymbol": "TradingView's own list, imported as it is",
    "operations.Attachment": "append-only itself",
    "operations.ClientDocument": "append-only itself",
    "operations.DayEnd": "append-only itself",
    "operations.Job": "progress of long work, written every second",
    "support.Look": "append-only itself",
    "trading.BustedExecution": "append-only itself",
    "trading.Charge": "append-only itself",
    "trading.ChargeSchedule": "due times, moved by the charges themselves",
    "trading.EngineLease": "who works on what, renewed twice a second",
    "trading.EngineProcess": "who is alive, said twice a second",
    "trading.Execution": "append-only itself",
    "trading.FixMessage": "the protocol of a session, never deleted",
    "trading.LatencyReport": "measured by clients' pages",
    "trading.MarginChange": "append-only itself",
    "trading.MarginDecision": "append-only itself",
    "trading.Order": "every change leaves an order event",
    "trading.OrderEvent": "append-only itself",
    "trading.Position": "the sum of its fills, which verify_books recomputes",
    "trading.PositionFill": "append-only itself",
    "trading.Reconciliation": "when the books were last compared",
    "trading.UsedConfirmation": "remembered until it has ended",
    "trading.VenueOrder": "how an order stands at its venue, by its reports",
    "trading.VenueRequest": "every change leaves an order event",
    "axes.AccessFailureLog": "a log itself",
    "axes.AccessLog": "a log itself",
}
# Columns that change by themselves all the time; a change of nothing else leaves no entry and costs nothing.
IGNORED = {
    "accounts_account": {"version"},
    "accounts_clientsecret": {"last_used_at"},
    "accounts_oauthclient": {"last_used_at"},
    "accounts_user": {"last_login"},
    "marketdata_feedroute": {"is_active", "last_tick_at"},
    "marketdata_feedsource": {"state", "connects", "last_tick_at", "last_error"},
    "marketdata_symbolgroup": {"symbols_version"},
    "otp_totp_totpdevice": {
        "drift",
        "last_t",
        "last_used_at",
        "throttling_failure_count",
        "throttling_failure_timestamp",
    },
    "trading_alarm": {"last_seen_at"},
    "trading_fixsession": {"state", "state_since", "trouble", "next_out", "next_in", "leased_by", "leased_until"},
}
# Columns whose values nobody shall read: a fingerprint shows that they changed.
SECRET = ("password", "digest", "secret", "client_secret", "token", "key")
PREFIX = "audit_"


@dataclass(frozen=True)
class Table:
    """A tracked table: its name, key column, and the columns whose change is recorded."""

    name: str
    key: str
    columns: tuple[str, ...]
    secret: tuple[str, ...]

    @property
    def sql(self) -> tuple[str, str]:
        """The definitions of the two triggers: of rows, and of TRUNCATE, which row triggers do not see."""
        of = ", ".join(f'"{column}"' for column in self.columns)
        arguments = ", ".join(f"'{word}'" for word in (self.key, *self.secret))
        row = (
            f'AFTER INSERT OR DELETE OR UPDATE OF {of} ON "{self.name}"'
            f" FOR EACH ROW EXECUTE FUNCTION audit_record({arguments})"
        )
        return row, f'AFTER TRUNCATE ON "{self.name}" FOR EACH STATEMENT EXECUTE FUNCTION audit_record_truncate()'

    @property
    def triggers(self) -> dict[str, str]:
        """Their definitions by name; the name contains a digest, so that a changed definition is another name."""
        return {f"{PREFIX}{hashlib.sha256(sql.encode()).hexdigest()[:12]}": sql for sql in self.sql}


def tracked_models() -> Iterator[type[models.Model]]:
    """The models whose changes are recorded, the tables behind many-to-many fields too."""
    for label in APPS:
        if not apps.is_installed(label) and label not in apps.app_configs:
            continue
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            if model._meta.label not in UNTRACKED and model._meta.managed and not model._meta.proxy:
                yield model


@cache
def tables() -> dict[str, Table]:
    return {model._meta.db_table: _table(model) for model in tracked_models()}


def _table(model: type[models.Model]) -> Table:
    name = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if field.column]
    pk = model._meta.pk
    assert pk is not None
    assert pk.column is not None
    return Table(
        name=name,
        key=pk.column,
        columns=tuple(column for column in columns if column not in IGNORED.get(name, ())),
        secret=tuple(column for column in columns if column in SECRET),
    )


def missing() -> dict[str, list[str]]:
    """Tables of which a trigger is not there, not as it should be, or switched off, with these triggers' names."""
    there = _existing()
    return {
        table.name: names
        for table in tables().values()
        if (names := [name for name in table.triggers if there.get((table.name, name)) not in ("O", "A")])
    }


def bring_in_line(sender: Any = None, **kwargs: Any) -> None:
    """Make the triggers of every tracked table, and remove what is none of them. A receiver of `post_migrate`."""
    existing = connection.introspection.table_names()
    wanted = {
        (table.name, name): sql
        for table in tables().values()
        if table.name in existing
        for name, sql in table.triggers.items()
    }
    there = _existing()
    with connection.cursor() as cursor:
        for table, name in there.keys() - wanted.keys():
            cursor.execute(f'DROP TRIGGER "{name}" ON "{table}"')
        for table, name in wanted.keys() - there.keys():
            cursor.execute(f'CREATE TRIGGER "{name}" {wanted[table, name]}')


def _existing() -> dict[tuple[str, str], str]:
    """Our triggers by table and name, with whether they are enabled (O or A) as Postgres says it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND t.tgname LIKE 'audit\\_%' AND c.relname NOT LIKE 'audit\\_%'"
        )
        return {(table, name): enabled for table, name, enabled in cursor.fetchall()}
