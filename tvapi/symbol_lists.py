"""The answers of `/symbol_info`, prepared: one compressed JSON document for each group, and one for all symbols.

They lie in Redis under the version of the symbols they were made of. The version is read from Postgres for every
request, where triggers raise it in the transaction that changes a symbol: what is served was true at some moment of the
request, and nobody gets an old list.
"""

from __future__ import annotations

import gzip
import logging

import redis
from django.core.cache import cache
from django.db.models import Q, Sum

from marketdata.models import Instrument, SymbolGroup
from tvapi import wire
from tvapi.renderers import encode

KEPT_SECONDS = 7 * 86_400
COMPRESSION = 5  # beyond it the time grows faster than the document shrinks

logger = logging.getLogger(__name__)


def document(group: str | None) -> bytes | None:
    """The gzipped answer for a group, or for all groups together: empty where there are no symbols, which the contract
    has no answer for; None when there is no such group."""
    if (version := _version(group)) is None:
        return None
    if (prepared := _load(group, version)) is not None:
        return prepared
    made = _make(group)
    # A list made while it changed is right for this answer, and of no known version.
    if _version(group) == version:
        _store(group, version, made)
    return made


def prepare() -> int:
    """Make the documents that are missing, and return their number."""
    names: list[str | None] = [None, *SymbolGroup.objects.order_by("name").values_list("name", flat=True)]
    missing = [name for name in names if (version := _version(name)) is not None and _load(name, version) is None]
    for name in missing:
        document(name)
    return len(missing)


def _version(group: str | None) -> int | None:
    """Each group's version only rises, so their sum is a version of all."""
    if group is None:
        return int(SymbolGroup.objects.aggregate(of_all=Sum("symbols_version", default=0))["of_all"])
    return SymbolGroup.objects.filter(name=group).values_list("symbols_version", flat=True).first()


def _make(group: str | None) -> bytes:
    of_group = Q(symbol_group__isnull=False) if group is None else Q(symbol_group__name=group)
    rows = list(Instrument.objects.filter(of_group).order_by("symbol").values_list(*wire.SYMBOL_FIELDS))
    return gzip.compress(encode(wire.symbol_info(rows)), COMPRESSION) if rows else b""


def _key(group: str | None, version: int) -> str:
    return f"symbol_info:{group or '*'}:{version}"


def _load(group: str | None, version: int) -> bytes | None:
    try:
        found: bytes | None = cache.get(_key(group, version))
    except redis.RedisError as error:
        logger.warning("The prepared list of symbols cannot be read: %s", error)
        return None
    return found


def _store(group: str | None, version: int, made: bytes) -> None:
    try:
        cache.set(_key(group, version), made, KEPT_SECONDS)
    except redis.RedisError as error:
        logger.warning("The prepared list of symbols cannot be stored: %s", error)
