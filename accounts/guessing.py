"""Guessed passwords: how often one login may be tried, and how many logins one address may try.

Failures are counted for each login, so that an attacker gains nothing by changing his address, and nothing by trying
one password on many logins. Data servers keep working meanwhile: their logins are locked for the attacker's address
only, and their networks are never held back (ENV-5). Tokens that were given go on working.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import networks
from accounts.models import User


def client_address(request: HttpRequest) -> str | None:
    """The address that failures are kept with; None where the web server names none."""
    address = networks.address_of_request(request)
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def lockout_parameters(attempt: Any, credentials: dict[str, Any] | None = None) -> list[Any]:
    """What failures are counted by; `attempt` is a request with its credentials, or a row of earlier failures."""
    login = str((credentials or {}).get("username") or getattr(attempt, "username", ""))
    return [["username", "ip_address"]] if _is_data_server(login) else ["username"]


def is_spraying(request: HttpRequest, login: str) -> bool:
    """Whether the address has lately failed with more logins than people there can have."""
    most: int = settings.LOGINS_TRIED_BY_ADDRESS
    address = client_address(request)
    if not most or address is None or networks.is_inside(address, settings.DATA_SERVER_NETWORKS):
        return False
    since = timezone.now() - timedelta(hours=settings.AXES_COOLOFF_TIME)
    failed = AccessAttempt.objects.filter(ip_address=address, attempt_time__gt=since).order_by()
    return failed.values("username").distinct().count() >= most and not _is_data_server(login)


def _is_data_server(login: str) -> bool:
    return User.objects.filter(username=login, is_data_client=True).exists()


def locked_out(request: HttpRequest, *unused: Any) -> HttpResponse:
    """The page for staff whose login is locked."""
    return refusal(request, _("There were too many wrong passwords for this login. Please try again in a few minutes."))


def too_many_logins(request: HttpRequest) -> HttpResponse:
    """The page for staff at an address that tries logins."""
    return refusal(
        request, _("There were too many failed logins from your network. Please try again in a few minutes.")
    )


def refusal(request: HttpRequest, sentence: str, *, status: int = 429) -> HttpResponse:
    """A page outside the admin's frame, in its look, that says why it goes no further."""
    context = {**admin.site.each_context(request), "title": _("Not now"), "sentence": sentence}
    return render(request, "accounts/refusal.html", context, status=status)
