"""The demo's OAuth clients: all six environment pairs, and a certificate with its key, as TradingView would hold it."""

from __future__ import annotations

import os
import secrets
import time
from datetime import timedelta
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.utils import timezone

from accounts import oauth_clients
from accounts.choices import EnvironmentPair
from accounts.models import User
from accounts.oauth_models import OAuthClient
from backoffice import embedded

HOSTS = {
    "localhost": "http://localhost:6285",
    "staging": "https://www.xstaging.tv",
    "production": "https://www.tradingview.com",
}
ORIGINS = {
    "localhost": ["http://localhost:6285", "https://localhost:6285"],
    "staging": ["https://*.xstaging.tv"],
    "production": ["https://*.tradingview.com"],
}
ASSERTION_SECONDS = 300
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def make_clients() -> None:
    """Make those of the six that are missing. The data servers' logins must be there."""
    known = set(OAuthClient.objects.values_list("pair", flat=True))
    certificate = "" if known.issuperset(EnvironmentPair) else _certificate(_key())
    for pair in EnvironmentPair:
        if pair not in known:
            _make_client(pair, certificate)


def assertion_form() -> dict[str, str]:
    """A token request of TradingView's data servers, complete and never made before."""
    client = OAuthClient.objects.get(pair=EnvironmentPair.PRODUCTION_PRODUCTION)
    now = int(time.time())
    claims = {
        "iss": client.client_id,
        "sub": "tvdata-production",
        "aud": client.assertion_audience,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    return {
        "grant_type": JWT_BEARER,
        "assertion": jwt.encode(claims, _key(), algorithm="RS256"),
        "client_id": client.client_id,
        "client_secret": oauth_clients.shown_secret(client) or "",
    }


def _make_client(pair: EnvironmentPair, certificate: str) -> None:
    client = OAuthClient.objects.create(
        pair=pair,
        client_id=f"tv-{pair}",
        implicit_flow=True,
        redirect_uris=[f"{HOSTS[pair.tradingview]}/trading/oauth-redirect/{settings.BROKER_ID}/"],
        origins=ORIGINS[pair.tradingview],
        certificate=certificate,
        # Not an address: the demo does not know by which name it will be reached.
        assertion_audience=f"urn:{settings.BROKER_ID}:oauth2:token",
    )
    oauth_clients.add_secret(client, oauth_clients.demo_secret(client.client_id))
    client.data_users.set(User.objects.filter(username=f"tvdata-{pair.broker}"))


def _key() -> rsa.RSAPrivateKey:
    """The private key, kept in DEMO_DIR for its owner alone; made on first use."""
    path = Path(settings.DEMO_DIR) / "data-server-key.pem"
    if not path.exists():
        embedded.make_demo_dir(path.parent)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
    loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key.")
    return loaded


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TradingView data servers of the demo")])
    now = timezone.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
