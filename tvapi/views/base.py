"""What every endpoint has in common: strict reading, the client's language, JSON, and no answer but 200 and 401."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ACCOUNT_NUMBER_PATTERN, Account, User
from trading.prices import Prices
from tvapi import answers, forms, locales, parsers, snapshots
from tvapi.exceptions import Refused, unknown_account

METHODS_WITH_BODY = frozenset({"POST", "PUT", "DELETE", "PATCH"})
BIGGEST_ID = 2**63 - 1


class WireView(APIView):
    """An endpoint. `query` and `form` hold the fields that were sent, read strictly before anything is done."""

    query: Mapping[str, str]
    form: Mapping[str, str]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # Rendered here, in the language of the request: later the sentences would be in another one.
        with translation.override(locales.language_of(request)):
            response = super().dispatch(request, *args, **kwargs)
            response["Content-Language"] = translation.get_language() or locales.ENGLISH
            response["Cache-Control"] = "no-store"
            return cast(HttpResponseBase, cast(Response, response).render())

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.query = parsers.query(request._request)
        self.form = self._read_body(request) if request.method in METHODS_WITH_BODY else {}

    def _read_body(self, request: Request) -> Mapping[str, str]:
        if "Transfer-Encoding" in request.headers:
            # WSGI knows no body without a length: a partial close would lose its amount and close the whole position.
            raise Refused(_("The request must say how long it is (Content-Length)."))
        return cast(Mapping[str, str], request.data)

    def read_query(self, form: type[serializers.Serializer]) -> dict[str, Any]:
        return forms.read(form, self.query)

    def read_form(self, form: type[serializers.Serializer]) -> dict[str, Any]:
        return forms.read(form, self.form)

    @property
    def user(self) -> User:
        """Whose token it is; only for endpoints that demand one."""
        return cast(User, self.request.user)

    def account(self, number: str) -> Account:
        """The user's own account. Raises Refused, in the same words for another's as for an unknown one (ACC-3)."""
        if re.fullmatch(ACCOUNT_NUMBER_PATTERN, number):
            with contextlib.suppress(Account.DoesNotExist):
                return Account.objects.own(self.user, number)
        raise unknown_account()

    def polled(self, answer: str, number: str) -> Response:
        """One of the polled answers of the user's own account."""
        snapshot = snapshots.current(self.account(number).pk)
        return ok(answers.OF_ACCOUNT[answer](snapshot, Prices()))


def ok(d: object = None) -> Response:
    """A success; what there is to say stands under `d` (GEN-2)."""
    return Response({"s": "ok"} if d is None else {"s": "ok", "d": d})


def row_id(text: str) -> int | None:
    """The number of a row by its id on the wire; None for what can be none."""
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text):
        return None
    number = int(text)
    return number if number <= BIGGEST_ID else None
