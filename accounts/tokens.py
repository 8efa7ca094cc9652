"""Tokens: random, given out once, kept as hashes (AUTH-5 … AUTH-8, AUTH-25, AUTH-32).

An access token opens the API; a renewal token of an OAuth client is exchanged for new ones. A renewal ends the tokens
before it only when one of the new ones is used, so that an answer lost on the way can be asked for again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import fence, rows
from accounts.choices import AccountState, RenewalKind
from accounts.models import AccessToken, User
from accounts.oauth_models import OAuthClient, RenewalToken

KEPT_AFTER_END = timedelta(days=30)  # for support, who look at what was given out


def new() -> str:
    """A token never given before. Hexadecimal: a command would read one that begins with a dash as an option."""
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class OwnAccount:
    id: int
    group_id: int
    currency: str


@dataclass(frozen=True, slots=True)
class Login:
    """Who has a token, until when (Unix seconds), and his accounts by number."""

    user_id: int
    expires_at: float
    accounts: dict[str, OwnAccount]


def issue(user: User, *, lifetime_seconds: int | None = None) -> tuple[str, datetime]:
    """A token as for a login with a password, and when it ends. Earlier tokens of the user go on working."""
    token = new()
    row = keep(token, user, lifetime_seconds=lifetime_seconds or settings.TOKEN_LIFETIME_SECONDS)
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


# As `_working`. Every request asks this, and a queryset takes ten times as long to put together as this to run.
_WHOSE = f"""
SELECT {rows.columns_of(User, "whose")}, renewal.id AS unconfirmed
  FROM {AccessToken._meta.db_table} AS token
  JOIN {User._meta.db_table} AS whose ON whose.id = token.user_id AND whose.is_active
  LEFT JOIN {OAuthClient._meta.db_table} AS client ON client.id = token.client_id
  LEFT JOIN {RenewalToken._meta.db_table} AS renewal ON renewal.id = token.renewal_id AND renewal.confirmed_at IS NULL
 WHERE token.digest = %s AND token.expires_at > %s AND token.revoked_at IS NULL
   AND (token.client_id IS NULL OR client.is_active)
"""  # noqa: S608


def user_of(token: str) -> User | None:
    """Whose token it is; None when it is unknown, expired or revoked, or its user or client was switched off."""
    asked = [digest(token), timezone.now()]
    found: list[Any] = rows.read(User, _WHOSE, asked, using=User.objects.db, extras=("unconfirmed",))
    for user in found:
        if user.unconfirmed:
            confirm(RenewalToken.objects.get(pk=user.unconfirmed))
        return cast(User, user)
    return None


def client_of(token: str) -> int | None:
    """The key of the OAuth client that it was given to, if any, whether it still works or not."""
    return AccessToken.objects.filter(digest=digest(token)).values_list("client__pk", flat=True).first()


def was_ended(token: str) -> bool:
    """Whether somebody has ended it, or the login it came from: not by renewal, which puts another in its place."""
    ended = AccessToken.objects.filter(digest=digest(token), revoked_at__isnull=False)
    for renewed_at, family in ended.values_list("renewal__revoked_at", "renewal__family"):
        return renewed_at is None or not RenewalToken.objects.filter(family=family, revoked_at=None).exists()
    return False


def logins(digests: Iterable[str]) -> dict[str, Login]:
    """What those of these tokens that work stand for, in one statement.

    Without those of data servers, who have no accounts, and those that were renewed and are used for the first time:
    that ends others (AUTH-25).
    """
    of_client = "user__client__accounts__"
    columns = ("number", "id", "group_id", "currency_id", "state")
    found: dict[str, Login] = {}
    known = Q(renewal=None) | Q(renewal__confirmed_at__isnull=False)
    working = _working().filter(known, digest__in=list(digests), user__is_data_client=False)
    for key, user_id, expires_at, number, *account, state in working.values_list(
        "digest", "user_id", "expires_at", *(of_client + column for column in columns)
    ):
        login = found.setdefault(key, Login(user_id, expires_at.timestamp(), {}))
        if number is not None and state != AccountState.CLOSED:  # as `Account.objects.of_user`
            login.accounts[number] = OwnAccount(*account)
    return found


def _working() -> QuerySet[AccessToken]:
    return AccessToken.objects.filter(
        Q(client=None) | Q(client__is_active=True),
        expires_at__gt=timezone.now(),
        revoked_at=None,
        user__is_active=True,
    )


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


def revoke_access(access: QuerySet[AccessToken]) -> int:
    """End these access tokens. Says how many worked till now."""
    return _end(access.filter(revoked_at=None), revoked_at=timezone.now())


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
    revoke_access(AccessToken.objects.filter(pk=row.pk))
    if row.renewal:
        revoke_family(row.renewal.family)


def expire(token: str) -> bool:
    """Make the access or refresh token expired from now on. Says whether there was one."""
    now = timezone.now()
    of = {"digest": digest(token)}
    changed = _end(AccessToken.objects.filter(**of), expires_at=now)
    return bool(changed or RenewalToken.objects.filter(**of).update(expires_at=now))


def _end(access: QuerySet[AccessToken], **change: datetime) -> int:
    """Change these rows so that they work no more, and tell those who remember tokens. Says how many there were."""
    with transaction.atomic():
        digests = list(access.select_for_update().values_list("digest", flat=True))
        ended = AccessToken.objects.filter(digest__in=digests).update(**change)
        for each in digests:
            transaction.on_commit(partial(fence.end_login, each))
    return ended


def forget_ended() -> None:
    """Delete what ended long ago."""
    long_ago = timezone.now() - KEPT_AFTER_END
    AccessToken.objects.filter(expires_at__lt=long_ago).delete()
    RenewalToken.objects.filter(expires_at__lt=long_ago).delete()


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
