"""Symbol groups: DT-5, DT-6, and what they are to hold."""

from __future__ import annotations

import re

from tvapi.conformance.data import Data, rows
from tvapi.conformance.framework import Half, Session, Skipped, check

MOST_GROUPS = 10
MOST_SYMBOLS = 10_000


def expect_unauthorized(session: Session, path: str, query: dict[str, object] | None = None) -> None:
    """AUTH-2: without a token, and with one that nobody gave, the answer is 401."""
    if session.client.token is None:
        raise Skipped("This server is asked without a token: its data are public.")
    for token in (None, "not-a-token"):
        exchange = session.client.with_token(token).get(path, query)
        what = "without a token" if token is None else "with an unknown token"
        session.expect(exchange.status == 401, f"{path} {what}: status {exchange.status} instead of 401.", exchange)


@check("groupsResponseFieldsCorrectness", "DT-5 GRP-5", Half.DATA)
def fields_correctness(data: Data) -> None:
    """Groups have names of small letters and underscores, all with the broker's prefix."""
    exchange = data.groups_answer
    data.expect_contract(exchange)
    names = data.groups
    for name in names:
        data.expect(re.fullmatch(r"[a-z_]+", name) is not None, f"“{name}” has other signs than a–z and _.", exchange)
    prefixes = {name.partition("_")[0] for name in names}
    data.expect(len(prefixes) <= 1, f"The groups begin differently: {', '.join(sorted(prefixes))}.", exchange)


@check("groupsUnauthorizedRequest", "DT-6 AUTH-2", Half.DATA)
def unauthorized_request(data: Data) -> None:
    """`/groups` without a token is answered with 401."""
    expect_unauthorized(data, "/groups")


@check("groupsDivideSymbols", "GRP-3 GRP-6", Half.DATA, needs=("groupsResponseFieldsCorrectness",))
def divide_symbols(data: Data) -> None:
    """Each symbol is in one group, and `/symbol_info` without a group has them all."""
    groups = data.groups
    data.expect(len(groups) <= MOST_GROUPS, f"{len(groups)} groups are more than {MOST_GROUPS}.", data.groups_answer)
    home: dict[str, str] = {}
    for group in groups:
        exchange = data.client.get("/symbol_info", {"group": group})
        members = [symbol.name for symbol in rows(exchange.says)] if exchange.is_ok else []
        if not members:
            data.warn(f"Group {group} shows no symbols.", exchange)
        data.expect(len(members) <= MOST_SYMBOLS, f"{group} has {len(members)} symbols.", exchange)
        for name in members:
            data.expect(name not in home, f"{name} is in {home.get(name)} and in {group}.", exchange)
            home[name] = group
    missing = {symbol.name for symbol in data.symbols} ^ home.keys()
    data.expect(
        not missing,
        f"Only in the groups or only in the whole list: {', '.join(sorted(missing)[:10])}.",
        data.symbols_answer,
    )
