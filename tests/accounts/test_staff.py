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
from backoffice.pages import registry
from tests import factories
from tvapi import login
from tvapi.exceptions import Refused

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


def test_every_page_that_moves_money_asks_for_it(browser, settings):
    settings.REAUTHENTICATION_SECONDS = 0
    User.objects.update(is_superuser=True)
    pages = {name: each for name, each in registry.items() if each.moves_money}
    assert set(pages) == {"bust_approve", "cash_approve", "cash_new", "conditions_approve", "position_close"}
    for name, each in pages.items():
        url = reverse(f"page:{name}", args=[1] if "<" in each.path else [])
        for answer in (browser.get(url), browser.post(url, {"confirmed": "yes"})):
            assert answer["Location"].startswith("/admin/confirm-password/?next=%2Fadmin%2F")


# --- recovery codes of clients ----------------------------------------------------------------------------------------


def give_codes(browser: Browser, *devices: TOTPDevice) -> Any:
    chosen = [device.pk for device in devices]
    form = {"action": "give_recovery_codes", "_selected_action": chosen}
    return browser.post(reverse("admin:otp_totp_totpdevice_changelist"), form, follow=True)


def test_a_client_gets_recovery_codes_that_open_once(browser):
    User.objects.filter(username="ops").update(is_superuser=True)
    trader = factories.user("trader", password=PASSWORD)
    device = TOTPDevice.objects.create(user=trader, name="app")
    page = give_codes(browser, device)
    codes = page.context["codes"]
    assert len(set(codes)) == 10
    assert "no-store" in page["Cache-Control"]
    login.check_code(trader, codes[0])
    with pytest.raises(Refused):
        login.check_code(trader, codes[0])


def test_recovery_codes_are_given_to_one_client_at_a_time_and_to_no_staff(browser, operator):
    User.objects.filter(username="ops").update(is_superuser=True)
    devices = [TOTPDevice.objects.create(user=factories.user(), name="app") for _number in range(2)]
    own = TOTPDevice.objects.create(user=factories.user("boss", is_staff=True), name="app")
    for chosen in (devices, [own]):
        assert "Select one client" in give_codes(browser, *chosen).content.decode()
    assert not StaticToken.objects.exists()


# --- language, and forms that were open for too long ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "spoken"), [("de-AT,de;q=0.9", "de"), ("zh-CN", "zh-hans"), ("ja", "ja"), ("ar", "en"), ("fr", "en")]
)
def test_the_admin_speaks_the_browsers_language_where_it_is_whole_in_it(browser, wanted, spoken):
    page = browser.get("/admin/", headers={"accept-language": wanted})
    assert page["Content-Language"] == spoken
    assert f'lang="{spoken}"' in page.content.decode()


def test_staff_choose_a_language_that_stays(browser):
    answer = browser.post(reverse("set_language"), {"language": "tr", "next": "/admin/"})
    assert answer["Location"] == "/admin/"
    assert browser.get("/admin/", headers={"accept-language": "de"})["Content-Language"] == "tr"
    assert 'name="language" type="hidden" value="ja"' in browser.get("/admin/").content.decode()


def test_a_form_without_the_pages_own_field_is_told_in_the_users_language():
    strict = Browser(enforce_csrf_checks=True)
    answer = strict.post("/admin/login/", {"username": "ops"}, headers={"accept-language": "es"})
    assert answer.status_code == 403
    assert "Esta página estuvo abierta demasiado tiempo" in answer.content.decode()
    assert "Reason given for failure" not in answer.content.decode()


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"_reason": "x" * 3_000_000}, 413, "La solicitud es demasiado grande."),
        ({f"a{number}": "" for number in range(1001)}, 400, "La solicitud tiene demasiados campos."),
    ],
)
def test_a_form_that_is_not_read_is_told_in_the_users_language(browser, form, status, sentence):
    for url in ("/admin/login/", "/admin/confirm-password/"):
        answer = browser.post(url, form, headers={"accept-language": "es"})
        assert answer.status_code == status
        assert sentence in answer.content.decode()
