"""The prepared answers of `/symbol_info`: never old, compressed where asked."""

import gzip
import threading

import pytest
import redis
from django.core.cache import cache
from django.db import connection, transaction

from marketdata.models import Instrument, SymbolGroup
from tests import factories
from tests.tvapi.contract import client_of
from tvapi import symbol_lists
from tvapi.renderers import takes_gzip


@pytest.fixture
def server(db):
    return client_of(factories.user("tvdata", is_data_client=True))


@pytest.mark.parametrize("group", [{}, {"group": "demo_forex"}])
def test_every_kind_of_change_is_seen_at_once(server, group):
    factories.instrument("EURUSD")
    gbpusd = factories.instrument("GBPUSD")

    def symbols():
        return server.get("/symbol_info", **group)["symbol"]

    assert symbols() == ["EURUSD", "GBPUSD"]
    factories.instrument("USDJPY")
    assert symbols() == ["EURUSD", "GBPUSD", "USDJPY"]
    Instrument.objects.filter(symbol="USDJPY").update(description_en="Yen")  # without any signal of Django's
    assert server.get("/symbol_info", **group)["description"][2] == "Yen"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE marketdata_instrument SET symbol_group_id = NULL WHERE symbol = 'USDJPY'")
    assert symbols() == ["EURUSD", "GBPUSD"]
    gbpusd.delete()
    assert symbols() == ["EURUSD"]


def test_a_change_in_one_group_leaves_the_others_prepared(server):
    factories.instrument("EURUSD")
    factories.instrument("BTCUSDT")
    assert symbol_lists.prepare() == 3
    Instrument.objects.filter(symbol="EURUSD").update(wkn="123456")
    assert symbol_lists.prepare() == 2  # that of its group, and that of all
    assert symbol_lists.prepare() == 0


def test_what_is_prepared_is_served_without_looking_at_the_symbols(server, django_assert_num_queries):
    factories.instrument("EURUSD")
    symbol_lists.prepare()
    with django_assert_num_queries(1):
        assert symbol_lists.document(["demo_forex"])


@pytest.mark.django_db(transaction=True)
def test_a_list_made_while_a_change_was_not_yet_committed_is_not_served_after_it():
    factories.instrument("EURUSD")
    changed, seen = threading.Event(), threading.Event()

    def change() -> None:
        try:
            with transaction.atomic():
                Instrument.objects.filter(symbol="EURUSD").update(description_en="New")
                changed.set()
                seen.wait(10)
        finally:
            connection.close()

    writer = threading.Thread(target=change)
    writer.start()
    assert changed.wait(10)
    assert b"New" not in gzip.decompress(symbol_lists.document(["demo_forex"]))
    seen.set()
    writer.join()
    assert b"New" in gzip.decompress(symbol_lists.document(["demo_forex"]))


def test_a_list_is_not_kept_when_a_symbol_changes_while_it_is_made(server, monkeypatch):
    factories.instrument("EURUSD")
    make = symbol_lists._make

    def make_slowly(group):
        made = make(group)
        Instrument.objects.filter(symbol="EURUSD").update(description_en="New")
        return made

    monkeypatch.setattr(symbol_lists, "_make", make_slowly)
    symbol_lists.document(["demo_forex"])
    monkeypatch.undo()
    assert server.get("/symbol_info", group="demo_forex")["description"] == ["New"]


def test_without_redis_the_list_is_made_for_every_request(server, monkeypatch):
    def fail(*_args, **_kwargs):
        raise redis.ConnectionError("away")

    monkeypatch.setattr(cache, "get", fail)
    monkeypatch.setattr(cache, "set", fail)
    factories.instrument("EURUSD")
    assert server.get("/symbol_info")["symbol"] == ["EURUSD"]


def test_it_is_compressed_for_those_who_take_it(server):
    factories.instrument("EURUSD")
    plain = server.get("/symbol_info")
    assert "Content-Encoding" not in server.response
    assert "Accept-Encoding" in server.response["Vary"]
    response = server._client.get(
        "/tv/symbol_info", headers={"accept-encoding": "gzip, deflate", "authorization": f"Bearer {server.token}"}
    )
    assert (response["Content-Encoding"], response["Content-Type"]) == ("gzip", "application/json")
    assert response.content[:2] == b"\x1f\x8b"
    server.get("/symbol_info")
    assert gzip.decompress(response.content) == server.response.content
    assert plain["symbol"] == ["EURUSD"]


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_sent_only_where_the_header_allows_it(header, takes):
    assert takes_gzip(header) is takes


def test_a_version_is_never_used_twice_even_by_a_database_made_anew(db):
    factories.instrument("EURUSD")
    version = SymbolGroup.objects.get(name="demo_forex").symbols_version
    assert version > 1_700_000_000_000_000  # microseconds: later than all before
