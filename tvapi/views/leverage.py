"""The leverage of an instrument: shown, tried, set (LEV-1 … LEV-5)."""

from __future__ import annotations

from babel.numbers import format_decimal
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from trading import leverage
from trading.errors import OrderRejected
from trading.leverage import Effect
from tvapi import forms
from tvapi.views.base import WireView, ok

HIGH = 20  # above it the client is reminded of the risk


class GetLeverageView(WireView):
    def post(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        symbol = self.read_form(forms.GetLeverageForm)["instrument"]
        choice = leverage.choice(account, symbol)
        return ok(
            {
                "title": _("Leverage of %(symbol)s") % {"symbol": symbol},
                "leverage": choice.current,
                "min": choice.least,
                "max": choice.most,
                "step": leverage.STEP,
            }
        )


class PreviewLeverageView(WireView):
    """What the leverage would do. One that cannot be set is no failure here: its reason is shown in the dialog."""

    def post(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        values = self.read_form(forms.LeverageForm)
        leverage.choice(account, values["instrument"])  # an instrument without leverage is one, though
        try:
            effect = leverage.preview(account, values["instrument"], values["leverage"])
        except OrderRejected as refusal:
            return ok({"errors": [str(refusal)]})
        return ok(_messages(account, effect))


class SetLeverageView(WireView):
    def post(self, request: Request, account_id: str) -> Response:
        account = self.account(account_id)
        values = self.read_form(forms.LeverageForm)
        chosen = leverage.choose(account.pk, values["instrument"], values["leverage"], by=self.user)
        return ok({"leverage": chosen})


def _messages(account: Account, effect: Effect) -> dict[str, list[str]]:
    """Infos, warnings and errors, each kind only where there is something to say."""
    figures = {"leverage": effect.leverage, "needed": _money(account, effect), "currency": account.currency_id}
    messages = {
        "infos": [_("Position and orders need a margin of %(needed)s %(currency)s at %(leverage)s:1.") % figures],
        "warnings": [_("High leverage raises the risk of losses.")] if effect.leverage > HIGH else [],
        "errors": [_("There is not enough free margin for this leverage.")] if effect.added > effect.free else [],
    }
    return {kind: texts for kind, texts in messages.items() if texts}


def _money(account: Account, effect: Effect) -> str:
    pattern = "#,##0." + "0" * account.currency.cash_decimals if account.currency.cash_decimals else "#,##0"
    return format_decimal(effect.needed, format=pattern, locale=to_locale(get_language() or "en"))
