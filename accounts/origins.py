"""Origins of pages that may call us: one each, or all subdomains, as `https://*.tradingview.com` (CORS-1 … CORS-3).

They are those of the environment pairs that work with this environment. Where there are no pairs, because nobody logs
in by OAuth, they are those of the settings.
"""

from __future__ import annotations

import functools
import logging
import re
import time

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.utils.translation import gettext_lazy as _

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PATTERN = re.compile(
    rf"https://(?:\*\.)?(?:{_LABEL}\.)+[a-z]{{2,}}(?::[0-9]{{1,5}})?|https?://localhost(?::[0-9]{{1,5}})?"
)

KEPT_SECONDS = 3  # how long a change of the pairs may go unnoticed

logger = logging.getLogger(__name__)


def is_allowed(origin: str) -> bool:
    """Whether a page of this origin may call us. Works without the database too."""
    return any(fits(origin, pattern) for pattern in in_force())


def in_force() -> list[str]:
    """The patterns of origins whose pages may call us."""
    return _patterns(int(time.monotonic() // KEPT_SECONDS))


@functools.lru_cache(maxsize=1)
def _patterns(period: int) -> list[str]:
    """The patterns in force. `period` is a number that changes with time, so that they are read anew."""
    clients = apps.get_model("accounts", "OAuthClient").objects
    try:
        pairs = [*clients.here().values_list("origins", flat=True)]
        patterns = {pattern for origins in pairs for pattern in origins}
        if not pairs and not clients.exists():
            patterns = set(settings.DEFAULT_ORIGINS)
    except DatabaseError:
        logger.exception("The origins of the environment pairs cannot be read")
        patterns = set(settings.DEFAULT_ORIGINS)
    if settings.IS_PRODUCTION:  # CORS-3
        patterns = {pattern for pattern in patterns if "//localhost" not in pattern}
    return sorted(patterns)


def forget() -> None:
    """Read the pairs anew at the next request: for tests, where time stands still."""
    _patterns.cache_clear()


def validate(pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise ValidationError(
            _("Write an origin like https://www.example.com or https://*.example.com, without a path; never *.")
        )


def fits(origin: str, pattern: str) -> bool:
    """Whether the origin is the pattern's. `*` stands for one label or several, and for nothing else (CORS-7)."""
    head, star, tail = pattern.partition("*")
    return bool(re.fullmatch(re.escape(head) + rf"{_LABEL}(?:\.{_LABEL})*" * bool(star) + re.escape(tail), origin))
