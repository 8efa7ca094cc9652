"""Which groups of symbols a login may see (PRM-1 … PRM-5)."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.entitlement_models import DataSubscription, DataTariff
from accounts.models import Client, User
from tests import factories
from tests.tvapi.contract import TradingView, client_of, refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def market() -> None:
    factories.instrument("EURUSD")  # demo_forex
    factories.instrument("BTCUSDT")  # demo_crypto
    factories.instrument("AAPL")  # in no group: TradingView's own


@pytest.fixture
def shares() -> DataTariff:
    """A tariff that hides crypto from everybody else, and adds a group of TradingView's."""
    return DataTariff.objects.create(name="Crypto", groups=["demo_crypto", "NASDAQ_REALTIME"])


@pytest.fixture
def server() -> User:
    return factories.user("tvdata", is_data_client=True)


def subscribe(user: User, tariff: DataTariff, *, starts: float = -1, ends: float | None = None) -> DataSubscription:
    """In days from now."""
    now = timezone.now()
    until = None if ends is None else now + timedelta(days=ends)
    begin = now + timedelta(days=starts)
    return DataSubscription.objects.create(user=user, tariff=tariff, starts_at=begin, ends_at=until)


def permissions(tv: TradingView) -> list[str]:
    return tv.d("/permissions")["groups"]


def test_nothing_is_hidden_without_tariffs(tv):
    assert permissions(tv) == ["demo_crypto", "demo_forex"]


def test_a_group_of_a_tariff_is_for_its_subscribers(tv, trader, shares):
    assert permissions(tv) == ["demo_forex"]
    subscription = subscribe(trader, shares)
    assert permissions(tv) == ["NASDAQ_REALTIME", "demo_crypto", "demo_forex"]
    subscription.delete()
    assert permissions(tv) == ["demo_forex"]


@pytest.mark.parametrize(("starts", "ends"), [(1, None), (1, 2), (-2, -1)])
def test_a_subscription_counts_between_its_start_and_its_end(tv, trader, shares, starts, ends):
    subscribe(trader, shares, starts=starts, ends=ends)
    assert permissions(tv) == ["demo_forex"]


def test_a_subscription_may_not_end_before_it_starts(trader, shares):
    now = timezone.now()
    backwards = DataSubscription(user=trader, tariff=shares, starts_at=now, ends_at=now - timedelta(days=1))
    with pytest.raises(ValidationError, match="It must end after it starts"):
        backwards.full_clean()


def test_a_tariff_may_be_for_everybody_of_some_countries(tv, trader):
    DataTariff.objects.create(name="Crypto", groups=["demo_crypto"], for_everybody=True, countries=["DE", "AT"])
    assert permissions(tv) == ["demo_forex"]
    Client.objects.filter(user=trader).update(country="AT")
    assert permissions(tv) == ["demo_crypto", "demo_forex"]


def test_a_subscription_does_not_cross_the_border(tv, trader, shares):
    DataTariff.objects.update(countries=["DE"])
    subscribe(trader, shares)
    assert permissions(tv) == ["demo_forex"]


def test_what_is_hidden_is_unknown_in_the_data_half(tv, shares):
    assert tv.d("/groups") == {"groups": [{"id": "demo_forex"}]}
    assert tv.get("/symbol_info")["symbol"] == ["EURUSD"]
    assert refused(tv.get("/symbol_info", group="demo_crypto")) == "There is no such group of symbols."
    history = {"resolution": "1", "from": 0, "to": 1}
    assert refused(tv.get("/history", symbol="BTCUSDT", **history)) == "There is no such symbol."
    assert tv.get("/history", symbol="EURUSD", **history)["s"] == "ok"
    assert tv.get("/history", symbol="AAPL", **history)["s"] == "ok"


def test_a_data_server_sees_everything_until_it_is_restricted(server, shares):
    tv = client_of(server)
    assert permissions(tv) == ["demo_crypto", "demo_forex"]
    assert tv.get("/symbol_info")["symbol"] == ["BTCUSDT", "EURUSD"]
    subscription = subscribe(server, shares)
    assert permissions(tv) == ["NASDAQ_REALTIME", "demo_crypto"]
    assert tv.d("/groups") == {"groups": [{"id": "demo_crypto"}]}
    assert tv.get("/symbol_info")["symbol"] == ["BTCUSDT"]
    subscription.ends_at = timezone.now()
    subscription.save()
    assert permissions(tv) == []
    assert refused(tv.get("/symbol_info")) == "There are no symbols here."


@pytest.mark.parametrize("field", [{"groups": ["a b"]}, {"groups": [""]}, {"groups": []}, {"countries": ["de"]}])
def test_names_that_can_be_none_are_refused(field):
    with pytest.raises(ValidationError):
        DataTariff(**{"name": "x", "groups": ["demo_forex"], **field}).full_clean()
