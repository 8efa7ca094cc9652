"""A person or a data server shows who he is: password, then the second factor of those who have one."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_otp import match_token, user_has_device

from accounts import guessing, networks
from accounts.models import User
from tvapi.exceptions import Refused

LONGEST_LOGIN = User._meta.get_field("username").max_length or 0
WRONG_LOGIN = _("Wrong login or password.")
WRONG_CODE = _("This code is not right or was used before. Wait for the next one, and enter it once.")


def check_password(request: HttpRequest, login: str, password: str) -> User:
    """The user, or Refused: in one sentence for a wrong login and a wrong password, in others after too many."""
    if guessing.is_spraying(request, login):
        raise Refused(_("There were too many failed logins from your network. Please try again in a few minutes."))
    user = None
    if len(login) <= LONGEST_LOGIN:
        user = authenticate(request, username=login, password=password)
    if getattr(request, "axes_locked_out", False):
        request.axes_locked_out = False  # type: ignore[attr-defined]  # its middleware would answer in our place
        raise Refused(_("There were too many wrong passwords for this login. Please try again in a few minutes."))
    if not isinstance(user, User) or not networks.may_serve_data(request, user):
        raise Refused(WRONG_LOGIN)
    return user


def has_second_factor(user: User) -> bool:
    return bool(user_has_device(user))


def check_code(user: User, code: str) -> None:
    """Accept a code of the user's app, or one of his recovery codes, once. Raises Refused; wrong ones cost time."""
    if match_token(user, code.replace(" ", "")) is None:
        raise Refused(WRONG_CODE)


def remember(request: HttpRequest, user: User) -> None:
    """The login is complete: it becomes the user's last one."""
    user_logged_in.send(sender=User, request=request, user=user)
