"""What this process knows of the terms of trading: groups, conditions, instruments, read once for each version of them.

An account that is locked for a change comes with the version of the terms (`Account.terms`), so nothing has to be asked
to know whether what is at hand is still true. What is known is shared by all threads: nobody changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from accounts import fence

if TYPE_CHECKING:
    from accounts.models import Account

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Known:
    """At one version of the terms."""

    def __init__(self, version: int | None) -> None:
        self.version = version
        self.values: dict[Hashable, Any] = {}


_known = _Known(None)


def of(account: Account, *key: Hashable, read: Callable[[], T]) -> T:
    """What `read` gives, read once for each version of the terms. `key` says what it is; the same for all accounts."""
    values = _values(account)
    if key not in values:
        values[key] = read()
    return cast(T, values[key])


def several(
    account: Account, name: str, keys: Collection[K], read: Callable[[Collection[K]], Mapping[K, T]]
) -> Mapping[K, T]:
    """The same for many things of one name: `read` is asked once, for those that are not known yet."""
    values = _values(account)
    if missing := {key for key in keys if (name, key) not in values}:  # in one statement
        values.update({(name, key): value for key, value in read(missing).items()})
    return {key: values[name, key] for key in keys}


def is_sure(account: Account) -> bool:
    """Whether the version that came with the account tells what is true.

    Not in a transaction that has changed the terms itself: what was not committed yet is not for others.
    """
    return account.terms is not None and not fence.is_rising(fence.TERMS)


def forget() -> None:
    """For who has put other terms under a version that was there before, as a restored database has."""
    global _known
    _known = _Known(None)


def _values(account: Account) -> dict[Hashable, Any]:
    """What is known at the account's version; nothing, and nothing will be kept, where no version is sure."""
    global _known
    if not is_sure(account):
        return {}
    known = _known
    if known.version != account.terms:
        # The version was read before what will be read now, so that is never older than its version says.
        known = _known = _Known(account.terms)
    return known.values
