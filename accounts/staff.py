"""What staff pass on the way into the admin: the network, the second factor, sessions that end, a fresh password.

`needs_recent_password` is for views that move money: they work for whoever has shown his password lately.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django_otp import user_has_device

from accounts import guessing, networks
from accounts.models import User

LOGGED_IN_AT = "logged_in_at"  # in the session, Unix seconds
PASSWORD_AT = "password_at"  # noqa: S105 (a session's key)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def begin_session(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    """A receiver of `user_logged_in`. The API logs in without a session, and gets none."""
    session = getattr(request, "session", None)
    if session is not None and session.get(SESSION_KEY) == str(user.pk):
        session[LOGGED_IN_AT] = session[PASSWORD_AT] = int(time.time())


def connect() -> None:
    user_logged_in.connect(begin_session, dispatch_uid="staff session")


class StaffGate:
    """Middleware in front of every page of the admin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(_admin()):
            return self.get_response(request)
        if settings.STAFF_NETWORKS and not networks.is_inside(
            networks.address_of_request(request), settings.STAFF_NETWORKS
        ):
            return HttpResponse(_("These pages are not open to your network."), status=403, content_type="text/plain")
        _speak_as_staff()
        if _tries_too_many_logins(request):
            return guessing.too_many_logins(request)
        if request.user.is_authenticated and _is_over(request):
            logout(request)
        if _lacks_second_factor(request) and request.path_info not in _open_to_all():
            return redirect(f"{reverse('second-factor')}?{urlencode({'next': request.get_full_path()})}")
        return self.get_response(request)


@functools.cache
def _admin() -> str:
    """Where the admin begins. Every request of the API passes here too."""
    return reverse("admin:index")


def _speak_as_staff() -> None:
    """The admin is whole in some languages; in others half of it would be English, so all of it is."""
    if translation.get_language() not in settings.STAFF_LANGUAGES:
        translation.activate(settings.LANGUAGE_CODE)


def _tries_too_many_logins(request: HttpRequest) -> bool:
    is_login = request.method == "POST" and request.path_info == reverse("admin:login")
    return is_login and guessing.is_spraying(request, request.POST.get("username", ""))


def needs_recent_password(view: View[P]) -> View[P]:
    """The view, for whoever showed his password lately; others show it first, and begin again."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if has_recent_password(request):
            return view(request, *args, **kwargs)
        return ask_password(request)

    return wrapped


def has_recent_password(request: HttpRequest) -> bool:
    age_seconds: float = time.time() - request.session.get(PASSWORD_AT, 0)
    return age_seconds < float(settings.REAUTHENTICATION_SECONDS)


def ask_password(request: HttpRequest) -> HttpResponse:
    """To the page that asks, and back: a form that was posted is filled in again."""
    return redirect(f"{reverse('confirm-password')}?{urlencode({'next': request.get_full_path()})}")


def remember_password(request: HttpRequest) -> None:
    """The user has just shown it."""
    request.session[PASSWORD_AT] = int(time.time())


def _is_over(request: HttpRequest) -> bool:
    """However busy it is, a session ends; one that does not say when it began was made by a program of ours."""
    began = request.session.get(LOGGED_IN_AT)
    return began is not None and time.time() - began > settings.STAFF_SESSION_SECONDS


def _lacks_second_factor(request: HttpRequest) -> bool:
    user = request.user
    if not (isinstance(user, User) and user.is_staff) or user.is_verified():  # type: ignore[attr-defined]
        return False
    return settings.SECOND_FACTOR_REQUIRED or bool(user_has_device(user))


def _open_to_all() -> set[str]:
    names = ("admin:login", "admin:logout", "admin:jsi18n", "second-factor")
    return {reverse(name) for name in names}
