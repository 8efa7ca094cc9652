"""Who is asking: `Authorization: Bearer <token>` (AUTH-1, AUTH-2)."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import networks, tokens
from accounts.models import User


class BearerAuthentication(BaseAuthentication):
    """A header that is there must hold a token that works; without one nobody is logged in."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        scheme, _space, token = header.strip().partition(" ")
        if scheme.lower() != "bearer" or (user := tokens.user_of(token.strip())) is None:
            raise AuthenticationFailed
        if not networks.may_serve_data(request._request, user):
            raise AuthenticationFailed
        return user, token.strip()

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
