"""What the lane reads of a request, and the headers of its answers: those that Django and its middleware would send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from rest_framework.exceptions import ValidationError

from accounts import origins, tokens
from trading.errors import OrderRejected
from tvapi import forms, locales, parsers
from tvapi.exceptions import Refused

Header = tuple[bytes, bytes]

_OF_ACCOUNT = re.compile(r"/tv/accounts/([^/]+)/(orders|positions|state|balances)")
_OF_PRICES = {"/tv/quotes": forms.QuotesQuery, "/tv/depth": forms.DepthQuery}
_READ = frozenset((b"authorization", b"host", b"origin", b"x-forwarded-proto", b"content-length", b"transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A polled answer, of an account, in a language. `symbols` are those of `/quotes`, or the one of `/depth`."""

    answer: str
    number: str
    language: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: the hash of his token, and what the answer's headers depend on."""

    digest: str
    origin: str
    is_secure: bool


@lru_cache(maxsize=8192)
def asked(path: str, query: bytes) -> Asked | None:
    """None for what is not polled, and for what is to be refused."""
    try:
        fields = parsers.form(query)
        language = locales.language_in(query.decode("ascii"))
        if found := _OF_ACCOUNT.fullmatch(path):
            return Asked(found[2], found[1], language)
        values = forms.read(_OF_PRICES[path], fields)
    except (KeyError, UnicodeDecodeError, Refused, OrderRejected, ValidationError):
        return None
    symbols = (values["symbol"],) if "symbol" in values else tuple(values["symbols"])
    return Asked(path.rpartition("/")[2], values["accountId"], language, symbols)


def sender(headers: Iterable[Header], scheme: str) -> Sender | None:
    """None for a request that has no token, or that is for others to answer or refuse."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            if name in found:
                return None
            found[name] = value
    if b"authorization" not in found or b"transfer-encoding" in found or found.get(b"content-length", b"0") != b"0":
        return None
    is_secure = scheme == "https"
    if settings.SECURE_PROXY_SSL_HEADER and b"x-forwarded-proto" in found:
        is_secure = found[b"x-forwarded-proto"] == b"https"
    if (settings.SECURE_SSL_REDIRECT and not is_secure) or not _is_served(found.get(b"host", b"")):
        return None
    digest = _digest(found[b"authorization"])
    return Sender(digest, found.get(b"origin", b"").decode("latin-1"), is_secure) if digest else None


def _digest(header: bytes) -> str | None:
    """The hash of the bearer token in this header; read as `tvapi.auth` does."""
    scheme, _space, token = header.decode("latin-1").strip().partition(" ")
    return tokens.digest(token.strip()) if scheme.lower() == "bearer" and token.isascii() else None


@lru_cache(maxsize=256)
def _is_served(host: bytes) -> bool:
    domain, _port = split_domain_port(host.decode("latin-1"))
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=4096)
def headers(answer: str, language: str, origin: str, is_secure: bool, patterns: tuple[str, ...]) -> tuple[Header, ...]:
    """The headers of an answer, but for its length; `patterns` are those of origins that may read it."""
    methods = "GET, POST, HEAD, OPTIONS" if answer == "orders" else "GET, HEAD, OPTIONS"
    sent = {
        "content-type": "application/json",
        "allow": methods,
        "content-language": language,
        "cache-control": "no-store",
        "x-frame-options": settings.X_FRAME_OPTIONS,
        "vary": "Accept-Language, origin",
        "x-content-type-options": "nosniff",
        "referrer-policy": settings.SECURE_REFERRER_POLICY,
        "cross-origin-opener-policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
    }
    if is_secure and settings.SECURE_HSTS_SECONDS:
        subdomains = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
        sent["strict-transport-security"] = f"max-age={settings.SECURE_HSTS_SECONDS}{subdomains}"
    if any(origins.fits(origin, pattern) for pattern in patterns):
        sent["access-control-allow-origin"] = origin
    return tuple((name.encode(), str(value).encode("latin-1")) for name, value in sent.items())
