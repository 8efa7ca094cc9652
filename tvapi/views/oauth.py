"""OAuth 2: the login page and the token address (AUTH-10 … AUTH-31)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from django import forms
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import translation
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import FatalClientError, OAuth2Error

from accounts import tokens
from accounts.choices import RenewalKind
from accounts.models import User
from accounts.oauth_models import OAuthClient, RenewalToken
from tvapi import locales, login, parsers
from tvapi.exceptions import Refused
from tvapi.oauth import provider

# What is given to oauthlib, and no more: it would take a field for anything else that a request has.
AUTHORIZE_FIELDS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
TOKEN_FIELDS = frozenset(
    {"grant_type", "code", "redirect_uri", "client_id", "client_secret", "refresh_token", "code_verifier", "assertion"}
)

PAGE_SECONDS = 120  # AUTH-13: then TradingView closes the page
COOKIE = "tv_login"
# What nobody's login, password or code can be is wrong like any other: Django's sentences are not in all languages.
_IMPOSSIBLE = ("max_length", "null_characters_not_allowed")
_WRONG_LOGIN = dict.fromkeys(_IMPOSSIBLE, login.WRONG_LOGIN)
_WRONG_CODE = dict.fromkeys(_IMPOSSIBLE, login.WRONG_CODE)
_TICKET_SALT = "tvapi.second-factor"


class PasswordForm(forms.Form):
    login = forms.CharField(
        label=_("Login"),
        max_length=login.LONGEST_LOGIN,
        error_messages=_WRONG_LOGIN,
        widget=forms.TextInput({"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    password = forms.CharField(
        label=_("Password"),
        max_length=1000,
        error_messages=_WRONG_LOGIN,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )


class CodeForm(forms.Form):
    ticket = forms.CharField(max_length=1000, widget=forms.HiddenInput)
    code = forms.CharField(
        label=_("Code from your authenticator app, or a recovery code"),
        max_length=20,
        error_messages=_WRONG_CODE,
        widget=forms.TextInput({"autocomplete": "one-time-code", "autocapitalize": "none", "autofocus": True}),
    )


@method_decorator(sensitive_post_parameters(), name="dispatch")
class AuthorizeView(View):
    """The login page: it asks for credentials, and leads back to TradingView with a code or a token."""

    http_method_names = ("get", "head", "post", "options")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        language = _language_of(request)
        with translation.override(language):
            try:
                if (request.method or "").lower() in self.http_method_names:
                    self._read(request)
                response = super().dispatch(request, *args, **kwargs)
            except FatalClientError:
                response = self._page("refused", status=400, sentence=_("This address does not lead to a login."))
            except Refused as refusal:
                response = self._page("refused", status=400, sentence=str(refusal))
            except OAuth2Error as error:
                response = self._error(error.twotuples)
            response["Content-Language"] = language
            response["Cache-Control"] = "no-store"
            response["Referrer-Policy"] = "same-origin"  # "no-referrer" would make the form's Origin null
            return response

    def _read(self, request: HttpRequest) -> None:
        """Check what TradingView asks for. Raises FatalClientError where nothing may be sent back."""
        query = parsers.query(request)
        self.fields = {name: value for name, value in query.items() if name in AUTHORIZE_FIELDS}
        self.prompt = query.get("prompt")
        self.uri = f"{request.build_absolute_uri(request.path)}?{urlencode(self.fields)}"
        provider.validate_authorization_request(self.uri)
        self.client = OAuthClient.objects.get(client_id=self.fields["client_id"])

    @property
    def is_implicit(self) -> bool:
        return self.fields.get("response_type") == "token"

    def get(self, request: HttpRequest) -> HttpResponse:
        if self.prompt == "none":
            return self._renew(request)
        return self._ask(PasswordForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        step = self._check_code if "ticket" in request.POST else self._check_password
        return step(request)

    def _check_password(self, request: HttpRequest) -> HttpResponse:
        form = PasswordForm(request.POST)
        if not form.is_valid():
            return self._ask(form)
        try:
            user = login.check_password(request, form.cleaned_data["login"], form.cleaned_data["password"])
            if user.is_data_client:
                raise Refused(_("This login is for data servers, not for a person."))
        except Refused as refusal:
            form.add_error(None, str(refusal))
            return self._ask(form)
        if login.has_second_factor(user):
            return self._ask(CodeForm(initial={"ticket": self._ticket(user)}))
        return self._let_in(request, user)

    def _check_code(self, request: HttpRequest) -> HttpResponse:
        form = CodeForm(request.POST)
        if not form.is_valid():
            return self._ask(form)
        if (user := self._user_of(form.cleaned_data["ticket"])) is None:
            again = PasswordForm({})
            again.full_clean()
            again.errors.clear()
            again.add_error(None, _("That took too long. Please log in again."))
            return self._ask(again)
        try:
            login.check_code(user, form.cleaned_data["code"])
        except Refused as refusal:
            form.add_error(None, str(refusal))
            return self._ask(form)
        return self._let_in(request, user)

    def _ticket(self, user: User) -> str:
        """Shows at the second step that the first one was passed, here and just now."""
        return signing.dumps([user.pk, self.client.client_id], salt=_TICKET_SALT)

    def _user_of(self, ticket: str) -> User | None:
        try:
            pk, client_id = signing.loads(ticket, salt=_TICKET_SALT, max_age=PAGE_SECONDS)
        except signing.BadSignature:
            return None
        return User.objects.filter(pk=pk, is_active=True).first() if client_id == self.client.client_id else None

    @transaction.atomic
    def _let_in(self, request: HttpRequest, user: User) -> HttpResponse:
        login.remember(request, user)
        if not self.is_implicit:
            return self._back(user)
        cookie = tokens.new()
        response = self._back(
            user, tokens.keep_renewal(cookie, user, self.client, family=uuid4(), kind=RenewalKind.COOKIE)
        )
        secure = request.is_secure()  # AUTH-22: in a frame of TradingView's, only such a cookie is sent
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=self.client.renewal_seconds,
            path=request.path,
            secure=secure,
            httponly=True,
            samesite="None" if secure else "Lax",
        )
        return response

    @transaction.atomic
    def _renew(self, request: HttpRequest) -> HttpResponse:
        """`prompt=none`: back at once, never a page (AUTH-22, AUTH-23)."""
        renewal = tokens.renewal_of(request.COOKIES.get(COOKIE, ""), RenewalKind.COOKIE) if self.is_implicit else None
        if renewal is None or renewal.client_id != self.client.pk:
            state = [("state", self.fields["state"])] if "state" in self.fields else []
            return self._error([("error", "login_required"), *state])
        return self._back(renewal.user, renewal)

    def _back(self, user: User, renewal: RenewalToken | None = None) -> HttpResponse:
        headers, _body, _status = provider.create_authorization_response(
            self.uri, credentials={"user": user, "renewal": renewal}
        )
        return _redirect(headers["Location"])

    def _error(self, pairs: list[tuple[str, str]]) -> HttpResponse:
        """Back to the registered address with the error: in the fragment for the implicit flow (RFC 6749, 4.2.2.1)."""
        return _redirect(add_params_to_uri(self.fields["redirect_uri"], pairs, fragment=self.is_implicit))

    def _ask(self, form: forms.Form) -> HttpResponse:
        target = urlsplit(self.fields["redirect_uri"])
        # A browser holds the redirect after a form to the form's rule too.
        return self._page("login", form_action=f"'self' {target.scheme}://{target.netloc}", form=form)

    def _page(self, name: str, *, status: int = 200, form_action: str = "'none'", **context: Any) -> HttpResponse:
        return _page(self.request, name, status=status, form_action=form_action, **context)


def csrf_failure(request: HttpRequest) -> HttpResponse:
    """The login page's answer to a form that lacks its own field: its cookie ended, or was not allowed."""
    return refusal(request, _("This page was open for too long, or cookies are switched off."), status=403)


