"""One password tried on many logins: the address is held back, data servers and everybody else are not (ENV-5)."""

from typing import Any

import pytest
from django.test import Client as Browser

from accounts.models import User
from tests import factories
from tests.tvapi.contract import FORM

pytestmark = pytest.mark.django_db

PASSWORD = "a-password-of-tests"
LIMIT = 5
ATTACKER, OTHER, DATA = "192.0.2.66", "192.0.2.7", "198.51.100.1"
SENTENCE = "There were too many failed logins from your network. Please try again in a few minutes."


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LOGINS_TRIED_BY_ADDRESS = LIMIT


@pytest.fixture
def trader() -> User:
    return factories.user("trader", password=PASSWORD)


def log_in(login: str, password: str = PASSWORD, *, address: str = ATTACKER) -> str:
    """What the API says: "ok", or the sentence of its refusal."""
    body = f"login={login}&password={password}"
    answer = Browser(REMOTE_ADDR=address).post("/tv/authorize", body, content_type=FORM).json()
    return answer.get("errmsg", answer["s"])


def spray(logins: int = LIMIT) -> None:
    for number in range(logins):
        assert log_in(f"somebody-{number}", "Summer2026") == "Wrong login or password."


def test_an_address_that_fails_with_many_logins_is_held_back(trader: User) -> None:
    spray(LIMIT - 1)
    assert log_in("trader") == "ok"
    log_in("one-more", "Summer2026")
    assert log_in("trader") == SENTENCE
    assert log_in("trader", address=OTHER) == "ok"


def test_one_login_that_is_mistyped_holds_no_address_back(trader: User) -> None:
    for _number in range(LIMIT + 1):
        log_in("somebody", "wrong")
    assert log_in("trader") == "ok"


def test_the_login_page_and_the_admin_are_closed_to_the_address_too(trader: User) -> None:
    client = factories.oauth_client(secret="a-secret-of-the-tests-only")
    factories.user("boss", password=PASSWORD, is_staff=True)
    spray()
    browser = Browser(REMOTE_ADDR=ATTACKER)
    address = f"/tv/oauth2/authorize?response_type=code&client_id={client.client_id}"
    page = browser.post(address + f"&redirect_uri={client.redirect_uris[0]}", {"login": "trader", "password": PASSWORD})
    assert SENTENCE in page.content.decode()
    answer = browser.post(
        "/admin/login/", {"username": "boss", "password": PASSWORD}, headers={"accept-language": "de"}
    )
    assert answer.status_code == 429
    assert "Aus Ihrem Netz" in answer.content.decode()
    assert (
        Browser(REMOTE_ADDR=OTHER).post("/admin/login/", {"username": "boss", "password": PASSWORD}).status_code == 302
    )


def test_data_servers_log_in_from_a_network_that_is_held_back(trader: User) -> None:
    factories.user("tvdata", password=PASSWORD, is_data_client=True)
    spray()
    assert log_in("tvdata") == "ok"


def test_networks_of_data_servers_are_never_held_back(trader: User, settings: Any) -> None:
    settings.DATA_SERVER_NETWORKS = ["192.0.2.64/26"]
    spray()
    assert log_in("trader") == "ok"


def test_an_attacker_locks_a_data_servers_login_for_himself_only(settings: Any) -> None:
    factories.user("tvdata", password=PASSWORD, is_data_client=True)
    for _number in range(settings.AXES_FAILURE_LIMIT):
        log_in("tvdata", "wrong")
    assert "too many wrong passwords" in log_in("tvdata")
    assert log_in("tvdata", address=DATA) == "ok"


def test_a_locked_login_of_staff_is_told_in_the_admins_look(settings: Any) -> None:
    factories.user("boss", password=PASSWORD, is_staff=True)
    for _number in range(settings.AXES_FAILURE_LIMIT):
        answer = Browser().post("/admin/login/", {"username": "boss", "password": "wrong"})
    assert answer.status_code == 429
    assert "There were too many wrong passwords for this login." in answer.content.decode()
    assert 'role="alert"' in answer.content.decode()
