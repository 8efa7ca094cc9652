"""Tokens of the data servers: DT-1 and DT-2."""

from __future__ import annotations

import time

from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.data import Data
from tvapi.conformance.framework import Half, Session, Skipped, check

TOKENS = 10


def log_in(client: Client, login: str, password: str) -> Exchange:
    """POST `/authorize` without a token. Whether it succeeded is for the caller to see."""
    form = {"login": login, "password": password}
    return client.with_token(None).send("POST", "/authorize", form=form)


def expect_token(session: Session, exchange: Exchange) -> str:
    """What DT-1 demands of the answer. Returns the token."""
    session.expect_contract(exchange)
    says = session.read(exchange)["d"]
    expiration = says.get("expiration")
    if isinstance(expiration, int):
        session.expect(
            expiration > time.time(),
            f"“expiration” {expiration} is not in the future (now {time.time():.0f}).",
            exchange,
        )
    return str(says.get("access_token", ""))


def expect_new_tokens(session: Session, exchanges: list[Exchange]) -> None:
    """AUTH-6: each answer gives a token that no other gave."""
    tokens = [
        str((each.says.get("d") or {}).get("access_token") or each.says.get("access_token")) for each in exchanges
    ]
    repeated = {token for token in tokens if tokens.count(token) > 1}
    session.expect(not repeated, f"{len(tokens)} requests gave {len(set(tokens))} different tokens.", exchanges[-1])


@check("authBasicFieldsFormat", "DT-1 AUTH-5", Half.DATA)
def fields_format(data: Data) -> None:
    """A login and password give a token that ends in the future."""
    expect_token(data, _authorize(data))


@check("authBasicNewTokenPerRequest", "DT-2 AUTH-6", Half.DATA)
def new_token_per_request(data: Data) -> None:
    """Ten logins in a row give ten different tokens."""
    exchanges = [_authorize(data) for _time in range(TOKENS)]
    for exchange in exchanges:
        data.read(exchange)
    expect_new_tokens(data, exchanges)


def _authorize(data: Data) -> Exchange:
    login, password = data.options.data_login, data.options.data_password
    if not login:
        raise Skipped("No login and password of the data half were given.")
    return log_in(data.client, login, password)
