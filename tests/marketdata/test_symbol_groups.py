"""GRP-3 … GRP-6: what may be in symbol groups, in the forms and in the database."""

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction

from marketdata import triggers
from marketdata.models import Instrument, SymbolGroup
from tests import factories

pytestmark = pytest.mark.django_db


def test_there_are_ten_groups_at_most() -> None:
    for letter in "abcdefghij":
        SymbolGroup.objects.create(name=f"demo_{letter}")
    with pytest.raises(IntegrityError, match="there are 10 symbol groups already"), transaction.atomic():
        SymbolGroup.objects.create(name="demo_k")
    with pytest.raises(ValidationError, match="TradingView takes 10 groups"):
        SymbolGroup(name="demo_k").full_clean()
    assert SymbolGroup.objects.count() == 10


def test_all_groups_begin_with_the_same_prefix() -> None:
    SymbolGroup.objects.create(name="demo_forex")
    with pytest.raises(IntegrityError, match="the same prefix"), transaction.atomic():
        SymbolGroup.objects.create(name="other_forex")
    with pytest.raises(ValidationError, match="Begin the name with demo_"):
        SymbolGroup(name="other_forex").full_clean()


def test_groups_are_neither_deleted_nor_renamed() -> None:
    group = SymbolGroup.objects.create(name="demo_forex")
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        group.delete()
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        SymbolGroup.objects.filter(pk=group.pk).update(name="demo_other")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL backoffice.allow_truncate = 'off'")
        with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
            cursor.execute("TRUNCATE marketdata_symbolgroup CASCADE")


def test_a_group_has_ten_thousand_symbols_at_most() -> None:
    group = SymbolGroup.objects.create(name="demo_crypto")
    template = factories.instrument("BTCUSDT", symbol_group=None)
    names = [field.column for field in Instrument._meta.concrete_fields if field.name not in ("id", "symbol")]
    columns = ", ".join(f'"{name}"' for name in names if name != "symbol_group_id")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO marketdata_instrument (symbol, symbol_group_id, {columns})"
            f" SELECT 'X' || n, %s, {columns} FROM marketdata_instrument, generate_series(1, %s) AS n WHERE id = %s",
            [group.pk, triggers.MOST_SYMBOLS, template.pk],
        )
    with pytest.raises(IntegrityError, match="at most 10000 symbols"), transaction.atomic():
        Instrument.objects.filter(pk=template.pk).update(symbol_group=group)
    assert group.instruments.count() == 10_000
