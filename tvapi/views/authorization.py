"""Logging in and out (AUTH-5 … AUTH-8, AUTH-32)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from accounts.models import User
from tvapi import forms, locales, wire
from tvapi.exceptions import Refused
from tvapi.views.base import WireView, ok

LONGEST_LOGIN = User._meta.get_field("username").max_length or 0


class AuthorizeView(WireView):
    """A new token for a login and password, each time (AUTH-6). Open to all."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        if "locale" in self.form:  # LOC-5: here it comes in the body
            translation.activate(locales.language(self.form["locale"]))
        credentials = self.read_form(forms.AuthorizeForm)
        user = self._authenticate(request, credentials)
        token, expires_at = tokens.issue(user)
        return ok({"access_token": token, "expiration": wire.seconds(expires_at)})

    def _authenticate(self, request: Request, credentials: dict[str, Any]) -> User:
        """The user, or Refused: in one sentence for a wrong login and a wrong password, in another after too many."""
        http_request = request._request
        user = None
        if len(credentials["login"]) <= LONGEST_LOGIN:
            user = authenticate(http_request, username=credentials["login"], password=credentials["password"])
        if getattr(http_request, "axes_locked_out", False):
            http_request.axes_locked_out = False  # type: ignore[attr-defined]  # its middleware would answer in our place
            raise Refused(_("There were too many wrong passwords for this login. Please try again in a few minutes."))
        if not isinstance(user, User):
            raise Refused(_("Wrong login or password."))
        user_logged_in.send(sender=User, request=http_request, user=user)
        return user


class LogoutView(WireView):
    def post(self, request: Request) -> Response:
        tokens.revoke(str(request.auth))
        return ok()
