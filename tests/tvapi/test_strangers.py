"""Nobody reads or changes what is not his: every address of the API and of the admin, tried by everybody it is not for.

The attempts are made from the URL confs and the table of roles, so that a new address is tried without being named.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client as Browser
from django.urls import URLPattern, reverse

from accounts.models import Account, User
from accounts.roles import MAY, Role
from tests import factories
from tests.backoffice import rows
from tests.backoffice.test_lists import STORIES
from tests.trading import desk
from tests.tvapi.contract import TradingView, refused
from tvapi import urls

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

ORDER = "instrument=EURUSD&side=buy&type=market&qty=1000&durationType=gtc"
METHODS = ("GET", "POST", "PUT", "DELETE")
OPEN = {"authorize", "mapping", "oauth2/authorize", "oauth2/token"}
admin.autodiscover()  # as the URLs do
OF_ACCOUNT = "<any:account_id>"
# Of lists, with the permission that each needs.
ACTIONS = {
    "delete_selected": "delete",
    "cancel_orders": "cancel",
    "revoke": "revoke",
    "give_new_secret": "change",
    "give_recovery_codes": "add",
    "mark_as_told": "tell",
    "connect": "operate",
    "disconnect": "operate",
    "reset": "operate",
    "accept_suggestions": "change",
    "take_back_drafts": "change",
    "leave_unmapped": "change",
}


class Attempt(NamedTuple):
    """One request that must not succeed."""

    who: str
    method: str
    path: str
    body: str = ""


def _account_paths(account: str, order: str, position: str) -> Iterator[str]:
    for pattern in urls.urlpatterns:
        route = str(pattern.pattern)
        if OF_ACCOUNT in route:
            path = route.replace(OF_ACCOUNT, account)
            yield "/" + path.replace("<any:order_id>", order).replace("<any:position_id>", position)
    yield f"/quotes?accountId={account}&symbols=EURUSD"
    yield f"/depth?accountId={account}&symbol=EURUSD"


def api_attempts() -> list[Attempt]:
    """Traders and data servers on another's account; the owner's other account with rows that are not its own."""
    attempts = []
    names = ("victim", "VICTIM%00", "MINE/../VICTIM")
    ids = [("VICTIM", "{order}", "{position}"), *((name, "1", "1") for name in names)]
    for who, (account, order, position), method in product(("trader", "server", "staff"), ids, METHODS):
        for path in _account_paths(account, order, position):
            attempts.append(Attempt(who, method, path, ORDER if method == "POST" else "qty=2000"))
    for method, kind in product(("PUT", "DELETE"), ("orders/{order}", "positions/{position}")):
        attempts.append(Attempt("trader", method, f"/accounts/MINE/{kind}", "qty=2000"))
    return attempts


def protected_addresses() -> list[str]:
    found = []
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        route = str(pattern.pattern)
        if route not in OPEN and route != "<any:rest>":
            found.append("/" + re.sub(r"<any:\w+>", "1", route.replace(OF_ACCOUNT, "MINE")))
    return found


@pytest.fixture
def victim() -> Account:
    """Somebody's account with a position and a working order."""
    account = factories.account(number="VICTIM")
    factories.quote("EURUSD", "1.10000", "1.10010")
    desk.fill(account, "buy", "10000")
    desk.fill(account, "buy", "1000", limit="1.05000")
    return account


def state_of(account: Account) -> list[Any]:
    """Everything that an attempt could have changed."""
    account.refresh_from_db()
    rows = (account.orders, account.positions, account.executions, account.balances)
    return [account.version, *(list(each.order_by("pk").values()) for each in rows)]


def test_nobody_gets_at_anothers_account_over_the_api(victim: Account) -> None:
    trader = factories.user("trader")
    factories.account(number="MINE", owner=trader)
    users = {
        "trader": trader,
        "server": factories.user("server", is_data_client=True),
        "staff": User.objects.create_superuser("root"),
    }
    clients = {name: TradingView(factories.token(user)) for name, user in users.items()}
    before = state_of(victim)
    rows = {"order": str(victim.orders.live().get().pk), "position": str(victim.positions.get().pk)}
    attempts = api_attempts()
    assert len(attempts) > 300
    for attempt in attempts:
        path = attempt.path.format(**rows)
        status, answer = clients[attempt.who].send(attempt.method, path, attempt.body)
        assert status == 200
        assert answer["s"] == "error", attempt
        assert "VICTIM" not in str(answer)
    assert state_of(victim) == before


