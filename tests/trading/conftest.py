"""Books that are proved after every test of trading."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from trading import books


@pytest.fixture(autouse=True)
def books_agree(db: None) -> Iterator[None]:
    """After each test the whole of the books is recomputed, and what the database defers to the commit is checked."""
    yield
    with transaction.atomic(), transaction.get_connection().cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert books.verify() == []
