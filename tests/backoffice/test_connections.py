"""Connections that are kept from request to request."""

import psycopg
import pytest
from django.db import close_old_connections, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from tests.processes import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def own_backend() -> int:
    with connection.cursor() as cursor:
        (pid,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
    return int(pid)


def test_one_that_is_there_is_kept_without_a_statement() -> None:
    before = own_backend()
    close_old_connections()
    with CaptureQueriesContext(connection) as asked:
        assert not Account.objects.exists()
    assert len(asked) == 1
    assert connection.is_usable()
    assert own_backend() == before


def test_one_that_the_server_has_ended_is_replaced() -> None:
    before = own_backend()
    database = connection.settings_dict
    address = {"host": database["HOST"], "port": database["PORT"], "dbname": database["NAME"]}
    with psycopg.connect(user=database["USER"], password=database["PASSWORD"], **address) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [before])
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
        eventually(lambda: other.execute(gone, [before]).fetchone() == (True,), "the session has ended")
    close_old_connections()
    assert own_backend() != before
