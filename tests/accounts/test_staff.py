"""How staff get in: network, second factor, sessions that end, a fresh password for what moves money."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.test import Client as Browser
from django.urls import reverse
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import staff
from accounts.models import User
from accounts.roles import Role
from tests import factories

pytestmark = pytest.mark.django_db

PASSWORD = "a-password-of-tests"
SECOND_FACTOR = "/admin/second-factor/"


@pytest.fixture(autouse=True)
def quick_hasher(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def operator() -> User:
    user = factories.user("ops", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=Role.OPERATIONS))
    return user


@pytest.fixture
def browser(operator: User) -> Browser:
    """Logged in by the form, as staff do."""
    made = Browser()
    answer = made.post("/admin/login/?next=/admin/", {"username": "ops", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    return made


def code(device: TOTPDevice) -> str:
    return f"{totp(device.bin_key):06d}"


def set_up(browser: Browser, operator: User) -> list[str]:
    """Set the second factor up; the recovery codes."""
    browser.get(SECOND_FACTOR)
    device = TOTPDevice.objects.get(user=operator, confirmed=False)
    page = browser.post(SECOND_FACTOR, {"code": code(device)})
    assert page.status_code == 200
    return page.context["codes"]


# --- second factor ----------------------------------------------------------------------------------------------------


def test_the_demo_lets_staff_in_without_a_second_factor(browser):
    assert browser.get("/admin/").status_code == 200


@pytest.fixture
def required(settings: Any) -> None:
    settings.SECOND_FACTOR_REQUIRED = True


def test_outside_the_demo_no_page_opens_before_the_second_factor(browser, required):
    for url in ("/admin/", "/admin/accounts/account/", "/admin/nothing/"):
        answer = browser.get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith(f"{SECOND_FACTOR}?next=%2Fadmin%2F")
    assert browser.post("/admin/accounts/account/add/", {"number": "X"})["Location"].startswith(SECOND_FACTOR)


def test_setting_up_shows_a_picture_then_recovery_codes_once(browser, operator, required):
    page = browser.get(SECOND_FACTOR).content.decode()
    assert "<svg" in page
    assert "Or type this key into the app:" in page
    codes = set_up(browser, operator)
    assert len(set(codes)) == 10
    assert browser.get("/admin/").status_code == 200
    again = browser.get(SECOND_FACTOR).content.decode()
    assert "<svg width" not in again
    assert not any(each in again for each in codes)


def test_the_next_login_asks_for_a_code_and_takes_each_once(browser, operator, required):
    recovery = set_up(browser, operator)
    other = Browser()
    other.post("/admin/login/", {"username": "ops", "password": PASSWORD})
    assert other.get("/admin/")["Location"].startswith(SECOND_FACTOR)
    answer = other.post(f"{SECOND_FACTOR}?next=/admin/accounts/account/", {"code": recovery[0]})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/accounts/account/")
    assert other.get("/admin/").status_code == 200
    assert not StaticToken.objects.filter(token=recovery[0]).exists()
    third = Browser()
    third.post("/admin/login/", {"username": "ops", "password": PASSWORD})
    page = third.post(SECOND_FACTOR, {"code": recovery[0]})
    assert "was used before" in page.content.decode()
    assert third.get("/admin/").status_code == 302


def test_who_has_a_second_factor_is_asked_in_the_demo_too(browser, operator):
    set_up(browser, operator)
    other = Browser()
    other.post("/admin/login/", {"username": "ops", "password": PASSWORD})
    assert other.get("/admin/")["Location"].startswith(SECOND_FACTOR)


def test_a_wrong_code_sets_nothing_up(browser, operator, required):
    browser.get(SECOND_FACTOR)
    page = browser.post(SECOND_FACTOR, {"code": "000000"})
    assert "This code is not right" in page.content.decode()
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_the_way_on_leads_nowhere_else(browser, operator, required):
    browser.get(SECOND_FACTOR)
    device = TOTPDevice.objects.get(user=operator)
    page = browser.post(f"{SECOND_FACTOR}?next=https://evil.example/", {"code": code(device)})
    assert page.context["next"] == "/admin/"


@pytest.mark.parametrize("url", [SECOND_FACTOR, "/admin/confirm-password/"])
def test_these_pages_are_for_staff(url):
    stranger, trader = Browser(), Browser()
    trader.force_login(factories.user("trader"), backend="django.contrib.auth.backends.ModelBackend")
    for visitor in (stranger, trader):
        assert visitor.get(url)["Location"].startswith("/admin/login/")


def test_logging_out_is_always_possible(browser, required):
    assert browser.post("/admin/logout/").status_code in (200, 302)
    assert browser.get("/admin/")["Location"].startswith("/admin/login/")


# --- networks and sessions --------------------------------------------------------------------------------------------


def test_staff_come_from_their_networks_alone(browser, settings):
    settings.STAFF_NETWORKS = ["192.0.2.0/24", "2001:db8::/32"]
    refused = browser.get("/admin/")
    assert (refused.status_code, refused.content) == (403, b"These pages are not open to your network.")
    assert Browser().get("/admin/login/").status_code == 403
    assert browser.get("/admin/", REMOTE_ADDR="192.0.2.9").status_code == 200
    assert browser.get("/admin/", REMOTE_ADDR="2001:db8::1").status_code == 200
    assert browser.get("/admin/", headers={"x-forwarded-for": "192.0.2.9"}).status_code == 403


def test_a_session_ends_however_busy_it_is(browser, settings):
    session = browser.session
    session[staff.LOGGED_IN_AT] = int(time.time()) - settings.STAFF_SESSION_SECONDS - 1
    session.save()
    assert browser.get("/admin/")["Location"].startswith("/admin/login/")
    assert "_auth_user_id" not in browser.session


# --- a fresh password -------------------------------------------------------------------------------------------------


@staff.needs_recent_password
def pay_out(request: HttpRequest) -> HttpResponse:
    return HttpResponse("paid")


def asked(session: Any) -> Any:
    request = HttpRequest()
    request.path = "/admin/pay-out/"
    request.session = session
    return pay_out(request)


def test_money_wants_a_fresh_password(browser, settings):
    assert asked(browser.session).content == b"paid"
    settings.REAUTHENTICATION_SECONDS = 0
    answer = asked(browser.session)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/confirm-password/?next=%2Fadmin%2Fpay-out%2F")


def test_the_password_is_confirmed_by_the_users_own(browser):
    session = browser.session
    del session[staff.PASSWORD_AT]
    session.save()
    factories.user("other", password="another-password", is_staff=True)
    url = reverse("confirm-password") + "?next=/admin/accounts/"
    page = browser.post(url, {"password": "another-password"})
    assert "This is not your password." in page.content.decode()
    assert asked(browser.session).status_code == 302
    assert browser.post(url, {"password": PASSWORD})["Location"] == "/admin/accounts/"
    assert asked(browser.session).content == b"paid"


def test_a_login_of_somebody_else_in_the_same_browser_freshens_nothing(browser):
    factories.user("trader", password=PASSWORD)
    session = browser.session
    del session[staff.PASSWORD_AT]
    session.save()
    answer = browser.post("/tv/authorize", "login=trader&password=" + PASSWORD, "application/x-www-form-urlencoded")
    assert answer.json()["s"] == "ok"
    assert staff.PASSWORD_AT not in browser.session
