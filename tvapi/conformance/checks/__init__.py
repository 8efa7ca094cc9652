"""The tests themselves, by subject. Importing this package registers them all, in the order in which they run."""

from tvapi.conformance.checks import (  # noqa: I001 (the order in which they run)
    authorization,
    oauth,
    groups,
    symbols,
    history,
    history_intervals,
    streaming,
    access,
    accounts,
    prices,
    orders,
    brackets,
    positions,
    bracket_fills,
    extras,
    oauth_login,
)

__all__ = [
    "access",
    "accounts",
    "authorization",
    "bracket_fills",
    "brackets",
    "extras",
    "groups",
    "history",
    "history_intervals",
    "oauth",
    "oauth_login",
    "orders",
    "positions",
    "prices",
    "streaming",
    "symbols",
]
