"""Whatever nobody else answers: never a 404 (GEN-4)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request

from tvapi.exceptions import Refused
from tvapi.views.base import WireView


class NothingOfAccountView(WireView):
    """Below `/accounts/…`: among them what the contract knows and we do not offer, so a token is needed."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise Refused(_("This is not available here."))


class NothingView(NothingOfAccountView):
    authentication_classes = ()
    permission_classes = ()
