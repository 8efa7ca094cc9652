"""What the Account Manager shows of accounts: configuration, instruments, figures, balances."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
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
        mine = Account.objects.of_user(self.user).select_related("group", "currency", "client")
        accounts = [wire.account(account) for account in mine.order_by("pk")]
        if not accounts:
            raise Refused(_("This login has no trading account."))
        return ok(accounts)


class InstrumentsView(WireView):
    def get(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        offered = tradables.of_account(account)
        values = pips.values(account.currency_id, [tradable.instrument for tradable in offered])
        return ok([wire.instrument(each, values.get(each.instrument.symbol, pips.UNKNOWN)) for each in offered])


class StateView(WireView):
    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("state", account_id)


class BalancesView(WireView):
    """The assets of a spot account (ACC-6)."""

    def get(self, request: Request, account_id: str) -> Response:
        return self.polled("balances", account_id)
