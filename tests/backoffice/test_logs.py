"""Lines of the log: whose they are, and what is never in them."""

from __future__ import annotations

import io
import json
import logging
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis
from celery.app.trace import build_tracer

from backoffice import logs
from backoffice.celery import app
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import TradingView, client_of
from trading import tasks


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process with LOG_FORMAT=json writes, of every level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Json())
    handler.addFilter(logs.Ids())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def lines(of: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in of.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("given", "taken"),
    [(b"3f2a-9c.4_Xyz", True), (b"short", False), (b"x" * 65, False), (b"two words", False), (b'{"a":"12345"}', False)],
)
def test_an_id_of_the_proxy_is_taken_when_it_is_well_formed(given: bytes, taken: bool) -> None:
    found = logs.id_of([(b"host", b"broker.example"), (b"X-Request-ID", given)])
    assert (found == given.decode()) is taken
    assert taken or (len(found) == 32 and found != logs.id_of([]))


def test_a_line_has_the_ids_of_its_request_and_order(written: io.StringIO) -> None:
    log = logging.getLogger("trading.tests")
    with logs.of_request("request-1"), logs.of_order(17):
        log.info("worked at %s", 1.5)
    log.warning("alone", extra={"order_id": "18"})
    first, second = lines(written)
    assert first.pop("time")
    assert first == {
        "level": "INFO", "logger": "trading.tests", "message": "worked at 1.5",
        "request_id": "request-1", "order_id": "17",
    }  # fmt: skip
    assert (second["order_id"], "request_id" in second) == ("18", False)


def test_people_read_the_ids_at_the_end_of_the_line() -> None:
    record = logging.LogRecord("trading", logging.INFO, "", 0, "worked", (), None)
    with logs.of_order(17):
        logs.Ids().filter(record)
    assert logs.Plain("%(levelname)s %(message)s").format(record) == "INFO worked [order=17]"


@pytest.mark.parametrize(
    "told",
    [
        "Authorization: Bearer sesame-sesame",
        "{'access_token': 'sesame-sesame', 'expires_in': 5}",
        'client_secret="sesame-sesame"',
        "POST /tv/authorize login=x&password=sesame-sesame&locale=en",
        "Error connecting to redis://:sesame-sesame@10.0.0.1:6379/0",
        "postgres://backoffice:sesame-sesame@10.0.0.1/backoffice",
        "the key is sesame-sesame",
    ],
)
def test_no_line_has_a_secret(told: str, written: io.StringIO, settings: Any) -> None:
    settings.SECRET_KEY = "sesame-sesame" if told.startswith("the key") else "another"
    logs._secrets.cache_clear()
    try:
        raise ValueError(told)
    except ValueError:
        logging.getLogger("tests").exception("A fault: %s", told)
    finally:
        logs._secrets.cache_clear()
    assert "***" in written.getvalue()
    assert "sesame" not in written.getvalue()


@pytest.mark.parametrize("name", ["SECRET_KEY", "METRICS_TOKEN", "REDIS_SENTINEL_PASSWORD"])
def test_a_secret_of_the_settings_is_hidden_whatever_stands_around_it(name: str, settings: Any) -> None:
    setattr(settings, name, "sesame-sesame")
    logs._secrets.cache_clear()
    try:
        assert logs.hide("AUTH sesame-sesame was refused") == "AUTH *** was refused"
    finally:
        logs._secrets.cache_clear()


@pytest.mark.django_db
def test_what_clients_send_is_in_no_line(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a login, a refused one, an order, and a fault of ours that has them in its words."""
    factories.quote("EURUSD", "1.1", "1.1001")
    user = factories.user("trader", password="sesame-password")
    account = factories.account(owner=user)
    page = TradingView()
    for password in ("sesame-wrong", "sesame-password"):
        page.post("/authorize", {"login": "trader", "password": password, "locale": "en"})
    client = client_of(user)
    client.d(f"/accounts/{account.number}/orders")
    monkeypatch.setattr("tvapi.views.orders.orders.place", lambda *_args, **_more: 1 / 0)
    form = {"instrument": "EURUSD", "side": "buy", "type": "market", "qty": 1000, "currentAsk": 1, "currentBid": 1}
    client.post(f"/accounts/{account.number}/orders", form, locale="en", requestId="r-1")
    assert "ZeroDivisionError" in written.getvalue()
    assert str(client.token) not in written.getvalue()
    assert "sesame" not in written.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_task_belongs_to_the_request_that_led_to_it(written: io.StringIO, empty_redis: redis.Redis) -> None:
    """The message as it went to the broker, traced as a worker does."""
    factories.quote("EURUSD", "1.1", "1.1001")
    account = factories.account()
    with logs.of_request("request-of-a-trader"):
        order = desk.place(account, "buy", "1000")
    message = json.loads(cast("bytes", empty_redis.lpop("orders")))
    args, kwargs, _embedded = json.loads(b64decode(message["body"]))
    trace = build_tracer(tasks.drain.name, tasks.drain, app=app)
    assert trace(message["headers"]["id"], args, kwargs, message["headers"]).retval == 1

    [worked] = [line for line in lines(written) if line["message"] == f"order {order.pk} was worked"]
    assert (worked["request_id"], worked["order_id"]) == ("request-of-a-trader", str(order.pk))
    assert logs.request_id() == ""
