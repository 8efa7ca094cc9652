"""Origins of pages that may call us: one each, or all subdomains, as `https://*.tradingview.com` (CORS-1 … CORS-3)."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PATTERN = re.compile(
    rf"https://(?:\*\.)?(?:{_LABEL}\.)+[a-z]{{2,}}(?::[0-9]{{1,5}})?|https?://localhost(?::[0-9]{{1,5}})?"
)


def validate(pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise ValidationError(
            _("Write an origin like https://www.example.com or https://*.example.com, without a path; never *.")
        )


def fits(origin: str, pattern: str) -> bool:
    """Whether the origin is the pattern's. `*` stands for one label or several, and for nothing else (CORS-7)."""
    head, star, tail = pattern.partition("*")
    return bool(re.fullmatch(re.escape(head) + rf"{_LABEL}(?:\.{_LABEL})*" * bool(star) + re.escape(tail), origin))
