"""What all tasks have in common."""

import pytest
from django.db import OperationalError, connection

from backoffice import tasks as of_all  # noqa: F401 (connects to the signals of tasks, as a worker does)
from tests import factories
from trading import tasks


@pytest.mark.django_db(transaction=True)
def test_a_task_connects_anew_when_postgres_has_closed_the_connection() -> None:
    factories.account()
    connection.connection.close()
    with pytest.raises(OperationalError):  # as the task before found out
        connection.cursor()
    assert tasks.drain.apply(args=(0,)).get() == 0
