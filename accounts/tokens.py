"""Tokens: random, given out once, kept as hashes (AUTH-5 … AUTH-8, AUTH-25, AUTH-32).

An access token opens the API; a renewal token of an OAuth client is exchanged for new ones. A renewal ends the tokens
before it only when one of the new ones is used, so that an answer lost on the way can be asked for again.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.choices import RenewalKind
from accounts.models import AccessToken, User
from accounts.oauth_models import OAuthClient, RenewalToken

KEPT_AFTER_END = timedelta(days=30)  # for support, who look at what was given out


def new() -> str:
    """A token never given before."""
    return secrets.token_urlsafe(32)


def issue(user: User) -> tuple[str, datetime]:
    """A token for a login with a password, and when it ends. Earlier tokens of the user go on working."""
    token = new()
    row = keep(token, user, lifetime_seconds=settings.TOKEN_LIFETIME_SECONDS)
    return token, row.expires_at


def keep(
    token: str,
    user: User,
    *,
    lifetime_seconds: int,
    client: OAuthClient | None = None,
    renewal: RenewalToken | None = None,
) -> AccessToken:
    """Make this an access token of the user's; `renewal` is the token that it is renewed with."""
    return AccessToken.objects.create(
        user=user,
        client=client,
        renewal=renewal,
        digest=digest(token),
        expires_at=timezone.now() + timedelta(seconds=lifetime_seconds),
    )


def keep_renewal(
    token: str,
    user: User,
    client: OAuthClient,
    *,
    family: UUID,
    kind: RenewalKind = RenewalKind.REFRESH,
    replaces: RenewalToken | None = None,
) -> RenewalToken:
    return RenewalToken.objects.create(
        kind=kind,
        client=client,
        user=user,
        family=family,
        digest=digest(token),
        replaces=replaces,
        expires_at=timezone.now() + timedelta(seconds=client.renewal_seconds),
    )


def user_of(token: str) -> User | None:
    """Whose token it is; None when it is unknown, expired or revoked, or its user or client was switched off."""
    row = (
        AccessToken.objects.select_related("user", "renewal")
        .filter(
            Q(client=None) | Q(client__is_active=True),
            digest=digest(token),
            expires_at__gt=timezone.now(),
            revoked_at=None,
            user__is_active=True,
        )
        .first()
    )
    if row is None:
        return None
    if row.renewal and row.renewal.confirmed_at is None:
        confirm(row.renewal)
    return row.user


def renewal_of(token: str, kind: RenewalKind) -> RenewalToken | None:
    """The renewal token, if it still works. Locks it: needs a transaction."""
    return (
        RenewalToken.objects.select_for_update(of=("self",))
        .select_related("user", "client")
        .filter(
            kind=kind,
            digest=digest(token),
            expires_at__gt=timezone.now(),
            revoked_at=None,
            user__is_active=True,
            client__is_active=True,
        )
        .first()
    )


@transaction.atomic
def confirm(renewal: RenewalToken) -> None:
    """One of the new tokens has come back: the ones it was to replace have done their duty (AUTH-25)."""
    now = timezone.now()
    RenewalToken.objects.filter(pk=renewal.pk, confirmed_at=None).update(confirmed_at=now)
    if renewal.replaces_id:
        revoke_rows(RenewalToken.objects.filter(pk=renewal.replaces_id))


@transaction.atomic
def revoke_rows(renewals: QuerySet[RenewalToken]) -> int:
    """End these renewal tokens, and the access tokens that came with them. Says how many worked till now."""
    revoke_access(AccessToken.objects.filter(renewal__in=renewals))
    return renewals.filter(revoked_at=None).update(revoked_at=timezone.now())


def revoke_access(rows: QuerySet[AccessToken]) -> int:
    """End these access tokens. Says how many worked till now."""
    return rows.filter(revoked_at=None).update(revoked_at=timezone.now())


def revoke_family(family: UUID) -> None:
    """End everything that one login led to."""
    revoke_rows(RenewalToken.objects.filter(family=family))


@transaction.atomic
def revoke_all(user: User) -> None:
    """End every token of the user, however he got it."""
    revoke_access(AccessToken.objects.filter(user=user))
    revoke_rows(RenewalToken.objects.filter(user=user))


@transaction.atomic
def revoke(token: str) -> None:
    """End the token now, and with it the login it came from; an unknown one is left alone."""
    row = AccessToken.objects.select_related("renewal").filter(digest=digest(token), revoked_at=None).first()
    if row is None:
        return
    AccessToken.objects.filter(pk=row.pk).update(revoked_at=timezone.now())
    if row.renewal:
        revoke_family(row.renewal.family)


def expire(token: str) -> bool:
    """Make the access or refresh token expired from now on. Says whether there was one."""
    now = timezone.now()
    of = {"digest": digest(token)}
    changed = AccessToken.objects.filter(**of).update(expires_at=now)
    return bool(changed or RenewalToken.objects.filter(**of).update(expires_at=now))


def forget_ended() -> None:
    """Delete what ended long ago."""
    long_ago = timezone.now() - KEPT_AFTER_END
    AccessToken.objects.filter(expires_at__lt=long_ago).delete()
    RenewalToken.objects.filter(expires_at__lt=long_ago).delete()


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
