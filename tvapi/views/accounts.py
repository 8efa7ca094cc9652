"""What the Account Manager shows of accounts: configuration, instruments, figures, balances."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, TradingConditions
from marketdata import mappings
from trading import tradables
from tvapi import pips, wire
from tvapi.exceptions import Refused
from tvapi.views.base import WireView, ok


class ConfigView(WireView):
    def get(self, request: Request) -> Response:
        return ok(wire.config())


class AccountsView(WireView):
    """The user's accounts: at least one (ACC-1), so a login without any, like a data server's, gets a refusal."""

    def get(self, request: Request) -> Response:
        mine = Account.objects.of_user(self.user).select_related("group", "currency", "client").order_by("pk")
        conditions = TradingConditions.objects.in_force({account.group_id for account in mine})
        if not mine:
            raise Refused(_("This login has no trading account."))
        # A group whose conditions are yet to come cannot trade, but its accounts are seen.
        nothing_yet = TradingConditions()
        return ok([wire.account(account, conditions.get(account.group_id, nothing_yet)) for account in mine])


class InstrumentsView(WireView):
    """What the account trades and TradingView can show: where symbols are mapped, those that are (INS-8, MAP-3)."""

    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        offered = tradables.of_account(account)
        uncovered = mappings.uncovered(each.instrument for each in offered)
        offered = [each for each in offered if each.instrument.pk not in uncovered]
        values = pips.values(account.currency_id, [tradable.instrument for tradable in offered])
        return ok([wire.instrument(each, values.get(each.instrument.symbol, pips.UNKNOWN)) for each in offered])


class StateView(WireView):
    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("state", account_id)


class BalancesView(WireView):
    """The assets of a spot account (ACC-6)."""

    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("balances", account_id)


class StreamView(WireView):
    """A request for a stream that reaches Django: it is refused as a polled one would be, or there are too many."""

    def get(self, request: Request, account_id: str, kind: str) -> Response:
        self.account(account_id)
        raise Refused(_("This stream is not available at the moment."))