@pytest.mark.parametrize("token", [None, "", "unknown", "null", "Bearer"])
def test_no_address_but_the_open_ones_answers_a_stranger(victim: Account, token: str | None) -> None:
    addresses = protected_addresses()
    assert len(addresses) >= 20
    for path, method in product(addresses, METHODS):
        assert TradingView(token).send(method, path, "")[0] == 401, (method, path)


def test_unknown_and_foreign_accounts_are_refused_in_the_same_words(victim: Account) -> None:
    tv = TradingView(factories.token(factories.user("trader")))
    for path in ("state", "orders", "positions", "instruments"):
        foreign, unknown = (refused(tv.get(f"/accounts/{each}/{path}")) for each in ("VICTIM", "NOBODYS"))
        assert foreign == unknown


# --- the admin --------------------------------------------------------------------------------------------------------


TOLD: dict[str, dict[str, Any]] = {  # of rows that are made of their fields alone
    **STORIES,
    "marketdata.TradingViewSymbol": {"full_name": "NASDAQ:AAPL"},
    "marketdata.LogPosition": {"reader": "bars"},
}
ADDED_BY = {"operations.CashRequest": "request", "trading.Bust": "request"}  # where adding is called otherwise


def may(role: Role | None, model: type[models.Model], action: str) -> bool:
    return role is not None and action in MAY[role].get(model._meta.app_label, {}).get(model._meta.model_name or "", ())


def browser_of(role: Role | None) -> Browser:
    """Of somebody with this role; of a trader without any."""
    user = factories.user(f"the-{role}", is_staff=role is not None)
    if role:
        user.groups.add(Group.objects.get(name=role))
    made = Browser()
    made.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return made


def admin_attempts(role: Role | None) -> list[tuple[str, dict[str, Any]]]:
    """Addresses with what is posted to them: all that the role may not do."""
    attempts: list[tuple[str, dict[str, Any]]] = []
    for model, its_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.order_by("pk").first()
        assert row, model
        if not may(role, model, ADDED_BY.get(model._meta.label, "add")):
            attempts.append((reverse(f"{name}_add"), {"name": "x"}))
        if not may(role, model, "change") and model._meta.label != "marketdata.Instrument":
            attempts.append((reverse(f"{name}_change", args=[row.pk]), {"name": "x", "state": "blocked"}))
        if not may(role, model, "delete"):
            attempts.append((reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}))
        base_actions = its_admin._get_base_actions()  # type: ignore[attr-defined]  # before rights take any away
        for _function, action, _title in base_actions:
            if not may(role, model, ACTIONS[action]):
                chosen = {"action": action, "_selected_action": [str(row.pk)], "post": "yes", "confirmed": "yes"}
                attempts.append((reverse(f"{name}_changelist"), chosen))
    return attempts


@pytest.mark.parametrize("role", [None, Role.COMPLIANCE, Role.SUPPORT, Role.DEALING, Role.OPERATIONS])
def test_what_the_table_does_not_give_a_role_is_refused(victim: Account, role: Role | None) -> None:
    factories.token(victim.client.user)
    factories.oauth_client(secret="a-secret-of-the-tests-only")
    factories.mapping("EURUSD", "DEMO:EURUSD")
    tables = [model for model in admin.site._registry if model._meta.app_label != "sessions"]
    for model in tables:
        if not model._default_manager.exists():
            rows.fill(model, 1, **TOLD.get(model._meta.label, {}))
    visitor = browser_of(role)
    attempts = admin_attempts(role)
    attempts.append((reverse("admin:auth_user_password_change", args=[victim.client.user_id]), {"password1": "x"}))
    assert len(attempts) > 100
    before = {model: list(model._default_manager.order_by("pk").values()) for model in tables}
    for url, form in attempts:
        answer = visitor.post(url, form)
        assert answer.status_code in (200, 302, 403), url  # 200 and 302: a list that knows no such action
        if "action" not in form:
            assert answer.status_code == (302 if role is None else 403), url
    for model, old in before.items():
        assert list(model._default_manager.order_by("pk").values()) == old, model
