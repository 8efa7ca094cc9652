"""The data half, for TradingView's servers: groups, symbols, bars, mappings. Any token opens it."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from marketdata import bars
from marketdata.choices import MappingState
from marketdata.models import Instrument, SymbolGroup, SymbolMapping
from tvapi import forms, symbol_lists, wire
from tvapi.exceptions import Refused
from tvapi.renderers import PreparedResponse
from tvapi.views.base import WireView, ok


class MappingView(WireView):
    """Published mappings, for everybody at any time (MAP-4)."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        published = SymbolMapping.objects.filter(state=MappingState.PUBLISHED).select_related("instrument")
        return Response(wire.mapping(published.order_by("instrument__symbol")))


class GroupsView(WireView):
    def get(self, request: Request) -> Response:
        return ok({"groups": [{"id": name} for name in _groups()]})


class PermissionsView(WireView):
    """The groups this user may see: all of them, as nothing is restricted (PRM-1)."""

    def get(self, request: Request) -> Response:
        return ok({"groups": _groups()})


class SymbolInfoView(WireView):
    """The symbols of one group, or of all groups (GRP-6)."""

    def get(self, request: Request) -> Response:
        document = symbol_lists.document(self.query.get("group"))
        if document is None:
            raise Refused(_("There is no such group of symbols."))
        if not document:
            raise Refused(_("There are no symbols here."))  # the schema knows no empty columns
        return PreparedResponse(document, request)


class HistoryView(WireView):
    def get(self, request: Request) -> Response:
        query = self.read_query(forms.HistoryQuery)
        instrument = _instrument(query["symbol"])
        try:
            columns = bars.history(
                instrument, query["resolution"], query["from"], query["to"], countback=query.get("countback")
            )
        except bars.UnknownResolution as error:
            raise Refused(str(error)) from error
        return Response(wire.history(columns))


class StreamingView(WireView):
    """A request for the stream that reaches Django: without a token it gets 401; the stream is served elsewhere."""

    def get(self, request: Request) -> Response:
        raise Refused(_("The stream of prices is not served at this address."))


def _groups() -> list[str]:
    return list(SymbolGroup.objects.order_by("name").values_list("name", flat=True))


def _instrument(symbol: str) -> Instrument:
    """Any instrument that has bars, whether it is in a group or not. Raises Refused (HIST-12)."""
    if forms.is_symbol(symbol) and (instrument := Instrument.objects.filter(symbol=symbol).first()):
        return instrument
    raise Refused(_("There is no such symbol."))
