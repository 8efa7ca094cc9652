"""Tokens for signed assertions (ServerOAuth2Bearer): DT-3 and DT-4.

What is in an assertion is between TradingView and the broker (UNK-8), so a command of the broker makes them.
"""

from __future__ import annotations

import json
import shlex
import subprocess

from tvapi.conformance.checks.authorization import TOKENS, expect_new_tokens
from tvapi.conformance.client import Exchange
from tvapi.conformance.data import Data
from tvapi.conformance.framework import Failed, Half, Skipped, check

PATH = "/oauth2/token"
COMMAND_SECONDS = 60


@check("authOAuth2FieldsFormat", "DT-3 AUTH-29", Half.DATA)
def fields_format(data: Data) -> None:
    """A signed assertion gives a token that opens the data half."""
    exchange = _token(data)
    data.expect_contract(exchange)
    token = str(exchange.says.get("access_token", ""))
    opened = data.client.with_token(token).get("/groups")
    data.expect(opened.status == 200, "The token does not open /groups (AUTH-28).", opened)


@check("authOAuth2NewTokenPerRequest", "DT-4 AUTH-30", Half.DATA)
def new_token_per_request(data: Data) -> None:
    """Ten assertions give ten different tokens."""
    expect_new_tokens(data, [_token(data) for _time in range(TOKENS)])


def _token(data: Data) -> Exchange:
    """The answer to a new assertion. DIS-11: as OAuth has it, not in the usual envelope."""
    exchange = data.client.with_token(None).send("POST", PATH, form=_assertion(data.options.assertion_command))
    data.require(exchange.status == 200, f"Status {exchange.status} instead of 200.", exchange)
    return exchange


def _assertion(command: str) -> dict[str, str]:
    """The form that the broker's command prints as a JSON object."""
    if not command:
        raise Skipped("No command that makes assertions was given (--assertion-command).")
    made = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    try:
        form = json.loads(made.stdout)
        return {str(name): str(value) for name, value in form.items()}
    except (ValueError, AttributeError) as error:
        raise Failed(f"“{command}” printed no JSON object: {made.stdout[:200]}{made.stderr[-200:]}") from error
