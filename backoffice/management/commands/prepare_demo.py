from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from backoffice.launcher import FIX_WANTED, step
from backoffice.processes import wait_until
from trading.venues.models import FixSession

DATABASE_SECONDS = 120


class Command(BaseCommand):
    help = "Bring the demo's database up to date: compiled translations, schema, demo data. Harmless when repeated."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        with step("Compiling the translations"):
            call_command("compile_translations", verbosity=0)
        if not wait_until(_database_answers, DATABASE_SECONDS):
            raise CommandError("The database does not answer.")
        if _is_behind():
            with step("Creating the tables"):
                call_command("migrate", interactive=False, verbosity=0)
        with step("Seeding the demo data"):
            call_command("seed_demo")
        _note_fix_sessions()


def _database_answers() -> bool:
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True


def _note_fix_sessions() -> None:
    """Tell the launcher, which cannot ask the database, whether there is a FIX session to run."""
    if FixSession.objects.exists():
        FIX_WANTED.touch()
    else:
        FIX_WANTED.unlink(missing_ok=True)


def _is_behind() -> bool:
    """Whether a migration waits: `migrate` itself takes seconds to find that none does."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
