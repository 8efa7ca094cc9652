"""The OAuth 2 provider: oauthlib's flows over our own clients and tokens (AUTH-10 … AUTH-31).

oauthlib decides what RFC 6749 and RFC 7636 say of a request; this module answers its questions from our tables.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus
from uuid import uuid4

from django.utils import timezone
from oauthlib.common import Request
from oauthlib.oauth2 import RequestValidator
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.endpoints import AuthorizationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types import AuthorizationCodeGrant, ImplicitGrant, RefreshTokenGrant
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase
from oauthlib.oauth2.rfc6749.tokens import BearerToken

from accounts import assertions, oauth_clients, tokens
from accounts.choices import RenewalKind
from accounts.oauth_models import AuthorizationCode, OAuthClient

CODE_SECONDS = 60  # AUTH-16
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Validator(RequestValidator):
    """Answers from the database. Calls that belong to one token request run in one transaction of the view's."""

    # --- clients ------------------------------------------------------------------------------------------------------

    def validate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        request.client = _client(client_id)
        return request.client is not None

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return redirect_uri in request.client.redirect_uris  # AUTH-11

    def get_default_redirect_uri(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> None:
        """None: it must be sent."""

    def validate_response_type(
        self, client_id: str, response_type: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return {"code": client.code_flow, "token": client.implicit_flow}.get(response_type, False)

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> None:
        """None: no scope is no restriction."""

    def validate_scopes(
        self, client_id: str, scopes: list[str] | None, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return set(scopes or ()) <= set(client.scopes.split())  # AUTH-14

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        return True

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """By id and secret, in the form or in the header; a renewal without an id by its refresh token (AUTH-19)."""
        client_id, secret = _credentials(request)
        if not client_id and request.grant_type == "refresh_token":
            renewal = tokens.renewal_of(request.refresh_token, RenewalKind.REFRESH)
            client_id = renewal.client.client_id if renewal else ""
        client = _client(client_id)
        if client is None or not oauth_clients.knows(client, secret):
            return False
        _set_client(request, client)
        return True

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return client.code_flow or (grant_type == "refresh_token" and bool(client.certificate))

    # --- codes --------------------------------------------------------------------------------------------------------

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return False

    def save_authorization_code(
        self, client_id: str, code: dict[str, str], request: Request, *args: Any, **kwargs: Any
    ) -> None:
        AuthorizationCode.objects.create(
            client=request.client,
            user=request.user,
            digest=tokens.digest(code["code"]),
            redirect_uri=request.redirect_uri,
            challenge=request.code_challenge or "",
            challenge_method=request.code_challenge_method or "",
            expires_at=timezone.now() + timedelta(seconds=CODE_SECONDS),
        )

    def validate_code(self, client_id: str, code: str, client: OAuthClient, request: Request, *args: Any) -> bool:
        """A code that comes a second time ends what its first time has led to (RFC 6749, 4.1.2)."""
        codes = AuthorizationCode.objects.select_for_update(of=("self",)).select_related("user")
        row = codes.filter(client=client, digest=tokens.digest(code)).first()
        if row and row.used_at:
            tokens.revoke_family(row.family)
        if row is None or row.used_at or row.expires_at <= timezone.now() or not row.user.is_active:
            return False
        request.code_row, request.user, request.family = row, row.user, row.family
        return True

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: OAuthClient, request: Request, *args: Any, **_: Any
    ) -> bool:
        return bool(request.code_row.redirect_uri == redirect_uri)

    def get_code_challenge(self, code: str, request: Request) -> str | None:
        return request.code_row.challenge or None

    def get_code_challenge_method(self, code: str, request: Request) -> str | None:
        return request.code_row.challenge_method or None

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        AuthorizationCode.objects.filter(pk=request.code_row.pk).update(used_at=timezone.now())

    # --- renewal ------------------------------------------------------------------------------------------------------

    def validate_refresh_token(
        self, refresh_token: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        renewal = tokens.renewal_of(refresh_token, RenewalKind.REFRESH)
        if renewal is None or renewal.client_id != client.pk:
            return False
        if not client.code_flow and not renewal.user.is_data_client:
            return False  # a login by a flow that was switched off since; assertions go on
        if renewal.confirmed_at is None:
            tokens.confirm(renewal)
        request.replaced, request.user, request.family = renewal, renewal.user, renewal.family
        return True

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **kwargs: Any) -> None:
        """None: a renewal asks for no scope, and gets what the login had."""

    # --- tokens -------------------------------------------------------------------------------------------------------

    def save_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        client = request.client
        renewal = getattr(request, "renewal", None)
        if "refresh_token" in token:
            renewal = tokens.keep_renewal(
                token["refresh_token"],
                request.user,
                client,
                family=getattr(request, "family", None) or uuid4(),
                replaces=getattr(request, "replaced", None),
            )
            token["refresh_token_expires_in"] = client.renewal_seconds
        tokens.keep(
            token["access_token"], request.user, lifetime_seconds=client.token_seconds, client=client, renewal=renewal
        )


class AssertionGrant(GrantTypeBase):
    """ServerOAuth2Bearer: a token for a signed JWT (RFC 7523, section 2.1)."""

    def create_token_response(self, request: Request, token_handler: BearerToken) -> tuple[dict[str, str], str, int]:
        headers = {"Content-Type": "application/json"}
        try:
            self._validate(request)
        except errors.OAuth2Error as error:
            return {**headers, **error.headers}, error.json, error.status_code
        token = token_handler.create_token(request, refresh_token=True)
        self.request_validator.save_token(token, request)
        return headers, json.dumps(token), 200

    def _validate(self, request: Request) -> None:
        if not (assertion := getattr(request, "assertion", None)):
            raise errors.InvalidRequestError("Missing assertion parameter.", request=request)
        client_id, secret = _credentials(request)
        try:
            client = _client(client_id or assertions.unverified_issuer(assertion))
            if client is None or not _may_assert(client, secret):
                raise errors.InvalidClientError(request=request)
            request.user = assertions.user_of(assertion, client, token_address=request.uri)
        except assertions.AssertionRefused as refusal:
            raise errors.InvalidGrantError(str(refusal), request=request) from refusal
        _set_client(request, client)


class Provider(AuthorizationEndpoint, TokenEndpoint):
    """The endpoints for both addresses."""

    def __init__(self) -> None:
        validator = Validator()
        bearer = BearerToken(
            validator,
            token_generator=lambda request: tokens.new(),
            expires_in=lambda request: request.client.token_seconds,
        )
        code, implicit = AuthorizationCodeGrant(validator), ImplicitGrant(validator)
        AuthorizationEndpoint.__init__(self, "code", bearer, {"code": code, "token": implicit})
        TokenEndpoint.__init__(
            self,
            "authorization_code",
            bearer,
            {
                "authorization_code": code,
                "refresh_token": RefreshTokenGrant(validator),
                JWT_BEARER: AssertionGrant(validator),
            },
        )


provider = Provider()


def _client(client_id: str | None) -> OAuthClient | None:
    if not client_id or not client_id.isascii() or not client_id.isprintable():
        return None
    return OAuthClient.objects.here().filter(client_id=client_id).first()


def _may_assert(client: OAuthClient, secret: str) -> bool:
    """Whether the client's secret is right, or is rightly missing: the signature shows who it is, too."""
    return oauth_clients.knows(client, secret) if secret else not client.assertion_needs_secret


def _set_client(request: Request, client: OAuthClient) -> None:
    request.client = client
    request.client_id = client.client_id
    OAuthClient.objects.filter(pk=client.pk).update(last_used_at=timezone.now())


def _credentials(request: Request) -> tuple[str, str]:
    """Id and secret from the form, or from HTTP Basic (RFC 6749, 2.3.1); empty what was not sent."""
    scheme, _space, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return unquote_plus(client_id), unquote_plus(secret)
    return request.client_id or "", request.client_secret or ""
