"""Addresses that a login may lead back to (AUTH-11)."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


def validate(address: str) -> None:
    """A whole address without a fragment; plain HTTP on a developer's machine only (GEN-13)."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    is_local = parts.scheme == "http" and parts.hostname == "localhost"
    if not (is_local or parts.scheme == "https") or not parts.hostname or "#" in address or "*" in address:
        raise ValidationError(_("Give a whole address that begins with https:// and has neither # nor *."))
