"""Bearer tokens: random, given out once, kept as hashes (AUTH-5 … AUTH-8, AUTH-32)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import fence
from accounts.choices import AccountState
from accounts.models import AccessToken, User


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


def issue(user: User) -> tuple[str, datetime]:
    """A token never given before, and when it ends. Earlier tokens of the user go on working."""
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(seconds=settings.TOKEN_LIFETIME_SECONDS)
    AccessToken.objects.create(user=user, digest=digest(token), expires_at=expires_at)
    return token, expires_at


def user_of(token: str) -> User | None:
    """Whose token it is; None when it is unknown, expired or revoked, or its user was switched off."""
    row = _working().select_related("user").filter(digest=digest(token)).first()
    return row.user if row else None


def logins(digests: Iterable[str]) -> dict[str, Login]:
    """What those of these tokens that work stand for, in one statement."""
    of_client = "user__client__accounts__"
    columns = ("number", "id", "group_id", "currency_id", "state")
    found: dict[str, Login] = {}
    rows = _working().filter(digest__in=list(digests))
    for key, user_id, expires_at, number, *account, state in rows.values_list(
        "digest", "user_id", "expires_at", *(of_client + column for column in columns)
    ):
        login = found.setdefault(key, Login(user_id, expires_at.timestamp(), {}))
        if number is not None and state != AccountState.CLOSED:  # as `Account.objects.of_user`
            login.accounts[number] = OwnAccount(*account)
    return found


def revoke(token: str) -> None:
    """End the token now; an unknown one is left alone."""
    AccessToken.objects.filter(digest=digest(token), revoked_at=None).update(revoked_at=timezone.now())
    transaction.on_commit(partial(fence.end_login, digest(token)))


def expire(token: str) -> bool:
    """Make the token expired from now on. Says whether there was one."""
    found = bool(AccessToken.objects.filter(digest=digest(token)).update(expires_at=timezone.now()))
    transaction.on_commit(partial(fence.end_login, digest(token)))
    return found


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _working() -> QuerySet[AccessToken]:
    return AccessToken.objects.filter(expires_at__gt=timezone.now(), revoked_at=None, user__is_active=True)
