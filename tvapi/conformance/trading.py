"""What the checks of the trading half share: one desk for each account of the login."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from tvapi.conformance.client import Client, Exchange
from tvapi.conformance.contract import Contract
from tvapi.conformance.desk import Desk, Unavailable
from tvapi.conformance.framework import Failed, Options, Session, Skipped
from tvapi.conformance.watch import Watch

WATCHED = frozenset({"ordersNeverVanish", "ordersNeverReturnFromFinal"})


class Trading(Session):
    """The trading half of one server, as one login sees it."""

    def __init__(self, client: Client, contract: Contract, options: Options) -> None:
        super().__init__(client, contract, options)
        self._watch: Watch | None = None

    @cached_property
    def accounts_answer(self) -> Exchange:
        return self.ask("/accounts")

    @cached_property
    def config_answer(self) -> Exchange:
        return self.ask("/config")

    def ask(self, path: str, **query: object) -> Exchange:
        """A GET as the browser sends it (LOC-1)."""
        return self.client.get(path, {"locale": "en", **query})

    @cached_property
    def config(self) -> dict[str, Any]:
        return dict(self.read(self.config_answer).get("d", {}))

    @cached_property
    def desks(self) -> list[Desk]:
        """Raises Skipped without a token, Failed where no account can be read."""
        if self.client.token is None:
            raise Skipped("No login of a trader was given.")
        accounts = self.read(self.accounts_answer)["d"]
        wanted = self.options.accounts
        found = [
            Desk(self.client, account, self.contract.flag_defaults, self.config, self.options)
            for account in accounts
            if not wanted or account["id"] in wanted
        ]
        self.require(bool(found), "The login has no such account.", self.accounts_answer)
        return found

    def on_each(self, judge: Callable[[Desk], None], *flags: str) -> None:
        """Judge every account that has the flags. What an account cannot show now is noted; raises Skipped where none
        can."""
        chosen = [desk for desk in self.desks if all(map(desk.has, flags))]
        if not chosen:
            raise Skipped(f"No account has {' and '.join(flags)}.")
        reasons = []
        for desk in chosen:
            try:
                judge(desk)
            except Unavailable as unavailable:
                reasons.append(f"{desk.id}: {unavailable}")
            except Failed as failed:
                self.problem(f"{desk.id}: {failed}", failed.exchange)
            finally:
                for trouble in desk.clean_up():
                    self.note(f"{desk.id}: {trouble}")
        if len(reasons) == len(chosen) and not self.problems:
            raise Skipped("; ".join(reasons))
        for reason in reasons:
            self.note(reason)

    # --- what runs beside the checks ----------------------------------------------------------------------------------

    def prepare(self, names: set[str]) -> None:
        if names & WATCHED and self.client.token is not None:
            try:
                self._watch = Watch(self.client, [desk.path for desk in self.desks])
            except (Failed, Skipped):
                return  # the checks of accounts say why

    @property
    def watch(self) -> Watch:
        """The poll of `/orders` that runs beside all checks. Raises Skipped without accounts."""
        if self._watch is None:
            raise Skipped("There are no accounts to watch.")
        return self._watch

    def close(self) -> None:
        if self._watch:
            self._watch.stop()
