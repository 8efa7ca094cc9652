"""ServerOAuth2Bearer: JWTs that data servers sign with the key of their certificate (RFC 7523, AUTH-27)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import certificates, tokens
from accounts.models import User
from accounts.oauth_models import OAuthClient, UsedAssertion

SKEW_SECONDS = 60  # by which clocks may differ
LONGEST_SECONDS = 3600  # that an assertion may still be good for
# By the kind of key, never by the header alone: it must not choose "none", nor a public key as a shared secret.
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EC_ALGORITHMS = ("ES256", "ES384", "ES512")


class AssertionRefused(Exception):
    """The message says why, for the other side's developers."""


def unverified_issuer(assertion: str) -> str:
    """Who the assertion says made it, not to be believed before `user_of` has said so. Raises AssertionRefused."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise AssertionRefused("The assertion is no JWT.") from error
    return issuer if isinstance(issuer := claims.get("iss"), str) else ""


@transaction.atomic
def user_of(assertion: str, client: OAuthClient, *, token_address: str) -> User:
    """The data server that the assertion speaks for. Each is good for one token. Raises AssertionRefused.

    `token_address` is the audience where the client has none of its own.
    """
    claims = _verified(assertion, client, token_address)
    for name, value in client.assertion_claims.items():
        if claims.get(name) != value:
            raise AssertionRefused(f"The claim {name} is not as agreed.")
    login = claims.get(client.assertion_user_claim)
    users = {user.username: user for user in client.data_users.filter(is_data_client=True, is_active=True)}
    if not isinstance(login, str) or (user := users.get(login)) is None:
        raise AssertionRefused(f"The claim {client.assertion_user_claim} names no data server of this client.")
    _use(assertion, client, claims)
    return user


def _verified(assertion: str, client: OAuthClient, token_address: str) -> dict[str, Any]:
    try:
        key = certificates.public_key(client.certificate)
    except certificates.UnusableCertificate as error:
        raise AssertionRefused("The client has no certificate that is valid now.") from error
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            key,
            algorithms=RSA_ALGORITHMS if isinstance(key, RSAPublicKey) else EC_ALGORITHMS,
            audience=client.assertion_audience or token_address,
            issuer=client.assertion_issuer or client.client_id,
            leeway=SKEW_SECONDS,
            options={"require": ["exp", "iss", "aud"], "verify_sub": False, "verify_jti": False},
        )
    except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise AssertionRefused(f"The assertion is not good: {error}") from error
    if _end(claims) > timezone.now() + timedelta(seconds=LONGEST_SECONDS + SKEW_SECONDS):
        raise AssertionRefused("The assertion is good for too long: an hour at most.")
    return claims


def _use(assertion: str, client: OAuthClient, claims: dict[str, Any]) -> None:
    """Remember the assertion by its id, or by what was signed where it has none. The database lets one of two be first.

    The signature does not tell assertions apart: the same one can be written in several ways.
    """
    signed, _dot, _signature = assertion.rpartition(".")
    name = json.dumps(claims["jti"]) if "jti" in claims else signed
    expires_at = _end(claims) + timedelta(seconds=SKEW_SECONDS)
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(client=client, digest=tokens.digest(name), expires_at=expires_at)
    except IntegrityError as error:
        raise AssertionRefused("The assertion was used before.") from error


def _end(claims: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise AssertionRefused("The claim exp is no time.") from error
