"""Logging in and out (AUTH-5 … AUTH-8, AUTH-32)."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from tvapi import forms, locales, login, wire
from tvapi.exceptions import Refused
from tvapi.views.base import WireView, ok


class AuthorizeView(WireView):
    """A new token for a login and password, each time (AUTH-6). Open to all."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        if "locale" in self.form:  # LOC-5: here it comes in the body
            translation.activate(locales.language(self.form["locale"]))
        credentials = self.read_form(forms.AuthorizeForm)
        user = login.check_password(request._request, credentials["login"], credentials["password"])
        if login.has_second_factor(user):
            raise Refused(_("This login has a second factor. Please log in on the broker's own page."))
        login.remember(request._request, user)
        token, expires_at = tokens.issue(user)
        return ok({"access_token": token, "expiration": wire.seconds(expires_at)})


class LogoutView(WireView):
    def post(self, request: Request) -> Response:
        tokens.revoke(str(request.auth))
        return ok()