def refusal(request: HttpRequest, sentence: str | Promise, *, status: int) -> HttpResponse:
    """The login page's answer to a form that is refused before it gets here."""
    language = _language_of(request)
    with translation.override(language):
        response = _page(request, "refused", status=status, sentence=sentence)
    response["Content-Language"] = language
    response["Cache-Control"] = "no-store"
    return response


def _language_of(request: HttpRequest) -> str:
    return locales.language_of_page(request.GET.get("lang")) or translation.get_language() or locales.ENGLISH


def _page(
    request: HttpRequest, name: str, *, status: int = 200, form_action: str = "'none'", **context: Any
) -> HttpResponse:
    response = render(request, f"tvapi/{name}.html", context, status=status)
    response["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {form_action}"
    )
    return response


@method_decorator([csrf_exempt, sensitive_post_parameters()], name="dispatch")
class TokenView(View):
    """Tokens for a code, a refresh token or an assertion; the answers are RFC 6749's (GEN-5)."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            form = parsers.form(_body(request))
        except Refused as refusal:
            with translation.override(locales.ENGLISH):  # read by developers, never shown to a trader
                return _json({"error": "invalid_request", "error_description": str(refusal)}, 400)
        body = urlencode({name: value for name, value in form.items() if name in TOKEN_FIELDS})
        given = {"Authorization": request.headers["Authorization"]} if "Authorization" in request.headers else {}
        address = request.build_absolute_uri(request.path)
        try:
            with transaction.atomic():
                _headers, answer, status = provider.create_token_response(address, request.method, body, given)
        except OAuth2Error as error:
            answer, status = error.json, 400
        if status == 401 and not given:
            status = 400  # RFC 6749, 5.2, wants 401 only for credentials in the header
        response = _json(json.loads(answer), status)
        if status == 401:
            response["WWW-Authenticate"] = 'Basic realm="oauth2"'
        return response


def _body(request: HttpRequest) -> bytes:
    """The form's bytes. Raises Refused."""
    kind = (request.content_type or "").lower()
    if request.method == "POST" and kind != parsers.StrictFormParser.media_type:
        raise Refused(_("Requests are sent as a form (application/x-www-form-urlencoded)."))
    return parsers.read_body(request)


def _json(answer: Mapping[str, object], status: int) -> HttpResponse:
    response = HttpResponse(json.dumps(answer), content_type="application/json", status=status)
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    return response


def _redirect(address: str) -> HttpResponse:
    """302 to an address that was compared with the registered one."""
    response = HttpResponse(status=302)
    response["Location"] = address
    response.xframe_options_exempt = True  # a hidden frame renews (AUTH-22)
    return response
