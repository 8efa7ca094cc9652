"""Clients' secrets: made, compared, rotated with an overlap."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import tokens
from accounts.oauth_models import ClientSecret, OAuthClient

OVERLAP = timedelta(days=7)


@transaction.atomic
def rotate_secret(client: OAuthClient, *, overlap: timedelta = OVERLAP) -> str:
    """A new secret, shown this once; those before it work to the end of the overlap, or of their own time."""
    end = timezone.now() + overlap
    client.secrets.filter(Q(ends_at=None) | Q(ends_at__gt=end)).update(ends_at=end)
    secret = tokens.new()
    add_secret(client, secret)
    return secret


def add_secret(client: OAuthClient, secret: str) -> ClientSecret:
    """Raises IntegrityError for a secret that any client ever had (AUTH-10)."""
    return client.secrets.create(digest=tokens.digest(secret))


def knows(client: OAuthClient, secret: str) -> bool:
    """Whether the secret is one of the client's that work now; remembers when it was used."""
    now = timezone.now()
    of_client = client.secrets.filter(Q(ends_at=None) | Q(ends_at__gt=now), digest=tokens.digest(secret))
    return bool(of_client.update(last_used_at=now))


def demo_secret(client_id: str) -> str:
    """The secret of a client of the demo: computed from SECRET_KEY, so that it can be printed and need not be kept."""
    mac = hmac.new(settings.SECRET_KEY.encode(), f"oauth client {client_id}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(mac.digest()).decode().rstrip("=")


def shown_secret(client: OAuthClient) -> str | None:
    """A demo client's secret, if it still is the one that works; of others only hashes are known."""
    if settings.IS_PRODUCTION:
        return None
    secret, now = demo_secret(client.client_id), timezone.now()
    works = client.secrets.filter(Q(ends_at=None) | Q(ends_at__gt=now), digest=tokens.digest(secret)).exists()
    return secret if works else None
