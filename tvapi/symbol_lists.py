"""The answers of `/symbol_info`, prepared: a compressed JSON document for each group, and one for all together.

They lie in Redis under the version of the symbols they were made of. The version is read from Postgres for every
request, where triggers raise it in the transaction that changes a symbol: what is served was true at some moment of the
request, and nobody gets an old list.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterable

import redis
from django.core.cache import cache
from django.db.models import Sum

from marketdata.models import Instrument, SymbolGroup
from tvapi import wire
from tvapi.renderers import encode

KEPT_SECONDS = 7 * 86_400
COMPRESSION = 5  # beyond it the time grows faster than the document shrinks

Names = tuple[str, ...]  # of groups, sorted

logger = logging.getLogger(__name__)


def document(groups: Iterable[str]) -> bytes:
    """The gzipped answer for these groups together: empty where there are no symbols, which the contract has no answer
    for. A group that does not exist has none."""
    names = tuple(sorted(set(groups)))
    version = _version(names)
    if (prepared := _load(names, version)) is not None:
        return prepared
    made = _make(names)
    # A list made while it changed is right for this answer, and of no known version.
    if _version(names) == version:
        _store(names, version, made)
    return made


def prepare() -> int:
    """Make the documents that are missing, of each group and of all together, and return their number."""
    names = list(SymbolGroup.objects.order_by("name").values_list("name", flat=True))
    wanted = dict.fromkeys([tuple(names), *((name,) for name in names)])
    missing = [each for each in wanted if _load(each, _version(each)) is None]
    for each in missing:
        document(each)
    return len(missing)


def _version(names: Names) -> int:
    """Each group's version only rises, so their sum is a version of all."""
    versions = SymbolGroup.objects.filter(name__in=names).aggregate(of_all=Sum("symbols_version", default=0))
    return int(versions["of_all"])


def _make(names: Names) -> bytes:
    of_groups = Instrument.objects.filter(symbol_group__name__in=names)
    rows = list(of_groups.order_by("symbol").values_list(*wire.SYMBOL_FIELDS))
    return gzip.compress(encode(wire.symbol_info(rows)), COMPRESSION) if rows else b""


def _key(names: Names, version: int) -> str:
    return f"symbol_info:{','.join(names)}:{version}"


def _load(names: Names, version: int) -> bytes | None:
    try:
        found: bytes | None = cache.get(_key(names, version))
    except redis.RedisError as error:
        logger.warning("The prepared list of symbols cannot be read: %s", error)
        return None
    return found


def _store(names: Names, version: int, made: bytes) -> None:
    try:
        cache.set(_key(names, version), made, KEPT_SECONDS)
    except redis.RedisError as error:
        logger.warning("The prepared list of symbols cannot be stored: %s", error)
