"""Bearer tokens: random, given out once, kept as hashes (AUTH-5 … AUTH-8, AUTH-32)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import AccessToken, User


def issue(user: User) -> tuple[str, datetime]:
    """A token never given before, and when it ends. Earlier tokens of the user go on working."""
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(seconds=settings.TOKEN_LIFETIME_SECONDS)
    AccessToken.objects.create(user=user, digest=digest(token), expires_at=expires_at)
    return token, expires_at


def user_of(token: str) -> User | None:
    """Whose token it is; None when it is unknown, expired or revoked, or its user was switched off."""
    row = (
        AccessToken.objects.select_related("user")
        .filter(digest=digest(token), expires_at__gt=timezone.now(), revoked_at=None, user__is_active=True)
        .first()
    )
    return row.user if row else None


def revoke(token: str) -> None:
    """End the token now; an unknown one is left alone."""
    AccessToken.objects.filter(digest=digest(token), revoked_at=None).update(revoked_at=timezone.now())


def expire(token: str) -> bool:
    """Make the token expired from now on. Says whether there was one."""
    return bool(AccessToken.objects.filter(digest=digest(token)).update(expires_at=timezone.now()))


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
