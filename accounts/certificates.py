"""The X.509 certificates that TradingView's data servers sign with (AUTH-27)."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LEAST_RSA_BITS = 2048

PublicKey = RSAPublicKey | EllipticCurvePublicKey


class UnusableCertificate(Exception):
    """It cannot be read, is not valid at this time, or its key is too weak."""


def validate(pem: str) -> None:
    try:
        public_key(pem)
    except UnusableCertificate as error:
        raise ValidationError(
            _("This is no certificate that is valid now (PEM, with an RSA key of 2048 bits or more, or an EC key).")
        ) from error


def public_key(pem: str) -> PublicKey:
    """The key that signatures are checked with. Raises UnusableCertificate."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
    except ValueError as error:
        raise UnusableCertificate from error
    if not certificate.not_valid_before_utc <= timezone.now() <= certificate.not_valid_after_utc:
        raise UnusableCertificate
    if isinstance(key, EllipticCurvePublicKey) or (isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA_BITS):
        return key
    raise UnusableCertificate
